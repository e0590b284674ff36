"""What a look at all memories of a project would tidy: repetitions linked, faded repetitions hidden. It only plans.

Nothing is lost: what is linked stays and is recalled below its successor; what is hidden was said by a memory that is
still recalled, keeps its row, its place in the journal and its text, and can be restored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from engram_runtime.memory import chains, dedup, graph
from engram_runtime.memory.decay import instant, strength_after

CONSOLIDATE_THRESHOLD = 0.70
"""Cosine from which two memories are looked at as possible repetitions (ENGRAM_CONSOLIDATE_THRESHOLD)."""
PRUNE_THRESHOLD = 0.05
"""Strength below which a repetition is hidden (ENGRAM_PRUNE_THRESHOLD)."""
PROTECTING_COSINE = 0.70
PROTECTING_STRENGTH = 0.50
"""A neighbour so near and so strong keeps a faded memory in recall."""
AT_ONCE = 500
"""Memories, or pairs of them, that are read at a time."""


@dataclass(frozen=True, slots=True)
class Restatement:
    """`memory` says what `by` says too."""

    memory: int
    by: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to link and what to hide; `compared` pairs were looked at."""

    compared: int
    restated: tuple[Restatement, ...]
    faded: tuple[int, ...]


Reading = Callable[[Callable[[Any], Any]], Any]
"""Runs a query with the index's connection, which nobody else has meanwhile."""


def plan(
    read: Reading,
    project: str,
    users: tuple[str, ...],
    now: datetime,
    *,
    threshold: float = CONSOLIDATE_THRESHOLD,
    faded: float = PRUNE_THRESHOLD,
) -> Plan:
    """Looks at a project's memories. The same rows, edges and clock give the same plan."""
    compared = 0
    restated: list[Restatement] = []
    hidden: list[int] = []
    for user in users:
        pairs = _near_pairs(read, project, user, threshold)
        compared += len(pairs)
        restated += restatements(read, pairs)
        hidden += read(partial(_faded, project=project, user=user, now=now, threshold=faded))
    return Plan(compared, tuple(restated), tuple(sorted(hidden)))


def _near_pairs(read: Reading, project: str, user: str, threshold: float) -> list[tuple[int, int, float]]:
    """All near pairs, nearest first, read in parts: a recall waits for one of them at most."""
    found: list[tuple[int, int, float]] = []
    part = partial(graph.near_pairs, project=project, user=user, threshold=threshold, limit=AT_ONCE)
    after, goes_on = 0, True
    while goes_on:
        pairs, after = read(partial(part, after=after))
        found += pairs
        goes_on = after > 0
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def restatements(read: Reading, pairs: list[tuple[int, int, float]]) -> list[Restatement]:
    """Of pairs (older, newer, cosine), those that say the same; each memory goes below another once at most."""
    found: list[Restatement] = []
    gone: set[int] = set()
    marks = _marks(read, pairs)
    likely = [pair for pair in pairs if dedup.may_restate(marks[pair[0]], marks[pair[1]])]
    for start in range(0, len(likely), AT_ONCE):
        some = likely[start : start + AT_ONCE]
        texts: dict[int, str] = read(partial(_texts, ids={memory for pair in some for memory in pair[:2]}))
        for older, newer, cosine in some:
            if older in gone or newer in gone or older not in texts or newer not in texts:
                continue
            judged = dedup.judge(texts[older], texts[newer], cosine)
            if judged.relation == "same":
                lower, upper = (older, newer) if judged.adds and not judged.lacks else (newer, older)
                gone.add(lower)
                found.append(Restatement(lower, upper, judged.why))
    return found


def _marks(read: Reading, pairs: list[tuple[int, int, float]]) -> dict[int, dedup.Marks]:
    """Marks of all texts of the pairs, each taken apart once."""
    ids = sorted({memory for pair in pairs for memory in pair[:2]})
    found: dict[int, dedup.Marks] = {}
    for start in range(0, len(ids), AT_ONCE):
        texts: dict[int, str] = read(partial(_texts, ids=set(ids[start : start + AT_ONCE])))
        found |= {memory: dedup.marks(text) for memory, text in texts.items()}
    return found


def _texts(connection: Any, ids: set[int]) -> dict[int, str]:
    rows = connection.execute(
        "SELECT id, content FROM memories WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(ids)),),
    )
    return {int(row[0]): str(row[1]) for row in rows}


def _faded(connection: Any, project: str, user: str, now: datetime, threshold: float) -> list[int]:
    """Repetitions below the threshold, said by one that stays in recall, and not protected by a strong neighbour."""
    rows = connection.execute(
        "SELECT m.id, m.importance, m.category, m.recalls, max(m.updated_at, m.created_at,"
        " coalesce(m.last_recalled_at, '')), m.superseded_by FROM memories m"
        " WHERE m.project = ? AND m.user = ? AND m.merged AND m.pruned_at IS NULL"
        " AND m.memory_type = 'memory' ORDER BY m.id",
        (project, user),
    ).fetchall()
    weak = {int(row[0]): int(row[5]) for row in rows if _strength(row, now) < threshold}
    near = graph.neighbours(connection, weak)
    strong = _strong(connection, {other for others in near.values() for other in others}, now)
    kept = {
        memory
        for memory, others in near.items()
        if any(c >= PROTECTING_COSINE and o in strong and o != weak[memory] for o, c in others.items())
    }
    return [
        memory
        for memory in weak
        if memory not in kept and chains.sayers(connection, memory) - (weak.keys() - kept)
    ]


def _strong(connection: Any, memories: set[int], now: datetime) -> set[int]:
    rows = connection.execute(
        "SELECT id, importance, category, recalls, max(updated_at, created_at, coalesce(last_recalled_at, ''))"
        " FROM memories WHERE superseded_by IS NULL AND id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(memories)),),
    )
    return {int(row[0]) for row in rows if _strength(row, now) >= PROTECTING_STRENGTH}


def _strength(row: Any, now: datetime) -> float:
    days = (now - instant(str(row[4]))).total_seconds() / 86400
    return strength_after(days, float(row[1]), str(row[2]), int(row[3]))
