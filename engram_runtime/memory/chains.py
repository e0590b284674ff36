"""Which memory superseded which: a forest without cycles, since only ends of chains are linked, and to other ends."""

from __future__ import annotations

from typing import Any

_HEAD = """WITH RECURSIVE chain(id, next) AS (
    SELECT id, superseded_by FROM memories WHERE id = ?1
    UNION SELECT m.id, m.superseded_by FROM memories m JOIN chain ON m.id = chain.next)
    SELECT m.id, m.user, m.project, m.scope FROM chain JOIN memories m ON m.id = chain.id
    WHERE chain.next IS NULL"""

_SAYERS = """WITH RECURSIVE up(id, next, merged, pruned_at) AS (
    SELECT id, superseded_by, merged, pruned_at FROM memories WHERE id = ?1
    UNION SELECT m.id, m.superseded_by, m.merged, m.pruned_at FROM memories m JOIN up ON m.id = up.next AND up.merged)
    SELECT id, pruned_at FROM up WHERE id <> ?1"""


def head(connection: Any, memory: int) -> tuple[int, str, str, str] | None:
    """The memory that stands at the end of a chain (id, user, project, scope); None where there is no such memory."""
    row = connection.execute(_HEAD, (memory,)).fetchone()
    return None if row is None else (int(row[0]), str(row[1]), str(row[2]), str(row[3]))


def sayers(connection: Any, memory: int) -> set[int]:
    """The memories up a chain that say what this one says, and can be recalled."""
    rows = connection.execute(_SAYERS, (memory,))
    return {int(row[0]) for row in rows if row[1] is None}


def supersede(connection: Any, memory: int, by: int, why: str, at: str, *, merged: bool = False) -> bool:
    """Links the end of a memory's chain to the end of the successor's. Says whether a link was made.

    Never across users, nor from another project's memory or a global one to what only this project sees. An older
    successor is possible: it says the same and more. `merged`: the older one's text is said by the newer one too.
    What took the older one's place since it was compared is not put below something older than itself.
    """
    older, newer = head(connection, memory), head(connection, by)
    if older is None or newer is None or older[0] == newer[0] or older[1] != newer[1]:
        return False
    if older[0] != memory and older[0] > newer[0]:
        return False
    if newer[3] != "global" and (older[3] == "global" or older[2] != newer[2]):
        return False
    connection.execute(
        "UPDATE memories SET superseded_by = ?, superseded_at = ?, superseded_why = ?, merged = ? WHERE id = ?",
        (newer[0], at, why, merged and (older[0], newer[0]) == (memory, by), older[0]),
    )
    return True
