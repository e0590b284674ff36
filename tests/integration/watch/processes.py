"""Real processes for the tests of this folder, and bounded waiting for what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from engram_tui.watch.observations import Exited
from engram_tui.watch.process_table import ProcTable
from engram_tui.watch.pty_process import AgentProcess, PtyProcess

PYTHON = sys.executable
SESSION = f"test-{os.getpid()}"


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.005)


class Watched:
    """A process on the loop, with what it said and how it ended."""

    def __init__(self, process: AgentProcess) -> None:
        self.process = process
        self.output = b""
        self.exits: list[Exited] = []
        process.attach_loop(asyncio.get_running_loop(), self._take, self.exits.append)

    def _take(self, output: bytes) -> None:
        self.output += output

    async def says(self, text: bytes, seconds: float = 30.0) -> None:
        """Wait until the output contains the text."""
        await until(lambda: text in self.output, seconds)


@contextlib.asynccontextmanager
async def on_pty(argv: Sequence[str], **options: object) -> AsyncIterator[Watched]:
    """A process on a pty; killed and closed at the end, with everything that carries this test's mark."""
    env = {**os.environ, "ENGRAM_SESSION": SESSION, "PS1": "$ ", "TERM": "dumb"}
    watched = Watched(PtyProcess(argv, env=env, **options))  # type: ignore[arg-type]
    try:
        yield watched
    finally:
        watched.process.signal(signal.SIGKILL)
        if not watched.exits:
            await until(lambda: watched.exits)
        watched.process.close()
        await asyncio.to_thread(kill_marked)


def kill_marked() -> None:
    """End whatever a test left behind."""
    table = ProcTable()
    for pid in table.marked("ENGRAM_SESSION", SESSION):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for pid in table.children(os.getpid()):
        with contextlib.suppress(OSError):
            os.waitpid(pid, os.WNOHANG)


def pid_in(path: Path) -> int:
    """The pid a script wrote to a file, 0 while it has not."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def runs(pid: int) -> bool:
    """Whether a process with this pid runs (a zombie does not)."""
    row = ProcTable().row(pid)
    return row is not None and not row.zombie
