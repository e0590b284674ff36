"""Activity: the journal's tail in words, newest first."""

from __future__ import annotations

from datetime import datetime

from engram_tui.messages import Snapshot
from engram_tui.panes.paint import Role, Row
from engram_tui.panes.pane import PaneText
from engram_tui.panes.words import brief_age, clock

EMPTY = "Nothing recorded yet. Prompts, tools, files and checkpoints appear here as the journal takes them."
_ROLES: dict[str, Role] = {
    "FailureTracked": "danger",
    "ConditionRaised": "accent",
    "InterruptionReported": "accent",
    "CheckpointWritten": "good",
}


def view(snapshot: Snapshot, now: datetime) -> PaneText:
    """Time of day and what happened."""
    newest_first = sorted(snapshot.activity, key=lambda line: line.position, reverse=True)
    rows = tuple(
        Row(
            ((f"  {clock(line.at)} ", "dim"), (line.text, _ROLES.get(line.kind, "plain"))),
            key=str(line.position),
        )
        for line in newest_first
    )
    last = brief_age(newest_first[0].at, now) if newest_first else ""
    said = "" if not last else "just now" if last == "now" else f"last {last} ago"
    return PaneText(((said or "quiet", "dim"),), rows, EMPTY)
