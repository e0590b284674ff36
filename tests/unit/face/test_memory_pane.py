from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from engram_tui.messages import MemoryHealth
from engram_tui.panes.memory import view

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass
class Shown:
    memory: MemoryHealth


def text(memory: MemoryHealth) -> str:
    rows = view(cast(Any, Shown(memory)), NOW).rows
    return "\n".join(str(row) for row in rows)


def test_the_memory_pane_tells_what_upkeep_found_and_when() -> None:
    said = text(
        MemoryHealth(
            total=9, stale=3, pruned=2, waiting=4, superseded=1, tidied_at="2026-03-02T09:00:00.000000Z"
        )
    )
    for part in ("stale", "pruned", "to compare", "superseded", "tidied 3 h ago"):
        assert part in said


def test_upkeep_that_found_nothing_takes_no_line() -> None:
    assert "stale" not in text(MemoryHealth(total=9))
    assert "tidied" not in text(MemoryHealth(total=9))
