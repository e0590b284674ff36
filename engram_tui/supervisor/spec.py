"""A session's folder and what a supervisor is told to run; written by the launcher, read once by the supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from engram_runtime.errors import StoreUnavailable, UsageError
from engram_runtime.paths import PRIVATE_FILE, make_private_folder, readable
from engram_runtime.structs import built

T = TypeVar("T", bound=msgspec.Struct)

CONTINUE = "Continue the interrupted task"
"""The prompt Engram submits where a session goes on with a task."""
PROBE_S = 0.2
SOCKET_PATH_LIMIT = 100
"""AF_UNIX paths may have 107 bytes on Linux, 103 on macOS."""
KEPT = frozenset(("session.json", "lock"))
UNKEPT = "engram-unkept-"
"""Begins the name of the temporary folder that stands in for a home that cannot be used."""


class FolderUnusable(StoreUnavailable):
    """The session's folder cannot be made or written; nothing was started."""


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
    on_pipes: bool = False
    """Whether the agent has pipes in place of a terminal: there is no screen to show."""


class SessionFolder:
    """`<home>/sessions/<id>/`: spec, lock, token, private files of the launch, recording."""

    def __init__(self, home: Path, session: str) -> None:
        self.home = home
        self.session = session
        self.path = home / "sessions" / session
        self._lock: int | None = None
        self._task_lock: int | None = None

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
        """Make the folder (0700). Raises FolderUnusable where it cannot be made."""
        with self.usable():
            make_private_folder(self.path)

    @contextlib.contextmanager
    def usable(self) -> Iterator[None]:
        """What fails inside (read-only, full, a file in the way) is raised as FolderUnusable."""
        try:
            yield
        except OSError as error:
            raise FolderUnusable(
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

    def tidy(self) -> None:
        """The session is over: tokens and private files of the launch go; what is left says what it was."""
        for path in self.path.iterdir():
            if path.name in KEPT or path.name.startswith(self.log_path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def hold_task(self, task: int) -> None:
        """Take the task for this session until this process ends, as its lock. Raises UsageError if it is taken."""
        folder = self.home / "run"
        make_private_folder(folder)
        descriptor = os.open(
            folder / f"task-{task}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE_FILE
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            hint = "`engram sessions` lists it, `engram attach` shows it."
            raise UsageError(f"Task #{task} was just taken up by another session.", hint=hint) from None
        self._task_lock = descriptor

    def unlock(self) -> None:
        """Let go of the lock (by who closed a lost session; a supervisor keeps it until it ends)."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_spec(self, spec: SessionSpec) -> None:
        """Write the spec (0600)."""
        # The standard library's JSON takes arguments and paths that are not UTF-8 (as lone surrogates).
        write_private(self.spec_path, json.dumps(msgspec.to_builtins(spec)).encode())

    def take_spec(self) -> SessionSpec:
        """The spec; its file is removed: the user's arguments may hold secrets, and nobody needs it again."""
        spec = msgspec.convert(json.loads(self.spec_path.read_bytes()), SessionSpec)
        self.spec_path.unlink()
        return spec

    def write_info(self, info: SessionFile) -> None:
        """Write `session.json` (0600), replacing the old one at once."""
        plain = msgspec.structs.replace(info, cwd=readable(info.cwd), socket=readable(info.socket))
        write_private(self.info_path, msgspec.json.format(msgspec.json.encode(plain), indent=1))

    def read_info(self) -> SessionFile:
        """`session.json`."""
        return _decoded(self.info_path.read_bytes(), SessionFile)

    def socket_path(self) -> Path:
        """Where the session's Unix socket goes: the home's run folder, or a short private one."""
        for folder in self._socket_folders():
            path = folder / f"{self.session}.sock"
            if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT and _is_private(folder):
                return path
        import tempfile

        return Path(tempfile.mkdtemp(prefix="engram-", dir="/tmp")) / f"{self.session}.sock"

    def _socket_folders(self) -> Iterator[Path]:
        yield self.home / "run"
        import tempfile

        for base in (os.environ.get("XDG_RUNTIME_DIR") or "/nowhere", tempfile.gettempdir(), "/tmp"):  # noqa: S108
            yield Path(base) / f"engram-{os.getuid()}"


def drop_unkept(spec: SessionSpec) -> None:
    """Remove the folder that stood in for the home of a session of which nothing is kept."""
    if spec.unprotected and Path(spec.home).name.startswith(UNKEPT):
        shutil.rmtree(spec.home, ignore_errors=True)


def _is_private(folder: Path) -> bool:
    """Whether the folder, made if need be, is ours alone and can be written."""
    try:
        if folder.parent.is_dir():
            make_private_folder(folder)
        found = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return mine and os.access(folder, os.W_OK)


def _encoded(value: msgspec.Struct) -> bytes:
    """As ASCII JSON: arguments and folders may hold bytes that are no UTF-8 (as lone surrogates, see os.fsdecode)."""
    return json.dumps(msgspec.to_builtins(value), indent=1).encode("ascii")


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(data), type=built(kind))
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from error


def write_private(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file with mode 0600 whatever the umask, and put it in place by a rename (`durable`: fsynced before)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
