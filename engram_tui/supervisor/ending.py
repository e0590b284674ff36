"""What happens when the agent has ended: verdict, durable checkpoint within a second, its children, then the rest."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Verdict
from engram_runtime.state.views import CheckpointView
from engram_tui import messages as m
from engram_tui.agents.base import ExitFacts
from engram_tui.supervisor.verdict import REASON_OF_VERDICT, exit_code, oom_kills
from engram_tui.watch.observations import Exited
from engram_tui.watch.process_end import end_tree

if TYPE_CHECKING:
    from engram_tui.supervisor.supervisor import Supervisor

QUICK_LOOK_S = 0.4
FULL_LOOK_S = 20.0
FLUSH_S = 5.0
UI_DRAIN_S = 1.0


class Ending:
    """Closes one session, once."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._of = supervisor

    async def close(self, exited: Exited) -> int:
        """Everything from the agent's exit to the supervisor's own; the exit code."""
        of = self._of
        of.intake.move("stopping")
        ending_tree = asyncio.create_task(end_tree(of.tree, own=of.adapter.own_processes))
        kept = await of.runtime_ready()
        await of.eyes.read_transcript()
        verdict = of.adapter.classify(self._facts(exited))
        of.recorder.post(ev.AgentExited(code=exited.code, signal=exited.signal))
        of.screen_tail = await of.display.tail()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUICK_LOOK_S):
                await of.eyes.last_look(QUICK_LOOK_S)
        checkpoint = await self._checkpoint(verdict, look_at_git=False) if kept else None
        tree_end = await ending_tree
        of.recorder.post(ev.SessionEnded(verdict=verdict, ended_processes=tree_end.ended, left=tree_end.left))
        await of.recorder.flushed(FLUSH_S)
        of.intake.move("ended")
        code = exit_code(
            exited, verdict, hides_failures=of.adapter.hides_failures, strict=of.spec.strict_exit
        )
        line = await asyncio.to_thread(self._line, verdict, checkpoint)
        of.attached.broadcast(m.Ended(verdict=str(verdict), exit_code=code, line=line))
        of.folder.write_info(
            msgspec.structs.replace(
                of.info, ended=True, verdict=str(verdict), exit_code=code, task=of.task.id
            )
        )
        self.closing_line = line
        if kept:
            await self._complete(verdict)
        await self._shut_down()
        if of.spec.mode == "headless":
            of.say(line)
        return code

    def _facts(self, exited: Exited) -> ExitFacts:
        of, live = self._of, self._of.live
        before, now = of.oom_before, oom_kills()
        return ExitFacts(
            code=exited.code,
            signal=exited.signal,
            interactive=of.process.has_terminal and not of.adapter.prints(of.spec.args),
            signals=tuple(of.signals),
            busy=bool(live.running) or live.prompts > live.turns,
            turns=live.turns,
            prompts=live.prompts,
            last_failure=live.last_failure,
            native_end=live.native_end,
            conditions=tuple(live.conditions),
            oom_killed=exited.signal == 9 and before is not None and now is not None and now > before,
        )

    async def _checkpoint(self, verdict: Verdict, *, look_at_git: bool) -> CheckpointView | None:
        of = self._of
        if of.composer is None:
            return None
        await of.task.settled()
        await of.recorder.flushed(FLUSH_S)
        if of.recorder.problem or of.task.id is None:
            return None
        reason = REASON_OF_VERDICT[verdict.kind]
        await asyncio.to_thread(
            of.composer.write, reason, str(verdict), verdict=verdict, over=True, look_at_git=look_at_git
        )
        return of.composer.written

    async def _complete(self, verdict: Verdict) -> None:
        """Slower facts (a full look at a large tree) as a version of their own, if they change anything."""
        of = self._of
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FULL_LOOK_S):
                await of.eyes.last_look(FULL_LOOK_S)
        await of.recorder.flushed(FLUSH_S)
        await self._checkpoint(verdict, look_at_git=True)

    async def _shut_down(self) -> None:
        of = self._of
        until = time.monotonic() + UI_DRAIN_S
        for ui in of.attached:
            ui.closing = True
            ui.wake()
        while len(of.attached) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        of.cancel_background()
        await of.endpoint.stop()
        await of.display.close()
        await of.recorder.close()
        of.reaper.detach()
        of.process.close()
        if of.foreground is not None:
            of.foreground.close()
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
            parts.append(f"nothing was kept: {of.recorder.problem}")
        elif checkpoint is not None:
            parts.append(f"checkpoint v{checkpoint.version} of task #{checkpoint.task} is durable")
            if self._interrupted(checkpoint.task):
                parts.append(f"`engram resume {checkpoint.task}` continues")
        else:
            parts.append("no task was begun")
        return "; ".join(parts)
