"""A process that has loaded everything and opened nothing, and forks writers: a kill then costs no second of imports.

Run as a program it takes one JSON order a line and answers each with a line. A forked writer is a process like any
other: it opens the home itself, as `Runtime` or as `engram mcp` on pipes, and is killed by its pid.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.crash.stream import PROJECT, Log, Worker, encoded, tool_calls

ROOT = Path(__file__).parents[2]
END_SECONDS = 30.0
"""How long a process that got SIGTERM may take to end, on a machine that is busy."""


class Nursery:
    """The program's other end."""

    def __init__(self, home: Path, logs: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery", str(home), str(logs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**kept, "ENGRAM_MODEL": "off", **environment},
            text=True,
        )

    def _ask(self, **order: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery died"
        return json.loads(line)

    def start(self, kind: str, name: str, **more: Any) -> int:
        """Fork a "runtime", "mcp", "seal" or "rebuild" process; its pid."""
        return int(self._ask(do="start", kind=kind, name=name, **more))

    def kill(self, pid: int, number: signal.Signals) -> int:
        """Send a signal and wait for the end: exit code, negative for a signal. None in time: it was killed, 999."""
        return int(self._ask(do="kill", pid=pid, signal=int(number)))

    def wait(self, pid: int, seconds: float) -> int:
        """Wait for a process that ends by itself."""
        return int(self._ask(do="wait", pid=pid, seconds=seconds))

    def close(self) -> None:
        """End everything."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@contextlib.contextmanager
def nursery(home: Path, logs: Path, **environment: str) -> Iterator[Nursery]:
    """A nursery that leaves nobody behind."""
    logs.mkdir(exist_ok=True)
    made = Nursery(home, logs, **environment)
    try:
        yield made
    finally:
        made.close()


# --- the program --------------------------------------------------------------------------------------


class _Forked(Exception):
    """Raised in a child."""


class _Forker:
    def __init__(self, home: Path, logs: Path) -> None:
        self._home = home
        self._logs = logs
        self._clients: dict[int, int] = {}
        self._alive: set[int] = set()

    def serve(self) -> None:
        for line in sys.stdin:
            order = json.loads(line)
            print(json.dumps(getattr(self, f"_{order.pop('do')}")(**order)), flush=True)

    def end(self) -> None:
        for pid in list(self._alive):
            self._kill(pid, signal.SIGKILL)

    def _start(self, kind: str, **given: Any) -> int:
        if kind != "mcp":
            pid = _fork(lambda: _LIVES[kind](self._home, self._logs, **given))
        else:
            to_server, from_client = os.pipe()
            to_client, from_server = os.pipe()
            ours = (to_server, from_client, to_client, from_server)
            pid = _fork(lambda: _mcp_server(self._home, to_server, from_server, ours))
            self._clients[pid] = _fork(lambda: _mcp_client(self._logs, to_client, from_client, ours, **given))
            for descriptor in ours:
                os.close(descriptor)
        self._alive.add(pid)
        return pid

    def _kill(self, pid: int, signal: int) -> int:
        os.kill(pid, signal)
        return self._wait(pid, END_SECONDS)

    def _wait(self, pid: int, seconds: float) -> int:
        code = _reap(pid, seconds)
        self._alive.discard(pid)
        client = self._clients.pop(pid, 0)
        if client and _reap(client, END_SECONDS) != 0:
            return 998
        return code


def _reap(pid: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 999
        time.sleep(0.002)


def _fork(life: Any) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    raise _Forked(life)


def _runtime_writer(
    home: Path,
    logs: Path,
    *,
    name: str,
    threads: int = 2,
    refusals: str = "fail",
    clock_days: float = 0,
    file_bytes: int = 0,
) -> int:
    """SIGTERM ends it as it ends a session, SIGUSR1 when what is under way is done (then it tells its figures).

    `clock_days`: its clock is that wrong. `file_bytes`: no file may grow beyond that, until SIGUSR2.
    """
    from engram_runtime.runtime import Runtime
    from engram_runtime.settings import Settings

    log, finishing = Log(logs / name, refusals=refusals), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: log.stopping.set())
    signal.signal(signal.SIGUSR1, lambda *_: finishing.set())
    clock = lambda: datetime.now(UTC) + timedelta(days=clock_days)  # noqa: E731
    runtime = Runtime.open(home, project=PROJECT, session=name, settings=Settings(model="off"), clock=clock)
    if file_bytes:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGUSR2, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    workers = [Worker(runtime, log, f"{name}t{number}") for number in range(threads)]
    running = [
        threading.Thread(target=worker.run, args=(finishing.is_set,), daemon=True) for worker in workers
    ]
    for thread in running:
        thread.start()
    while not log.stopping.is_set() and not finishing.is_set():
        time.sleep(0.01)
    if log.stopping.is_set():
        # Closed under threads that are in the middle of something.
        runtime.close()
        return 143
    for thread in running:
        thread.join()
    runtime.close()
    figures = {worker.name: [worker.count, worker.longest] for worker in workers}
    (logs / f"{name}.figures").write_text(json.dumps(figures), "utf-8")
    return 0


def _sealer(home: Path, logs: Path, *, name: str, keep: int = 200) -> int:
    from engram_runtime.journal import segments
    from engram_runtime.runtime import Runtime
    from engram_runtime.settings import Settings

    segments.SEGMENT_EVENTS, segments.BLOCK_EVENTS = 200, 50
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        while True:
            runtime.journal.seal(keep)
            time.sleep(0.02)


def _rebuilder(home: Path, logs: Path, *, name: str) -> int:
    """Opens the home again and again, and throws away what is derived under all the others."""
    from engram_runtime.runtime import Runtime
    from engram_runtime.settings import Settings

    log, finishing = Log(logs / name), threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: finishing.set())
    number = 0
    while not finishing.is_set():
        try:
            with Runtime.open(home, project=PROJECT, session=name, settings=Settings(model="off")) as runtime:
                for _ in range(3):
                    number += 1
                    kept = runtime.memory.store(f"{name}n{number} was found again", importance=0.5)
                    log.acknowledged(f"{name}n{number}", kept.memory)
                    runtime.memory.rebuild()
                    if number % 4 == 0:
                        runtime.rebuild_state()
                    if runtime.memory.row(kept.memory) is None:
                        log.error(f"{name}: memory {kept.memory} is gone after rebuilding")
        except Exception as error:  # the process's boundary: what reaches a caller is the finding
            log.error(f"{name}: {type(error).__name__}: {error}")
    return 0


def _mcp_server(home: Path, read: int, write: int, pipes: tuple[int, ...]) -> int:
    from engram_runtime.mcp.stdio import serve_stdio

    os.dup2(read, 0)
    os.dup2(write, 1)
    for descriptor in pipes:
        os.close(descriptor)
    return serve_stdio(home, PROJECT)


def _mcp_client(
    logs: Path, read: int, write: int, pipes: tuple[int, ...], *, name: str, refusals: str = "fail"
) -> int:

    for descriptor in pipes:
        if descriptor not in (read, write):
            os.close(descriptor)
    log = Log(logs / name, refusals=refusals)
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": name, "version": "1"},
    }
    # Raw: a client whose server is gone has nothing to flush.
    with (
        open(read, "rb") as answers,
        open(write, "wb", buffering=0) as requests,
        contextlib.suppress(BrokenPipeError),
    ):
        requests.write(encoded(0, "initialize", **hello))
        if not answers.readline().endswith(b"\n"):
            return 0
        for number, (word, tool, given, key) in enumerate(tool_calls(name, random.Random(name)), 1):
            requests.write(encoded(number, "tools/call", name=tool, arguments=given))
            line = answers.readline()
            if not line.endswith(b"\n"):
                return 0
            result = json.loads(line).get("result", {})
            if result.get("isError", True):
                (log.refused if refusals == "expected" else log.error)(f"{name}: {tool}: {line.decode()}")
            elif key:
                log.acknowledged(word, result["structuredContent"][key])
    return 0


_LIVES: dict[str, Any] = {"runtime": _runtime_writer, "seal": _sealer, "rebuild": _rebuilder}


def _load() -> None:
    """Import what the children will; none of it starts a thread."""
    for module in ("engram_runtime.mcp.stdio", "engram_runtime.mcp.backend", "engram_runtime.memory.facade"):
        importlib.import_module(module)
    assert threading.active_count() == 1


def main() -> int:
    """Serve orders; in a forked child, live its life."""
    _load()
    forker = _Forker(Path(sys.argv[1]), Path(sys.argv[2]))
    try:
        forker.serve()
    except _Forked as born:
        life = born.args[0]
    else:
        forker.end()
        return 0
    _watch_for_the_lock_trap(Path(sys.argv[2]))
    return int(life())


def _watch_for_the_lock_trap(logs: Path) -> None:
    """Note it if this process opens a database file other than through SQLite: closing it would drop its locks."""
    log = Log(logs / f"w{os.getpid()}trap")

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(given[0], str | bytes):
            name, flags = os.fsdecode(given[0]), given[2]
            # A file that is made and closed before SQLite knows it carries no lock yet; a snapshot is read when
            # no connection has it open.
            is_database = (
                name.endswith((".sqlite", ".sqlite-wal", ".sqlite-shm")) and "/snapshots/" not in name
            )
            if is_database and not flags & os.O_EXCL:
                log.error(f"lock trap: {name} was opened beside SQLite")

    sys.addaudithook(heard)


if __name__ == "__main__":
    sys.exit(main())
