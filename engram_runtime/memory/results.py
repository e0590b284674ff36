"""What the memory answers: frozen values."""

from __future__ import annotations

from typing import Literal

import msgspec

from engram_runtime.state.views import MemoryRow

MemoryType = Literal["all", "handoff", "failure", "progress"]
Semantic = Literal["ready", "warming", "off"]


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One recalled memory. `score` orders the hits of one recall; it is not comparable between recalls.

    `strength` 0..1 (see `decay`); `similarity` is the cosine to the query, 0 where meaning was not compared;
    `lexical` is BM25 over that of a match of every word, 0..1; `why` says in words what led to it, `signals` in
    numbers (`features`); `age_days` counts from when it was stored or reworded.
    """

    memory: MemoryRow
    strength: float
    similarity: float
    lexical: float
    score: float
    why: tuple[str, ...] = ()
    signals: dict[str, float] = {}
    age_days: float = 0.0


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a query, best first.

    `semantic`: "ready" when meaning was compared, "warming" when the model was not there yet (words only; ask
    again in some seconds), "off" when no model can be had.
    """

    hits: tuple[Hit, ...]
    semantic: Semantic
    took_ms: float


class StoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a text: `memory` is its id.

    "reinforced": it was known already and is strengthened. "superseded": it took the place of `superseded`, which
    stay, linked, and rank below; "merged": the same, for memories that say the same or less; with `below` set it is
    itself linked below one that says more. `why` says it in words. `pending`: no model was ready, so it was stored
    at once and is compared with what was known later.
    """

    memory: int
    outcome: Literal["stored", "reinforced", "updated", "superseded", "merged"]
    superseded: tuple[int, ...] = ()
    below: int | None = None
    why: str = ""
    pending: bool = False


class MemoryStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures about the memories of a user.

    `strength_histogram` counts tenths, 0.0–0.1 first. `recalls` counts queries answered in the project (or in all)
    and `hit_rate` is the share with at least one hit. `stale` counts current memories that have faded (strength below
    0.05), `pruned` those that are no longer recalled, `waiting` those not yet compared with what was known, `lag` rows
    without a vector. `note` is what the embedding worker says of itself. Sizes are in bytes.
    """

    total: int
    by_category: dict[str, int]
    by_type: dict[str, int]
    avg_strength: float
    strength_histogram: tuple[int, ...]
    superseded: int
    recalls: int
    hit_rate: float
    lag: int
    embedder: str
    model: str
    bytes_on_disk: int
    position: int
    stale: int = 0
    pruned: int = 0
    waiting: int = 0
    edges: int = 0
    last_maintenance: str | None = None
    note: str = ""
    dim: int = 0
    """Numbers in a vector of the model; 0 while there is none."""
