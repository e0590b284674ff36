"""The snapshot that panes and status bar show, built from the live state and the journal's projections."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engram_runtime.state.views import CheckpointView, TaskView
from engram_tui.messages import CheckpointLine, CheckpointText, Condition, MemoryHealth, ProcessLine, TaskLine
from engram_tui.watch.observations import ProcessSeen

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

TASKS_SHOWN = 12
CHECKPOINTS_SHOWN = 40
ACTIVITY_SHOWN = 60
GIVEN_UP_ON = ("rate_limit", "overloaded", "overflow", "auth", "api_error")


def stamp(seconds: float) -> str:
    """A wall clock time as UTC ISO 8601 with `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def task_lines(runtime: Runtime, project: str, current: int | None) -> tuple[TaskLine, ...]:
    """Tasks of the project, the current one first, each with the features its agent tracks."""
    tasks = runtime.state.tasks(project=project, limit=TASKS_SHOWN)
    tasks.sort(key=lambda t: t.id != current)
    return tuple(_task_line(runtime, task, current) for task in tasks)


def _task_line(runtime: Runtime, task: TaskView, current: int | None) -> TaskLine:
    features = runtime.state.progress(task=task.id) if task.id == current else []
    latest = runtime.state.checkpoint_version(task.id) if features else None
    content = latest.content if latest else None
    standing = {item.text: item.standing for item in content.completed} if content else {}
    return TaskLine(
        id=task.id,
        name=task.name,
        goal=task.goal,
        status=task.status if task.id == current else task.shown_status,
        current=task.id == current,
        interrupted=task.interrupted,
        attempts=task.attempts,
        features=tuple(
            (f.feature, f.status, f.completion, standing.get(f.feature, "claimed")) for f in features
        ),
    )


def checkpoint_lines(runtime: Runtime, task: int | None) -> tuple[CheckpointLine, ...]:
    """Checkpoints of the current task, newest first."""
    if task is None:
        return ()
    return tuple(checkpoint_line(c) for c in runtime.state.checkpoints(task, limit=CHECKPOINTS_SHOWN))


def checkpoint_line(view: CheckpointView) -> CheckpointLine:
    """A checkpoint for the pane."""
    return CheckpointLine(
        id=view.id,
        task=view.task,
        version=view.version,
        reason=view.reason,
        at=view.created_at,
        confidence=view.confidence,
        changed_files=view.changed_files,
        note=view.trigger,
    )


def memory_health(runtime: Runtime) -> MemoryHealth:
    """The memory pane's figures."""
    stats = runtime.memory.stats()
    return MemoryHealth(
        total=stats.total,
        by_category=dict(stats.by_category),
        average_strength=stats.avg_strength,
        histogram=stats.strength_histogram,
        superseded=stats.superseded,
        recalls=stats.recalls,
        recall_hits=round(stats.hit_rate * stats.recalls),
        index_lag=stats.lag,
        embedder=stats.embedder,
        size_bytes=stats.bytes_on_disk,
        stale=stats.stale,
        pruned=stats.pruned,
        waiting=stats.waiting,
        tidied_at=stats.last_maintenance or "",
    )


def process_lines(seen: Iterable[ProcessSeen]) -> tuple[ProcessLine, ...]:
    """The agent's process tree."""
    return tuple(
        ProcessLine(
            pid=p.pid, parent=p.parent, depth=p.depth, command=short_command(p.command), cpu=p.cpu, rss=p.rss
        )
        for p in seen
    )


def short_command(command: str) -> str:
    """A command line without the folders of its program and script: what tells processes apart is at the end."""
    return " ".join(word.rsplit("/", 1)[-1] if word.startswith("/") else word for word in command.split(" "))


def condition(kind: str, since: float, text: str, checkpoint: CheckpointLine | None) -> Condition:
    """A condition in words: what happened, and what Engram did."""
    done = ""
    if checkpoint is not None and kind in GIVEN_UP_ON and _seconds(checkpoint.at) >= since:
        done = f"checkpoint v{checkpoint.version} durable"
    return Condition(kind=kind, since=stamp(since), text=text, done=done)


def _seconds(at: str) -> float:
    """A stamp of the journal as wall clock seconds: as texts, stamps of different precision are in no order."""
    return datetime.fromisoformat(at).timestamp()


def checkpoint_shown(runtime: Runtime, checkpoint: int, compare: bool) -> CheckpointText:
    """A checkpoint's text for a UI, or what changed since the version before it."""
    from engram_tui.supervisor.rendering import checkpoint_text, compared

    view = runtime.state.checkpoint(checkpoint)
    if view is None:
        return CheckpointText(id=checkpoint, title=f"checkpoint {checkpoint}", text="It does not exist.")
    title = f"task #{view.task} v{view.version} {view.reason}"
    before = (
        runtime.state.checkpoint_version(view.task, view.version - 1)
        if compare and view.version > 1
        else None
    )
    text = compared(view, before) if before is not None else checkpoint_text(view)
    return CheckpointText(id=view.id, title=title, text=text)
