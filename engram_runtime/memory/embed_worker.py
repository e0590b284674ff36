"""The embedding worker: `python -m engram_runtime.memory.embed_worker HOME MODEL`.

One process per home and model, started by whoever needs vectors first and shared by all. It holds the model, the
vectors as one matrix and the token codes, so that no session has to. It is disposable: what it keeps is on disk, it
ends after ten idle minutes or when the home is gone, and the next client starts another.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
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
from msgspec.structs import replace

from engram_runtime.database import driver
from engram_runtime.memory.turns import Busy
from engram_runtime.memory.wire import (
    Ask,
    Compare,
    Consult,
    Neighbours,
    Reply,
    Request,
    WireError,
    WorkerPlace,
    receive,
    send,
)
from engram_runtime.structs import built

if TYPE_CHECKING:
    from engram_runtime.memory.answering import Answers
    from engram_runtime.memory.model import Question

IDLE_SECONDS = 600.0
FAILED_SECONDS = 60.0
"""How long a worker that cannot load its model stays to say so."""
LOOK_SECONDS = 1.0
NICE = 5
THREADS = "1"

log = logging.getLogger("engram.embed_worker")


class Worker:
    """Serves one home until it is idle or the home is gone."""

    def __init__(self, home: Path, model: str, place: WorkerPlace, *, idle: float = IDLE_SECONDS) -> None:
        self._home = home
        self._name = model
        self._place = place
        self._idle = idle
        self._answers: Answers | None = None
        self._reason = ""
        self._note = ""
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
                    if self._answers is not None:
                        self._answers.forget_stale()
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
            from engram_runtime.memory.answering import Answers
            from engram_runtime.memory.loading import load

            loaded = load(self._home, self._name, self._say)
            answers = Answers(self._home, loaded.model)
            self._warm(answers)
        except Exception as error:  # thread boundary: whatever a model does wrong is told to clients
            said = " ".join(str(error).split())[:300]
            self._reason = f"the model {self._name!r} cannot be loaded: {said or type(error).__name__}"
            log.exception("the model %r cannot be loaded", self._name)
            return
        self._note = loaded.note
        self._answers = answers
        self._asked_at = time.monotonic()
        log.info("%s ready after %.1f s", loaded.model.id, time.monotonic() - started)

    def _say(self, note: str) -> None:
        self._note = note
        log.info("%s", note)

    def _warm(self, answers: Answers) -> None:
        try:
            answers.warm()
            _give_back()
        except (OSError, driver().Error) as error:
            # The file may be damaged or on its way out; whoever recalls heals it, and it is read again.
            log.warning("the vectors cannot be read: %s", error)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(self._idle)
            try:
                while (body := receive(connection)) is not None:
                    send(connection, self._reply(msgspec.msgpack.decode(body, type=built(Request))))
            except (OSError, WireError, msgspec.MsgspecError) as error:
                log.info("a client went away: %s", error)

    def _reply(self, request: Request) -> Reply:
        answers, pid = self._answers, os.getpid()
        if answers is None:
            state = "failed" if self._reason else "warming"
            return Reply(state=state, reason=self._reason, note=self._note, pid=pid)
        model = answers.model
        ready = Reply(state="ready", note=self._note, model=model.id, dim=model.dim, pid=pid)
        self._asked_at = time.monotonic()
        try:
            match request:
                case Ask():
                    if not request.urgent:
                        _stand_back()
                    return replace(ready, vectors=answers.vectors(request))
                case Consult():
                    return _consulted(answers, request, ready)
                case Compare():
                    ids, nearness, question = answers.compare(request)
                    kin = answers.kin(request.among)
                    return replace(ready, ids=tuple(ids), nearness=nearness, kin=kin, **_tokens(question))
                case Neighbours():
                    near = answers.neighbours(request)
                    return replace(
                        ready,
                        counts=tuple(-1 if found is None else len(found) for found in near),
                        ids=tuple(memory for found in near for memory in found or ()),
                        cosines=tuple(value for found in near for value in (found or {}).values()),
                    )
                case _:
                    return ready
        except Busy:
            return replace(ready, state="busy")
        except (OSError, driver().Error) as error:
            # A memory file that is damaged, locked or gone: the recall goes on without what it would have said.
            log.warning("not answered: %s", error)
            return ready
        finally:
            self._asked_at = time.monotonic()


def _consulted(answers: Answers, request: Consult, ready: Reply) -> Reply:
    cosines, share, question = answers.consult(request)
    return replace(
        ready,
        ids=tuple(cosines),
        cosines=tuple(cosines.values()),
        share=share,
        **_tokens(question),
    )


def _tokens(question: Question) -> dict[str, tuple[int, ...]]:
    if question.tokens is None:
        return {}
    return {
        "pieces": tuple(question.tokens.ids.tolist()),
        "starts": tuple(question.tokens.starts.tolist()),
    }


def _stand_back() -> None:
    """Gives this thread, which answers one request, less of the processor: nobody waits for indexing."""
    if sys.platform == "linux":
        # Only there a thread has a niceness of its own; elsewhere a recall would be as slow as indexing.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


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


def _give_back() -> None:
    """Returns to the system what loading needed for a moment: some 40 MB with 100,000 memories."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _detach() -> None:
    """Leaves the starter's session, terminal and folder; makes files for this user alone; keeps to one core."""
    os.umask(0o077)
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.chdir("/")
    # Before numpy is loaded. More threads of one comparison wait for each other where agents use the cores.
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
