"""Where things are: the home and its files, the project a folder belongs to, private creation of files."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engram_runtime.errors import StoreUnavailable

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

STATE_VERSION = 2
"""Schema version of the state file. It is part of the file's name, so that an older and a newer Engram on one
home each keep their own; it changes with any change of the schema or of what a projector makes of an event."""

MEMORY_VERSION = 2
"""Schema version of the memory file, as `STATE_VERSION`."""

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "drvfs", "fuse.ceph", "fuse.cephfs", "fuse.glusterfs",
        "fuse.grpcfuse", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
        "nfs", "nfs4", "ocfs2", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf",
    }
)  # fmt: skip
"""File systems whose locks or shared memory SQLite's WAL cannot trust (names as in /proc/mounts)."""

_OWN_FOLDERS = frozenset(
    "snapshots models vectors blobs archive damaged recovering importing sessions run".split()
)
_OWN_FILES = re.compile(
    r"(?:journal\.sqlite|(?:state|memory)\.v\d+\.sqlite)(?:-wal|-shm|-journal)?"
    r"|(?:state\.v\d+|memory\.v\d+|journal|maintenance|snapshots)\.lock|config\.toml|trusted"
)


@dataclass(frozen=True, slots=True)
class HomeFiles:
    """Names of everything Engram keeps in a home. Nothing is created by asking."""

    root: Path

    def own(self, path: Path) -> bool:
        """Whether a path of the home is Engram's, of any version; mcp-engram keeps its own in the same folder."""
        first, *rest = path.relative_to(self.root).parts or ("",)
        return not first or first in _OWN_FOLDERS or (not rest and bool(_OWN_FILES.fullmatch(first)))

    @property
    def journal(self) -> Path:
        """The journal: the only file whose loss is a loss."""
        return self.root / "journal.sqlite"

    @property
    def journal_lock(self) -> Path:
        """Locked while a process writes to the journal; holds the journal's id."""
        return self.root / "journal.lock"

    @property
    def maintenance_lock(self) -> Path:
        """Locked while a process seals or forgets events."""
        return self.root / "maintenance.lock"

    @property
    def snapshots(self) -> Path:
        """Compressed copies of the state, each at a position of the journal; derived."""
        return self.root / "snapshots"

    @property
    def snapshots_lock(self) -> Path:
        """Locked while a process takes a snapshot."""
        return self.root / "snapshots.lock"

    @property
    def state(self) -> Path:
        """Projected state; derived."""
        return self.root / f"state.v{STATE_VERSION}.sqlite"

    @property
    def state_lock(self) -> Path:
        """Locked while a process brings the state up to date."""
        return self.root / f"state.v{STATE_VERSION}.lock"

    @property
    def memory(self) -> Path:
        """Memory rows, text index, vectors; derived."""
        return self.root / f"memory.v{MEMORY_VERSION}.sqlite"

    @property
    def memory_lock(self) -> Path:
        """Locked while a process brings the memory up to date."""
        return self.root / f"memory.v{MEMORY_VERSION}.lock"

    @property
    def models(self) -> Path:
        """Embedding models in the form they are served in, one folder each; derived."""
        return self.root / "models"

    @property
    def vectors(self) -> Path:
        """Vectors and token codes by the digest of their text, one file a model; derived."""
        return self.root / "vectors"

    @property
    def blobs(self) -> Path:
        """Large texts by their SHA-256."""
        return self.root / "blobs"

    @property
    def archive(self) -> Path:
        """Sealed segments of the journal."""
        return self.root / "archive"

    @property
    def damaged(self) -> Path:
        """What `engram recover` put aside: the damaged originals, one folder a recovery."""
        return self.root / "damaged"

    @property
    def recovering(self) -> Path:
        """What a recovery works on; left over only where one was interrupted."""
        return self.root / "recovering"

    @property
    def sessions(self) -> Path:
        """One folder a session: lock, log, private files of the agent's launch."""
        return self.root / "sessions"

    @property
    def run(self) -> Path:
        """Sockets and tokens of what runs now."""
        return self.root / "run"

    @property
    def config(self) -> Path:
        """The user's settings."""
        return self.root / "config.toml"

    @property
    def trusted(self) -> Path:
        """Project configuration files the user trusts, by content."""
        return self.root / "trusted"


@dataclass(frozen=True, slots=True)
class GitPlace:
    """A folder inside a git repository: top of its worktree, and the directory all worktrees share."""

    top: Path
    common: Path


def home() -> Path:
    """The home: $ENGRAM_HOME, else ~/.engram. Not created."""
    named = os.environ.get("ENGRAM_HOME", "").strip()
    return Path(named).expanduser().absolute() if named else Path.home() / ".engram"


def prepare_home(root: Path) -> HomeFiles:
    """Make the home if it is missing (0700) and refuse one that cannot be trusted.

    Raises StoreUnavailable: not a folder, not writable, or on a network file system
    (unless $ENGRAM_ALLOW_NETWORK_HOME is set).
    """
    refuse_network(root)
    try:
        make_private_folder(root)
    except OSError as error:
        raise StoreUnavailable(
            f"The home {root} cannot be made: {error.strerror or error}.",
            hint="Set ENGRAM_HOME to a folder that can be written.",
        ) from error
    return HomeFiles(root)


def make_private_folder(path: Path) -> None:
    """Make a folder (and missing parents) with mode 0700, whatever the umask. An existing one is left as it is."""
    if path.is_dir():
        return
    if not path.parent.exists():
        make_private_folder(path.parent)
    try:
        path.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    path.chmod(PRIVATE_FOLDER)


def make_private_file(path: Path) -> bool:
    """Make an empty file with mode 0600, whatever the umask; False if it exists.

    An existing file is never opened: closing a descriptor of a SQLite file drops this process's locks on it.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError:
        return False
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)
    return True


def clear_folder(path: Path) -> None:
    """Remove an empty folder that stands where a file of the home belongs; OSError for one that holds something."""
    if path.is_dir():
        path.rmdir()


def clear_database_place(path: Path) -> None:
    """Remove folders where a derived database or its side files belong; one that holds something is put aside.

    Raises OSError where that cannot be done.
    """
    for suffix in ("", "-wal", "-shm"):
        place = path.with_name(path.name + suffix)
        if place.is_dir() and any(place.iterdir()):
            aside = HomeFiles(path.parent).damaged
            make_private_folder(aside)
            place.rename(aside / f"{place.name}.{time.time_ns()}")
        clear_folder(place)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable: a new file survives power loss only after this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def git_place(cwd: Path) -> GitPlace | None:
    """The git worktree `cwd` is in, read from its files (gitrepository-layout(5)) without running git."""
    folder = cwd.resolve()
    for top in (folder, *folder.parents):
        entry = top / ".git"
        if entry.is_dir() and (entry / "HEAD").exists():
            return GitPlace(top, _common_directory(entry))
        if entry.is_file():
            pointed = _line_of(entry).removeprefix("gitdir:").strip()
            directory = (top / pointed).resolve()
            if pointed and directory.is_dir():
                return GitPlace(top, _common_directory(directory))
    return None


def project_of(cwd: Path) -> str:
    """The project a folder belongs to: its git common directory (all worktrees are one project), else the folder.

    A path that is not UTF-8 has its other bytes written as `\\xe9`: the journal holds text.
    """
    place = git_place(cwd)
    return readable(str(place.common if place else cwd.resolve()))


def readable(name: str) -> str:
    """A path or argument as text that can be encoded: bytes that are not UTF-8 as `\\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def refuse_network(root: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise StoreUnavailable where the home is on a network file system (Linux; elsewhere it is not looked at)."""
    if os.environ.get("ENGRAM_ALLOW_NETWORK_HOME", "").strip().lower() in {"1", "true", "yes", "on"}:
        return
    kind = file_system_of(root, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreUnavailable(
            f"The home {root} is on a network file system ({kind}), where locks cannot be trusted.",
            hint="Set ENGRAM_HOME to a local folder, or ENGRAM_ALLOW_NETWORK_HOME=1 to use it all the same.",
        )


def file_system_of(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Type of the file system `path` is (or would be) on; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    where = path.resolve()
    best, kind = -1, None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        if where.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def _common_directory(directory: Path) -> Path:
    shared = directory / "commondir"
    return (directory / _line_of(shared)).resolve() if shared.is_file() else directory.resolve()


def _line_of(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return ""


def _unescaped(field: str) -> str:
    # /proc/mounts writes space, tab, newline and backslash as octal.
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
