"""What `engram rebuild-cache` counts and drops."""

from __future__ import annotations

import contextlib
from pathlib import Path

from engram_runtime import database
from engram_runtime.memory import vector_cache
from engram_runtime.paths import HomeFiles

_PLACES = frozenset({"projection", "meta"})


def counts(files: HomeFiles) -> dict[str, int]:
    """Rows of each table of state and memory, as `state.tasks`; of a file that cannot be read: nothing."""
    found: dict[str, int] = {}
    for name, path in (("state", files.state), ("memory", files.memory)):
        with contextlib.suppress(*database.errors()):
            found |= {f"{name}.{table}": rows for table, rows in _counted(path).items()}
    return found


def _counted(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    with contextlib.closing(database.connect_bare(path, access="read")) as file:
        tables = file.execute(
            """SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'
               AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT GLOB '*_*'"""
        ).fetchall()
        return {
            name: int(file.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608
            for (name,) in tables
            if name not in _PLACES
        }


def drop_vectors(files: HomeFiles) -> None:
    """Remove the vectors that are kept by text beside the memory file, so that every one is computed again."""
    vector_cache.erase(files.root)
