"""What the tools know of the session that calls them, and what they may do: append events, write checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engram_runtime.continuity.inert import inert_line
from engram_runtime.errors import NotFound, StoreError
from engram_runtime.journal.events import Event, TaskAttached
from engram_runtime.journal.records import CheckpointReason
from engram_runtime.mcp.nudge import DriftWatch
from engram_runtime.state.views import CheckpointView, TaskView

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

CheckpointWriter = Callable[[CheckpointReason, str, int | None], CheckpointView | None]
"""(reason, trigger, trigger_position) → the checkpoint of the session's task; None: nothing changed."""


MOST_PAIRS = 12
"""Pairs of texts one call may have compared by meaning: each takes some 10 ms."""


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """The host's side of the tools: a supervisor, or `engram mcp` on its own. Callables may come from any thread.

    `user` stands for the default user id. `current_task` is the task the session works on; None of it: the journal's
    word for the session. `write_checkpoint` None: checkpoints are composed from the journal's state alone.
    `before_call(client, version)` comes before each tool runs, `on_call(tool, summary)` too, for those who watch;
    `on_listed(client)` when the client was given the tools: from then on the agent has them; `on_task(task)` when the
    session was moved to another task.
    """

    project: str
    session: str | None = None
    user: str = "default"
    current_task: Callable[[], int | None] | None = None
    write_checkpoint: CheckpointWriter | None = None
    before_call: Callable[[str, str], None] = _nothing
    on_call: Callable[[str, str], None] = _nothing
    on_listed: Callable[[str], None] = _nothing
    on_task: Callable[[int], None] = _nothing
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    drift: DriftWatch = field(default_factory=DriftWatch)


class Meaning:
    """Compares texts by meaning, as far as the embedder is ready (a `likeness.Alike`), for `MOST_PAIRS` pairs."""

    def __init__(self, runtime: Runtime) -> None:
        self._memory = runtime.memory
        self._left = MOST_PAIRS
        self.by = "words"
        """How texts were compared, for the answer."""

    def __call__(self, one: str, other: str) -> float | None:
        """Cosine similarity; None where no model is ready, or enough was asked."""
        self._left -= 1
        cosine = self._memory.cosine(one, other) if self._left >= 0 else None
        if cosine is not None:
            self.by = "words and meaning"
        return cosine


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    runtime: Runtime
    context: ToolContext
    tool: str
    now: datetime

    def record(self, *events: Event) -> tuple[int, ...]:
        """Append events for the calling session; durable on return."""
        return self.runtime.append(*events, session=self.context.session, project=self.context.project)

    def note(self, *events: Event) -> None:
        """As `record`, for what only accompanies an answer: a home that refuses writes can still be read."""
        with contextlib.suppress(StoreError):
            self.record(*events)

    def user(self, given: str) -> str:
        """The user meant: the host's, where the agent left the default."""
        return self.context.user if given == "default" else given

    def task_of(self, task: int, user: str) -> TaskView:
        """As `task`; a user who was named must be the task's. The default names nobody. Raises NotFound."""
        found = self.task(task)
        self.check_user(f"Task {task}", found.user, user)
        return found

    def check_user(self, what: str, owner: str, named: str) -> None:
        """Raises NotFound where a user was named who is not the owner."""
        if named not in ("default", owner):
            raise NotFound(
                f"{what} not found for user {inert_line(named, 60)!r}.",
                hint="Leave user_id out, or name its user.",
            )

    def task(self, task: int) -> TaskView:
        """A task of this project; one that was taken over also by the number it had elsewhere, where no task of this
        project has it. Raises NotFound that says where to look.
        """
        project = self.context.project
        found = self.runtime.state.task(task)
        if found is None or found.project != project:
            former = self.runtime.state.imported_id("task", task, project)
            renumbered = self.runtime.state.task(former) if former is not None else None
            found = renumbered if renumbered is not None and renumbered.project == project else found
        if found is None or found.project != project:
            reason = "does not exist" if found is None else "belongs to another project"
            raise NotFound(f"Task {task} {reason}.", hint="Call list_tasks to see the tasks of this project.")
        return found

    def current_task(self) -> TaskView | None:
        """The task the session works on, if there is one."""
        if self.context.current_task is not None:
            known = self.context.current_task()
        else:
            session = self.runtime.state.session(self.context.session) if self.context.session else None
            known = session.task if session else None
        return self.runtime.state.task(known) if known is not None else None

    def task_or_current(self, task: int | None) -> TaskView | None:
        """The task that was named, else the session's. A named one becomes the session's, if it has none."""
        if task is None:
            return self.current_task()
        named = self.task(task)
        if self.current_task() is None:
            self.attach(named.id)
        return named

    def attach(self, task: int) -> None:
        """From now on the session works on this task."""
        current = self.current_task()
        if self.context.session is not None and (current is None or current.id != task):
            self.record(TaskAttached(task=task))
            self.context.on_task(task)

    def checkpoint(
        self, task: TaskView, reason: CheckpointReason, position: int | None
    ) -> CheckpointView | None:
        """Write a checkpoint if the state changed; the task's latest one either way."""
        current = self.current_task()
        written: CheckpointView | None
        if self.context.write_checkpoint is not None and current is not None and current.id == task.id:
            written = self.context.write_checkpoint(reason, self.tool, position)
        else:
            written = self._write(task, reason, position, debounce=True)
        return written or self.runtime.state.checkpoint_version(task.id)

    def checkpoint_of_what_was_said(self, task: TaskView) -> CheckpointView | None:
        """The task's latest checkpoint, made anew if agents said something since (its writer debounced, or died)."""
        state = self.runtime.state
        latest = state.checkpoint_version(task.id)
        said = [row.position for row in state.progress(task=task.id)]
        said += [row.memory for row in state.failures(task=task.id, limit=1)]
        said += [row.memory for row in state.handoffs(task=task.id, limit=1)]
        if max(said, default=0) <= (latest.id if latest else 0):
            return latest
        return self._write(task, "AUTO_SAVE", None, debounce=False) or latest

    def first_checkpoint(self, task: TaskView, position: int) -> CheckpointView | None:
        """A checkpoint of a task that takes over from another, so that it can be restored from its first moment."""
        return self._write(task, "PLAN_UPDATE", position, debounce=False)

    def _write(
        self, task: TaskView, reason: CheckpointReason, position: int | None, *, debounce: bool
    ) -> CheckpointView | None:
        from engram_runtime.mcp.checkpoints import write_checkpoint

        current = self.current_task()
        mine = current is not None and current.id == task.id
        return write_checkpoint(
            self.runtime,
            task.id,
            reason,
            trigger=self.tool,
            position=position,
            facts_of=self.context.session if mine else task.last_session,
            session=self.context.session,
            project=self.context.project,
            debounce=debounce,
        )
