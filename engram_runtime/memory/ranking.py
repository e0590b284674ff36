"""How likeness in words, likeness in meaning and the state of a memory become one order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from engram_runtime.memory.decay import strength
from engram_runtime.memory.results import Hit
from engram_runtime.state.views import MemoryRow


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters of the score; `words` and `meaning` are shares of likeness, the others factors.

    A row without a shared word must reach `least_similarity` (cosine) to be a hit at all.
    """

    words: float = 0.20
    meaning: float = 0.80
    least_similarity: float = 0.10
    strength: float = 0.10
    importance: float = 0.15
    elsewhere: float = 0.90
    """Factor of a global memory: the project's own come first where they are as alike."""
    superseded: float = 0.60


DEFAULT = Weights()
GOOD_SHARE = 0.75
LONG_QUERY = 8
"""Terms; of a longer query nobody expects more to match."""
COVERAGE = 0.2
"""What the share of the query's terms that a row holds adds to its likeness in words. BM25 tells little where few
rows are stored: FTS5 gives a term that half of them hold no weight at all."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a query found: BM25 and cosine by memory id; `terms` are the query's words, `total` the rows searched."""

    bm25: Mapping[int, float]
    cosine: Mapping[int, float]
    terms: tuple[str, ...] = ()
    total: int = 0

    def full_marks(self) -> float:
        """The BM25 that counts as 1: the best found, but not less than a good match of the query would have.

        Without the latter one chance word would make a row as good as a match of every word. A term that one
        row in `total` has adds about ln(1 + total).
        """
        good = GOOD_SHARE * min(LONG_QUERY, len(self.terms)) * math.log1p(self.total)
        return max(good, *self.bm25.values()) if self.bm25 else 1.0


def rank(
    rows: list[MemoryRow], found: Evidence, project: str, now: datetime, weights: Weights = DEFAULT
) -> list[Hit]:
    """The rows as hits, best first. The same rows, evidence and clock give the same order."""
    best = found.full_marks()
    hits: dict[int, Hit] = {}
    for row in rows:
        shared = _shared(row, found) if row.id in found.bm25 else ()
        words = _likeness(found, row, shared, best)
        cosine = found.cosine.get(row.id, 0.0)
        if words <= 0 and cosine < weights.least_similarity:
            continue
        reasons = _reasons(words, cosine, shared)
        hits[row.id] = _hit(row, words, cosine, bool(found.cosine), reasons, project, now, weights)
    for memory in sorted(hits, reverse=True):
        hits[memory] = _below_successor(hits[memory], hits)
    return sorted(hits.values(), key=lambda hit: (-hit.score, -hit.memory.id))


def _hit(
    row: MemoryRow,
    words: float,
    cosine: float,
    compared: bool,
    why: tuple[str, ...],
    project: str,
    now: datetime,
    weights: Weights,
) -> Hit:
    left = strength(row, now)
    likeness = weights.words * words
    if compared:
        likeness += weights.meaning * max(0.0, cosine)
    score = likeness * (1 + weights.strength * (left - 1)) * (1 + weights.importance * (row.importance - 1))
    if row.project != project:
        score *= weights.elsewhere
        why = (*why, "global")
    if row.superseded_by is not None:
        score *= weights.superseded
        why = (*why, f"superseded by {row.superseded_by}")
    return Hit(
        memory=row,
        strength=round(left, 4),
        similarity=round(cosine, 4),
        lexical=round(words, 4),
        score=round(score, 6),
        why=why,
    )


def _below_successor(hit: Hit, hits: Mapping[int, Hit]) -> Hit:
    """The hit, with a score below that of the memory that supersedes it."""
    successor = hits.get(hit.memory.superseded_by or 0)
    if successor is None or hit.score < successor.score:
        return hit
    return Hit(
        memory=hit.memory,
        strength=hit.strength,
        similarity=hit.similarity,
        lexical=hit.lexical,
        score=round(successor.score * 0.999, 6),
        why=hit.why,
    )


def _shared(row: MemoryRow, found: Evidence) -> tuple[str, ...]:
    """The query's terms that the row holds, but for an ending of two letters (close to what Porter's stemmer does)."""
    content = row.content.lower()
    return tuple(term for term in found.terms if term[: max(4, len(term) - 2)] in content)


def _likeness(found: Evidence, row: MemoryRow, shared: tuple[str, ...], best: float) -> float:
    """Likeness in words, 0..1."""
    covered = len(shared) / len(found.terms) if found.terms else 0.0
    return min(1.0, found.bm25.get(row.id, 0.0) / best + COVERAGE * covered)


def _reasons(words: float, cosine: float, shared: tuple[str, ...]) -> tuple[str, ...]:
    reasons: list[str] = []
    if words > 0:
        reasons.append(f"words: {', '.join(shared[:5])}" if shared else "words")
    if cosine > 0:
        reasons.append(f"meaning {cosine:.2f}")
    return tuple(reasons)
