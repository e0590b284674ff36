"""Which memories have a vector of which model, and the vectors themselves: in sqlite-vec, or without it in plain rows.

Vectors of several models live side by side (two sessions with different settings share a home), each in its own
table. What changed is numbered, so that the worker's matrix follows by reading only that. The projector forgets a
changed row's vectors through plain tables (`forget`), which needs no extension.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PLAIN_SCHEMA = (
    # `name` is "vec0 <id>" or "blob <id>": processes with different SQLite drivers keep tables of their own.
    # `whole_to`: up to this memory id every row had a vector once. `turn` orders models by their last preparation.
    """CREATE TABLE IF NOT EXISTS vector_models(key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        setting TEXT NOT NULL, dim INTEGER NOT NULL, whole_to INTEGER NOT NULL DEFAULT 0, turn INTEGER NOT NULL)""",
    # `gone`: the row was reworded since. `change` grows with every change of a model's rows.
    """CREATE TABLE IF NOT EXISTS vector_rows(model INTEGER NOT NULL, id INTEGER NOT NULL, change INTEGER NOT NULL,
        gone INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(model, id)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX IF NOT EXISTS vector_changes ON vector_rows(model, change)",
    "CREATE INDEX IF NOT EXISTS vector_gone ON vector_rows(model, id) WHERE gone",
    """CREATE TABLE IF NOT EXISTS vector_blobs(model INTEGER NOT NULL, id INTEGER NOT NULL, embedding BLOB NOT NULL,
        PRIMARY KEY(model, id)) WITHOUT ROWID""",
)
CHUNK = 256
"""Vectors that sqlite-vec makes room for at a time (1024 by default, 1.5 MB of which a young store is most)."""
MOST_NEIGHBOURS = 4096
"""sqlite-vec's limit of k."""
MOST_MODELS = 2
"""Models whose vectors are kept; with a third, those of the one prepared longest ago go."""

_NEXT = "(SELECT coalesce(max(change), 0) + 1 FROM vector_rows WHERE model = ?1)"


def forget(connection: Any, memory: int) -> None:
    """The row's text changed, or the row went: its vectors are no longer of it."""
    for (key,) in connection.execute("SELECT key FROM vector_models").fetchall():
        connection.execute(
            f"UPDATE vector_rows SET gone = 1, change = {_NEXT} WHERE model = ?1 AND id = ?2",  # noqa: S608
            (key, memory),
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A model with vectors in the file. `setting` is what it was asked for by; `rows` how many are current."""

    key: int
    kind: str
    id: str
    setting: str
    dim: int
    rows: int


def kept_models(connection: Any) -> list[Kept]:
    """Models with vectors in the file, the one prepared last first."""
    found = connection.execute(
        "SELECT key, name, setting, dim, (SELECT count(*) FROM vector_rows WHERE model = key AND NOT gone)"
        " FROM vector_models ORDER BY turn DESC, key"
    ).fetchall()
    split = [(row[0], *str(row[1]).split(" ", 1), *row[2:]) for row in found]
    return [Kept(*values) for values in split]


class VectorStore(Protocol):
    """Vectors by memory id, of the model in use. Used under the index's lock, writes inside its transaction."""

    def model(self) -> tuple[str, int]:
        """Id and size of the model in use, ("", 0) when there is none yet."""
        ...

    def prepare(self, model: str, dim: int) -> None:
        """Takes a model into use and makes room for its vectors; those of others stay, but for the oldest."""
        ...

    def missing(self, limit: int) -> list[tuple[int, str]]:
        """Rows (id, content) without a current vector, newest first."""
        ...

    def lag(self) -> int:
        """How many rows have none."""
        ...

    def settle(self) -> None:
        """Inside a transaction: if no row is without a vector, remember up to where that was seen."""
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


class _Tables:
    """What both stores share: the register of models and rows. `kind` names the store, `setting` the model wanted."""

    def __init__(self, connection: Any, kind: str, setting: str) -> None:
        self._connection = connection
        self._kind = kind
        self._setting = setting
        self._key = 0
        self._name = ""
        self._dim = 0

    def model(self) -> tuple[str, int]:
        """Id and size of the model in use, ("", 0) when there is none yet."""
        self._look()
        return self._name, self._dim

    def prepare(self, model: str, dim: int) -> None:
        """Takes a model into use and makes room for its vectors; those of others stay, but for the oldest."""
        name = f"{self._kind} {model}"
        row = self._connection.execute(
            "SELECT key, dim, turn = (SELECT max(turn) FROM vector_models) FROM vector_models WHERE name = ?",
            (name,),
        ).fetchone()
        if row is not None and row[1] == dim:
            self._key, self._name, self._dim = int(row[0]), model, dim
            if not row[2]:
                self._connection.execute(
                    "UPDATE vector_models SET turn = (SELECT max(turn) + 1 FROM vector_models), setting = ?"
                    " WHERE key = ?",
                    (self._setting, row[0]),
                )
            return
        if row is not None:
            self._drop(int(row[0]))
        (key,) = self._connection.execute(
            "INSERT INTO vector_models(name, setting, dim, turn)"
            " VALUES(?, ?, ?, (SELECT coalesce(max(turn), 0) + 1 FROM vector_models)) RETURNING key",
            (name, self._setting, dim),
        ).fetchone()
        self._key, self._name, self._dim = int(key), model, dim
        self._make(self._key, dim)
        self._drop_oldest()

    def missing(self, limit: int) -> list[tuple[int, str]]:
        """Rows (id, content) without a current vector, newest first."""
        self._look()
        never = self._connection.execute(
            "SELECT m.id, m.content FROM memories m"
            " WHERE m.id > (SELECT coalesce(max(whole_to), 0) FROM vector_models WHERE key = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM vector_rows v WHERE v.model = ?1 AND v.id = m.id AND NOT v.gone)"
            " ORDER BY m.id DESC LIMIT ?2",
            (self._key, limit),
        ).fetchall()
        reworded = self._connection.execute(
            "SELECT m.id, m.content FROM vector_rows v INDEXED BY vector_gone JOIN memories m ON m.id = v.id"
            " WHERE v.model = ? AND v.gone ORDER BY v.id DESC LIMIT ?",
            (self._key, limit),
        ).fetchall()
        found = {int(row[0]): str(row[1]) for row in (*never, *reworded)}
        return sorted(found.items(), reverse=True)[:limit]

    def settle(self) -> None:
        """Inside a transaction: if no row is without a vector, remember up to where that was seen."""
        if self._key and not self.missing(1):
            self._connection.execute(
                "UPDATE vector_models SET whole_to = (SELECT coalesce(max(id), 0) FROM memories) WHERE key = ?",
                (self._key,),
            )

    def lag(self) -> int:
        """How many rows have none."""
        self._look()
        have = "SELECT count(*) FROM vector_rows WHERE model = ? AND NOT gone"
        (count,) = self._connection.execute(
            f"SELECT (SELECT count(*) FROM memories) - ({have})",  # noqa: S608
            (self._key,),
        ).fetchone()
        return max(0, int(count))

    def _look(self) -> None:
        """Where no model is in use yet: the one that this setting meant last."""
        if self._key:
            return
        row = self._connection.execute(
            "SELECT key, name, dim FROM vector_models WHERE name GLOB ? ORDER BY setting = ? DESC, turn DESC LIMIT 1",
            (f"{self._kind} *", self._setting),
        ).fetchone()
        if row is not None:
            self._key, self._dim = int(row[0]), int(row[2])
            self._name = str(row[1]).split(" ", 1)[1]

    def _mark(self, memory: int) -> None:
        self._connection.execute(
            f"INSERT OR REPLACE INTO vector_rows(model, id, change) VALUES(?1, ?2, {_NEXT})",
            (self._key, memory),
        )

    def _is_current(self, memory: int) -> bool:
        self._look()
        row = self._connection.execute(
            "SELECT 1 FROM vector_rows WHERE model = ? AND id = ? AND NOT gone", (self._key, memory)
        ).fetchone()
        return row is not None

    def _drop_oldest(self) -> None:
        old = self._connection.execute(
            "SELECT key FROM vector_models WHERE name GLOB ? ORDER BY turn DESC LIMIT -1 OFFSET ?",
            (f"{self._kind} *", MOST_MODELS),
        ).fetchall()
        for (key,) in old:
            self._drop(int(key))

    def _drop(self, key: int) -> None:
        self._unmake(key)
        self._connection.execute("DELETE FROM vector_rows WHERE model = ?", (key,))
        self._connection.execute("DELETE FROM vector_models WHERE key = ?", (key,))

    def _make(self, key: int, dim: int) -> None:
        raise NotImplementedError

    def _unmake(self, key: int) -> None:
        raise NotImplementedError


class VecStore(_Tables):
    """Vectors in vec0 tables of sqlite-vec, one a model."""

    def __init__(self, connection: Any, setting: str = "") -> None:
        super().__init__(connection, "vec0", setting)

    def _make(self, key: int, dim: int) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS vectors_{key}")
        self._connection.execute(
            f"CREATE VIRTUAL TABLE vectors_{key} USING"
            f" vec0(id INTEGER PRIMARY KEY, embedding float[{dim}] distance_metric=cosine, chunk_size={CHUNK})"
        )

    def _unmake(self, key: int) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS vectors_{key}")

    def put(self, memory: int, vector: bytes) -> None:
        """Keeps a row's vector."""
        # vec0 knows no INSERT OR REPLACE.
        self._connection.execute(f"DELETE FROM vectors_{self._key} WHERE id = ?", (memory,))  # noqa: S608
        self._connection.execute(
            f"INSERT INTO vectors_{self._key}(id, embedding) VALUES(?, ?)",
            (memory, vector),
        )
        self._mark(memory)

    def get(self, memory: int) -> bytes | None:
        """A row's current vector."""
        if not self._is_current(memory):
            return None
        row = self._connection.execute(
            f"SELECT embedding FROM vectors_{self._key} WHERE id = ?",  # noqa: S608
            (memory,),
        ).fetchone()
        return bytes(row[0]) if row else None

    def nearest(self, query: bytes, ids: str, values: Sequence[object], k: int) -> dict[int, float]:
        """Cosine of the k rows nearest to a unit vector among those that the SQL `ids` selects, best first."""
        if self.model()[1] * 4 != len(query):
            return {}
        found = self._connection.execute(
            f"SELECT id, distance FROM vectors_{self._key} WHERE embedding MATCH ? AND k = ? AND id IN ({ids})",  # noqa: S608
            (query, min(k, MOST_NEIGHBOURS), *values),
        ).fetchall()
        # Filtered here, not in the query: rows reworded a moment ago are few, and a join over all rows is slow.
        current = self._current([int(row[0]) for row in found])
        return {int(row[0]): 1.0 - float(row[1]) for row in found if row[0] in current and row[1] is not None}

    def _current(self, ids: list[int]) -> set[int]:
        rows = self._connection.execute(
            "SELECT id FROM vector_rows WHERE model = ? AND NOT gone AND id IN (SELECT value FROM json_each(?))",
            (self._key, json.dumps(ids)),
        )
        return {int(row[0]) for row in rows}


class BlobStore(_Tables):
    """Vectors in plain rows, compared by numpy: where sqlite-vec cannot be loaded."""

    def __init__(self, connection: Any, setting: str = "") -> None:
        super().__init__(connection, "blob", setting)

    def _make(self, key: int, dim: int) -> None:
        """The table takes any size."""

    def _unmake(self, key: int) -> None:
        self._connection.execute("DELETE FROM vector_blobs WHERE model = ?", (key,))

    def put(self, memory: int, vector: bytes) -> None:
        """Keeps a row's vector."""
        self._connection.execute(
            "INSERT OR REPLACE INTO vector_blobs VALUES(?, ?, ?)", (self._key, memory, vector)
        )
        self._mark(memory)

    def get(self, memory: int) -> bytes | None:
        """A row's current vector."""
        if not self._is_current(memory):
            return None
        row = self._connection.execute(
            "SELECT embedding FROM vector_blobs WHERE model = ? AND id = ?", (self._key, memory)
        ).fetchone()
        return bytes(row[0]) if row else None

    def nearest(self, query: bytes, ids: str, values: Sequence[object], k: int) -> dict[int, float]:
        """Cosine of the k rows nearest to a unit vector among those that the SQL `ids` selects, best first."""
        if self.model()[1] * 4 != len(query):
            return {}
        rows = self._connection.execute(
            "SELECT b.id, b.embedding FROM vector_blobs b JOIN vector_rows v ON v.model = b.model AND v.id = b.id"  # noqa: S608
            f" WHERE b.model = {self._key} AND NOT v.gone AND b.id IN ({ids}) ORDER BY b.id",
            tuple(values),
        ).fetchall()
        if not rows:
            return {}
        import numpy

        matrix = numpy.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(len(rows), -1)
        cosines = matrix @ numpy.frombuffer(query, "<f4")
        best = numpy.argsort(-cosines, kind="stable")[:k]
        return {int(rows[i][0]): float(cosines[i]) for i in best}
