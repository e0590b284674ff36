"""Checkpoints: the timeline of what is durable, newest first."""

from __future__ import annotations

from datetime import datetime

from engram_tui.messages import CheckpointLine, Snapshot
from engram_tui.panes.paint import Role, Row, Span
from engram_tui.panes.pane import PaneText
from engram_tui.panes.words import age, brief_age, fraction, plural

EMPTY = (
    "No checkpoints yet. One is written at the first plan, failure, or when the agent ends. "
    "The prefix, then c, writes one now."
)
_TROUBLE = frozenset(
    ("FAILURE", "CRASH", "KILLED", "OVERFLOW", "RATE_LIMIT", "API_ERROR", "AUTH", "HANG", "OOM", "LOST")
)


def view(snapshot: Snapshot, now: datetime) -> PaneText:
    """Version, reason, age, confidence, what changed."""
    newest_first = sorted(snapshot.checkpoints, key=lambda c: c.at, reverse=True)
    return PaneText(summary(snapshot, now), tuple(_row(c, now) for c in newest_first), EMPTY)


def summary(snapshot: Snapshot, now: datetime) -> tuple[Span, ...]:
    """`v7 · 10 s ago ✓`."""
    last = snapshot.checkpoint
    if last is None:
        return (("none yet", "dim"),)
    return ((f"v{last.version}", "plain"), (f" · {age(last.at, now)} ", "dim"), ("✓", "good"))


def _row(checkpoint: CheckpointLine, now: datetime) -> Row:
    role: Role = "accent" if checkpoint.reason in _TROUBLE else "plain"
    reason = checkpoint.reason.replace("_", " ").lower()
    detail = checkpoint.note or (plural(checkpoint.changed_files, "file") if checkpoint.changed_files else "")
    left: tuple[Span, ...] = (
        (f"  v{checkpoint.version:<3}", "strong"),
        (f"{brief_age(checkpoint.at, now):>5}  ", "dim"),
        (reason, role),
        (f"  {detail}" if detail else "", "dim"),
    )
    return Row(left, ((fraction(checkpoint.confidence), "dim"),), key=str(checkpoint.id))
