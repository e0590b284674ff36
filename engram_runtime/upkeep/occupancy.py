"""Who uses a home right now: told by locks, which the system lets go of when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from pathlib import Path

from engram_runtime.paths import HomeFiles

# SQLite's shared-lock bytes (os_unix.c): every connection to a file in WAL mode holds a lock there while it is open.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi4x"


def users_of(files: HomeFiles) -> list[str]:
    """What uses the home, in words; empty if nothing does.

    Not for a process that has files of the home open itself: closing them here would drop its own locks.
    """
    found = [f"session {path.name}" for path in _folders(files.sessions) if _is_flocked(path / "lock")]
    pids = {
        pid
        for path in (files.journal, files.state, files.memory)
        if (pid := _sqlite_user(path)) is not None and pid != os.getpid()
    }
    return found + [f"process {pid}{_name_of(pid)}" for pid in sorted(pids)]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return []


def _is_flocked(path: Path) -> bool:
    """Whether a process holds this lock file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: two who ask at the same time do not take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _sqlite_user(path: Path) -> int | None:
    """Pid of a process that has this database open; None if none has (or the system does not tell)."""
    if not path.is_file():
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _question())
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _holder(answer)


def _question() -> bytes:
    if sys.platform == "darwin":
        return struct.pack(_FLOCK, _SHARED_FIRST, _SHARED_SIZE, 0, fcntl.F_WRLCK, os.SEEK_SET)
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)


def _holder(answer: bytes) -> int | None:
    fields = struct.unpack(_FLOCK, answer)
    kind, pid = (fields[3], fields[2]) if sys.platform == "darwin" else (fields[0], fields[4])
    return None if kind == fcntl.F_UNLCK else int(pid)


def _name_of(pid: int) -> str:
    """The program's command line in brackets, where the system tells."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    line = " ".join(word.decode("utf-8", "replace") for word in words if word)
    return f" ({line[:60]})" if line else ""
