"""What tests of several rooms share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from engram_runtime.database import connect_bare


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Wait until the condition holds; fail when it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(0.01)


def rows_of(file: Path) -> list[str]:
    """The whole content of a SQLite file, table by table, as lines that can be compared."""
    connection = connect_bare(file, access="read")
    try:
        tables = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).fetchall()
        return [
            line
            for name, sql in tables
            for line in (sql, *sorted(repr(row) for row in connection.execute(f'SELECT * FROM "{name}"')))
        ]
    finally:
        connection.close()


def rounds(reduced: int, full: int) -> int:
    """How often a loop is run: `reduced` in `make test`, `full` in `make soak`."""
    return full if os.environ.get("ENGRAM_SOAK") else reduced
