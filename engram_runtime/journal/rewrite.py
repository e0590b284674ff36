"""A journal made anew from rows of a damaged one: the same positions, a chain that verifies again."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from engram_runtime import database
from engram_runtime.journal import table
from engram_runtime.journal.chain import GENESIS, SALT_BYTES, Row, hash_of, new_row
from engram_runtime.journal.writer import Draft
from engram_runtime.paths import make_private_file

_BATCH = 1000


def write_journal(
    path: Path, rows: Iterable[Row], top: int, *, lost: Draft, retold: Mapping[int, Draft], last: Draft
) -> int:
    """Write a journal with `rows` at their positions and `last` after `top`; durable and closed on return.

    What `retold` has for a position is written there; where there is no row either, `lost`. From the first such
    place on rows are chained anew; their words, salts and digests stay. Gives the position of `last`.
    """
    make_private_file(path)
    with contextlib.closing(database.connect_bare(path, synchronous="OFF")) as file:
        with database.atomic(file):
            for statement in table.SCHEMA:
                file.execute(statement)
        new = map(_bound, _chained(rows, top, lost, retold, last))
        while part := list(islice(new, _BATCH)):
            with database.atomic(file):
                file.executemany(table.INSERT, part)
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return top + 1


def _chained(
    rows: Iterable[Row], top: int, lost: Draft, retold: Mapping[int, Draft], last: Draft
) -> Iterator[Row]:
    previous, position = GENESIS, 0
    given = iter(rows)
    upcoming = next(given, None)
    while position <= top:
        position += 1
        found = None
        if upcoming is not None and upcoming.position == position:
            found, upcoming = upcoming, next(given, None)
        if found is not None and position not in retold:
            row = _following(found, previous)
        else:
            draft = last if position > top else retold.get(position, lost)
            row = new_row(previous, secrets.token_bytes(SALT_BYTES), position, *draft)
        previous = row.hash
        yield row


def _following(row: Row, previous: bytes) -> Row:
    """The row, in the chain after `previous`."""
    if row.previous_hash == previous:
        return row
    seal = hash_of(
        previous, row.digest, row.position, row.at, row.kind, row.version, row.project, row.session
    )
    return row._replace(previous_hash=previous, hash=seal)


def _bound(row: Row) -> tuple[Any, ...]:
    """A row as parameters: the driver asks adapters about every bytes value, and takes bytearray as it is."""
    return tuple(bytearray(value) if isinstance(value, bytes) else value for value in row)
