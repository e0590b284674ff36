"""The client of the embedding worker: asks, starts it when it is not there, and never waits longer than told."""

from __future__ import annotations

import array
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engram_runtime.memory.embedder import Likeness, Near, Nearness, Vectors
from engram_runtime.memory.scope import Scope
from engram_runtime.memory.wire import (
    Ask,
    Compare,
    Consult,
    Neighbours,
    Reply,
    Request,
    Status,
    WireError,
    WorkerPlace,
    receive,
    send,
    sendable,
)
from engram_runtime.structs import built

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
"""Seconds between attempts to start a worker that fails, doubling."""


class WorkerEmbedder:
    """Speaks to the one worker of the home; thread-safe, a connection per request."""

    def __init__(self, home: Path, model: str = "") -> None:
        self._home = home.absolute()
        self._model = model
        self._place = WorkerPlace.of(self._home, model)
        self._lock = threading.Lock()
        self._state = "off"
        self._note = ""
        self._child: int | None = None
        self._answering: int | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def state(self) -> str:
        """Last known: "off" (not asked yet), "starting", "warming", "ready" or "failed(reason)"."""
        return self._state

    @property
    def note(self) -> str:
        """For people: what the worker is busy with or does without, as it said last."""
        return self._note

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
        """Vectors of memories' texts, None when no worker answers in time or it is still loading."""
        if not texts:
            return None
        reply = self._ready(Ask(tuple(sendable(text) for text in texts), urgent), within)
        if reply is None:
            return None
        size = reply.dim * 4
        if not size or len(reply.vectors) != size * len(texts):
            return None
        rows = tuple(reply.vectors[i : i + size] for i in range(0, len(reply.vectors), size))
        return Vectors(reply.model, reply.dim, rows)

    def consult(
        self,
        text: str,
        scope: Scope,
        *,
        k: int,
        ids: Sequence[int] = (),
        within: float,
        passage: bool = False,
        before: int = 0,
        words: Sequence[tuple[int, int, int]] = (),
        total: int = 0,
    ) -> Likeness | None:
        """The `k` memories in scope nearest to a text, and the cosines of `ids` whatever their scope."""
        question = Consult(
            text=sendable(text),
            project=scope.project,
            user=scope.user,
            memory_type=scope.memory_type,
            k=k,
            ids=tuple(ids),
            passage=passage,
            before=before,
            words=tuple(words),
            total=total,
            within=within,
        )
        reply = self._ready(question, within)
        if reply is None or len(reply.ids) != len(reply.cosines):
            return None
        cosine = dict(zip(reply.ids, reply.cosines, strict=True))
        return Likeness(reply.model, cosine, reply.share, reply.pieces, reply.starts)

    def compare(
        self,
        text: str,
        ids: Sequence[int],
        *,
        within: float,
        passage: bool = False,
        among: Sequence[int] = (),
    ) -> Nearness | None:
        """How near each token of the text comes to each of these memories, those without token codes left out."""
        question = Compare(
            text=sendable(text), ids=tuple(ids), passage=passage, among=tuple(among), within=within
        )
        reply = self._ready(question, within)
        if reply is None:
            return None
        near = _rows_of(reply.nearness, len(reply.ids), len(reply.pieces))
        kin = _rows_of(reply.kin, len(among), len(among))
        if near is None or kin is None:
            return None
        best = dict(zip(reply.ids, near, strict=True))
        return Nearness(best, reply.pieces, reply.starts, tuple(kin))

    def neighbours(self, ids: Sequence[int], *, k: int, within: float) -> Near | None:
        """For each of these memories that has a vector, the `k` nearest older ones of its project and user."""
        reply = self._ready(Neighbours(ids=tuple(ids), k=k), within)
        if reply is None or len(reply.counts) != len(ids):
            return None
        cosine: dict[int, dict[int, float]] = {}
        start = 0
        for memory, count in zip(ids, reply.counts, strict=True):
            if count >= 0:
                part = slice(start, start + count)
                cosine[memory] = dict(zip(reply.ids[part], reply.cosines[part], strict=True))
                start += count
        return Near(reply.model, cosine)

    def close(self) -> None:
        """Lets go; a worker that ended already is reaped."""
        with self._lock:
            self._reap()

    def _ready(self, request: Request, within: float) -> Reply | None:
        """The reply of a worker that is ready; None otherwise. A worker that is gone is replaced for the next call."""
        if within <= 0:
            return None
        reply = self._request(request, within)
        if isinstance(reply, Reply):
            self._learn(reply)
            return reply if reply.state == "ready" else None
        if reply is ConnectionResetError or (
            reply is ConnectionRefusedError and self._state in ("off", "ready")
        ):
            # Whoever wanted the answer will `ensure` that a worker comes.
            self._state = "starting"
        return None

    def _request(self, message: Request, within: float) -> Reply | type[Exception]:
        """The worker's reply; ConnectionRefusedError when none listens, ConnectionResetError when it broke off,
        TimeoutError when it is slow."""
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
                return msgspec.msgpack.decode(body, type=built(Reply)) if body else ConnectionResetError
            except TimeoutError:
                return TimeoutError
            except (OSError, WireError, msgspec.MsgspecError):
                return ConnectionResetError

    def _learn(self, reply: Reply) -> None:
        self._answering, self._note = reply.pid, reply.note
        if reply.state == "failed":
            self._fail(reply.reason)
        else:
            self._state, self._failures = "ready" if reply.state == "busy" else reply.state, 0

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
            # Each request has a thread; of as many heaps (glibc's default) each would keep what it once needed.
            surroundings = {"MALLOC_ARENA_MAX": "2", **environment()}
            self._child = os.posix_spawn(command[0], command, surroundings, file_actions=quiet, setsid=True)
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


def environment() -> dict[str, str]:
    """The environment of a helper process: this one, and where this package is when it runs from a source tree."""
    root = Path(__file__).resolve().parents[2]
    if root.name in {"site-packages", "dist-packages"}:
        return dict(os.environ)
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _rows_of(numbers: bytes, rows: int, width: int) -> list[tuple[float, ...]] | None:
    """float32 numbers as rows; None when there are more or fewer."""
    read = array.array("f", numbers)
    if sys.byteorder == "big":
        read.byteswap()
    if len(read) != rows * width:
        return None
    return [tuple(read[row * width : (row + 1) * width]) for row in range(rows)]
