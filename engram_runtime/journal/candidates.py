"""Which of the rows that were found in a damaged journal are events, told by the chain itself.

Each row's hash is attested by the row after it (`previous_hash`). So the choice goes from the last position to the
first: a row that the chosen one after it does not attest was altered or forged, whatever it says of itself.
A row with one altered column of the chain (hash, previous hash, digest) is mended from its neighbours; a row whose
payload alone is altered keeps its place and kind and loses its words, as if it had been forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engram_runtime import database
from engram_runtime.journal.chain import Row, digest_of, hash_of
from engram_runtime.journal.pages import Raw

Why = Literal["gone", "altered", "words"]
"""gone: nothing of it was found; altered: what was found is not what the chain attests; words: its payload is."""

_FORGOTTEN, _COMMITTED, _BEYOND, _MENDED, _WORDLESS, _BROKEN = range(6)
_BATCH = 2000

_SCHEMA = """CREATE TABLE found (
    position INTEGER, rank INTEGER, hash BLOB, at TEXT, kind TEXT, version INTEGER, project TEXT, session TEXT,
    payload TEXT, salt BLOB, digest BLOB, previous_hash BLOB, chosen INTEGER NOT NULL DEFAULT 0,
    UNIQUE (position, rank, hash))"""
_FIELDS = "position, at, kind, version, project, session, payload, salt, digest, previous_hash, hash"


class Loss(NamedTuple):
    """Positions that are not what they were, first to last inclusive."""

    first: int
    last: int
    why: Why


class _Found(NamedTuple):
    number: int
    rank: int
    row: Row


class Candidates:
    """Rows found, on disk: a journal may be larger than the memory of the machine."""

    def __init__(self, scratch: Path) -> None:
        """`scratch` is a file that does not exist yet; the caller removes it."""
        self._file = database.connect_bare(scratch, synchronous="OFF")
        self._file.execute(_SCHEMA)

    def close(self) -> None:
        """Close the scratch file."""
        self._file.close()

    def add(self, rows: Iterable[Raw]) -> None:
        """Enter rows, however broken; the same row again changes nothing."""
        batch: list[tuple[Any, ...]] = []
        with database.atomic(self._file):
            for raw in rows:
                batch.append(_entry(raw))
                if len(batch) >= _BATCH:
                    self._insert(batch)
                    batch = []
            self._insert(batch)

    def top(self, *, acknowledged: int = 0) -> int:
        """The last position a sound row was found for.

        Rows that no valid commit covers count up to `acknowledged` only, where that is known: what is later was
        never told to anyone.
        """
        if acknowledged:
            last = self._file.execute(
                "SELECT coalesce(max(position), 0) FROM found WHERE rank <= ?", (_COMMITTED,)
            ).fetchone()[0]
            self._file.execute(
                "DELETE FROM found WHERE position > ? AND rank > ?", (max(acknowledged, last), _COMMITTED)
            )
        return int(
            self._file.execute(
                "SELECT coalesce(max(position), 0) FROM found WHERE rank < ?", (_BROKEN,)
            ).fetchone()[0]
        )

    def choose(self, top: int) -> list[Loss]:
        """Decide for every position up to `top`; what is not whole, in order."""
        losses: list[Loss] = []
        attested: bytes | None = None
        position = top
        with database.atomic(self._file):
            for at, group in self._downwards(top):
                _lose(losses, at + 1, position, "gone")
                if at < position:
                    attested = None
                row, why = self._decide(group, attested)
                if why is not None:
                    _lose(losses, at, at, why)
                attested = row.previous_hash if row is not None else None
                position = at - 1
        _lose(losses, 1, position, "gone")
        return losses[::-1]

    def chosen(self) -> Iterator[Row]:
        """The rows decided for, in order."""
        rows = self._file.execute(f"SELECT {_FIELDS} FROM found WHERE chosen ORDER BY position")  # noqa: S608
        return (Row._make(row) for row in rows)

    # --- one position ---------------------------------------------------------------------------------

    def _downwards(self, top: int) -> Iterator[tuple[int, list[_Found]]]:
        reader = self._file.execute(
            f"SELECT rowid, rank, {_FIELDS} FROM found WHERE position BETWEEN 1 AND ? ORDER BY position DESC, rank",  # noqa: S608
            (top,),
        )
        found = (_Found(line[0], line[1], Row._make(line[2:])) for line in reader)
        for position, group in groupby(found, key=lambda f: f.row.position):
            yield position, list(group)

    def _decide(self, group: list[_Found], attested: bytes | None) -> tuple[Row | None, Why | None]:
        """The row of a position (None: lost) and what is wrong with it (None: nothing)."""
        for found in group:
            if found.rank != _BROKEN and attested in (None, found.row.hash):
                self._file.execute("UPDATE found SET chosen = 1 WHERE rowid = ?", (found.number,))
                return found.row, "words" if found.rank == _WORDLESS else None
        for found in group:
            mended = self._mended(found.row, attested) if found.rank == _BROKEN else None
            if mended is not None:
                self._insert([_line(mended, _MENDED)])
                self._file.execute(
                    "UPDATE found SET chosen = 1 WHERE position = ? AND rank = ?", (mended.position, _MENDED)
                )
                return mended, None
        return None, "altered"

    def _mended(self, row: Row, attested: bytes | None) -> Row | None:
        """The row with the one column of the chain put right that was altered; None where it was another."""
        worded = row.payload is not None and row.salt is not None
        digest = digest_of(row.salt, row.payload) if worded else row.digest  # type: ignore[arg-type]
        before = self._file.execute(
            "SELECT hash FROM found WHERE position = ? AND rank < ?", (row.position - 1, _WORDLESS)
        )
        seal_wanted = row.hash if attested is None else attested
        for previous in (row.previous_hash, *(bytes(hash_) for (hash_,) in before.fetchall())):
            seal = _seal(row._replace(previous_hash=previous, digest=digest))
            if seal == seal_wanted:
                return row._replace(previous_hash=previous, digest=digest, hash=seal)
        return None

    def _insert(self, batch: list[tuple[Any, ...]]) -> None:
        self._file.executemany(
            f"INSERT OR IGNORE INTO found ({_FIELDS}, rank) VALUES ({', '.join('?' * 12)})",  # noqa: S608
            batch,
        )


def _entry(raw: Raw) -> tuple[Any, ...]:
    """A row as it is entered, with what it is worth."""
    row = raw.row
    try:
        sealed = _seal(row) == row.hash
        worded = (
            row.salt is None
            if row.payload is None
            else row.salt is not None and digest_of(row.salt, row.payload) == row.digest
        )
    except ValueError:
        # Bytes that were no text became text that cannot be encoded again.
        return _line(row._replace(payload=None, salt=None), _BROKEN)
    if not sealed:
        return _line(row, _BROKEN)
    if not worded:
        return _line(row._replace(payload=None, salt=None), _WORDLESS)
    if row.payload is None:
        # What was forgotten stays so, even where an older page still has it.
        return _line(row, _FORGOTTEN)
    return _line(row, _COMMITTED if raw.committed else _BEYOND)


def _line(row: Row, rank: int) -> tuple[Any, ...]:
    return (*row, rank)


def _seal(row: Row) -> bytes:
    return hash_of(
        row.previous_hash, row.digest, row.position, row.at, row.kind, row.version, row.project, row.session
    )


def _lose(losses: list[Loss], first: int, last: int, why: Why) -> None:
    """Note positions as lost; they are told from the last to the first."""
    if first > last:
        return
    if losses and losses[-1].why == why and losses[-1].first == last + 1:
        losses[-1] = Loss(first, losses[-1].last, why)
    else:
        losses.append(Loss(first, last, why))
