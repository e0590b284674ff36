"""The vectors of one model in the worker's memory, read from the memory file and kept up with it.

They are read from the tables behind sqlite-vec's virtual one, a chunk of 1024 at a time: asking the virtual table for
neighbours costs six times as much as comparing here, and reading the chunks needs no extension.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram_runtime.database import connect_bare
from engram_runtime.memory import lexical
from engram_runtime.memory.quantised import QuantisedRows
from engram_runtime.memory.scope import Scope
from engram_runtime.memory.vectors import Kept, kept_models

if TYPE_CHECKING:
    from engram_runtime.memory.quantised import Floats

FILL = 900
"""Ids in one SQL statement."""
AT_ONCE = 8192
"""Vectors read at a time."""

Group = tuple[str, str, str, str]
"""Project, user, scope and type: what a `Scope` decides by."""


class Matrix:
    """The vectors of one model in one memory file. Thread-safe."""

    def __init__(self, file: Path, model: str, dim: int) -> None:
        self._file = file
        self._model = model
        self._dim = dim
        self._lock = threading.RLock()
        self._connection: Any = None
        self._identity = (0, 0)
        self._version = -1
        self._seen = 0
        self._kept: Kept | None = None
        self._rows = QuantisedRows(dim)
        self._groups: dict[Group, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        """Lets go of the file and the memory."""
        with self._lock:
            self._leave()

    def refresh(self) -> None:
        """Reads what changed in the file since the last time; everything if it is another file. Raises the driver's
        errors."""
        with self._lock:
            identity = _identity(self._file)
            if identity is None:
                self._leave()
                return
            if self._identity != identity:
                self._leave()
                self._connection = connect_bare(self._file, access="read")
                self._identity = identity
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._read_changes()
                self._version = version

    def is_stale(self) -> bool:
        """Whether the file this was read from is gone: what is held may have been forgotten."""
        return self._connection is not None and self._identity != _identity(self._file)

    def share(self) -> float:
        """Of the memories, how many have a vector here."""
        with self._lock:
            if self._connection is None:
                return 0.0
            # Kept as a number: counting 100,000 rows would take longer than finding the nearest of them.
            total = lexical.total(self._connection)
            return min(1.0, len(self) / total) if total else 1.0

    def nearest(
        self, query: Floats, scope: Scope, k: int, ids: Sequence[int] = (), before: int = 0
    ) -> dict[int, float]:
        """Cosines of the k memories in scope nearest to a unit vector, best first, then of `ids` whatever their
        scope, as far as they have a vector. `before`: the nearest among older memories than this one (0: all)."""
        with self._lock:
            groups = list(self._groups)
            scoped = self._rows.rows_in(lambda number: scope.admits(*groups[number]), len(groups))
            if before:
                scoped = self._rows.older(scoped, before)
            best = self._rows.ranked(query, self._rows.nearest(query, scoped, k)) if k > 0 else {}
            others = [memory for memory in ids if memory not in best]
            return best | self._rows.ranked(query, self._rows.rows_of(others))

    def neighbours(self, memory: int, k: int) -> dict[int, float] | None:
        """Cosines of the k older memories of the same project and user that are nearest to one, best first; None where
        it has no vector."""
        with self._lock:
            number = self._rows.group(memory)
            if number is None:
                return None
            groups = list(self._groups)
            mine = groups[number][:2]
            rows = self._rows.rows_in(lambda other: groups[other][:2] == mine, len(groups))
            older = self._rows.older(rows, memory)
            vector = self._rows.vectors((memory,))[0]
            return self._rows.ranked(vector, self._rows.nearest(vector, older, k))

    def changes(self, ids: Sequence[int]) -> dict[int, int]:
        """For each of these memories that has a vector, the number of its last change."""
        with self._lock:
            return self._rows.changes(ids)

    def vectors(self, ids: Sequence[int]) -> Floats:
        """The vectors of these memories [n, dim], zeros for one that has none."""
        with self._lock:
            return self._rows.vectors(ids)

    def texts(self, ids: Sequence[int]) -> dict[int, str]:
        """What these memories say."""
        with self._lock:
            if self._connection is None:
                return {}
            found = self._select("SELECT id, content FROM memories WHERE id IN ({})", ids)
            return {int(row[0]): str(row[1]) for row in found}

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._identity = (0, 0)
        self._empty()

    def _empty(self) -> None:
        self._version = -1
        self._seen = 0
        self._kept = None
        self._rows = QuantisedRows(self._dim)
        self._groups = {}

    def _read_changes(self) -> None:
        """Brings the rows up to the file, in one read transaction."""
        self._connection.execute("BEGIN")
        try:
            if not self._is_there(self._kept):
                self._empty()
                self._kept = self._fullest()
                self._rows.reserve(self._kept.rows if self._kept is not None else 0)
            if self._kept is None:
                return
            # In parts: the rows of 100,000 at once, as Python's objects, would take more memory than the vectors.
            while changed := self._connection.execute(
                "SELECT id, change, gone FROM vector_rows WHERE model = ? AND change > ? ORDER BY change LIMIT ?",
                (self._kept.key, self._seen, AT_ONCE),
            ).fetchall():
                self._take(self._kept, changed)
                self._seen = int(changed[-1][1])
        finally:
            self._connection.execute("COMMIT")

    def _is_there(self, kept: Kept | None) -> bool:
        if kept is None:
            return False
        sql = "SELECT 1 FROM vector_models WHERE key = ? AND name = ? AND dim = ?"
        named = (kept.key, f"{kept.kind} {kept.id}", kept.dim)
        return self._connection.execute(sql, named).fetchone() is not None

    def _fullest(self) -> Kept | None:
        """Of the stores that have this model's vectors, the fuller."""
        found = [
            kept for kept in kept_models(self._connection) if kept.id == self._model and kept.dim == self._dim
        ]
        return max(found, key=lambda kept: (kept.rows, -kept.key)) if found else None

    def _take(self, kept: Kept, changed: list[tuple[int, int, int]]) -> None:
        self._rows.drop([int(memory) for memory, _, _ in changed])
        current = {int(memory): int(change) for memory, change, gone in changed if not gone}
        self._rows.reserve(len(current))
        for ids, vectors in self._vectors(kept, sorted(current)):
            groups = self._groups_of(ids)
            there = [place for place, memory in enumerate(ids) if memory in groups]
            if there:
                known = [ids[place] for place in there]
                self._rows.add(
                    known,
                    [current[memory] for memory in known],
                    [groups[memory] for memory in known],
                    vectors[there],
                )
        self._rows.index()

    def _vectors(self, kept: Kept, ids: list[int]) -> Iterator[tuple[list[int], Floats]]:
        """The vectors of these memories, a part at a time: ids, float32 [n, dim]."""
        return self._from_rows(kept, ids) if kept.kind == "blob" else self._from_chunks(kept, ids)

    def _from_rows(self, kept: Kept, ids: list[int]) -> Iterator[tuple[list[int], Floats]]:
        import numpy

        for start in range(0, len(ids), FILL):
            sql = f"SELECT id, embedding FROM vector_blobs WHERE model = {kept.key} AND id IN ({{}})"  # noqa: S608
            rows = self._select(sql, ids[start : start + FILL])
            whole = numpy.frombuffer(b"".join(row[1] for row in rows), "<f4")
            yield [int(row[0]) for row in rows], whole.reshape(len(rows), self._dim).astype(numpy.float32)

    def _from_chunks(self, kept: Kept, ids: list[int]) -> Iterator[tuple[list[int], Floats]]:
        import numpy

        table = f"vectors_{kept.key}"
        sql = f"SELECT rowid, chunk_id, chunk_offset FROM {table}_rowids"  # noqa: S608
        # Of many, all between the first and the last are read, which is quicker than to name them.
        found = (
            self._connection.execute(f"{sql} WHERE rowid BETWEEN ? AND ?", (ids[0], ids[-1]))
            if len(ids) > FILL
            else self._select(f"{sql} WHERE rowid IN ({{}})", ids)
        )
        wanted = set(ids)
        chunks: dict[int, list[tuple[int, int]]] = {}
        for memory, chunk, offset in found:
            if memory in wanted:
                chunks.setdefault(int(chunk), []).append((int(memory), int(offset)))
        for chunk, places in sorted(chunks.items()):
            row = self._connection.execute(
                f"SELECT vectors FROM {table}_vector_chunks00 WHERE rowid = ?",  # noqa: S608
                (chunk,),
            ).fetchone()
            if row is not None:
                whole = numpy.frombuffer(row[0], "<f4").reshape(-1, self._dim)
                offsets = [offset for _, offset in places]
                yield [memory for memory, _ in places], whole[offsets].astype(numpy.float32)

    def _groups_of(self, ids: list[int]) -> dict[int, int]:
        """Number of the group of each of these memories."""
        groups: dict[int, int] = {}
        sql = "SELECT id, project, user, scope, memory_type FROM memories WHERE id IN ({})"
        for start in range(0, len(ids), FILL):
            for row in self._select(sql, ids[start : start + FILL]):
                group = (str(row[1]), str(row[2]), str(row[3]), str(row[4]))
                groups[int(row[0])] = self._groups.setdefault(group, len(self._groups))
        return groups

    def _select(self, sql: str, ids: Sequence[int]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(ids), FILL):
            part = tuple(ids[start : start + FILL])
            found += self._connection.execute(sql.format(",".join("?" * len(part))), part).fetchall()
        return found


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file is there now; None without one."""
    try:
        now = file.stat()
    except OSError:
        return None
    return (now.st_dev, now.st_ino)
