"""Tasks: what is being worked on, how far it is, and what has been seen of it."""

from __future__ import annotations

from datetime import datetime

from engram_tui.messages import Snapshot, TaskLine
from engram_tui.panes.paint import Role, Row, Span
from engram_tui.panes.pane import PaneText
from engram_tui.panes.words import count, plural

EMPTY = "No task yet. The first prompt makes one; its goal is that prompt."
_MARKS: dict[str, Span] = {
    "done": ("✓ ", "good"),
    "in_progress": ("▸ ", "strong"),
    "review": ("▸ ", "strong"),
    "blocked": ("■ ", "accent"),
    "planning": ("· ", "dim"),
}


def view(snapshot: Snapshot, now: datetime) -> PaneText:
    """The current task first, its features below it, then the others."""
    tasks = sorted(snapshot.tasks, key=lambda t: (not t.current, not t.interrupted))
    rows: list[Row] = []
    for task in tasks:
        rows.append(_task_row(task))
        if task.current:
            if task.goal and task.goal != task.name:
                rows.append(
                    Row((("    ", "plain"), (task.goal, "dim")), _attempts(task), key=f"goal {task.id}")
                )
            rows += _feature_rows(task)
    return PaneText(_summary(snapshot.tasks), tuple(rows), EMPTY)


def _summary(tasks: tuple[TaskLine, ...]) -> tuple[Span, ...]:
    current = next((t for t in tasks if t.current), None)
    interrupted = sum(t.interrupted and not t.current for t in tasks)
    spans: list[Span] = []
    if current and current.features:
        done = sum(status == "done" for _, status, _, _ in current.features)
        spans.append((f"{done} of {len(current.features)} done", "dim"))
    elif tasks:
        spans.append((count(len(tasks)), "dim"))
    if interrupted:
        spans += [(" · ", "rule"), (f"{interrupted} interrupted", "accent")] if spans else []
    return tuple(spans) or (("none", "dim"),)


def _task_row(task: TaskLine) -> Row:
    status, role = (task.status.replace("_", " "), "dim")
    if task.interrupted and not task.current:
        status, role = "interrupted", "accent"
    mark: Span = ("● ", "strong") if task.current else ("○ ", "dim")
    name: Span = (task.name, "strong" if task.current else "plain")
    return Row((("  ", "plain"), mark, name), ((status, _role(role)),), key=f"task {task.id}")


def _attempts(task: TaskLine) -> tuple[Span, ...]:
    return ((plural(task.attempts, "attempt"), "dim"),) if task.attempts > 1 else ()


def _role(name: str) -> Role:
    return "accent" if name == "accent" else "dim"


def _feature_rows(task: TaskLine) -> list[Row]:
    rows = []
    for i, (name, status, completion, standing) in enumerate(task.features):
        branch = "└ " if i == len(task.features) - 1 else "├ "
        mark = _MARKS.get(status, ("· ", "dim"))
        if status == "done" and standing != "verified":
            mark = ("✓ ", "dim")
        left: tuple[Span, ...] = (("    ", "plain"), (branch, "rule"), mark, (name, "plain"))
        rows.append(Row(left, _standing(status, completion, standing), key=f"task {task.id} {name}"))
    return rows


def _standing(status: str, completion: float, standing: str) -> tuple[Span, ...]:
    """What the agent says of it is `claimed` until the supervisor saw it."""
    if standing == "verified":
        return (("verified", "good"),)
    if standing == "contradicted":
        return (("contradicted", "danger"),)
    if status == "done":
        return (("claimed", "dim"),)
    if 0 < completion < 1:
        return ((f"{completion:.0%} claimed", "dim"),)
    return ((status.replace("_", " "), "dim"),)
