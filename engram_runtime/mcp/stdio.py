"""`engram mcp` over standard input and output.

The main thread reads the client and answers the handshake (`front`), a second one opens the home, after which tool
calls and lists are answered (`early`). The SDK is loaded for the first request that takes more: most clients never
send one. The process's own stdout is turned to stderr, so that nothing but messages reaches the client.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engram_runtime.mcp.front import Front, key_of

if TYPE_CHECKING:
    from engram_runtime.mcp.backend import Backend
    from engram_runtime.mcp.early import EarlyCalls
    from engram_runtime.mcp.opened import OpenHome

ANSWER_SECONDS = 30.0
"""How long requests that came before the end of input may take to be answered."""
RECORD_SECONDS = 5.0
"""How long the end may take to be recorded, whatever the disk does."""
_QUIET_SECONDS = 0.05
_READ = 1 << 16
_STATE = ("initialize", "server/discover", "notifications/initialized")
"""What the SDK's state machine must be told, however late it is loaded."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve_stdio(home: Path, project: str) -> int:
    """Serve one client until it closes its end, or a signal comes; the exit code (128 + signal, or 0).

    Both ends leave what `unsupervised` records of them.
    """
    with _wire() as (source, sink), _signals() as (woken, received):
        writing = threading.Lock()

        def write(line: bytes) -> None:
            # A client that went away is found out by the end of input, not here.
            with writing, contextlib.suppress(BrokenPipeError):
                _write_all(sink, line)

        loader = _Loader(home, project)
        front = Front(write, loader.forward)
        loader.front = front
        got = _read_until_end(source, woken, received, front, loader)
        if got is None:
            front.finish()
            if front.outstanding:
                loader.start()
            _wait(lambda: front.outstanding == 0 or bool(received), ANSWER_SECONDS)
            got = received[0] if received else None
        loader.end(got)
        return 128 + got if got is not None else 1 if loader.failed else 0


class _Loader:
    """Opens the home, and loads the SDK's part when it is needed, in its own thread; keeps what comes meanwhile."""

    def __init__(self, home: Path, project: str) -> None:
        self.front: Front
        self.failed = False
        self._home = home
        self._project = project
        self._guard = threading.Lock()
        self._waiting: list[bytes] = []
        self._needed = threading.Event()
        self._early: EarlyCalls | None = None
        self._backend: Backend | None = None
        self._opened: OpenHome | None = None
        self._thread: threading.Thread | None = None

    def forward(self, line: bytes) -> None:
        """A line for the SDK, kept until it is there; most requests are answered without it meanwhile."""
        with self._guard:
            if self._backend is None:
                self._keep(line)
                return
        self._backend.take(line)

    def _keep(self, line: bytes) -> None:
        """Put a line aside, unless nobody will miss it: what was answered, and notices about that."""
        if self._early is not None and self._early.take(line):
            return
        message = json.loads(line)
        key = key_of(message.get("id")) if "method" in message and "id" in message else None
        if key is None and "id" in message and "method" in message:
            self._needed.set()
        elif key is not None and not self.front.has_answered(key):
            # Before the home is open it may still turn out to be a call that is answered early.
            if self._early is not None:
                self._needed.set()
        elif self._early is not None and not self._needed.is_set() and message.get("method") not in _STATE:
            if key is not None:
                self.front.forget(key)
            return
        self._waiting.append(line)

    @property
    def started(self) -> bool:
        """Whether loading was begun."""
        return self._thread is not None

    def start(self) -> None:
        """Begin to load. Again: nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mcp-backend", daemon=True)
            self._thread.start()

    def end(self, got: int | None) -> None:
        """Record the end and stop; bounded, since a disk or a model may hang."""
        ending = self._backend or self._opened
        if ending is None:
            return
        ended = threading.Thread(target=self._end, args=(ending, got), name="mcp-end", daemon=True)
        ended.start()
        ended.join(RECORD_SECONDS)

    def _end(self, ending: Backend | OpenHome, got: int | None) -> None:
        ending.end(got)
        if self._early is not None and ending is self._opened:
            self._early.wait()
            self._opened.runtime.close()

    def _run(self) -> None:
        try:
            from engram_runtime.mcp.early import EarlyCalls
            from engram_runtime.mcp.opened import OpenHome

            opened = self._opened = OpenHome(self._home, self._project)
            opened.prepare()
            early = EarlyCalls(opened, self.front)
            with self._guard:
                self._early = early
                waiting, self._waiting = self._waiting, []
                for line in waiting:
                    self._keep(line)
            self._needed.wait()
            early.wait()

            from engram_runtime.mcp.backend import Backend

            backend = Backend(opened, self.front.from_sdk)
            backend.serve(lambda: self._ready(backend))
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: a silent end would leave the client waiting
            self.failed = True
            sys.stderr.write(f"engram mcp: {error}\n")
            self.front.broken(f"Engram cannot serve: {error} Nothing is being kept; go on without it.")

    def _ready(self, backend: Backend) -> None:
        self.front.loaded()
        with self._guard:
            for line in self._waiting:
                backend.take(line)
            self._waiting.clear()
            self._backend = backend
            if self._early is not None:
                self._early.close()


def _read_until_end(
    source: int, woken: int, received: list[int], front: Front, loader: _Loader
) -> int | None:
    """Feed the front until the input ends (None) or a signal comes (its number)."""
    while not received:
        ready, _, _ = select.select([source, woken], [], [], None if loader.started else _QUIET_SECONDS)
        if source in ready:
            data = os.read(source, _READ)
            if not data:
                return None
            front.feed(data)
        # Opening the home competes for the interpreter: the first words of the client go first.
        loader.start()
    return received[0]


@contextlib.contextmanager
def _wire() -> Iterator[tuple[int, int]]:
    """Private descriptors of the client's pipes. Meanwhile 0 is /dev/null and 1 is stderr, also for child processes."""
    source = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    sink = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield source, sink
    finally:
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.close(source)
        # `sink` stays open until the process ends: a call that is answered late would be written into whatever file
        # got its number meanwhile.


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, list[int]]]:
    """A descriptor that becomes readable, and a list that is filled, when one of our signals comes."""
    received: list[int] = []
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(writing, False)
    earlier = {number: signal.signal(number, lambda got, _: received.append(got)) for number in _SIGNALS}
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading, received
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _write_all(sink: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
