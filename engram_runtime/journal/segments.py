"""Sealed segments: old events as gzip JSON lines, outside the database, with their place in the chain.

Format (for years): one JSON object a line, one line an event, keys as the columns of the journal's table, bytes in
base64; the file is a sequence of gzip members of BLOCK_EVENTS lines each, so `zcat` reads it, one block can be
read alone, and a flipped bit costs one block. The file's name is `<first>-<last>.jsonl.gz`; after a forget
`<first>-<last>.<revision>.jsonl.gz`.

The record of a segment (table `segments`) holds what is needed to find, narrow and check it; a file without a
record is nothing (left behind by a killed process), and is written anew.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engram_runtime.errors import StoreDamaged, StoreUnavailable
from engram_runtime.journal.chain import Row, flaw_in
from engram_runtime.paths import make_private_folder, sync_folder
from engram_runtime.structs import built

SEGMENT_EVENTS = 10_000
SEGMENT_BYTES = 16_000_000
"""A segment ends at whichever is reached first (payload bytes)."""

BLOCK_EVENTS = 500
_BLOCK_BYTES = 1_000_000
_LEVEL = 6

_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_NAME = re.compile(r"(\d+)-(\d+)(?:\.(\d+))?\.jsonl\.gz\Z")


class Line(msgspec.Struct, frozen=True, array_like=False):
    """A line of a segment: a row of the journal."""

    position: int
    at: str
    kind: str
    version: int
    project: str
    session: str | None
    payload: str | None
    salt: bytes | None
    digest: bytes
    previous_hash: bytes
    hash: bytes


class Block(msgspec.Struct, frozen=True, array_like=True):
    """One gzip member: positions it holds, and its bytes in the file."""

    first: int
    last: int
    offset: int
    length: int


class Contents(msgspec.Struct, frozen=True):
    """What narrows a search: blocks in order, (first, last) position of each session, projects and kinds."""

    blocks: tuple[Block, ...]
    sessions: dict[str, tuple[int, int]] = {}
    projects: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class Segment(msgspec.Struct, frozen=True):
    """The record of a segment, in the order of the columns of the table `segments`."""

    last: int
    first: int
    events: int
    previous_hash: bytes
    """Hash of the event before `first`."""
    hash: bytes
    """Hash of the event `last`."""
    file: str
    bytes: int
    sha256: str
    contents: str

    def index(self) -> Contents:
        """The segment's contents. Raises StoreDamaged for a record that was altered."""
        try:
            return msgspec.json.decode(self.contents, type=built(Contents))
        except msgspec.DecodeError as error:
            raise _damaged(self, "its record cannot be read") from error


COLUMNS = ", ".join(field.name for field in msgspec.structs.fields(Segment))

_encoder = msgspec.json.Encoder(order="deterministic")
_lines = msgspec.json.Decoder(Line)


def name_of(first: int, last: int, revision: int = 0) -> str:
    """The file name of a segment."""
    return f"{first:09d}-{last:09d}" + (f".{revision}" if revision else "") + ".jsonl.gz"


def named(name: str) -> tuple[int, int, int] | None:
    """First position, last position and revision told by a file name; None for another file."""
    found = _NAME.match(name)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def from_record(record: Sequence[Any]) -> Segment:
    """A segment from a row of the table `segments`."""
    last, first, events, previous, seal, *rest = record
    return Segment(last, first, events, bytes(previous), bytes(seal), *rest)


def write(folder: Path, rows: Sequence[Row], *, revision: int = 0) -> Segment:
    """Write consecutive rows as a segment, durable on return, and read it back. Gives its record.

    Raises OSError, and StoreDamaged when the file does not give back what was written.
    """
    make_private_folder(folder)
    content, blocks = bytearray(), []
    for part in _parts(rows):
        member = gzip.compress(_text(part), _LEVEL, mtime=0)
        blocks.append(Block(part[0].position, part[-1].position, len(content), len(member)))
        content += member
    name = name_of(rows[0].position, rows[-1].position, revision)
    segment = Segment(
        last=rows[-1].position,
        first=rows[0].position,
        events=len(rows),
        previous_hash=rows[0].previous_hash,
        hash=rows[-1].hash,
        file=name,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        contents=_encoder.encode(_contents(rows, blocks)).decode(),
    )
    _write_durably(folder, name, bytes(content))
    _forget_cached(folder / name)
    if list(all_rows(folder, segment)) != list(rows):
        raise _damaged(segment, "it does not give back what was written")
    return segment


def read_block(folder: Path, segment: Segment, block: Block) -> list[Row]:
    """The rows of a block. Raises StoreDamaged where they cannot be read, FileNotFoundError without the file."""
    try:
        with (folder / segment.file).open("rb") as file:
            file.seek(block.offset)
            return rows_of(file.read(block.length))
    except FileNotFoundError:
        raise
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError, ValueError) as error:
        _refuse_for_now(error)
        raise _damaged(segment, f"events {block.first} to {block.last} cannot be read") from error


def rows_of(member: bytes) -> list[Row]:
    """Rows of one gzip member. Raises OSError, EOFError, zlib.error or msgspec's errors for a damaged one."""
    return [
        Row(*(getattr(line, name) for name in Row._fields))
        for line in _lines.decode_lines(gzip.decompress(member))
    ]


def salvaged(path: Path) -> Iterator[Row]:
    """Rows of a segment file as far as they can be read, whatever is left of it; nothing is checked."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    starts = [found.start() for found in re.finditer(rb"\x1f\x8b\x08\x00\x00\x00\x00\x00", content)]
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        with contextlib.suppress(OSError, EOFError, zlib.error, msgspec.MsgspecError, ValueError):
            yield from rows_of(content[start:end])


def all_rows(folder: Path, segment: Segment) -> Iterator[Row]:
    """All rows of a segment after checking size and SHA-256. Raises StoreDamaged."""
    flaw = flaw_of_file(folder, segment, whole=True)
    if flaw:
        raise _damaged(segment, flaw)
    for block in segment.index().blocks:
        yield from read_block(folder, segment, block)


def flaw_of_file(folder: Path, segment: Segment, *, whole: bool = False) -> str:
    """What is wrong with a segment's file ("" if nothing): there and of its size; `whole`: its SHA-256."""
    path = folder / segment.file
    try:
        if not path.is_file():
            return "its file is missing"
        if path.stat().st_size != segment.bytes:
            return "its file has another size"
        if whole:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != segment.sha256:
                    return "its file was altered"
    except OSError as error:
        _refuse_for_now(error)
        return f"its file cannot be read ({error.strerror or error})"
    return ""


def _refuse_for_now(error: Exception) -> None:
    """Raise StoreUnavailable for what is wrong with this process or machine, not with a file."""
    if isinstance(error, OSError) and error.errno in _FOR_NOW:
        raise StoreUnavailable(
            f"The journal's archive cannot be read now ({error.strerror}).", hint="Try again."
        ) from error


def flaw_of_rows(rows: Iterable[Row], segment: Segment, before: tuple[int, bytes]) -> str:
    """The first flaw of a segment's rows ("" if none), given (position, hash) of the event before them."""
    last = before

    def watched() -> Iterator[Row]:
        nonlocal last
        for row in rows:
            yield row
            last = (row.position, row.hash)

    flaw = flaw_in(watched(), before)
    if not flaw and last != (segment.last, segment.hash):
        return f"events {last[0] + 1} to {segment.last} are missing"
    return flaw


def damaged(segment: Segment, what: str) -> StoreDamaged:
    """The error for a segment with this flaw."""
    return _damaged(segment, what)


def _damaged(segment: Segment, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"The journal's archive {segment.file} is damaged: {what}.", hint="Run `engram recover`."
    )


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = size = 0
    for number, row in enumerate(rows):
        size += len(row.payload or "")
        if number + 1 - start >= BLOCK_EVENTS or size >= _BLOCK_BYTES or number + 1 == len(rows):
            yield rows[start : number + 1]
            start, size = number + 1, 0


def _text(rows: Sequence[Row]) -> bytes:
    return _encoder.encode_lines([Line(*row) for row in rows])


def _contents(rows: Sequence[Row], blocks: Sequence[Block]) -> Contents:
    sessions: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.session is not None:
            sessions[row.session] = (sessions.get(row.session, (row.position, 0))[0], row.position)
    projects, kinds = {row.project for row in rows}, {row.kind for row in rows}
    return Contents(tuple(blocks), sessions, tuple(sorted(projects)), tuple(sorted(kinds)))


def _write_durably(folder: Path, name: str, content: bytes) -> None:
    temporary = folder / (name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(folder / name)
    sync_folder(folder)
    # The folder itself may be new.
    sync_folder(folder.parent)


def _forget_cached(path: Path) -> None:
    """Let the next read come from the disk, where the system can be told so."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
