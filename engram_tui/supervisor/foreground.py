"""Headless on a terminal: the agent's pty is joined to the terminal `engram run --headless` was started in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from typing import Any

from engram_tui.watch.pty_process import AgentProcess

READ_BYTES = 65536
BEHIND_BYTES = 1 << 20
"""With more than this unshown the agent is made to wait, as it would be by the terminal itself."""


class Foreground:
    """Raw terminal in, raw terminal out; sizes follow; everything is put back on `close`."""

    def __init__(self, process: AgentProcess) -> None:
        self._process = process
        # Descriptors of our own: non-blocking mode on the shared ones would reach the user's shell.
        self._input = os.open(
            os.ttyname(sys.stdin.fileno()), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        )
        self._output = os.open(
            os.ttyname(sys.stdout.fileno()), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        )
        self._before: list[Any] = termios.tcgetattr(self._input)
        self._waiting = bytearray()
        self._paused = False
        self._closed = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Join both terminals."""
        self._loop = loop
        tty.setraw(self._input, termios.TCSANOW)
        loop.add_reader(self._input, self._typed)
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        self._resized()

    def show(self, data: bytes) -> None:
        """Output of the agent; what comes after `close` (from what it left running) is not shown."""
        if self._closed:
            return
        self._waiting += data
        self._flush()

    def close(self) -> None:
        """Show what still waits and put the terminal back. Again: nothing."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._input)
        self._loop.remove_writer(self._output)
        self._loop.remove_signal_handler(signal.SIGWINCH)
        os.set_blocking(self._output, True)
        with contextlib.suppress(OSError):  # the terminal is gone: nobody is left to read it
            while self._waiting:
                del self._waiting[: os.write(self._output, self._waiting)]
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        os.close(self._input)
        os.close(self._output)

    def _typed(self) -> None:
        try:
            data = os.read(self._input, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._process.write(data)
        else:
            self._loop.remove_reader(self._input)  # hung up: SIGHUP tells the rest

    def _resized(self) -> None:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self._output)
            self._process.resize(size.lines, size.columns)

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._output, self._waiting)]
        except BlockingIOError:
            self._loop.add_writer(self._output, self._flush)
        except OSError:
            self._waiting.clear()
        if not self._waiting:
            self._loop.remove_writer(self._output)
        behind = len(self._waiting) > BEHIND_BYTES
        if behind != self._paused:
            self._paused = behind
            if behind:
                self._process.pause_reading("terminal")
            else:
                self._process.resume_reading("terminal")
