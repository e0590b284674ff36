"""Which task the session works on: the resumed one, the one named with --task, or the one its first prompt begins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from engram_runtime.errors import EngramError
from engram_runtime.journal import events as ev
from engram_runtime.redaction import head
from engram_tui.supervisor.recorder import Recorder
from engram_tui.supervisor.spec import SessionSpec

SETTLE_S = 2.0


class TaskKeeper:
    """Knows the session's task and makes one when there is a reason to."""

    def __init__(self, spec: SessionSpec, recorder: Recorder, on_known: Callable[[], None]) -> None:
        self._spec = spec
        self._recorder = recorder
        self._on_known = on_known
        self._making: asyncio.Task[None] | None = None
        self._setting: asyncio.Task[None] | None = None
        self._goal_missing = False
        self._known = threading.Event()
        self._known.set()
        self.id: int | None = spec.task

    def begin(self) -> None:
        """The journal is open: attach to the task that is continued, or make the named one."""
        if self.id is not None:
            self._recorder.post(ev.TaskAttached(task=self.id))
        elif self._spec.task_name and self._making is None:
            self._make(self._spec.task_name, "", "cli")
            self._goal_missing = True

    def prompted(self, text: str) -> None:
        """A prompt was submitted: the first one begins a task, or gives a named one its goal."""
        if self.id is None and self._making is None:
            self._make(self._spec.task_name or task_name(text), text, "prompt")
        elif self._goal_missing:
            self._goal_missing = False
            self._setting = asyncio.create_task(self._set_goal(text), name="goal")

    async def settled(self) -> None:
        """Wait for a task that is being made; not for long, since the journal may not be writable."""
        if self._making is not None:
            await asyncio.wait([self._making], timeout=SETTLE_S)

    def for_tools(self) -> int | None:
        """The task, for an MCP call in a thread of its own: it waits (bounded) for one that is just being made, so that
        what the agent reports in the moment after its first prompt is of that task.
        """
        if threading.current_thread() is not threading.main_thread():
            self._known.wait(SETTLE_S)
        return self.id

    async def _set_goal(self, text: str) -> None:
        """The named task's goal is the first prompt."""
        await self.settled()
        if self.id is not None:
            self._recorder.post(ev.TaskUpdated(task=self.id, goal=text))

    def _make(self, name: str, goal: str, source: str) -> None:
        self._known.clear()
        self._making = asyncio.create_task(self._create(name, goal, source), name="task")
        self._making.add_done_callback(lambda _: self._known.set())

    async def _create(self, name: str, goal: str, source: str) -> None:
        origin: str = source
        created = ev.TaskCreated(name=name, goal=goal, status="in_progress", source=origin)  # type: ignore[arg-type]
        try:
            self.id = await self._recorder.position_of(created)
        except EngramError:
            return  # the recorder says what is wrong; without a task there is no checkpoint
        self._known.set()
        self._recorder.post(ev.TaskAttached(task=self.id))
        self._on_known()


def task_name(prompt: str) -> str:
    """A task's name from its first prompt: the first line, 60 characters at most."""
    line = next((line.strip() for line in prompt.splitlines() if line.strip()), "task")
    return line if len(line) <= 60 else head(line, 57).rstrip() + "…"
