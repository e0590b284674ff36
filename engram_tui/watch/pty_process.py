"""The agent on a pseudo-terminal of its own: bytes out, keys in, size, signals, and how it ended.

`PtyProcess(...)` only forks and execs (before any thread exists); `attach_loop` later puts it on the event loop.
The end of the session is the process's exit, never the terminal's end-of-file: an agent that closes its terminal for a
moment gives EIO on the master and goes on, and a daemon that keeps the terminal open delays the EOF for ever.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import termios
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pexpect

from engram_tui.watch.child_start import checked_argv, child_preparation
from engram_tui.watch.exit_watch import ExitWatch
from engram_tui.watch.observations import Exited
from engram_tui.watch.process_table import ProcessId, identify, send_signal

if TYPE_CHECKING:
    import asyncio

READ_BUDGET_SECONDS = 0.004
"""Longest one turn of the loop spends reading: a flood must not delay a key."""
REARM_SECONDS = 0.1
"""How soon the master is tried again after EIO while the agent lives."""
DRAIN_BYTES = 1 << 20
"""What is read at most after the exit; the kernel's buffers hold less, a surviving daemon writes for ever."""
_READ_BYTES = 65536

OnOutput = Callable[[bytes], None]
OnExit = Callable[[Exited], None]


class AgentProcess(Protocol):
    """What the supervisor asks of an agent's process, on a pty or on pipes."""

    id: ProcessId
    has_terminal: bool

    @property
    def pid(self) -> int:
        """The agent's process id."""

    @property
    def exited(self) -> Exited | None:
        """How it ended, None while it runs (or before the loop was told)."""

    def attach_loop(self, loop: asyncio.AbstractEventLoop, on_output: OnOutput, on_exit: OnExit) -> None:
        """From now on output goes to `on_output`, and the exit, after all output before it, to `on_exit`, once."""

    def write(self, data: bytes) -> None:
        """Send input; kept until the agent takes it."""

    def pause_reading(self, why: str = "") -> None:
        """Leave output in the kernel until `resume_reading` with the same `why`: the agent blocks when it is full."""

    def resume_reading(self, why: str = "") -> None:
        """Go on reading, once no other reason is left."""

    def resize(self, rows: int, columns: int) -> None:
        """Tell the agent its terminal's new size."""

    def signal(self, number: int) -> bool:
        """Signal the agent itself; False when that very process is gone."""

    async def wait(self) -> Exited:
        """Wait for the exit. Needs `attach_loop`."""

    def close(self) -> None:
        """Let go of descriptors and watches; does not end the agent."""


class PtyProcess:
    """An agent under pexpect. Raises FileNotFoundError, PermissionError or OSError when it cannot be started."""

    has_terminal = True

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        rows: int = 24,
        columns: int = 80,
        keep_ignored: Collection[int] = (),
        use_pidfd: bool = True,
    ) -> None:
        program, *arguments = checked_argv(argv, cwd)
        prepare = child_preparation(cwd=cwd, keep_ignored=keep_ignored)
        self._spawn = _spawn(program, arguments, env, (rows, columns), prepare)
        self._fd: int = self._spawn.child_fd
        pid: int = self._spawn.pid
        self._watch = ExitWatch(pid, use_pidfd=use_pidfd)
        self.id = identify(pid) or ProcessId(pid, -1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_output: OnOutput = _discard
        self._on_exit: OnExit = _discard_exit
        self._ended: asyncio.Event | None = None
        self._input = bytearray()
        self._paused_for: set[str] = set()
        self._hung_up = self._reading = self._writing = self._closed = False
        self._exited: Exited | None = None

    @property
    def pid(self) -> int:
        """See `AgentProcess.pid`."""
        return self.id.pid

    @property
    def exited(self) -> Exited | None:
        """See `AgentProcess.exited`."""
        return self._exited

    @property
    def pending_input(self) -> int:
        """Bytes written that the agent has not taken yet."""
        return len(self._input)

    def attach_loop(self, loop: asyncio.AbstractEventLoop, on_output: OnOutput, on_exit: OnExit) -> None:
        """See `AgentProcess.attach_loop`. Call it once, on the loop's thread."""
        from asyncio import Event  # 40 ms the spawn before need not wait for

        self._ended = Event()
        self._loop, self._on_output, self._on_exit = loop, on_output, on_exit
        os.set_blocking(self._fd, False)
        self._watch.start(loop, self._process_ended)
        self._update_reader()
        self._flush()

    def write(self, data: bytes) -> None:
        """See `AgentProcess.write`."""
        if self._closed:
            return
        self._input += data
        if not self._writing:
            self._flush()

    def pause_reading(self, why: str = "") -> None:
        """See `AgentProcess.pause_reading`."""
        self._paused_for.add(why)
        self._update_reader()

    def resume_reading(self, why: str = "") -> None:
        """See `AgentProcess.resume_reading`."""
        self._paused_for.discard(why)
        self._update_reader()

    def resize(self, rows: int, columns: int) -> None:
        """See `AgentProcess.resize`; the kernel sends SIGWINCH to the terminal's foreground group."""
        if not self._closed:
            with contextlib.suppress(
                OSError
            ):  # Nobody has the terminal open just now; the next resize is seen.
                fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> bool:
        """See `AgentProcess.signal`."""
        return self._exited is None and send_signal(self.id, number)

    async def wait(self) -> Exited:
        """See `AgentProcess.wait`."""
        assert self._ended is not None
        await self._ended.wait()
        assert self._exited is not None
        return self._exited

    def close(self) -> None:
        """See `AgentProcess.close`. Closing the master hangs up on whoever still has the terminal (SIGHUP)."""
        if self._closed:
            return
        self._closed = True
        self._update_reader()
        self._stop_writer()
        self._watch.close()
        # pexpect's own close() would sleep, and signal a pid that may be a stranger's by now.
        self._spawn.ptyproc.closed = self._spawn.closed = True
        self._spawn.ptyproc.terminated = self._spawn.terminated = True
        with contextlib.suppress(OSError):
            self._spawn.ptyproc.fileobj.close()

    def _update_reader(self) -> None:
        wanted = not (self._paused_for or self._hung_up or self._closed)
        if self._loop is None or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._loop.add_reader(self._fd, self._readable)
        else:
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        output = self._read(READ_BUDGET_SECONDS, DRAIN_BYTES)
        if self._hung_up:
            self._update_reader()
            if self._exited is None:
                assert self._loop is not None
                self._loop.call_later(REARM_SECONDS, self._rearm)
        if output:
            self._on_output(output)

    def _read(self, seconds: float, limit: int) -> bytes:
        """What can be read within both bounds; notes a hang-up (EIO on Linux, an empty read on macOS)."""
        until = time.monotonic() + seconds
        chunks: list[bytes] = []
        size = 0
        while size < limit:
            try:
                chunk = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self._hung_up = True
                break
            chunks.append(chunk)
            size += len(chunk)
            if time.monotonic() >= until:
                break
        return b"".join(chunks)

    def _rearm(self) -> None:
        if self._exited is None:
            self._hung_up = False
            self._update_reader()

    def _process_ended(self, exited: Exited) -> None:
        # All that the agent wrote is in the kernel's buffer now, whatever the reader's state was.
        output = self._read(0.05, DRAIN_BYTES)
        self._exited = exited
        self._update_reader()
        if output:
            self._on_output(output)
        assert self._ended is not None
        self._ended.set()
        self._on_exit(exited)

    def _flush(self) -> None:
        if self._loop is None or self._closed:
            return
        while self._input:
            try:
                written = os.write(self._fd, memoryview(self._input)[:_READ_BYTES])
            except BlockingIOError:
                self._start_writer()
                return
            except OSError as error:
                self._input_refused(error)
                return
            del self._input[:written]
        self._stop_writer()

    def _input_refused(self, error: OSError) -> None:
        """Nobody has the terminal open: keep the input for an agent that lives, drop it for a dead one."""
        self._stop_writer()
        if self._exited is not None or error.errno != errno.EIO:
            self._input.clear()
        elif self._loop is not None:
            self._loop.call_later(REARM_SECONDS, self._flush)

    def _start_writer(self) -> None:
        if not self._writing and self._loop is not None:
            self._writing = True
            self._loop.add_writer(self._fd, self._flush)

    def _stop_writer(self) -> None:
        if self._writing and self._loop is not None:
            self._writing = False
            self._loop.remove_writer(self._fd)


def _spawn(
    program: str,
    arguments: list[str],
    env: Mapping[str, str] | None,
    dimensions: tuple[int, int],
    prepare: Callable[[], None],
) -> Any:  # The published types lack `ptyproc`.
    # Without arguments pexpect splits the command at spaces and quotes, as a shell would.
    command = program if arguments else re.sub(r"""([\\\s'"])""", r"\\\1", program)
    try:
        return pexpect.spawn(
            command,
            arguments,
            env=None if env is None else dict(env),
            dimensions=dimensions,
            preexec_fn=prepare,
            timeout=None,
        )
    except pexpect.ExceptionPexpect as error:
        raise FileNotFoundError(errno.ENOENT, "no such program", program) from error


def _discard(_output: bytes) -> None:
    """Before `attach_loop` nothing is read."""


def _discard_exit(_exited: Exited) -> None:
    """Before `attach_loop` nobody is told."""
