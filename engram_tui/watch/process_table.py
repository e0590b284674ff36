"""What the operating system says about processes: one row per process, its children, its environment, its files.

Linux is read from /proc: the `children` files make a walk cost what the tree costs (1 ms for 50 processes), where
psutil scans every process of the host (15 ms). Elsewhere psutil answers. A process is named by `ProcessId`, its pid
together with its start, so that a signal never reaches a stranger that was given a dead process's number.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from engram_runtime.redaction import head

SHOWN_COMMAND_CHARACTERS = 300
_COMMAND_BYTES = 4096


class ProcessId(NamedTuple):
    """A process for all time: `start` is in the table's own unit (ticks since boot, or seconds since the epoch)."""

    pid: int
    start: float


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process at one moment. `cpu_seconds` user + system so far; `rss` bytes; `started_at` UTC seconds.

    `command` is its command line, whole up to 4 KB: patterns are matched against it (`shown_command` cuts it for show).
    """

    id: ProcessId
    parent: int
    group: int
    session: int
    has_tty: bool
    zombie: bool
    stopped: bool
    cpu_seconds: float
    rss: int
    started_at: float
    name: str
    command: str


class ProcessTable(Protocol):
    """How the rest of the package asks about processes. No method raises: a vanished process has no row."""

    def row(self, pid: int) -> ProcessRow | None:
        """The process with this pid now, or None."""

    def children(self, pid: int) -> list[int]:
        """Pids whose parent it is now."""

    def marked(self, variable: str, value: str) -> list[int]:
        """Pids of this user's processes that carry `variable=value` in their environment."""

    def carries(self, pid: int, variable: str, value: str) -> bool:
        """Whether that process has `variable=value` in its environment."""

    def files_open_for_writing(self, pid: int) -> frozenset[str]:
        """Absolute paths that the process has open for writing."""


class ProcTable:
    """Linux, from /proc."""

    def __init__(self) -> None:
        self._tick = float(os.sysconf("SC_CLK_TCK"))
        self._page = os.sysconf("SC_PAGE_SIZE")
        # Taken once: it moves when the clock is set, and a process must keep its start. (/proc/stat rounds to seconds.)
        self._booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._children_files = Path(f"/proc/self/task/{os.getpid()}/children").exists()

    def row(self, pid: int) -> ProcessRow | None:
        """See `ProcessTable.row`; fields from proc_pid_stat(5)."""
        stat = _read(f"/proc/{pid}/stat")
        if stat is None:
            return None
        head, _, tail = stat.rpartition(b")")
        fields = tail.split()
        name = head.partition(b"(")[2].decode("utf-8", "replace")
        start = int(fields[19])
        return ProcessRow(
            id=ProcessId(pid, start),
            parent=int(fields[1]),
            group=int(fields[2]),
            session=int(fields[3]),
            has_tty=fields[4] != b"0",
            zombie=fields[0] in (b"Z", b"X"),
            stopped=fields[0] in (b"T", b"t"),
            cpu_seconds=(int(fields[11]) + int(fields[12])) / self._tick,
            rss=int(fields[21]) * self._page,
            started_at=self._booted_at + start / self._tick,
            name=name,
            command=_command(pid) or f"[{name}]",
        )

    def children(self, pid: int) -> list[int]:
        """See `ProcessTable.children`; kernels built without the `children` files cost a scan of /proc."""
        if not self._children_files:
            return [child for child in _all_pids() if _parent(child) == pid]
        found: list[int] = []
        with contextlib.suppress(OSError):
            for thread in _names(f"/proc/{pid}/task"):
                listed = _read(f"/proc/{pid}/task/{thread}/children")
                found.extend(int(child) for child in (listed or b"").split())
        return found

    def marked(self, variable: str, value: str) -> list[int]:
        """See `ProcessTable.marked`; other users' environments are unreadable and so never match."""
        return [pid for pid in _all_pids() if self.carries(pid, variable, value)]

    def carries(self, pid: int, variable: str, value: str) -> bool:
        """See `ProcessTable.carries`; as it was at exec."""
        return f"{variable}={value}".encode() in (_read(f"/proc/{pid}/environ") or b"").split(b"\0")

    def files_open_for_writing(self, pid: int) -> frozenset[str]:
        """See `ProcessTable.files_open_for_writing`; the access mode is in fdinfo's octal flags."""
        paths: set[str] = set()
        with contextlib.suppress(OSError):
            for descriptor in _names(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
                    if target.startswith("/") and _writable(f"/proc/{pid}/fdinfo/{descriptor}"):
                        paths.add(target.removesuffix(" (deleted)"))
        return frozenset(paths)


class PsutilTable:
    """macOS and others, from psutil. Where the system does not tell the mode, an open file counts as written to."""

    def row(self, pid: int) -> ProcessRow | None:
        """See `ProcessTable.row`."""
        import psutil

        try:
            process = psutil.Process(pid)
            with process.oneshot():
                status = process.status()
                times = process.cpu_times()
                started_at = process.create_time()
                return ProcessRow(
                    id=ProcessId(pid, started_at),
                    parent=process.ppid(),
                    group=os.getpgid(pid),
                    session=os.getsid(pid),
                    has_tty=process.terminal() is not None,
                    zombie=status == psutil.STATUS_ZOMBIE,
                    stopped=status == psutil.STATUS_STOPPED,
                    cpu_seconds=times.user + times.system,
                    rss=process.memory_info().rss,
                    started_at=started_at,
                    name=process.name(),
                    command=_printable(" ".join(_cmdline(process))[:_COMMAND_BYTES]) or f"[{process.name()}]",
                )
        except (psutil.Error, OSError):
            return None

    def children(self, pid: int) -> list[int]:
        """See `ProcessTable.children`."""
        import psutil

        try:
            return [child.pid for child in psutil.Process(pid).children()]
        except psutil.Error:
            return []

    def marked(self, variable: str, value: str) -> list[int]:
        """See `ProcessTable.marked`."""
        import psutil

        return [pid for pid in psutil.pids() if self.carries(pid, variable, value)]

    def carries(self, pid: int, variable: str, value: str) -> bool:
        """See `ProcessTable.carries`."""
        import psutil

        try:
            return psutil.Process(pid).environ().get(variable) == value
        except (psutil.Error, OSError, ValueError):
            return False

    def files_open_for_writing(self, pid: int) -> frozenset[str]:
        """See `ProcessTable.files_open_for_writing`."""
        import psutil

        try:
            opened = psutil.Process(pid).open_files()
        except (psutil.Error, OSError):
            return frozenset()
        return frozenset(file.path for file in opened if getattr(file, "mode", "w") not in ("r", "rt"))


@lru_cache(maxsize=512)
def shown_command(command: str) -> str:
    """A command line as it is shown and recorded: its first 300 characters, of one that is cut without secrets."""
    return head(command, SHOWN_COMMAND_CHARACTERS)


@cache
def process_table() -> ProcessTable:
    """The table of this platform."""
    return ProcTable() if sys.platform == "linux" else PsutilTable()


def identify(pid: int, table: ProcessTable | None = None) -> ProcessId | None:
    """Who has this pid now, None when nobody does."""
    row = (table or process_table()).row(pid)
    return None if row is None else row.id


def is_running(process: ProcessId, table: ProcessTable | None = None) -> bool:
    """Whether that very process still runs; a zombie does not."""
    row = (table or process_table()).row(process.pid)
    return row is not None and row.id == process and not row.zombie


def send_signal(process: ProcessId, number: int, table: ProcessTable | None = None) -> bool:
    """Signal that very process; False when it is gone, when its pid is someone else's now, or not ours to signal."""
    if process.pid <= 1 or process.pid == os.getpid():
        return False
    try:
        handle = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        handle = -1
    try:
        # With the handle open first the pid cannot change hands between the check and the signal.
        if identify(process.pid, table) != process:
            return False
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(process.pid, number)
        return True
    except OSError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)


def writers_of(
    paths: Iterable[str], pids: Iterable[int], table: ProcessTable | None = None
) -> dict[str, int]:
    """Of `paths`, those that one of `pids` has open for writing now, with that pid."""
    wanted = frozenset(paths)
    found: dict[str, int] = {}
    for pid in pids:
        for path in (table or process_table()).files_open_for_writing(pid) & wanted:
            found.setdefault(path, pid)
    return found


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def _names(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _command(pid: int) -> str:
    line = (_read(f"/proc/{pid}/cmdline") or b"")[:_COMMAND_BYTES].rstrip(b"\0")
    return _printable(line.replace(b"\0", b" ").decode("utf-8", "replace"))


@lru_cache(maxsize=512)
def _printable(command: str) -> str:
    """One line without control characters: a process names itself, and may not drive a terminal by it."""
    return "".join(c if c.isprintable() else " " for c in command.strip())


def _cmdline(process: object) -> list[str]:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _all_pids() -> list[int]:
    return [int(name) for name in _names("/proc") if name.isdigit()]


def _parent(pid: int) -> int:
    stat = _read(f"/proc/{pid}/stat")
    return -1 if stat is None else int(stat.rpartition(b")")[2].split()[1])


def _writable(fdinfo: str) -> bool:
    for line in (_read(fdinfo) or b"").splitlines():
        if line.startswith(b"flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
