"""Tells once, on the event loop, that a child process ended: by pidfd on Linux, by a waiting thread elsewhere.

The pty's end-of-file is no substitute: it comes up to a second late, early, or (macOS) not at all.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engram_tui.watch.observations import Exited

if TYPE_CHECKING:
    import asyncio

UNKNOWN_CODE = 255
"""Reported when somebody else reaped the child and its status is lost."""


class ExitWatch:
    """Watches one child of this process. Open it right after the fork; it reaps the child."""

    def __init__(self, pid: int, *, use_pidfd: bool = True) -> None:
        self._pid = pid
        self._pidfd = _open_pidfd(pid) if use_pidfd else -1
        self._waiting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_exit: Callable[[Exited], None] | None = None
        self.exited: Exited | None = None

    def start(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[Exited], None]) -> None:
        """Call `on_exit` once on `loop` when the child has ended (also when it already has)."""
        self._loop, self._on_exit = loop, on_exit
        if self.exited is not None:
            loop.call_soon(self._ended)
        elif self._pidfd >= 0:
            loop.add_reader(self._pidfd, self._ended)
        else:
            self._waiting = True
            threading.Thread(target=self._wait, name=f"exit-of-{self._pid}", daemon=True).start()

    def poll(self) -> Exited | None:
        """How the child ended, None while it runs; never blocks."""
        # While the thread waits, reaping is its business: a second waitpid would lose the status.
        if self.exited is None and not self._waiting:
            self.exited = _reap(self._pid, os.WNOHANG)
        return self.exited

    def close(self) -> None:
        """Stop watching; `on_exit` is not called any more."""
        self._on_exit = None
        if self._pidfd >= 0:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _ended(self) -> None:
        exited = self.poll()
        if exited is None:
            return
        if self._loop is not None and self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        if self._on_exit is not None:
            self._on_exit(exited)

    def _wait(self) -> None:
        self.exited = _reap(self._pid, 0)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop has closed meanwhile: nobody is left to tell.
                self._loop.call_soon_threadsafe(self._ended)


def _open_pidfd(pid: int) -> int:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return -1
    try:
        return int(opener(pid))
    except OSError:
        return -1


def _reap(pid: int, options: int) -> Exited | None:
    try:
        reaped, status = os.waitpid(pid, options)
    except ChildProcessError:
        return Exited(channel="process", at=time.time(), code=UNKNOWN_CODE)
    if reaped == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Exited(channel="process", at=time.time(), signal=-code)
    return Exited(channel="process", at=time.time(), code=code)
