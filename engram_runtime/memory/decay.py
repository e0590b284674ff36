"""How memories fade: Ebbinghaus' forgetting curve as mcp-engram uses it."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from engram_runtime.state.views import MemoryRow

FADING_PER_DAY = {"fact": 0.16, "assumption": 0.20, "failure": 0.35, "strategy": 0.10}
"""λ of a category; mcp-engram 0.19's values."""
RECALL_GAIN = 0.2


def strength(row: MemoryRow, now: datetime) -> float:
    """Strength 0..1: min(1, importance · e^(−λ(1−0.8·importance)·days) · (1 + 0.2·recalls)).

    `days` counts from the last recall or change of the memory to `now` (aware, UTC).
    """
    touched = max(row.updated_at, row.created_at, row.last_recalled_at or "")
    days = max(0.0, (now - instant(touched)).total_seconds() / 86400)
    fading = FADING_PER_DAY.get(row.category, FADING_PER_DAY["fact"]) * (1 - 0.8 * row.importance)
    return min(1.0, row.importance * math.exp(-fading * days) * (1 + RECALL_GAIN * row.recalls))


def instant(at: str) -> datetime:
    """The time a journal timestamp (ISO 8601, `Z`) names, aware."""
    moment = datetime.fromisoformat(at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
