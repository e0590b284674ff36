"""A session's folder and what a supervisor is told to run; written by the launcher, read once by the supervisor."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

import msgspec

from engram_runtime.errors import StoreUnavailable
from engram_runtime.paths import PRIVATE_FILE, make_private_folder

PROBE_S = 0.2
SOCKET_PATH_LIMIT = 100
"""AF_UNIX paths may have 107 bytes on Linux, 103 on macOS."""


class SessionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to supervise. `args` are the user's own; `briefing` is the text to inject, None in a fresh session."""

    id: str
    home: str
    project: str
    agent: str
    executable: str
    args: tuple[str, ...] = ()
    cwd: str = "."
    mode: Literal["interactive", "headless"] = "interactive"
    task: int | None = None
    """The task this session goes on with."""
    task_name: str = ""
    """`--task`: name of a task to begin."""
    checkpoint: int | None = None
    briefing: str | None = None
    prompt: str | None = None
    cols: int = 80
    rows: int = 24
    events_file: str | None = None
    strict_exit: bool = False
    parent_session: str | None = None
    unprotected: str = ""
    """Why nothing can be kept (the home cannot be used); the agent runs all the same."""


class SessionFile(msgspec.Struct, frozen=True, kw_only=True):
    """`session.json`: what discovery reads (see `engram_tui.discovery`)."""

    id: str
    agent: str
    project: str
    cwd: str
    mode: str
    pid: int
    socket: str
    started_at: str
    task: int | None = None
    ended: bool = False
    verdict: str = ""
    exit_code: int | None = None


class SessionFolder:
    """`<home>/sessions/<id>/`: spec, lock, token, private files of the launch, recording."""

    def __init__(self, home: Path, session: str) -> None:
        self.home = home
        self.session = session
        self.path = home / "sessions" / session
        self._lock: int | None = None

    @property
    def spec_path(self) -> Path:
        """The spec."""
        return self.path / "spec.json"

    @property
    def info_path(self) -> Path:
        """`session.json`."""
        return self.path / "session.json"

    @property
    def lock_path(self) -> Path:
        """Held by the supervisor for its whole life: liveness."""
        return self.path / "lock"

    @property
    def log_path(self) -> Path:
        """The detached supervisor's stderr."""
        return self.path / "supervisor.log"

    @property
    def token_path(self) -> Path:
        """The endpoint's token as an HTTP header line."""
        return self.path / "token"

    def create(self) -> None:
        """Make the folder (0700). Raises StoreUnavailable where it cannot be made."""
        try:
            make_private_folder(self.path)
        except OSError as error:
            raise StoreUnavailable(
                f"The session folder {self.path} cannot be made: {error.strerror or error}.",
                hint="Set ENGRAM_HOME to a folder that can be written.",
            ) from error

    def lock(self, patience: float = PROBE_S) -> None:
        """Take the liveness lock; it is released by the kernel when this process ends, however it ends."""
        descriptor = os.open(self.lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE_FILE)
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Whoever lists sessions holds a shared lock for a moment; who holds it longer is alive.
                if time.monotonic() > until:
                    os.close(descriptor)
                    raise
                time.sleep(0.005)
                continue
            self._lock = descriptor
            return

    def unlock(self) -> None:
        """Let go of the lock (by who closed a lost session; a supervisor keeps it until it ends)."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_spec(self, spec: SessionSpec) -> None:
        """Write the spec (0600)."""
        write_private(self.spec_path, msgspec.json.encode(spec))

    def read_spec(self) -> SessionSpec:
        """The spec."""
        return msgspec.json.decode(self.spec_path.read_bytes(), type=SessionSpec)

    def write_info(self, info: SessionFile) -> None:
        """Write `session.json` (0600), replacing the old one at once."""
        write_private(self.info_path, msgspec.json.format(msgspec.json.encode(info), indent=1))

    def socket_path(self) -> Path:
        """Where the session's Unix socket goes: the home's run folder, or a short private one."""
        usual = self.home / "run" / f"{self.session}.sock"
        if len(os.fsencode(usual)) <= SOCKET_PATH_LIMIT:
            make_private_folder(usual.parent)
            return usual
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        folder = Path(base) / f"engram-{os.getuid()}"
        make_private_folder(folder)
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
            folder = Path(tempfile.mkdtemp(prefix="engram-"))
        return folder / f"{self.session}.sock"


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600 whatever the umask, and put it in place by a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
    finally:
        os.close(descriptor)
    temporary.replace(path)
