"""One session: owns the agent's process, watches it, serves it, keeps what matters, and ends it well.

This class wires; what it wires lives beside it: intake (observations → events), recorder (events → journal), composer
(checkpoints), hooks, endpoint, display, eyes, ending.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram_runtime.errors import StoreError
from engram_runtime.journal import events as ev
from engram_runtime.journal.records import CheckpointReason, TranscriptPlace
from engram_runtime.redaction import forbid
from engram_tui import messages as m
from engram_tui.agents.base import Adapter, LaunchPlan
from engram_tui.supervisor import status
from engram_tui.supervisor.attached import UI, Attached
from engram_tui.supervisor.capture import Capture, Decision, FixedFailure
from engram_tui.supervisor.display import Display
from engram_tui.supervisor.ending import Ending
from engram_tui.supervisor.endpoint import Endpoint
from engram_tui.supervisor.ends import Ends
from engram_tui.supervisor.events_file import EventsFile
from engram_tui.supervisor.eyes import Eyes
from engram_tui.supervisor.foreground import Foreground
from engram_tui.supervisor.hooks import Hooks
from engram_tui.supervisor.intake import Intake, Live
from engram_tui.supervisor.known_bugs import KnownBugs
from engram_tui.supervisor.listeners import Listeners
from engram_tui.supervisor.opening import open_home
from engram_tui.supervisor.panes import Panes
from engram_tui.supervisor.recorder import Recorder
from engram_tui.supervisor.seen import Seen
from engram_tui.supervisor.spec import SessionFile, SessionFolder, SessionSpec
from engram_tui.supervisor.states import SessionState
from engram_tui.supervisor.tasks import TaskKeeper
from engram_tui.supervisor.triggers import Triggers
from engram_tui.supervisor.verdict import own_code
from engram_tui.watch.observations import Exited, NativeSession, Observation, Prompted
from engram_tui.watch.process_tree import ProcessTree
from engram_tui.watch.pty_process import AgentProcess
from engram_tui.watch.reaper import Reaper

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_tui.supervisor.composer import Composer

logger = logging.getLogger(__name__)

QUICK_GIT_S = 1.0
THREADS = 16
"""Slow git, a slow disk and the death of the agent must not wait for each other."""

RUNTIME_WAIT_S = 30.0
CONTINUE_S = 0.5
"""How long after Ctrl-Z an agent that suspends itself is continued: it first puts its terminal back."""


class Supervisor:
    """Supervises one running agent; `run` returns the exit code of `engram run`."""

    def __init__(
        self,
        spec: SessionSpec,
        folder: SessionFolder,
        info: SessionFile,
        adapter: Adapter,
        plan: LaunchPlan,
        process: AgentProcess,
        listeners: Listeners,
        token: str,
    ) -> None:
        self.spec, self.folder, self.info = spec, folder, info
        self.adapter, self.plan, self.process = adapter, plan, process
        self.cwd = Path(spec.cwd)
        self.live = Live(SessionState(time.monotonic(), time.time()))
        self.attached = Attached()
        self.reaper = Reaper({process.pid})
        self.tree = ProcessTree(process.id, spec.id, spared=self._spared)
        self.recorder = Recorder(spec.id, self._changed)
        self.intake = Intake(self.live, self.recorder.post, self._on_moment, spec.prompt or "")
        self.display = Display(
            process, spec.cols, spec.rows, self.attached, self.reaper.know, answers=spec.mode != "headless"
        )
        self.endpoint = Endpoint(self, self.attached, listeners, token)
        self.task = TaskKeeper(spec, self.recorder, self._task_known)
        began = datetime.fromisoformat(info.started_at).timestamp()
        self.eyes = Eyes(self.cwd, self.tree, self.intake, adapter, plan, began)
        self.known_bugs = KnownBugs(spec.id, spec.project, self.recorder.post, lambda: self.runtime)
        self.capture = Capture(self._observed)
        self.hooks = Hooks(
            adapter,
            self.intake,
            self.endpoint,
            self.recorder.post,
            self._briefing,
            self._checkpoint_now,
            self.known_bugs.advice,
            plan.mcp,
        )
        self.triggers = Triggers(self.checkpoint_soon)
        self.panes = Panes(self)
        self.foreground = Foreground(process) if spec.mode == "headless" and process.has_terminal else None
        self.events_file = EventsFile(Path(spec.events_file), spec.id) if spec.events_file else None
        self.runtime: Runtime | None = None
        self.composer: Composer | None = None
        self.screen_tail = ""
        self.last_word: m.Ended | None = None
        self.started = time.monotonic()
        self.ends = Ends(self)
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[Exited] = self._loop.create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._briefed = False
        self.recorder.problem = self._told = spec.unprotected

    # --- life -------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """From the agent's start to the durable end of its session."""
        loop = self._loop
        loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="engram"))
        self.process.attach_loop(loop, self._output, self._on_exit)
        if self.foreground is not None:
            self.foreground.start(loop)
        self.ends.attach(loop)
        self.reaper.attach(loop)
        self._record_native()
        self.keep(self.display.start())
        # One heavy import after the other: side by side both are late, and the UI and the agent's hooks wait for this.
        await self.endpoint.start()
        self.keep(open_home(self))
        self.keep(self.eyes.watch())
        self.keep(self.panes.push())
        exited = await self._exited
        try:
            return await Ending(self).close(exited)
        except Exception:
            # Whatever the end ran into: the user's terminal and the agent's own exit code come first. The next
            # command finds the session lost and closes it.
            logger.exception("the session could not be closed")
            if self.foreground is not None:
                self.foreground.close()
            return own_code(exited)

    def keep(self, work: Any) -> asyncio.Task[Any]:
        """Run in the background, with a reference (a task nobody holds may be collected in mid-flight)."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def say(self, line: str) -> None:
        """One line to the user of a headless run."""
        try:
            sys.stderr.write(f"engram: {line}\n")
            sys.stderr.flush()
        except OSError:
            # The terminal is gone. Python would try again at its exit, fail, and make the exit code 120 of the agent's.
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 2)

    def cancel_background(self) -> None:
        """End all background work."""
        for task in tuple(self._tasks):
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    def _spared(self) -> frozenset[int]:
        """Pids that are not the agent's: those with an owner here, and the home's embedding worker."""
        worker = self.runtime.worker_pid if self.runtime is not None else None
        if worker is not None:
            self.reaper.know(worker)
        return self.reaper.known

    def _record_native(self) -> None:
        if self.plan.native_id:
            transcript = str(self.plan.transcript or "")
            seen = ev.NativeSessionSeen(
                native_id=self.plan.native_id, transcript_path=transcript, source="planned"
            )
            self.recorder.post(seen)
        if not self.adapter.reports_prompts:
            self.intake.take((Prompted(channel="process", text=self.plan.prompt_submitted),))

    def protected(self, runtime: Runtime) -> None:
        """The home is open: from now on what is seen becomes durable."""
        from engram_tui.supervisor.composer import Composer

        self.runtime = runtime
        self.composer = Composer(runtime, self.spec.id, lambda: self.task.id, self._seen)
        self.recorder.start(runtime)
        self.task.begin()
        self._ready.set()
        self._changed()

    def unprotected(self, why: str) -> None:
        """There is no home to keep anything in."""
        self.endpoint.refuse_mcp()
        self.recorder.unprotected(why)
        self._ready.set()

    async def runtime_ready(self) -> bool:
        """Wait for the journal; False where nothing can be kept."""
        try:
            async with asyncio.timeout(RUNTIME_WAIT_S):
                await self._ready.wait()
        except TimeoutError:
            return False
        return self.runtime is not None

    # --- what the agent says over MCP (from worker threads) ---------------------------------------------------

    def mcp_called(self, tool: str, summary: str) -> None:
        """A tool of Engram's MCP server is being called."""
        self._loop.call_soon_threadsafe(self._changed)

    def mcp_attached(self, task: int) -> None:
        """The agent moved the session to a task of its own."""
        self.task.id = task  # at once: the next call, on another thread, must see it
        self._loop.call_soon_threadsafe(self._changed)

    # --- what is seen ---------------------------------------------------------------------------------------

    def _output(self, data: bytes) -> None:
        self.live.last_output = time.monotonic()
        if self.live.state.state == "starting" and not self.plan.mcp:
            self.intake.move("busy")
        if self.foreground is not None:
            self.foreground.show(data)
        self.display.output(data)

    def _on_exit(self, exited: Exited) -> None:
        if not self._exited.done():
            self._exited.set_result(exited)

    def _on_moment(self, observation: Observation) -> None:
        if isinstance(observation, Prompted):
            self.task.prompted(observation.text)
        if isinstance(observation, NativeSession):
            self.eyes.follow(observation.transcript_path)
        self.eyes.noticed(observation)
        self.capture.saw(observation)
        self.triggers.saw(observation)
        self._changed()

    def _observed(self, found: FixedFailure | Decision) -> None:
        self.keep(asyncio.to_thread(self.known_bugs.keep, found))

    def _task_known(self) -> None:
        self._changed()

    def _changed(self) -> None:
        self.panes.touch()
        problem = self.recorder.problem
        if problem != self._told and self.spec.mode == "headless" and not self.process.has_terminal:
            self.say(f"nothing is being kept: {problem}" if problem else "what is seen is being kept again")
        if self._told and not problem:
            # Whatever was debounced: what could not be kept while the disk was full is durable now.
            self.checkpoint_soon("AUTO_SAVE", "the journal can be written again", debounce=False)
        self._told = problem

    def _seen(self) -> Seen:
        native = self.live.native
        path = (native.transcript_path if native else "") or (str(self.plan.transcript or ""))
        place = TranscriptPlace(
            path=path or None,
            native_id=native.native_id if native else self.plan.native_id,
            offset=self.eyes.transcript_offset,
        )
        return Seen(
            files=self.eyes.changes(),
            screen_tail=self.screen_tail,
            transcript=place,
            context=self.live.context,
            git=self.eyes.git,
        )

    # --- checkpoints and briefing ----------------------------------------------------------------------------

    def checkpoint_soon(self, reason: CheckpointReason, trigger: str, *, debounce: bool = True) -> None:
        """Wish for a checkpoint (see `Composer.write` for when none is written)."""
        self.keep(self._checkpoint_now(reason, trigger, debounce=debounce))

    async def _checkpoint_now(
        self, reason: CheckpointReason, trigger: str, note: str = "", *, debounce: bool = True
    ) -> Any:
        if not await self.runtime_ready() or self.composer is None:
            return None
        if debounce and self.composer.too_soon(reason):
            return None
        await self.task.settled()
        self.screen_tail = await self.display.tail()
        await self.eyes.look_at_git(QUICK_GIT_S)
        await self.recorder.flushed(5.0)
        try:
            written = await asyncio.to_thread(
                self.composer.write, reason, trigger, note=note, debounce=debounce
            )
        except StoreError as error:
            logger.warning("no checkpoint (%s, %s): %s", reason, trigger, error)
            return None
        self._changed()
        return written

    async def _briefing(self, source: str) -> tuple[str, int | None, int | None] | None:
        """What a (re)started conversation is told: the planned briefing, or a new one after compaction or /clear."""
        if not self._briefed:
            self._briefed = True
            if self.spec.briefing is not None:
                return self.spec.briefing, self.spec.task, self.spec.checkpoint
            if source in ("startup", "fork", "resume", ""):
                return None
        if source not in ("compact", "clear") or self.task.id is None:
            return None  # /resume of another conversation is not about this task
        if not await self.runtime_ready() or self.runtime is None:
            return None
        from engram_tui.supervisor.briefings import briefing_for

        briefing = await asyncio.to_thread(briefing_for, self.runtime, self.task.id, self.cwd)
        return briefing.text, self.task.id, None

    # --- the endpoint's host ------------------------------------------------------------------------------------

    async def hook(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """An agent's hook call."""
        return await self.hooks.answer(event, payload)

    async def snapshot(self) -> m.Snapshot:
        """All that panes show."""
        return await self.panes.snapshot()

    async def control(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """What scripts ask for over the Unix socket. "forget": words that this process must not write any more."""
        if action == "checkpoint":
            view = await self._checkpoint_now("MANUAL", "engram checkpoint", str(body.get("note") or ""))
            if view is None:
                return {"written": False, "why": self.recorder.problem or "there is no task yet"}
            return {"written": True, "checkpoint": view.id, "task": view.task, "version": view.version}
        if action == "stop":
            self.keep(self.ends.stop_agent("user"))
            return {"stopping": True}
        if action == "detach":
            count = len(self.attached)
            for ui in self.attached:
                ui.send(m.pack(m.Notice(text="detached")))
                ui.closing = True
                ui.wake()
            return {"detached": count}
        if action == "screen":
            return {"text": await self.display.tail()}
        if action == "forget":
            forbid(str(body.get("pattern") or "(?!)"))
            return {"heard": True}
        return {"error": "unknown action"}

    def ui_joined(self, ui: UI) -> None:
        """A UI connected."""
        self.display.joined(ui)
        for told in self.plan.notes:
            ui.send(m.pack(m.Notice(text=told)))
        if self.last_word is not None:
            ui.send(m.pack(self.last_word))
        self.panes.touch()

    def ui_left(self, ui: UI) -> None:
        """A UI is gone; when it was the last one, what is known is kept."""
        self.display.left(ui)
        if not len(self.attached) and not self._exited.done():
            self.checkpoint_soon("DETACH", "the last UI is gone")
        self.panes.touch()

    def _continue_agent(self, ui: UI) -> None:
        """Under Engram there is no shell whose `fg` would continue an agent that suspended itself."""
        self.process.signal(signal.SIGCONT)
        ui.send(m.pack(m.Notice(text="Ctrl-Z: there is no shell to return to, so the agent goes on")))

    async def ui_said(self, ui: UI, message: Any) -> None:
        """A message of a UI."""
        if await self.display.said(ui, message):
            if isinstance(message, m.Key) and message.key == "ctrl+z" and self.adapter.suspends_itself:
                asyncio.get_running_loop().call_later(CONTINUE_S, self._continue_agent, ui)
            return
        if isinstance(message, m.WriteCheckpoint):
            answer = await self.control("checkpoint", {"note": message.note})
            text = (
                f"checkpoint v{answer['version']} durable"
                if answer["written"]
                else f"no checkpoint: {answer['why']}"
            )
            ui.send(m.pack(m.Notice(text=text)))
        elif isinstance(message, m.StopAgent):
            await self.control("stop", {})
        elif isinstance(message, m.DetachAll):
            await self.control("detach", {})
        elif isinstance(message, m.ShowCheckpoint) and self.runtime is not None:
            shown = await asyncio.to_thread(
                status.checkpoint_shown, self.runtime, message.id, message.compare
            )
            ui.send(m.pack(shown))
