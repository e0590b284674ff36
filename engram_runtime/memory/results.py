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
    `lexical` is BM25 over that of a good match, 0..1; `why` says in words what led to it.
    """

    memory: MemoryRow
    strength: float
    similarity: float
    lexical: float
    score: float
    why: tuple[str, ...] = ()


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a query, best first.

    `semantic`: "ready" when meaning was compared, "warming" when the model was not there yet (words only; ask
    again in some seconds), "off" when no model can be had.
    """

    hits: tuple[Hit, ...]
    semantic: Semantic
    took_ms: float


class StoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a text: `memory` is its id. "reinforced": it was known already and is strengthened."""

    memory: int
    outcome: Literal["stored", "reinforced", "updated"]


class MemoryStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures about the memories of a user.

    `strength_histogram` counts tenths, 0.0–0.1 first. `recalls` counts queries answered in the project (or in all)
    and `hit_rate` is the share with at least one hit. `lag` counts rows without a vector. Sizes are in bytes.
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
