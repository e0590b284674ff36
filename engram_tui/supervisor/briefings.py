"""The briefing of a task, with what only the working tree tells: what changed and where HEAD is since."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from engram_runtime.continuity.briefing import Briefing, render_briefing
from engram_runtime.errors import NotFound
from engram_runtime.journal.records import FileChange
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import CheckpointView
from engram_tui.watch import git_watch

MEMORIES = 5
FAILURES = 5
MOST_DIRTY = 500
"""Dirty files that a session's start lists at most."""


def briefing_for(
    runtime: Runtime, task: int, cwd: Path, *, budget: int | None = None, version: int | None = None
) -> Briefing:
    """The briefing of a task's latest checkpoint (or of `version`) as of now. Raises NotFound for an unknown task."""
    view = runtime.state.task(task)
    if view is None:
        raise NotFound(f"There is no task {task}.", hint="See `engram tasks`.")
    checkpoint = runtime.state.checkpoint_version(task, version)
    git = git_watch.git_facts(str(cwd))
    sessions = runtime.state.sessions_of_task(task)
    return render_briefing(
        view,
        checkpoint,
        now=datetime.now(UTC),
        budget_tokens=budget or runtime.settings.briefing_tokens,
        session=sessions[-1] if sessions else None,
        failures=runtime.state.failures(task=task, limit=FAILURES),
        changed_since=changed_since(runtime, checkpoint, cwd),
        head=git.head if git else None,
    )


def changed_since(runtime: Runtime, checkpoint: CheckpointView | None, cwd: Path) -> tuple[FileChange, ...]:
    """Files that differ from HEAD now and that no session of the task knew of: changed while nobody watched.

    Empty where a session began with more dirty files than are listed: then nothing can be told.
    """
    if checkpoint is None or checkpoint.content is None:
        return ()
    known = {c.path for c in checkpoint.content.modified_files}
    for session in runtime.state.sessions_of_task(checkpoint.task):
        if len(session.dirty_files) >= MOST_DIRTY:
            return ()
        known.update(session.dirty_files)
        known.update(c.path for c in runtime.state.files(session.id).changes)
    return tuple(
        FileChange(
            path=f.path,
            change=f.change,
            by="unattributed",
            tracked=f.tracked,
            evidence="changed since the checkpoint, while nobody watched",
        )
        for f in git_watch.changed_files(str(cwd)) or ()
        if f.path not in known
    )
