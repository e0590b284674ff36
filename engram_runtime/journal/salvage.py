"""What is left of a damaged journal: positions that SQLite can still read, and rows found without it."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engram_runtime import database
from engram_runtime.database import errors
from engram_runtime.journal.candidates import Candidates
from engram_runtime.journal.chain import Row
from engram_runtime.journal.pages import Pages, Raw
from engram_runtime.journal.segments import Line, named
from engram_runtime.journal.table import COLUMNS
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from sqlalchemy import Connection

_line = msgspec.json.Decoder(Line)

Ranges = list[tuple[int, int]]

_BLOCK = 1024
_GZIP_HEADER = 10
_SMALLEST_ROW = 100
_MOST_QUERIES = 20_000
"""Bounds the search in a large damaged region: what is not found by then counts as unreadable."""


def readable_ranges(connection: Connection, file_bytes: int, after: int = 0) -> Ranges:
    """Inclusive ranges of positions that can be read, in order, after those that are sealed.

    `file_bytes` bounds how many there can be.
    """
    top = min(_top(connection), after + file_bytes // _SMALLEST_ROW)
    found: Ranges = []
    queries = 0
    pending = [(low, min(low + _BLOCK - 1, top)) for low in range(after + 1, top + 1, _BLOCK)]
    pending.reverse()
    while pending and queries < _MOST_QUERIES:
        low, high = pending.pop()
        queries += 1
        if _reads(connection, low, high):
            if found and found[-1][1] == low - 1:
                found[-1] = (found[-1][0], high)
            else:
                found.append((low, high))
        elif low < high:
            middle = (low + high) // 2
            pending += [(middle + 1, high), (low, middle)]
    return found


def flaw_of_file(journal: Path) -> str:
    """What SQLite finds wrong with the file's structure ("" if nothing), also where no row of it is touched."""
    try:
        with contextlib.closing(database.connect_bare(journal, access="read")) as file:
            found = [str(line) for (line,) in file.execute("PRAGMA quick_check(3)")]
    except errors() as error:
        found = [str(error)]
    return "" if found == ["ok"] else f"The journal's file is damaged ({'; '.join(found)[:200]})."


def flaw_of_log(journal: Path) -> str:
    """What is wrong with the write-ahead log ("" if nothing): not for a process that has the journal open."""
    flaw = Pages.of(journal).log_flaw
    return f"The journal is damaged: {flaw}." if flaw else ""


def collect(files: HomeFiles, candidates: Candidates) -> int:
    """Enter every row that can be made out in the journal's files and its archive.

    Gives the last position ever given, as far as the files tell. Not for a process that has the journal open.
    """
    given = 0
    if any((files.root / (files.journal.name + suffix)).is_file() for suffix in ("", "-wal")):
        pages = Pages.of(files.journal)
        candidates.add(pages.rows())
        given = pages.last_given()
    for path in sorted(files.archive.iterdir()) if files.archive.is_dir() else ():
        told = named(path.name)
        if told is not None and path.is_file():
            candidates.add(Raw(row, True) for row in rows_of_segment(path))
            given = max(given, told[1])
    return given


def rows_of_segment(path: Path) -> Iterator[Row]:
    """Rows of a sealed segment as far as each block of it can be unpacked; nothing is checked."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    starts = sorted({0, *(found.start() for found in re.finditer(rb"\x1f\x8b\x08", content))})
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        for line in _unpacked(content[start:end]).split(b"\n"):
            with contextlib.suppress(msgspec.MsgspecError, ValueError):
                told = _line.decode(line)
                yield Row(*(getattr(told, name) for name in Row._fields))


def _unpacked(member: bytes) -> bytes:
    """What comes out of a gzip member before it breaks off, also where its header is at fault."""
    return _inflated(member, wbits=31) or _inflated(member[_GZIP_HEADER:], wbits=-15)


def _inflated(member: bytes, *, wbits: int) -> bytes:
    unpack = zlib.decompressobj(wbits=wbits)
    content = bytearray()
    with contextlib.suppress(zlib.error):
        for start in range(0, len(member), 256):
            content += unpack.decompress(member[start : start + 256])
    return bytes(content)


def _top(connection: Connection) -> int:
    """The last position ever given, as far as it can be told."""
    for query in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'journal'",
        "SELECT max(position) FROM journal",
    ):
        try:
            top = connection.exec_driver_sql(query).scalar()
        except errors():
            continue
        if isinstance(top, int):
            return top
    return 2**62


def _reads(connection: Connection, low: int, high: int) -> bool:
    try:
        return all(
            row.digest is not None and row.hash is not None
            for row in connection.exec_driver_sql(
                f"SELECT {COLUMNS} FROM journal WHERE position BETWEEN ? AND ?",  # noqa: S608
                (low, high),
            )
        )
    except errors():
        return False
