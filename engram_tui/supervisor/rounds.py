"""What is looked at once a second: is a checkpoint due, has the agent stalled?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from engram_runtime.errors import EngramError
from engram_tui.supervisor.stall import Stall
from engram_tui.supervisor.triggers import AutoSave

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_tui.supervisor.supervisor import Supervisor

ROUND_S = 1.0


class Rounds:
    """Makes the rounds of one supervisor's session."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._of = supervisor
        self._stalled = False

    async def make(self, runtime: Runtime) -> None:
        """Look once a second until cancelled."""
        settings, now = runtime.settings, time.monotonic()
        stall = Stall(settings.stall_seconds, now)
        autosave = AutoSave(settings.autosave_seconds, now)
        while True:
            await asyncio.sleep(min(ROUND_S, settings.stall_seconds / 5))
            self._look_for_stall(stall)
            await self._look_for_autosave(autosave, runtime)

    def _look_for_stall(self, stall: Stall) -> None:
        """Only where turns are told: a shell that waits for its user is quiet too."""
        of, live = self._of, self._of.live
        if not of.adapter.reports_prompts or of.ends.sent or not live.state.running:
            return  # once it was told to end, what it still says is no sign of life
        quiet = stall.look(
            time.monotonic(),
            busy=live.state.state in ("busy", "stalled"),
            last_sign=max(live.last_output, live.last_sign),
            rows=[row for pid in of.tree.pids() if (row := of.tree.table.row(pid)) is not None],
        )
        if quiet is not None and not self._stalled:
            call = next(reversed(live.running.values()), None)
            where = f", in {call.tool}: {call.summary}" if call else ""
            text = f"nothing was heard of it for {quiet:.0f} s{where}"
            self._stalled = of.intake.stalled(text)
            of.checkpoint_soon("HANG", text[:160])
        elif quiet is None and self._stalled:
            self._stalled = False
            of.intake.revived()

    async def _look_for_autosave(self, autosave: AutoSave, runtime: Runtime) -> None:
        of = self._of
        written = of.composer.written if of.composer else None
        if not autosave.due(time.monotonic(), written.id if written else None):
            return
        try:
            new = await asyncio.to_thread(runtime.events, autosave.after, 1000, of.spec.id)
        except EngramError:
            return  # the recorder says what is wrong with the journal
        if autosave.worth_it(new):
            of.checkpoint_soon("AUTO_SAVE", f"{autosave.seconds:.0f} s without a checkpoint")
