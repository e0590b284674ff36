"""Which events of a damaged journal can still be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram_runtime.database import errors
from engram_runtime.journal.table import COLUMNS

if TYPE_CHECKING:
    from sqlalchemy import Connection

Ranges = list[tuple[int, int]]

_BLOCK = 1024
_SMALLEST_ROW = 100
_MOST_QUERIES = 20_000
"""Bounds the search in a large damaged region: what is not found by then counts as unreadable."""


def readable_ranges(connection: Connection, file_bytes: int) -> Ranges:
    """Inclusive ranges of positions that can be read, in order. `file_bytes` bounds how many there can be."""
    top = min(_top(connection), file_bytes // _SMALLEST_ROW)
    found: Ranges = []
    queries = 0
    pending = [(low, min(low + _BLOCK - 1, top)) for low in range(1, top + 1, _BLOCK)]
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
        for _ in connection.exec_driver_sql(
            f"SELECT {COLUMNS} FROM journal WHERE position BETWEEN ? AND ?",  # noqa: S608
            (low, high),
        ):
            pass
    except errors():
        return False
    return True
