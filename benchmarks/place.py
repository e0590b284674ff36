"""A place to measure in: a private home, a git repository, an outer terminal as raw as it gets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ENGRAM = Path(sys.executable).with_name("engram")
ASKS_SYNCHRONIZED = b"\x1b[?2026$p"
KNOWS_SYNCHRONIZED = b"\x1b[?2026;2$y"
END_S = 8.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` None: no target, shown for comparison."""

    what: str
    target: str
    figure: str
    met: bool | None


class Place:
    """Home and work folder, removed at the end."""

    def __init__(self, files: int = 0) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="eb-"))
        self.home, self.work = self.root / "home", self.root / "work"
        self.work.mkdir()
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("ENGRAM_")},
            "ENGRAM_HOME": str(self.home),
            "ENGRAM_DEMO_PACE": "0.05",
            "TERM": "xterm-256color",
            "HF_HUB_OFFLINE": "1",
        }
        git = ("git", "-c", "user.name=b", "-c", "user.email=b@example.invalid")
        subprocess.run([*git, "init", "-q", "."], cwd=self.work, check=True)
        for number in range(files):
            folder = self.work / f"d{number // 100}"
            folder.mkdir(exist_ok=True)
            (folder / f"f{number}.txt").write_text(f"{number}\n")
        subprocess.run([*git, "add", "-A"], cwd=self.work, check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "b"], cwd=self.work, check=True)

    def close(self) -> None:
        """End the embedding worker, which serves the home and nobody else, and remove everything."""
        worker = session_processes(self).get("worker")
        if worker is not None:
            with contextlib.suppress(psutil.Error):
                worker.terminate()
                worker.wait(10)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def argv(self, *words: str) -> list[str]:
        """An engram command line."""
        return [str(ENGRAM), *words]

    def warm(self) -> None:
        """Make the home, and have every module compiled: what is measured is not the first start after an install."""
        subprocess.run(
            self.argv("run", "--headless", "--", "/bin/true"),
            cwd=self.work,
            env=self.environ,
            capture_output=True,
            check=True,
        )


class OuterTerminal:
    """A pty whose output is read as it comes: what a terminal emulator would see. It knows synchronized output."""

    def __init__(self, argv: Sequence[str], place: Place, columns: int = 140, rows: int = 40) -> None:
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.started, self.started_at = time.perf_counter(), time.time()
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(theirs)
            os.chdir(place.work)
            os.execve(argv[0], list(argv), place.environ)
        os.close(theirs)
        os.set_blocking(self.fd, False)
        self.seen = bytearray()
        self.total = 0

    def read(self, seconds: float) -> bytes:
        """What comes within `seconds` at most (returns at the first output)."""
        if not select.select([self.fd], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            data = os.read(self.fd, 1 << 16)
        except (BlockingIOError, OSError):
            return b""
        if ASKS_SYNCHRONIZED in data:
            os.write(self.fd, KNOWS_SYNCHRONIZED)
        self.total += len(data)
        self.seen = (self.seen + data)[-200_000:]
        return data

    def wait_for(self, text: bytes, seconds: float) -> float:
        """Seconds until `text` came, from now. Raises TimeoutError."""
        began = time.perf_counter()
        while text not in self.seen:
            left = seconds - (time.perf_counter() - began)
            if left <= 0:
                raise TimeoutError(f"{text!r} did not come; last: {bytes(self.seen[-300:])!r}")
            self.read(left)
        return time.perf_counter() - began

    def drain(self, quiet: float, most: float = 10.0) -> None:
        """Read until nothing has come for `quiet` seconds, at most `most`."""
        until = time.perf_counter() + most
        while (left := until - time.perf_counter()) > 0 and self.read(min(quiet, left)):
            pass

    def watch(self, seconds: float) -> None:
        """Read whatever comes for so long."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.read(left)

    def send(self, data: bytes) -> None:
        """Type."""
        os.write(self.fd, data)

    def finish(self, keys: bytes, seconds: float = END_S) -> None:
        """Type what ends it, and wait for that."""
        self.send(keys)
        until = time.perf_counter() + seconds
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.perf_counter() > until:
                raise TimeoutError("it did not end by itself")
            self.read(0.01)

    def close(self) -> None:
        """End it and all it started, and see that they are gone: the next measurement is not to pay for this one."""
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self.pid)
            family = [own, *own.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.Error):
                    # Supervisors end their agent and their screen themselves.
                    if process.pid == self.pid or "engram_tui.supervisor" in process.cmdline():
                        process.send_signal(signal.SIGTERM)
            until = time.perf_counter() + END_S
            while time.perf_counter() < until and any(_alive(p) for p in family):
                self.read(0.02)
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        os.close(self.fd)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


@contextlib.contextmanager
def outer(argv: Sequence[str], place: Place, **size: int) -> Iterator[OuterTerminal]:
    """A terminal that is closed at the end."""
    terminal = OuterTerminal(argv, place, **size)
    try:
        yield terminal
    finally:
        terminal.close()


def session_processes(place: Place, *, headless: bool = False) -> dict[str, psutil.Process]:
    """Engram's own processes of the place, by what they are: supervisor, screen, ui, worker."""
    found: dict[str, psutil.Process] = {}
    marks = {
        "engram_tui.supervisor": "supervisor",
        "engram_tui.terminal.screen_process": "screen",
        "embed_worker": "worker",
        f"{ENGRAM} run": "supervisor" if headless else "ui",
    }
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.environ().get("ENGRAM_HOME") != str(place.home):
                continue
        except psutil.Error:
            continue
        for mark, name in marks.items():
            if mark in line and name not in found:
                found[name] = process
                break
    return found


def cpu_seconds(process: psutil.Process) -> float:
    """CPU a process has used, all its threads; 0 once it is gone."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def waited_seconds(process: psutil.Process) -> float:
    """Seconds its threads were ready to run and did not: what others on the machine cost it (Linux; else 0)."""
    total = 0.0
    with contextlib.suppress(OSError, psutil.Error):
        for thread in process.threads():
            text = Path(f"/proc/{process.pid}/task/{thread.id}/schedstat").read_text()
            total += int(text.split()[1]) / 1e9
    return total
