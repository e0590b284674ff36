"""Which memories are near each other in meaning: at most some edges from each memory to older ones.

Edges are derived like vectors, and follow them: an edge depends on the two texts and their model alone, since each
memory is compared with the older ones of its project and user only, once all have their vectors. So a rebuild gives
the same edges (but for what a later rewording made nearer).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

EDGE_THRESHOLD = 0.40
"""Cosine from which two memories are neighbours (ENGRAM_EDGE_THRESHOLD)."""
MAX_EDGES = 5
"""Older neighbours a memory keeps, the nearest ones (ENGRAM_MAX_EDGES)."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS edges(newer INTEGER NOT NULL, older INTEGER NOT NULL, cosine REAL NOT NULL,"
    " PRIMARY KEY(newer, older)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS edges_back ON edges(older)",
    # Whose edges are still to be looked for.
    "CREATE TABLE IF NOT EXISTS unlinked(id INTEGER PRIMARY KEY)",
)


def expect(connection: Any, memory: int) -> None:
    """A new memory: its edges are to be looked for."""
    connection.execute("INSERT OR IGNORE INTO unlinked VALUES(?)", (memory,))


def forget(connection: Any, memory: int) -> None:
    """The memory's text changed: its edges are no longer of it. They are looked for again."""
    connection.execute(
        "INSERT OR IGNORE INTO unlinked SELECT newer FROM edges WHERE older = ?1 UNION SELECT ?1", (memory,)
    )
    connection.execute("DELETE FROM edges WHERE newer = ?1 OR older = ?1", (memory,))


def use_model(connection: Any, model: str) -> None:
    """Edges of another model are no longer comparable: all are looked for again."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'edges'").fetchone()
    if row is None or row[0] != model:
        connection.execute("DELETE FROM edges")
        connection.execute("INSERT OR IGNORE INTO unlinked SELECT id FROM memories")
        connection.execute("INSERT OR REPLACE INTO meta VALUES('edges', ?)", (model,))


def unlinked(connection: Any, limit: int) -> list[int]:
    """Memories whose edges are still to be looked for, oldest first."""
    return [
        int(row[0]) for row in connection.execute("SELECT id FROM unlinked ORDER BY id LIMIT ?", (limit,))
    ]


def link(
    connection: Any,
    memory: int,
    cosines: Mapping[int, float],
    *,
    threshold: float = EDGE_THRESHOLD,
    most: int = MAX_EDGES,
) -> None:
    """Keeps the edges of a memory: `cosines` are those of older memories. In the caller's transaction."""
    near = sorted(
        ((c, -other) for other, c in cosines.items() if other < memory and c >= threshold), reverse=True
    )
    connection.execute("DELETE FROM edges WHERE newer = ?", (memory,))
    connection.executemany(
        "INSERT INTO edges VALUES(?, ?, ?)", [(memory, -other, round(c, 6)) for c, other in near[:most]]
    )
    connection.execute("DELETE FROM unlinked WHERE id = ?", (memory,))


def neighbours(connection: Any, memories: Iterable[int]) -> dict[int, dict[int, float]]:
    """Neighbours of each of these memories with their cosines, nearest first."""
    asked = json.dumps(sorted(set(memories)))
    rows = connection.execute(
        "SELECT newer, older, cosine FROM edges WHERE newer IN (SELECT value FROM json_each(?1))"
        " UNION SELECT older, newer, cosine FROM edges WHERE older IN (SELECT value FROM json_each(?1))"
        " ORDER BY 1, 3 DESC, 2",
        (asked,),
    )
    found: dict[int, dict[int, float]] = {}
    for here, there, cosine in rows:
        found.setdefault(int(here), {})[int(there)] = float(cosine)
    return found


def near_pairs(
    connection: Any, project: str, user: str, threshold: float, after: int, limit: int
) -> tuple[list[tuple[int, int, float]], int]:
    """Edges of at least so much between current memories of a project's user: (older, newer, cosine).

    Those whose newer memory is one of the `limit` ids after `after`; with the id to go on after, 0 at the end.
    """
    # CROSS JOIN keeps the order: edges first, then two rows by their ids; else SQLite begins with all the memories.
    rows = connection.execute(
        "SELECT e.older, e.newer, e.cosine FROM edges e CROSS JOIN memories a ON a.id = e.older"
        " CROSS JOIN memories b ON b.id = e.newer WHERE e.newer > ?4 AND e.newer <= ?5 AND e.cosine >= ?1"
        " AND a.project = ?2 AND b.project = ?2 AND a.user = ?3 AND b.user = ?3 AND a.scope = b.scope"
        " AND a.memory_type = 'memory' AND b.memory_type = 'memory'"
        " AND a.superseded_by IS NULL AND b.superseded_by IS NULL",
        (threshold, project, user, after, after + limit),
    ).fetchall()
    (last,) = connection.execute("SELECT coalesce(max(newer), 0) FROM edges").fetchone()
    pairs = [(int(row[0]), int(row[1]), float(row[2])) for row in rows]
    return pairs, after + limit if last > after + limit else 0
