"""The agent on Engram's own stdin, stdout and stderr, as if Engram were not there (headless, files or pipes).

It stays in Engram's session and process group, so Ctrl-C and job control reach it as before. The same small
interface as `PtyProcess`; there is no terminal, so input, output and size are not Engram's business.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence

from engram_tui.watch.child_start import checked_argv, child_preparation, inherited_ignores
from engram_tui.watch.exit_watch import ExitWatch
from engram_tui.watch.observations import Exited
from engram_tui.watch.process_table import ProcessId, identify, send_signal
from engram_tui.watch.pty_process import OnExit, OnOutput


class PipeProcess:
    """An agent that inherits Engram's standard streams. Raises OSError when it cannot be started.

    Create it on the main thread before any other exists: on Linux the agent gets SIGTERM when that thread ends, so that
    a killed supervisor leaves no agent that nobody watches. `streams` replace stdin, stdout, stderr (file descriptors);
    `keep_ignored` stay ignored in the agent, by default what Engram itself inherited (`nohup engram run --headless`).
    """

    has_terminal = False

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        streams: tuple[int | None, int | None, int | None] = (None, None, None),
        keep_ignored: Collection[int] | None = None,
        use_pidfd: bool = True,
    ) -> None:
        prepare = child_preparation(
            cwd=cwd,
            keep_ignored=inherited_ignores() if keep_ignored is None else keep_ignored,
            parent_death_signal=signal.SIGTERM,
        )
        stdin, stdout, stderr = streams
        self._popen = subprocess.Popen(
            checked_argv(argv, cwd),
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=prepare,
            restore_signals=False,
        )
        self._watch = ExitWatch(self._popen.pid, use_pidfd=use_pidfd)
        self.id = identify(self._popen.pid) or ProcessId(self._popen.pid, -1)
        self._ended = asyncio.Event()
        self._exited: Exited | None = None
        self._on_exit: OnExit | None = None

    @property
    def pid(self) -> int:
        """See `AgentProcess.pid`."""
        return self.id.pid

    @property
    def exited(self) -> Exited | None:
        """See `AgentProcess.exited`."""
        return self._exited

    def attach_loop(self, loop: asyncio.AbstractEventLoop, on_output: OnOutput, on_exit: OnExit) -> None:
        """See `AgentProcess.attach_loop`; `on_output` is never called."""
        self._on_exit = on_exit
        self._watch.start(loop, self._process_ended)

    def write(self, data: bytes) -> None:
        """Nothing to write to: the agent reads Engram's own stdin."""

    def pause_reading(self, why: str = "") -> None:
        """Nothing is read."""

    def resume_reading(self, why: str = "") -> None:
        """Nothing is read."""

    def resize(self, rows: int, columns: int) -> None:
        """There is no terminal of ours to resize."""

    def signal(self, number: int) -> bool:
        """See `AgentProcess.signal`."""
        return self._exited is None and send_signal(self.id, number)

    async def wait(self) -> Exited:
        """See `AgentProcess.wait`."""
        await self._ended.wait()
        assert self._exited is not None
        return self._exited

    def close(self) -> None:
        """See `AgentProcess.close`."""
        self._watch.close()
        # Popen must neither warn about nor wait for a child that others reap.
        if self._popen.returncode is None:
            self._popen.returncode = 0

    def _process_ended(self, exited: Exited) -> None:
        self._exited = exited
        self._popen.returncode = exited.code if exited.code is not None else -(exited.signal or 0)
        self._ended.set()
        if self._on_exit is not None:
            self._on_exit(exited)
