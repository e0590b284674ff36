"""Who ends the agent: signals to the supervisor, passed on or carried out, and kept as evidence for the verdict."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Literal

from engram_runtime.journal import events as ev
from engram_tui.watch.process_end import end_tree

if TYPE_CHECKING:
    from engram_tui.supervisor.supervisor import Supervisor

By = Literal["user", "engram", "system"]


class Ends:
    """Owns the supervisor's signal handlers and signals the agent. `sent`: (signal, on whose behalf), oldest first."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._of = supervisor
        self._asked = False
        self.sent: list[tuple[int, str]] = []

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals over from Python's defaults."""
        loop.add_signal_handler(signal.SIGTERM, self._asked_to_end)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)

    async def stop_agent(self, by: By) -> None:
        """End the agent: TERM, after the grace KILL. Its session then ends as any other."""
        of = self._of
        of.intake.move("stopping")
        grace = of.runtime.settings.grace_seconds if of.runtime else 5.0

        def told(number: int) -> None:
            self._note(
                number, by, "stop was asked for" if number == signal.SIGTERM else "it did not end in time"
            )

        await end_tree(of.tree, own=of.adapter.own_processes, agent_grace=grace, on_agent_signal=told)

    def _asked_to_end(self) -> None:
        """End the agent; headless the signal is passed on as it is, and a second one does not ask."""
        if self._of.spec.mode != "headless":
            if not self._asked:
                self._of.keep(self.stop_agent("system"))
        elif self._asked:
            self._send(signal.SIGKILL, "system", "the supervisor got SIGTERM again")
        else:
            self._send(signal.SIGTERM, "system", "the supervisor got SIGTERM")
        self._asked = True

    def _hung_up(self) -> None:
        """A detached supervisor does not mind; in the foreground it is for the agent."""
        if self._of.spec.mode == "headless":
            self._send(signal.SIGHUP, "system", "the supervisor got SIGHUP")

    def _interrupted(self) -> None:
        """Ctrl-C: the terminal has sent it to the agent as well, where both are in its foreground group."""
        if self._of.spec.mode != "headless":
            return
        if self._of.process.has_terminal or not _in_foreground():
            self._send(signal.SIGINT, "user", "the supervisor got SIGINT")
        else:
            self._note(signal.SIGINT, "user", "Ctrl-C in the terminal")

    def _send(self, number: int, by: By, why: str) -> None:
        self._note(number, by, why)
        self._of.process.signal(number)

    def _note(self, number: int, by: By, why: str) -> None:
        """Keep who sent what: evidence for the verdict."""
        self.sent.append((number, by))
        self._of.recorder.post(ev.SignalSent(signal=number, by=by, why=why))


def _in_foreground() -> bool:
    """Whether the controlling terminal's foreground group is ours: then Ctrl-C has reached the agent too."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
