"""How memories fade: Ebbinghaus' forgetting curve as mcp-engram uses it."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from engram_runtime.state.views import MemoryRow

FADING_PER_DAY = {"fact": 0.16, "assumption": 0.20, "failure": 0.35, "strategy": 0.10}
"""λ of a category; mcp-engram 0.19's values."""
RECALL_GAIN = 0.2
"""What each recall adds to strength, as a share of it."""


def strength(row: MemoryRow, now: datetime) -> float:
    """Strength 0..1 of a memory at a time (aware, UTC): see `strength_after`.

    Days count from the last recall or change of the memory.
    """
    touched = max(row.updated_at, row.created_at, row.last_recalled_at or "")
    days = (now - instant(touched)).total_seconds() / 86400
    return strength_after(days, row.importance, row.category, row.recalls)


def strength_after(days: float, importance: float, category: str, recalls: int) -> float:
    """min(1, importance · e^(−λ(1−0.8·importance)·days) · (1 + 0.2·recalls)): falls with time, rises with recalls."""
    fading = FADING_PER_DAY.get(category, FADING_PER_DAY["fact"]) * (1 - 0.8 * importance)
    return min(1.0, importance * math.exp(-fading * max(0.0, days)) * (1 + RECALL_GAIN * recalls))


def instant(at: str) -> datetime:
    """The time a journal timestamp (ISO 8601, `Z`) names, aware."""
    moment = datetime.fromisoformat(at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
