"""Figures about the memories of a user: one pass over their rows, without their texts."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from engram_runtime.memory.consolidate import PRUNE_THRESHOLD
from engram_runtime.memory.decay import instant, strength_after
from engram_runtime.memory.embedder import Embedder
from engram_runtime.memory.index import Index
from engram_runtime.memory.results import MemoryStats

_ROWS = """SELECT category, memory_type, importance, recalls,
    max(updated_at, created_at, coalesce(last_recalled_at, '')), superseded_by IS NOT NULL,
    pruned_at IS NOT NULL, pending
    FROM memories WHERE user = ?1 AND (?2 IS NULL OR project = ?2)"""
_RECALLS = (
    "SELECT coalesce(sum(asked), 0), coalesce(sum(hit), 0) FROM recalls WHERE ?1 IS NULL OR project = ?1"
)


def figures(
    index: Index,
    embedder: Embedder,
    *,
    user: str,
    project: str | None,
    now: datetime,
    last_maintenance: str | None,
) -> MemoryStats:
    """Counts, strengths and the state of the index, of a user in one project or (None) in all of the home."""
    with index.connection() as connection:
        rows = connection.execute(_ROWS, (user, project)).fetchall()
        asked, hit = connection.execute(_RECALLS, (project,)).fetchone()
        edges = connection.execute("SELECT count(*) FROM edges").fetchone()[0]
        lag, (model, dim) = index.vectors.lag(), index.vectors.model()
    strengths = [_strength(row, now) for row in rows]
    tenths = Counter(min(9, int(value * 10)) for value in strengths)
    current = [value for row, value in zip(rows, strengths, strict=True) if not row[5]]
    return MemoryStats(
        total=len(rows),
        by_category=dict(Counter(str(row[0]) for row in rows)),
        by_type=dict(Counter(str(row[1]) for row in rows)),
        avg_strength=round(sum(strengths) / len(rows), 4) if rows else 0.0,
        strength_histogram=tuple(tenths[tenth] for tenth in range(10)),
        superseded=sum(bool(row[5]) for row in rows),
        stale=sum(value < PRUNE_THRESHOLD for value in current),
        pruned=sum(bool(row[6]) for row in rows),
        waiting=sum(bool(row[7]) for row in rows),
        edges=int(edges),
        last_maintenance=last_maintenance,
        recalls=asked,
        hit_rate=round(hit / asked, 4) if asked else 0.0,
        lag=lag,
        embedder=embedder.state,
        note=embedder.note,
        model=model,
        dim=dim,
        bytes_on_disk=index.bytes_on_disk(),
        position=index.position,
    )


def _strength(row: Any, now: datetime) -> float:
    days = (now - instant(str(row[4]))).total_seconds() / 86400
    return strength_after(days, float(row[2]), str(row[0]), int(row[3]))
