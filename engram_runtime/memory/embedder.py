"""The client of the embedding worker: asks, starts it when it is not there, and never waits longer than told."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from engram_runtime.memory.wire import Ask, Reply, Status, WireError, WorkerPlace, receive, send

NO_MODEL = frozenset({"off", "none"})
"""Model names that mean: words only."""
LONGEST_TEXT = 8192
"""Characters of a text that are sent; models read some hundred words at most."""
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
"""Seconds between attempts to start a worker that fails, doubling."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors, one per text: float32 little-endian, `dim` numbers each. `model` names what made them."""

    model: str
    dim: int
    rows: tuple[bytes, ...]


class Embedder(Protocol):
    """Turns texts into vectors, elsewhere."""

    @property
    def state(self) -> str:
        """Last known: "off", "starting", "warming", "ready" or "failed(reason)"."""
        ...

    @property
    def worker(self) -> int | None:
        """Pid of the process that makes the vectors, as far as known; None where there is none."""
        ...

    def ensure(self) -> str:
        """Starts what must be started and looks how it is (milliseconds). Returns the state."""
        ...

    def embed(self, texts: Sequence[str], *, within: float, urgent: bool = False) -> Vectors | None:
        """Vectors of the texts, None when they cannot be had `within` so many seconds."""
        ...

    def close(self) -> None:
        """Lets go; the worker lives on for others."""
        ...


class NoEmbedder:
    """No model: recall goes by words alone."""

    state = "off"
    worker: int | None = None

    def ensure(self) -> str:
        """Always off."""
        return self.state

    def embed(self, texts: Sequence[str], *, within: float, urgent: bool = False) -> Vectors | None:
        """None."""
        return None

    def close(self) -> None:
        """Nothing to let go."""


class WorkerEmbedder:
    """Speaks to the one worker of the home; thread-safe, a connection per request."""

    def __init__(self, home: Path, model: str = "") -> None:
        self._home = home.absolute()
        self._model = model
        self._place = WorkerPlace.of(self._home, model)
        self._lock = threading.Lock()
        self._state = "off"
        self._child: int | None = None
        self._answering: int | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def state(self) -> str:
        """Last known: "off" (not asked yet), "starting", "warming", "ready" or "failed(reason)"."""
        return self._state

    @property
    def worker(self) -> int | None:
        """Pid of the worker that answered last, else of the one started here; None where there is none yet."""
        return self._answering or self._child

    def ensure(self) -> str:
        """Looks at the worker and starts one when none answers, unless the last ones failed a moment ago."""
        with self._lock:
            if time.monotonic() < self._not_before:
                return self._state
            reply = self._request(Status(), 0.25)
            if isinstance(reply, Reply):
                self._learn(reply)
            elif reply is ConnectionRefusedError:
                self._start()
            return self._state

    def embed(self, texts: Sequence[str], *, within: float, urgent: bool = False) -> Vectors | None:
        """Vectors of the texts, None when no worker answers in time or it is still loading."""
        if not texts or within <= 0:
            return None
        reply = self._request(Ask(tuple(_sendable(text) for text in texts), urgent), within)
        if not isinstance(reply, Reply):
            if reply is ConnectionRefusedError and self._state in ("off", "ready"):
                # Whoever wanted the vectors will `ensure` that a worker comes.
                self._state = "starting"
            return None
        self._learn(reply)
        size = reply.dim * 4
        if reply.state != "ready" or not size or len(reply.vectors) != size * len(texts):
            return None
        rows = tuple(reply.vectors[i : i + size] for i in range(0, len(reply.vectors), size))
        return Vectors(reply.model, reply.dim, rows)

    def close(self) -> None:
        """Lets go; a worker that ended already is reaped."""
        with self._lock:
            self._reap()

    def _request(self, message: Ask | Status, within: float) -> Reply | type[Exception]:
        """The worker's reply; ConnectionRefusedError when none listens, TimeoutError when it is slow or broke off."""
        deadline = time.monotonic() + within
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within)
            try:
                connection.connect(str(self._place.socket))
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                return ConnectionRefusedError
            except OSError:
                return TimeoutError
            try:
                send(connection, message)
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                body = receive(connection)
                return msgspec.msgpack.decode(body, type=Reply) if body else TimeoutError
            except (OSError, WireError, msgspec.MsgspecError):
                return TimeoutError

    def _learn(self, reply: Reply) -> None:
        self._answering = reply.pid
        if reply.state == "failed":
            self._fail(reply.reason)
        else:
            self._state, self._failures = reply.state, 0

    def _start(self) -> None:
        code = self._reap()
        if code:
            self._fail(f"the embedding worker ended with code {code}; see {self._place.log}")
            return
        if self._child is not None:
            self._state = "starting"
            return
        # -P: the folder the agent works in must not shadow a module. posix_spawn: no fork of a large process.
        command = [sys.executable, "-P", "-m", "engram_runtime.memory.embed_worker"]
        command += [str(self._home), self._model]
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            self._place.make_folders()
            self._child = os.posix_spawn(command[0], command, _environment(), file_actions=quiet, setsid=True)
        except (OSError, NotImplementedError) as error:
            self._fail(f"the embedding worker cannot be started: {error}")
            return
        self._state = "starting"

    def _reap(self) -> int:
        """Exit code of the worker started here if it has ended (0: none has, or it ended well)."""
        if self._child is None:
            return 0
        try:
            pid, status = os.waitpid(self._child, os.WNOHANG)
        except ChildProcessError:
            self._child = None
            return 0
        if pid == 0:
            return 0
        self._child = None
        code = os.waitstatus_to_exitcode(status)
        return code if code > 0 else 0

    def _fail(self, reason: str) -> None:
        self._state = f"failed({reason})"
        self._not_before = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
        self._failures += 1


def _environment() -> dict[str, str]:
    """The environment of the worker: this one, and where this package is when it runs from a source tree."""
    root = Path(__file__).resolve().parents[2]
    if root.name in {"site-packages", "dist-packages"}:
        return dict(os.environ)
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _sendable(text: str) -> str:
    """The text as far as a model would read it, in characters that UTF-8 has."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


def embedder_for(home: Path, model: str) -> Embedder:
    """The embedder for a model setting: a name, a path, "" for the default, "off" for none."""
    return NoEmbedder() if model.strip().lower() in NO_MODEL else WorkerEmbedder(home, model.strip())
