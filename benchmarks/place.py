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


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

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
        """Remove everything; the embedding worker ends when its home is gone."""
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def argv(self, *words: str) -> list[str]:
        """An engram command line."""
        return [str(ENGRAM), *words]


class OuterTerminal:
    """A pty whose output is read as it comes: what a terminal emulator would see."""

    def __init__(self, argv: Sequence[str], place: Place, columns: int = 120, rows: int = 40) -> None:
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(place.work)
            os.execve(argv[0], list(argv), place.environ)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
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
        """Read until nothing has come for `quiet` seconds."""
        until = time.perf_counter() + most
        while time.perf_counter() < until and self.read(quiet):
            pass

    def send(self, data: bytes) -> None:
        """Type."""
        os.write(self.fd, data)

    def close(self) -> None:
        """End it and its children."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):
            os.close(self.fd)
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)


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


def session_processes(place: Place) -> dict[str, psutil.Process]:
    """Engram's own processes of the place, by what they are: supervisor, screen, ui, worker."""
    found: dict[str, psutil.Process] = {}
    marks = {
        "engram_tui.supervisor": "supervisor",
        "engram_tui.terminal.screen_process": "screen",
        "embed_worker": "worker",
        "engram run": "ui",
    }
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline()).replace(str(ENGRAM), "engram")
            if process.environ().get("ENGRAM_HOME") != str(place.home):
                continue
        except psutil.Error:
            continue
        for mark, name in marks.items():
            if mark in line and name not in found:
                found[name] = process
                break
    return found
