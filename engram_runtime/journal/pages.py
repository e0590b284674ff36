"""Rows of the journal found in the raw pages of its SQLite file and write-ahead log, however broken the rest is.

No b-tree is walked: every page is searched for what a record of the journal's table begins with, and whoever asks
checks what comes out against the row's own hashes. So nothing is believed, and nothing is missed because
a page above it is gone. Formats: https://sqlite.org/fileformat2.html (records, overflow, WAL).

The files are opened with open(): not for a process that has them open through SQLite (see `database`).
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engram_runtime.journal.chain import Row

PAGE_SIZES = tuple(2**power for power in range(9, 17))
_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_SQLITE = b"SQLite format 3\0"
_COLUMNS = len(Row._fields)
# A record's header: its length, then the position (NULL: it is the key), then `at`, a text of 27 bytes.
_RECORD = re.compile(rb"[\x0b-\x20]\x00\x43")
# A row of sqlite_sequence: header of 3 bytes, the text "journal", a number; then the bytes of both.
_SEQUENCE = re.compile(rb"\x03\x1b[\x01-\x06\x08\x09]journal")
_MOST_BYTES = 64_000_000
"""Longest record that is believed."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A row as it was found. `committed`: in the database as its last commit left it, not in some older page."""

    row: Row
    committed: bool


@dataclass(slots=True)
class Pages:
    """The pages of a database file and of its write-ahead log."""

    size: int
    main: bytes | mmap.mmap
    log: bytes | mmap.mmap
    committed: dict[int, int] = field(default_factory=dict)
    """Page → offset in the log of its committed version."""
    beyond: dict[int, list[int]] = field(default_factory=dict)
    """Page → offsets in the log of what no valid commit covers: older ones, and what follows a broken frame."""
    log_flaw: str = ""
    """What is wrong with the log ("" for one that merely ends)."""

    @classmethod
    def of(cls, journal: Path) -> Pages:
        """The pages of a journal's files, either of which may be missing."""
        main, log = _mapped(journal), _mapped(journal.with_name(journal.name + "-wal"))
        pages = cls(_page_size(main, log), main, log)
        pages._read_log()
        return pages

    @property
    def count(self) -> int:
        """Pages of the database file (a last one may be cut)."""
        return -(-len(self.main) // self.size)

    def rows(self) -> Iterator[Raw]:
        """Every row that can be made out: of the committed pages first, then of all others."""
        for number in range(1, self.count + 1):
            if number not in self.committed:
                yield from self._rows_in(self._of_main(number), committed=True)
        for number in self.committed:
            yield from self._rows_in(self.page(number), committed=True)
        for number in self.committed:
            yield from self._rows_in(self._of_main(number), committed=False)
        for offsets in self.beyond.values():
            for offset in offsets:
                yield from self._rows_in(bytes(self.log[offset : offset + self.size]), committed=False)

    def last_given(self) -> int:
        """The last position ever given, by any copy of SQLite's own note of it; 0 where there is none."""
        best = 0
        images = [self.page(number) for number in range(1, self.count + 1)]
        images += [bytes(self.log[o : o + self.size]) for offsets in self.beyond.values() for o in offsets]
        images += [self.page(number) for number in self.committed if number > self.count]
        for image in images:
            for found in _SEQUENCE.finditer(image):
                value = _integer(image[found.start() + 2], image[found.end() :])
                best = max(best, value or 0)
        return best

    def page(self, number: int, *, newest: bool = False) -> bytes:
        """A page as the last commit left it (`newest`: as it was written last, committed or not)."""
        if newest and number in self.beyond:
            offset = self.beyond[number][-1]
            return bytes(self.log[offset : offset + self.size])
        if number in self.committed:
            offset = self.committed[number]
            return bytes(self.log[offset : offset + self.size])
        return self._of_main(number)

    def _of_main(self, number: int) -> bytes:
        return bytes(self.main[(number - 1) * self.size : number * self.size])

    # --- the write-ahead log --------------------------------------------------------------------------

    def _read_log(self) -> None:
        if not self.log:
            return
        offsets = range(_WAL_HEADER, len(self.log) - _FRAME_HEADER, _FRAME_HEADER + self.size)
        valid = self._valid_frames(offsets)
        for offset in offsets[valid:]:
            number = int.from_bytes(self.log[offset : offset + 4], "big")
            if 0 < number <= self.count + len(offsets):
                self.beyond.setdefault(number, []).append(offset + _FRAME_HEADER)
        if not self.log_flaw and self._goes_on(offsets[valid:]):
            self.log_flaw = f"the write-ahead log is broken at frame {valid + 1}"

    def _valid_frames(self, offsets: range) -> int:
        """Enter the frames of complete transactions, as SQLite would; how many those are."""
        header = bytes(self.log[:_WAL_HEADER])
        magic = int.from_bytes(header[:4], "big")
        order = ">" if magic & 1 else "<"
        if magic not in _WAL_MAGIC or _checksum(order, header[:24], (0, 0)) != struct.unpack(
            ">II", header[24:]
        ):
            self.log_flaw = "the write-ahead log has no valid beginning"
            return 0
        sums = _checksum(order, header[:24], (0, 0))
        pending: dict[int, int] = {}
        complete = 0
        for index, offset in enumerate(offsets):
            frame = bytes(self.log[offset : offset + _FRAME_HEADER + self.size])
            if len(frame) < _FRAME_HEADER + self.size or frame[8:16] != header[16:24]:
                break
            sums = _checksum(order, frame[:8] + frame[_FRAME_HEADER:], sums)
            if sums != struct.unpack(">II", frame[16:24]):
                break
            number, in_database = struct.unpack(">II", frame[:8])
            pending[number] = offset + _FRAME_HEADER
            if in_database:
                self.committed |= pending
                pending, complete = {}, index + 1
        return complete

    def _goes_on(self, offsets: range) -> bool:
        """Whether a later frame of the same log ends a transaction: then something before it was broken."""
        salts = self.log[16:24]
        return any(self.log[o + 8 : o + 16] == salts and any(self.log[o + 4 : o + 8]) for o in offsets[1:])

    # --- records --------------------------------------------------------------------------------------

    def _rows_in(self, image: bytes, *, committed: bool) -> Iterator[Raw]:
        for found in _RECORD.finditer(image):
            row = self._row(image, found.start(), newest=not committed)
            if row is not None:
                yield Raw(row, committed)

    def _row(self, image: bytes, start: int, *, newest: bool) -> Row | None:
        header = image[start]
        types: list[int] = []
        at = start + 1
        while at < start + header and len(types) <= _COLUMNS:
            kind, at = _varint(image, at)
            types.append(kind)
        if len(types) != _COLUMNS or at != start + header:
            return None
        total = header + sum(_length(kind) for kind in types)
        if total > _MOST_BYTES:
            return None
        record = self._payload(image, start, total, newest=newest)
        return _decoded(types, record[header:], _key_before(image, start)) if record is not None else None

    def _payload(self, image: bytes, start: int, total: int, *, newest: bool) -> bytes | None:
        """A record's bytes: those in the page, then those on its overflow pages."""
        usable = self.size
        local = total
        if total > usable - 35:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (total - least) % (usable - 4)
            local = local if local <= usable - 35 else least
        content = image[start : start + local]
        if len(content) < local:
            return None
        following = int.from_bytes(image[start + local : start + local + 4], "big")
        parts, missing = [content], total - local
        while missing > 0:
            page = self.page(following, newest=newest) if following > 0 else b""
            if len(page) < 5:
                return None
            parts.append(page[4 : 4 + missing])
            missing -= self.size - 4
            following = int.from_bytes(page[:4], "big")
        return b"".join(parts)[:total]


def _mapped(path: Path) -> bytes | mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return b""


def _page_size(main: bytes | mmap.mmap, log: bytes | mmap.mmap) -> int:
    """From the file's header, the log's, or the default."""
    if bytes(main[:16]) == _SQLITE:
        told = int.from_bytes(main[16:18], "big")
        told = 65536 if told == 1 else told
        if told in PAGE_SIZES:
            return told
    told = int.from_bytes(log[8:12], "big")
    return told if told in PAGE_SIZES else 4096


def _checksum(order: str, content: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum of the log, over 8 bytes at a time."""
    one, two = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def _varint(image: bytes, at: int) -> tuple[int, int]:
    """A number of up to 9 bytes and the place after it (a number that runs off the page: -1)."""
    value = 0
    for index in range(9):
        if at + index >= len(image):
            return -1, at + index
        byte = image[at + index]
        if index == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return -1, at


def _key_before(image: bytes, start: int) -> int:
    """The row's key: the varint that ends right before the record (8 bytes at most: positions are smaller)."""
    first = start - 1
    while first > 0 and start - first < 8 and image[first - 1] >= 0x80:
        first -= 1
    return _varint(image, first)[0] if first >= 0 and image[start - 1] < 0x80 else 0


def _length(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}.get(kind, 0 if kind in (0, 8, 9) else _MOST_BYTES + 1)


def _integer(kind: int, content: bytes) -> int | None:
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(content[: _length(kind)], "big", signed=True) if 1 <= kind <= 6 else None


def _decoded(types: list[int], content: bytes, position: int) -> Row | None:
    """The row, if the values have the types of the journal's columns."""
    values: list[int | str | bytes | None] = []
    at = 0
    for kind in types:
        length = _length(kind)
        part = content[at : at + length]
        at += length
        if kind == 0:
            values.append(None)
        elif kind < 12:
            values.append(_integer(kind, part))
        else:
            try:
                values.append(part.decode("utf-8") if kind & 1 else part)
            except UnicodeDecodeError:
                values.append(part.decode("utf-8", "replace"))
    return _typed(Row(position, *values[1:]))  # type: ignore[arg-type]


def _typed(row: Row) -> Row | None:
    """The row, where every value has its column's type."""
    fits = (
        row.position > 0
        and isinstance(row.at, str)
        and isinstance(row.kind, str)
        and isinstance(row.version, int)
        and isinstance(row.project, str)
        and isinstance(row.session, str | None)
        and isinstance(row.payload, str | None)
        and isinstance(row.salt, bytes | None)
        and isinstance(row.digest, bytes)
        and isinstance(row.previous_hash, bytes)
        and isinstance(row.hash, bytes)
    )
    return row if fits else None
