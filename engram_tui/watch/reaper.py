"""Orphans of the agent become the supervisor's children (Linux): taking them in, and reaping them when they die.

Never waitpid(-1): the agent, the screen process and every Popen have an owner who waits for them, and a status taken
away from `subprocess` turns a failed git into a success.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from engram_tui.watch.process_table import ProcessTable, process_table

if TYPE_CHECKING:
    import asyncio

PATIENCE_SECONDS = 5.0
"""How long a dead child of our own session is left to an owner we may not know (a git just started in a thread)."""
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def become_subreaper() -> bool:
    """Make orphaned descendants children of this process instead of init's; False where the system cannot."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Reaper:
    """Reaps dead orphans on SIGCHLD. `known` are children with an owner: never touched, until `forget`."""

    def __init__(self, known: Iterable[int] = (), table: ProcessTable | None = None) -> None:
        self._known = set(known)
        self._table = table or process_table()
        self._dead_since: dict[int, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._later: asyncio.TimerHandle | None = None

    @property
    def known(self) -> frozenset[int]:
        """Children with an owner of their own."""
        return frozenset(self._known)

    def know(self, pid: int) -> None:
        """This child has an owner (the agent, the screen process, a Popen)."""
        self._known.add(pid)

    def forget(self, pid: int) -> None:
        """Its owner has reaped it: the number may be an orphan's from now on."""
        self._known.discard(pid)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reap on every SIGCHLD. Only on the main thread's loop, and only where there are orphans to get."""
        if sys.platform == "linux":
            self._loop = loop
            loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def detach(self) -> None:
        """Stop reaping."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_signal_handler(signal.SIGCHLD)
        if self._later is not None:
            self._later.cancel()
        self._loop = self._later = None

    def reap(self) -> list[int]:
        """Reap dead children nobody owns; returns their pids. Cheap enough for the loop (0.1 ms)."""
        own_session = os.getsid(0)
        now = time.monotonic()
        reaped: list[int] = []
        waiting: dict[int, float] = {}
        for pid in self._table.children(os.getpid()):
            row = None if pid in self._known else self._table.row(pid)
            if row is None or not row.zombie:
                continue
            since = self._dead_since.get(pid, now)
            if row.session == own_session and now - since < PATIENCE_SECONDS:
                waiting[pid] = since
                continue
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    reaped.append(pid)
        self._dead_since = waiting
        if waiting and self._later is None and self._loop is not None:
            self._later = self._loop.call_later(PATIENCE_SECONDS, self._reap_later)
        return reaped

    def _reap_later(self) -> None:
        self._later = None
        self.reap()
