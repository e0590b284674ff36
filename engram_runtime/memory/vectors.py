"""Where vectors are kept and compared: in sqlite-vec, or without it in plain rows and numpy.

The two keep separate tables, so that processes with different SQLite drivers can share a home. The projector
forgets a changed row's vector through plain tables (`forget`), which needs no extension.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

PLAIN_SCHEMA = (
    # Which rows the vec0 table holds a current vector of: known without the extension.
    "CREATE TABLE IF NOT EXISTS vec_rows(id INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS vector_blobs(id INTEGER PRIMARY KEY, embedding BLOB NOT NULL)",
)
MOST_NEIGHBOURS = 4096
"""sqlite-vec's limit of k."""


def forget(connection: Any, memory: int) -> None:
    """The row's text changed: its vectors are no longer of it."""
    connection.execute("DELETE FROM vec_rows WHERE id = ?", (memory,))
    connection.execute("DELETE FROM vector_blobs WHERE id = ?", (memory,))


class VectorStore(Protocol):
    """Vectors by memory id, all made by one model. Used under the index's lock, writes inside its transaction."""

    def model(self) -> tuple[str, int]:
        """Id and size of the vectors kept, ("", 0) when there are none yet."""
        ...

    def prepare(self, model: str, dim: int) -> None:
        """Makes room for a model's vectors; those of another model are dropped."""
        ...

    def missing(self, limit: int) -> list[tuple[int, str]]:
        """Rows (id, content) without a current vector, newest first."""
        ...

    def lag(self) -> int:
        """How many rows have none."""
        ...

    def put(self, memory: int, vector: bytes) -> None:
        """Keeps a row's vector."""
        ...

    def get(self, memory: int) -> bytes | None:
        """A row's current vector."""
        ...

    def nearest(self, query: bytes, ids: str, values: Sequence[object], k: int) -> dict[int, float]:
        """Cosine of the k rows nearest to a unit vector among those that the SQL `ids` selects, best first."""
        ...


class _Marked:
    """What both stores share: a meta row naming the model, and a table of ids that have a vector."""

    def __init__(self, connection: Any, have: str, name: str) -> None:
        self._connection = connection
        self._have = have
        self._meta = f"vectors:{name}"

    def model(self) -> tuple[str, int]:
        """Id and size of the vectors kept, ("", 0) when there are none yet."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (self._meta,)).fetchone()
        if row is None:
            return "", 0
        dim, _, model = str(row[0]).partition(" ")
        return model, int(dim)

    def prepare(self, model: str, dim: int) -> None:
        """Makes room for a model's vectors; those of another model are dropped."""
        if self.model() == (model, dim):
            return
        self._make(dim)
        self._connection.execute(f"DELETE FROM {self._have}")  # noqa: S608  a name of ours
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (self._meta, f"{dim} {model}"))

    def missing(self, limit: int) -> list[tuple[int, str]]:
        """Rows (id, content) without a current vector, newest first."""
        rows = self._connection.execute(
            f"SELECT id, content FROM memories WHERE id NOT IN (SELECT id FROM {self._have})"  # noqa: S608
            " ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [(int(row[0]), str(row[1])) for row in rows]

    def lag(self) -> int:
        """How many rows have none."""
        row = self._connection.execute(
            f"SELECT count(*) FROM memories WHERE id NOT IN (SELECT id FROM {self._have})"  # noqa: S608
        ).fetchone()
        return int(row[0])

    def _make(self, dim: int) -> None:
        raise NotImplementedError


class VecStore(_Marked):
    """Vectors in a vec0 table of sqlite-vec: brute force, 3–4 ms per 10,000 of 384 numbers."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, "vec_rows", "vec0")

    def _make(self, dim: int) -> None:
        self._connection.execute("DROP TABLE IF EXISTS vectors")
        self._connection.execute(
            "CREATE VIRTUAL TABLE vectors USING"
            f" vec0(id INTEGER PRIMARY KEY, embedding float[{dim}] distance_metric=cosine)"
        )

    def put(self, memory: int, vector: bytes) -> None:
        """Keeps a row's vector."""
        # vec0 knows no INSERT OR REPLACE.
        self._connection.execute("DELETE FROM vectors WHERE id = ?", (memory,))
        self._connection.execute("INSERT INTO vectors(id, embedding) VALUES(?, ?)", (memory, vector))
        self._connection.execute("INSERT OR IGNORE INTO vec_rows VALUES(?)", (memory,))

    def get(self, memory: int) -> bytes | None:
        """A row's current vector."""
        if self._connection.execute("SELECT 1 FROM vec_rows WHERE id = ?", (memory,)).fetchone() is None:
            return None
        row = self._connection.execute("SELECT embedding FROM vectors WHERE id = ?", (memory,)).fetchone()
        return bytes(row[0]) if row else None

    def nearest(self, query: bytes, ids: str, values: Sequence[object], k: int) -> dict[int, float]:
        """Cosine of the k rows nearest to a unit vector among those that the SQL `ids` selects, best first."""
        if self.model()[1] * 4 != len(query):
            return {}
        found = self._connection.execute(
            f"SELECT id, distance FROM vectors WHERE embedding MATCH ? AND k = ? AND id IN ({ids})",  # noqa: S608
            (query, min(k, MOST_NEIGHBOURS), *values),
        ).fetchall()
        # Filtered here, not in the query: rows reworded a moment ago are few, and a join over all rows is slow.
        current = self._current([int(row[0]) for row in found])
        return {int(row[0]): 1.0 - float(row[1]) for row in found if row[0] in current and row[1] is not None}

    def _current(self, ids: list[int]) -> set[int]:
        rows = self._connection.execute(
            "SELECT id FROM vec_rows WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
        )
        return {int(row[0]) for row in rows}


class BlobStore(_Marked):
    """Vectors in plain rows, compared by numpy: where sqlite-vec cannot be loaded."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, "vector_blobs", "blob")

    def _make(self, dim: int) -> None:
        """The table takes any size; `prepare` empties it."""

    def put(self, memory: int, vector: bytes) -> None:
        """Keeps a row's vector."""
        self._connection.execute("INSERT OR REPLACE INTO vector_blobs VALUES(?, ?)", (memory, vector))

    def get(self, memory: int) -> bytes | None:
        """A row's current vector."""
        row = self._connection.execute(
            "SELECT embedding FROM vector_blobs WHERE id = ?", (memory,)
        ).fetchone()
        return bytes(row[0]) if row else None

    def nearest(self, query: bytes, ids: str, values: Sequence[object], k: int) -> dict[int, float]:
        """Cosine of the k rows nearest to a unit vector among those that the SQL `ids` selects, best first."""
        if self.model()[1] * 4 != len(query):
            return {}
        rows = self._connection.execute(
            f"SELECT id, embedding FROM vector_blobs WHERE id IN ({ids}) ORDER BY id",  # noqa: S608
            tuple(values),
        ).fetchall()
        if not rows:
            return {}
        import numpy

        matrix = numpy.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(len(rows), -1)
        cosines = matrix @ numpy.frombuffer(query, "<f4")
        best = numpy.argsort(-cosines, kind="stable")[:k]
        return {int(rows[i][0]): float(cosines[i]) for i in best}
