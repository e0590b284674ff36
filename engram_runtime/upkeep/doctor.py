"""What `engram doctor` looks at, one finding after another; nothing is changed by looking."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engram_runtime import database, paths
from engram_runtime.blobs import Blobs
from engram_runtime.errors import EngramError, StoreDamaged
from engram_runtime.journal import salvage
from engram_runtime.journal.events import CheckpointWritten
from engram_runtime.journal.journal import Journal
from engram_runtime.paths import PRIVATE_FILE, PRIVATE_FOLDER, HomeFiles

Standing = Literal["ok", "note", "problem"]

FIRST_SOUND_SQLITE = (3, 51, 3)
"""Earlier ones have the WAL-reset bug: several processes that write can damage a database (sqlite.org/wal.html)."""
LITTLE_SPACE, NO_SPACE = 1_000_000_000, 50_000_000
_MOST_NAMED = 20
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `note`: works, with less; `problem`: something is or will be lost. `do` says what to do."""

    about: str
    standing: Standing
    said: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class BlobFault:
    """A text that an event names and that is not there (or not what was written)."""

    position: int
    digest: str
    what: Literal["missing", "altered"]


def of_machine(files: HomeFiles) -> Iterator[Finding]:
    """SQLite, file system and disk."""
    version = tuple(int(part) for part in database.sqlite_version().split("."))
    said = f"{database.sqlite_version()} ({database.driver_name()})"
    if version < FIRST_SOUND_SQLITE:
        said += " is older than 3.51.3 and has a rare bug that can damage a database which several processes write"
        yield Finding("SQLite", "note", said, "Install pysqlite3 (where it has wheels) or a newer Python.")
    else:
        yield Finding("SQLite", "ok", said)
    with contextlib.closing(database.connect_bare(":memory:")) as memory:
        if database.load_vec(memory):
            yield Finding("sqlite-vec", "ok", "loads")
        else:
            said = "cannot be loaded: memories are compared without an index"
            yield Finding("sqlite-vec", "note", said, "Install a SQLite driver with extensions (pysqlite3).")
    yield from _place(files.root)


def _place(root: Path) -> Iterator[Finding]:
    kind = paths.file_system_of(root)
    if kind in paths.NETWORK_FILE_SYSTEMS:
        said = f"{kind} is a network file system: its locks cannot be trusted, and a journal there can be damaged"
        yield Finding("file system", "problem", said, "Set ENGRAM_HOME to a local folder.")
    else:
        yield Finding("file system", "ok", kind or "not told by the system")
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free
    said = f"{free / 1e9:.1f} GB free"
    if free < NO_SPACE:
        yield Finding("disk", "problem", said, "Free some space: soon nothing can be kept.")
    else:
        yield Finding("disk", "note" if free < LITTLE_SPACE else "ok", said)


def of_files(files: HomeFiles, *, fix: bool = False) -> Iterator[Finding]:
    """Permissions, folders where files belong, what is left over. `fix` sets right what can be without loss."""
    open_to_others = [path for path in _own(files) if _is_open(path)]
    if fix:
        for path in open_to_others:
            path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)
    if open_to_others and not fix:
        said = f"others on this machine can use {_named(files.root, open_to_others)}"
        yield Finding("permissions", "problem", said, "Run `engram doctor --fix`.")
    else:
        done = f"; set right: {_named(files.root, open_to_others)}" if open_to_others else ""
        yield Finding("permissions", "ok", f"only yours{done}")
    needed = (files.root, files.journal, files.journal_lock, files.state, files.memory)
    unwritable = [path for path in needed if path.exists() and not _usable(path)]
    if unwritable:
        do = "Make them yours and writable (chmod u+rw)."
        yield Finding("permissions", "problem", f"not writable: {_named(files.root, unwritable)}", do)
    wrong = [path for path in _expected_files(files) if path.is_dir()]
    derived = [path for path in _derived_files(files) if path.is_dir()]
    for found, do in (
        (wrong, "Run `engram recover`; remove the folders that stay."),
        (derived, "Run `engram rebuild-cache`: it puts them aside."),
    ):
        if found:
            said = f"a folder stands where a file belongs: {_named(files.root, found)}"
            yield Finding("files", "problem", said, do)
    yield from _left_over(files, fix=fix)


def _left_over(files: HomeFiles, *, fix: bool) -> Iterator[Finding]:
    if files.recovering.exists():
        yield Finding("recovery", "problem", "one was interrupted", "Run `engram recover` to finish it.")
    dead = [path for path in _entries(files.run) if path.suffix == ".sock" and not _answers(path)]
    for path in dead if fix else ():
        path.unlink(missing_ok=True)
    if dead and not fix:
        yield Finding(
            "sockets",
            "note",
            f"{len(dead)} of ended sessions are left over",
            "`engram doctor --fix` removes them.",
        )
    aside = _entries(files.damaged)
    if aside:
        size = sum(p.stat().st_size for folder in aside for p in folder.rglob("*") if p.is_file())
        said = f"{len(aside)} damaged originals are kept ({size / 1e6:.1f} MB)"
        yield Finding("put aside", "note", said, f"Remove {files.damaged} when you no longer need them.")


def of_journal(journal: Journal, progress: Callable[[int], None] | None = None) -> Iterator[Finding]:
    """Can it be written, is its chain whole, is its file sound."""
    head, trouble = journal.head(), journal.trouble
    sealed = len(journal.segments()) if not journal.damaged else 0
    size = sum(
        p.stat().st_size for p in (journal.files.journal, *_entries(journal.files.archive)) if p.is_file()
    )
    if trouble is not None and not journal.writable:
        yield Finding("journal", "problem", str(trouble.args[0]), trouble.hint)
    else:
        said = f"{head:,} events, {size:,} bytes" + (f", {sealed} sealed segments" if sealed else "")
        yield Finding("journal", "ok", said)
    checked = journal.verify(progress)
    if checked.flaw:
        said = f"{checked.events:,} events are sound from the first on; then: {checked.flaw}"
        yield Finding("chain", "problem", said, "Run `engram recover --dry-run` to see what can be kept.")
    else:
        yield Finding("chain", "ok", f"{checked.events:,} events verified")
    flaw = "" if journal.damaged else salvage.flaw_of_file(journal.files.journal)
    if flaw:
        yield Finding("journal file", "problem", flaw, "Run `engram recover`.")


def of_derived(files: HomeFiles, head: int) -> Iterator[Finding]:
    """State and memory: sound, and how far they are."""
    for about, path, query in (
        ("state", files.state, "SELECT position FROM projection"),
        ("memory", files.memory, "SELECT value FROM meta WHERE key = 'position'"),
    ):
        if not path.is_file():
            yield Finding(about, "ok", "not made yet; it is derived from the journal when it is needed")
            continue
        flaw, position = _derived_flaw(path, query)
        if flaw:
            do = "Nothing to do: it is made anew when it is read; or run `engram rebuild-cache`."
            yield Finding(about, "note", f"unsound ({flaw})", do)
        else:
            behind = f", {head - position:,} events behind" if position < head else ""
            yield Finding(about, "ok", f"sound, at event {position:,}{behind}")


def _derived_flaw(path: Path, query: str) -> tuple[str, int]:
    try:
        with contextlib.closing(database.connect_bare(path, access="read")) as file:
            database.load_vec(file)
            found = str(file.execute("PRAGMA quick_check(1)").fetchone()[0])
            row = file.execute(query).fetchone()
    except database.errors() as error:
        return str(error), 0
    return ("" if found == "ok" else found), int(row[0]) if row else 0


def of_blobs(journal: Journal, blobs: Blobs) -> Finding:
    """Whether the texts that events name are there and as they were written."""
    faults = blob_faults(journal, blobs)
    if not faults:
        return Finding("blobs", "ok", "all that events name are there")
    named = ", ".join(f"{f.digest[:12]}… ({f.what}, event {f.position})" for f in faults[:_MOST_NAMED])
    return Finding("blobs", "problem", f"{len(faults)} lost: {named}", "They cannot be made again.")


def blob_faults(journal: Journal, blobs: Blobs) -> list[BlobFault]:
    """Blobs that are named by an event and missing or altered."""
    named: dict[str, int] = {}
    position = 0
    while recorded := journal.read_after(position, _BATCH, kinds=("CheckpointWritten",)):
        position = recorded[-1].position
        for at in recorded:
            if isinstance(at.event, CheckpointWritten) and at.event.content.git and at.event.content.git.diff:
                named.setdefault(at.event.content.git.diff, at.position)
    faults = []
    for digest, first in named.items():
        try:
            blobs.get(digest)
        except StoreDamaged:
            faults.append(BlobFault(first, digest, "altered"))
        except EngramError:
            faults.append(BlobFault(first, digest, "missing"))
    return faults


# --- files ------------------------------------------------------------------------------------------------


def _expected_files(files: HomeFiles) -> tuple[Path, ...]:
    own = (files.journal, files.journal_lock, files.state_lock, files.memory_lock)
    return (*own, files.config, files.trusted)


def _derived_files(files: HomeFiles) -> tuple[Path, ...]:
    databases = (files.state, files.memory)
    return tuple(path.with_name(path.name + suffix) for path in databases for suffix in ("", "-wal", "-shm"))


def _own(files: HomeFiles) -> Iterator[Path]:
    """The home and everything of Engram's in it but its models, which are public."""
    if not files.root.is_dir():
        return
    yield files.root
    for folder, folders, names in os.walk(files.root):
        if Path(folder) == files.root:
            folders[:] = [
                name for name in folders if name != files.models.name and files.own(files.root / name)
            ]
            names = [name for name in names if files.own(files.root / name)]
        yield from (Path(folder) / name for name in (*folders, *names))


def _is_open(path: Path) -> bool:
    """Whether others may read or write it: a private folder above protects what is inside, but not a copy."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISLNK(mode) and not stat.S_ISSOCK(mode) and bool(mode & 0o077)


def _usable(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _answers(path: Path) -> bool:
    """Whether a process listens at a Unix socket."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _named(root: Path, found: list[Path]) -> str:
    names = [str(path.relative_to(root)) for path in found[:5]]
    more = len(found) - len(names)
    return ", ".join("the home itself" if name == "." else name for name in names) + (
        f" and {more} more" if more else ""
    )
