"""The embedding worker: `python -m engram_runtime.memory.embed_worker HOME MODEL`.

One process per home and model, started by whoever needs vectors first and shared by all. It is disposable:
it keeps nothing, ends after ten idle minutes or when the home is gone, and the next client starts another.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engram_runtime.memory.wire import Ask, Reply, Status, WireError, WorkerPlace, receive, send

if TYPE_CHECKING:
    from engram_runtime.memory.model import Model

IDLE_SECONDS = 600.0
FAILED_SECONDS = 60.0
"""How long a worker that cannot load its model stays to say so."""
LOOK_SECONDS = 1.0
CHUNK = 8
"""Texts encoded before an urgent request is let in (about 50 ms)."""

log = logging.getLogger("engram.embed_worker")


class Turns:
    """Lets one thread encode at a time, urgent ones first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._urgent = 0

    def take(self, *, urgent: bool) -> None:
        """Waits for the turn."""
        with self._changed:
            self._urgent += urgent
            self._changed.wait_for(lambda: not self._busy and (urgent or not self._urgent))
            self._urgent -= urgent
            self._busy = True

    def give_back(self) -> None:
        """Ends the turn."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()


class Worker:
    """Serves one home until it is idle or the home is gone."""

    def __init__(self, home: Path, model: str, place: WorkerPlace, *, idle: float = IDLE_SECONDS) -> None:
        self._home = home
        self._name = model
        self._place = place
        self._idle = idle
        self._turns = Turns()
        self._model: Model | None = None
        self._reason = ""
        self._asked_at = time.monotonic()

    def serve(self) -> None:
        """Listens at once, loads the model meanwhile, returns when there is no more reason to live."""
        home = self._home.stat()
        self._place.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._place.socket))
            self._place.socket.chmod(0o600)
            listener.listen(16)
            listener.settimeout(LOOK_SECONDS)
            threading.Thread(target=self._load, name="load", daemon=True).start()
            while not self._is_over((home.st_dev, home.st_ino)):
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()
        self._place.socket.unlink(missing_ok=True)

    def _is_over(self, home: tuple[int, int]) -> bool:
        try:
            now = self._home.stat()
        except OSError:
            log.info("the home is gone")
            return True
        if (now.st_dev, now.st_ino) != home or not self._place.socket.exists():
            log.info("the home is another one")
            return True
        limit = min(self._idle, FAILED_SECONDS) if self._reason else self._idle
        return time.monotonic() - self._asked_at > limit

    def _load(self) -> None:
        started = time.monotonic()
        try:
            from engram_runtime.memory.model import load

            model = load(self._name)
            model.vectors(["warm"])
        except Exception as error:  # thread boundary: whatever a model does wrong is told to clients
            said = " ".join(str(error).split())[:300]
            self._reason = f"the model {self._name!r} cannot be loaded: {type(error).__name__}: {said}"
            log.exception("the model %r cannot be loaded", self._name)
            return
        self._model = model
        self._asked_at = time.monotonic()
        log.info("%s ready after %.1f s", model.id, time.monotonic() - started)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(self._idle)
            try:
                while (body := receive(connection)) is not None:
                    send(connection, self._reply(msgspec.msgpack.decode(body, type=Ask | Status)))
            except (OSError, WireError, msgspec.MsgspecError) as error:
                log.info("a client went away: %s", error)

    def _reply(self, request: Ask | Status) -> Reply:
        model, pid = self._model, os.getpid()
        if model is None:
            state = "failed" if self._reason else "warming"
            return Reply(state=state, reason=self._reason, pid=pid)
        vectors = b""
        if isinstance(request, Ask):
            self._asked_at = time.monotonic()
            vectors = b"".join(
                self._encode(model, list(request.texts[i : i + CHUNK]), urgent=request.urgent)
                for i in range(0, len(request.texts), CHUNK)
            )
            self._asked_at = time.monotonic()
        return Reply(state="ready", model=model.id, dim=model.dim, vectors=vectors, pid=pid)

    def _encode(self, model: Model, texts: list[str], *, urgent: bool) -> bytes:
        self._turns.take(urgent=urgent)
        try:
            return model.vectors(texts)
        finally:
            self._turns.give_back()


def main(arguments: list[str] | None = None) -> int:
    """Runs a worker unless the home has one. Returns 0 also when it has."""
    parser = argparse.ArgumentParser(prog="embed_worker")
    parser.add_argument("home", type=Path)
    parser.add_argument("model")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds without a request to live")
    options = parser.parse_args(arguments)
    home = options.home.absolute()
    if not home.is_dir():
        return 1
    _detach()
    place = WorkerPlace.of(home, options.model)
    place.make_folders()
    with place.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        handler = RotatingFileHandler(place.log, maxBytes=256 * 1024, backupCount=1)
        logging.basicConfig(
            level=logging.INFO, handlers=[handler], format="%(asctime)s %(process)d %(message)s"
        )
        Worker(home, options.model, place, idle=options.idle).serve()
        handler.flush()
        # Not sys.exit: the loading thread may be inside torch, which does not like an interpreter that ends.
        os._exit(0)


def _detach() -> None:
    """Leaves the starter's session, terminal and folder; is nice; makes files for this user alone."""
    os.umask(0o077)
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.chdir("/")
    os.nice(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
