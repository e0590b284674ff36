"""What happens when the agent has ended: verdict, durable checkpoint within a second, its children, then the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from engram_runtime.errors import StoreError
from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Verdict
from engram_runtime.state.views import CheckpointView
from engram_tui import messages as m
from engram_tui.agents.base import ExitFacts
from engram_tui.supervisor.verdict import REASON_OF_VERDICT, exit_code, oom_kills, unless_hung
from engram_tui.watch import git_watch
from engram_tui.watch.observations import Exited
from engram_tui.watch.process_end import end_tree

if TYPE_CHECKING:
    from engram_tui.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)

QUICK_LOOK_S = 0.4
FULL_LOOK_S = 20.0
FOREGROUND_LOOK_S = 2.0
"""Somebody waits for the prompt."""
FLUSH_S = 5.0
SOON_S = 5.0
UI_DRAIN_S = 1.0


class Ending:
    """Closes one session, once."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._of = supervisor
        self._waited = False

    async def close(self, exited: Exited) -> int:
        """Everything from the agent's exit to the supervisor's own; the exit code."""
        of = self._of
        of.intake.move("stopping")
        ending_tree = asyncio.create_task(end_tree(of.tree, own=of.adapter.own_processes))
        kept = await of.runtime_ready()
        await self._look_quickly()
        _, stalled = of.live.conditions.get("stalled", (0.0, ""))
        verdict = unless_hung(of.adapter.classify(self._facts(exited)), stalled)
        of.recorder.post(ev.AgentExited(code=exited.code, signal=exited.signal))
        checkpoint = await self._checkpoint(verdict) if kept else None
        tree_end = await ending_tree
        of.recorder.post(ev.SessionEnded(verdict=verdict, ended_processes=tree_end.ended, left=tree_end.left))
        await self._flushed()
        of.intake.move("ended")
        code = exit_code(
            exited, verdict, hides_failures=of.adapter.hides_failures, strict=of.spec.strict_exit
        )
        line = await asyncio.to_thread(self._line, verdict, checkpoint)
        soon = time.monotonic() - of.started < SOON_S
        tail = of.screen_tail if soon and verdict.kind != "finished" else ""
        of.last_word = m.Ended(verdict=str(verdict), exit_code=code, line=line, screen_tail=tail)
        of.attached.broadcast(of.last_word)
        self._write_info(verdict, code)
        if of.foreground is not None:
            of.foreground.close()
        if kept:
            await self._complete(verdict)
        await self._shut_down()
        if of.spec.mode == "headless":
            problem = of.events_file.problem if of.events_file is not None else ""
            of.say(f"{line}; events could not be written to {problem}" if problem else line)
        return code

    def _write_info(self, verdict: Verdict, code: int) -> None:
        of = self._of
        if of.recorder.problem and not of.spec.unprotected:
            return  # the journal does not know of this end: whoever opens it next closes the session as a lost one
        info = msgspec.structs.replace(
            of.info, ended=True, verdict=str(verdict), exit_code=code, task=of.task.id
        )
        try:
            of.folder.write_info(info)
        except OSError as error:  # a full disk: whoever comes next finds the session lost, and closes it
            logger.warning("the session's file cannot be written: %s", error)

    async def _flushed(self) -> None:
        """Wait until all is durable: not for a damaged journal, and once for all for a disk that is full."""
        if not self._can_write() or (self._waited and self._of.recorder.problem):
            return
        self._waited = not await self._of.recorder.flushed(FLUSH_S)

    def _can_write(self) -> bool:
        runtime = self._of.runtime
        return runtime is not None and runtime.journal.writable

    def _facts(self, exited: Exited) -> ExitFacts:
        of, live = self._of, self._of.live
        before, now = of.eyes.oom_kills, oom_kills()
        return ExitFacts(
            code=exited.code,
            signal=exited.signal,
            interactive=of.process.has_terminal and not of.adapter.prints(of.spec.args),
            signals=tuple(of.ends.sent),
            busy=bool(live.running) or live.prompts > live.turns,
            turns=live.turns,
            prompts=live.prompts,
            last_failure=live.last_failure,
            native_end=live.native_end,
            conditions=tuple(live.conditions),
            oom_killed=exited.signal == 9
            and not any(number == 9 for number, _ in of.ends.sent)
            and before is not None
            and now is not None
            and now > before,
        )

    async def _look_quickly(self) -> None:
        """Transcript, screen and git side by side, bounded together: the checkpoint must be durable within a second."""
        of = self._of

        async def tail() -> None:
            of.screen_tail = await of.display.tail()

        looks = [of.eyes.read_transcript(), tail(), of.eyes.last_look(QUICK_LOOK_S)]
        tasks = [asyncio.create_task(look) for look in looks]
        _, late = await asyncio.wait(tasks, timeout=QUICK_LOOK_S)
        for task in late:
            task.cancel()

    async def _checkpoint(self, verdict: Verdict) -> CheckpointView | None:
        of = self._of
        if of.composer is None or not self._can_write():
            return None
        if of.task.id is None and of.plan.prompt_submitted:
            of.task.prompted(of.plan.prompt_submitted)  # neither hook nor transcript told of it
        await self._flushed()
        await of.task.settled()
        if of.recorder.problem or of.task.id is None:
            return None
        assert of.runtime is not None
        reason = REASON_OF_VERDICT[verdict.kind]
        try:
            await asyncio.to_thread(of.composer.write, reason, str(verdict), verdict=verdict, over=True)
            # None was written where nothing changed: then the one before still says it all.
            latest = of.composer.written
            return latest or await asyncio.to_thread(of.runtime.state.checkpoint_version, of.task.id)
        except StoreError as error:
            of.recorder.unprotected(str(error))
            return None
        except Exception:
            # Verdict, exit code and the user's terminal must follow, whatever composing ran into.
            logger.exception("the checkpoint of the session's end could not be written")
            return None

    async def _complete(self, verdict: Verdict) -> None:
        """Slower facts (a full look at a large tree) as a version of their own, if they change anything."""
        of = self._of
        seconds = FOREGROUND_LOOK_S if of.spec.mode == "headless" else FULL_LOOK_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await of.eyes.read_transcript()
                await of.eyes.last_look(seconds)
        await self._checkpoint(verdict)

    async def _shut_down(self) -> None:
        of = self._of
        until = time.monotonic() + UI_DRAIN_S
        for ui in of.attached:
            ui.closing = True
            ui.wake()
        while len(of.attached) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        of.cancel_background()
        git_watch.abandon()
        await of.endpoint.stop()
        await of.display.close()
        await of.recorder.close(FLUSH_S if self._can_write() and not self._waited else 0.0)
        with contextlib.suppress(OSError):  # what stays is private all the same
            await asyncio.to_thread(of.folder.tidy)
        of.reaper.detach()
        of.process.close()
        if of.events_file is not None and of.runtime is not None:
            await asyncio.to_thread(of.events_file.write_new, of.runtime)
            of.events_file.close()
        if of.runtime is not None:
            await asyncio.to_thread(of.runtime.close)

    def _interrupted(self, task: int) -> bool:
        of = self._of
        view = of.runtime.state.task(task) if of.runtime is not None else None
        return view is not None and view.interrupted

    def _line(self, verdict: Verdict, checkpoint: CheckpointView | None) -> str:
        of = self._of
        parts = [f"{of.spec.agent} {verdict}"]
        if of.recorder.problem:
            lost = "its end was not kept" if of.recorder.position else "nothing was kept"
            parts.append(f"{lost}: {of.recorder.problem}")
        elif checkpoint is not None:
            parts.append(f"checkpoint v{checkpoint.version} of task #{checkpoint.task} is durable")
            if self._interrupted(checkpoint.task):
                parts.append(f"`engram resume {checkpoint.task}` continues")
        else:
            parts.append("no task was begun")
        return "; ".join(parts)
