"""Any program on a pseudo-terminal, its screen rendered, so that tests match on what a person would see."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil
from ptyprocess import PtyProcess
from pyghostty import Terminal

READ_BYTES = 65536
TICK_SECONDS = 0.1
KEEP_BYTES = 8_000_000


class PtyAgent:
    """A program on a pty of its own; a thread reads it, renders it and answers its terminal queries.

    Use it as a context manager: leaving it ends the program with all its children.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        columns: int = 120,
        rows: int = 40,
    ) -> None:
        self._terminal = Terminal(columns, rows)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._raw = bytearray()
        self._eof = False
        self.started = time.monotonic()
        with warnings.catch_warnings():
            # Python 3.12+ warns of forkpty beside threads; the child execs at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = PtyProcess.spawn(
                [str(argument) for argument in argv], cwd=str(cwd), env=dict(env), dimensions=(rows, columns)
            )
        self._terminal.on_reply(self._write)
        self._reader = threading.Thread(target=self._read, name=f"screen of {self.pid}", daemon=True)
        self._reader.start()

    def __enter__(self) -> PtyAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The program's process id."""
        return int(self._child.pid)

    @property
    def screen(self) -> str:
        """The visible text, rows separated by newlines, trailing blanks dropped."""
        with self._changed:
            return str(self._terminal.text())

    @property
    def output(self) -> bytes:
        """The last bytes the program wrote (up to 8 MB), escape sequences included."""
        with self._changed:
            return bytes(self._raw)

    def send(self, data: str | bytes) -> None:
        """Types the keys as they are."""
        self._write(data.encode() if isinstance(data, str) else data)

    def submit(self, line: str, seconds: float = 30) -> None:
        """Types a line, waits until it is on the screen, then presses Enter in a write of its own.

        Agents take one write that holds both for a paste.
        """
        self.send(line)
        self.wait_screen(line[-40:], seconds)
        self.send("\r")

    def wait_screen(self, expected: str | Callable[[str], bool], seconds: float) -> str:
        """Waits until the text (or what fulfils the condition) is on the screen, and returns the screen.

        Raises AssertionError, showing the screen, when it does not come in time or the program has ended
        without it.
        """
        shown = (lambda text: expected in text) if isinstance(expected, str) else expected
        deadline = time.monotonic() + seconds
        with self._changed:
            while not shown(text := str(self._terminal.text())):
                left = deadline - time.monotonic()
                if left <= 0 or self._eof:
                    why = "the program ended" if self._eof else f"not within {seconds} s"
                    raise AssertionError(f"{expected!r} is not on the screen ({why}):\n{text}")
                self._changed.wait(left)
        return text

    def resize(self, columns: int, rows: int) -> None:
        """Resizes the terminal; the program gets SIGWINCH."""
        with self._changed:
            self._terminal.resize(columns, rows)
        self._child.setwinsize(rows, columns)

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Sends a signal to the program alone, not to its children."""
        self._child.kill(signum)

    def hang_up(self) -> None:
        """Closes the terminal under the program, as a closed window does."""
        self._stop_reading()
        self._child.fileobj.close()

    def is_alive(self) -> bool:
        """Is the program still running?"""
        return bool(self._child.isalive())

    def wait_exit(self, seconds: float) -> int:
        """The exit code, or minus the signal's number; AssertionError, with the screen, if it goes on."""
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                raise AssertionError(f"still running after {seconds} s:\n{self.screen}")
            self._closing.wait(0.02)
        if self._child.signalstatus is not None:
            return -int(self._child.signalstatus)
        return int(self._child.exitstatus)

    def children(self) -> list[psutil.Process]:
        """All living descendants of the program, at this moment."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def close(self) -> None:
        """Ends the program (TERM, then KILL) and the descendants it has now; may be called twice."""
        tree = self.children()
        if self.is_alive():
            self.kill(signal.SIGTERM)
            try:
                self.wait_exit(3)
            except AssertionError:
                self.kill()
                self.wait_exit(10)
        for process in tree:
            if process.is_running():
                process.kill()
        self._stop_reading()
        self._child.close(force=True)
        self._terminal.close()

    def _stop_reading(self) -> None:
        self._closing.set()
        self._reader.join()

    def _write(self, data: bytes) -> None:
        while data and not self._closing.is_set():
            try:
                data = data[os.write(self._child.fd, data) :]
            except OSError:
                return  # the program has ended; wait_exit and wait_screen say so

    def _read(self) -> None:
        descriptor = self._child.fd
        while not self._closing.is_set():
            if not select.select([descriptor], [], [], TICK_SECONDS)[0]:
                continue
            try:
                data = os.read(descriptor, READ_BYTES)
            except OSError:  # Linux says EIO where others say end of file
                data = b""
            with self._changed:
                self._eof = not data
                self._raw += data
                if len(self._raw) > KEEP_BYTES:
                    del self._raw[: KEEP_BYTES // 2]
                self._terminal.feed(data)
                self._changed.notify_all()
            if not data:
                return
