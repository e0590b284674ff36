"""A whole home as one file, and back: `engram export` and `engram import home`.

The file is a gzipped tar of journal, archive, blobs, recordings and settings, with a manifest of digests as its last
member. What is derived (state, memory, models) is made anew where it arrives; what belongs to a machine or a moment
(sockets, tokens, locks, trust in folders) stays behind. A failure leaves the target as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import io
import os
import re
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import IO, Final

import msgspec

from engram_runtime import database
from engram_runtime.errors import StoreDamaged, StoreTooNew, StoreUnavailable, UsageError
from engram_runtime.journal.journal import Journal, stamp
from engram_runtime.paths import (
    PRIVATE_FILE,
    HomeFiles,
    make_private_file,
    make_private_folder,
    prepare_home,
    sync_folder,
)

FORMAT: Final = "engram-home"
FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
LEFT_OUT: Final = (
    "state and memory (made anew from the journal)",
    "models and vectors",
    "sockets, tokens and locks",
    "trust in project files",
    "damaged originals that `engram recover` put aside",
)
_CHUNK: Final = 1 << 20
_SPARE_BYTES: Final = 64 * 1024 * 1024
"""What an import leaves free on the disk."""
_LARGEST_MANIFEST: Final = 256 * 1024 * 1024
_LEVEL: Final = 3
"""Of gzip: blobs and archive are compressed already, only the journal gains."""
_MEMBER: Final = re.compile(
    r"(journal\.sqlite|config\.toml"
    r"|archive/[0-9]+-[0-9]+(\.[0-9]+)?\.jsonl\.gz"
    r"|blobs/[0-9a-f]{2}/[0-9a-f]{64}"
    r"|sessions/s[0-9a-z]+/(session\.json|recording[0-9A-Za-z._-]*))\Z"
)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the manifest."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of itself. `position` and `hash` are the journal's last event and its place in the chain."""

    format: str = FORMAT
    version: int = FORMAT_VERSION
    engram: str = ""
    created_at: str = ""
    position: int = 0
    hash: str = ""
    files: tuple[Member, ...] = ()
    left_out: tuple[str, ...] = LEFT_OUT


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    path: str
    bytes: int
    events: int
    files: int


def export_home(files: HomeFiles, target: Path, *, replace: bool = False) -> Exported:
    """Write the home into one file (0600), consistent as of one moment while others go on writing.

    Raises UsageError (the target exists, is no file, or lies in the home), StoreDamaged (the journal is not sound:
    nothing is written), StoreUnavailable.
    """
    if target.exists() and not replace:
        raise UsageError(f"{target} exists.", hint="Choose another name, or add --force.")
    if target.is_dir():
        raise UsageError(f"{target} is a folder.", hint="Name a file.")
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is no file, but a device or a pipe.", hint="Name a file.")
    if target.parent.resolve().is_relative_to(files.root.resolve()):
        raise UsageError(f"{target} lies in the home itself.", hint="Choose a folder outside of it.")
    _refuse_unsound(files)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    copy = part.with_name(part.name + ".journal")
    try:
        make_private_file(part)
        with database.exclusive(files.maintenance_lock), part.open("wb") as out:
            # No segment is sealed and nothing forgotten meanwhile; others go on appending.
            position, seal = _copy_journal(files, copy)
            manifest = _write(files, copy, out, position, seal)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"{target} cannot be written: {error.strerror or error}.", hint="Choose a folder with space."
        ) from error
    finally:
        part.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    size = target.stat().st_size
    return Exported(path=str(target), bytes=size, events=position, files=len(manifest.files))


def import_home(source: Path, root: Path) -> Manifest:
    """Put an exported home into `root`, which must have no journal. Everything is checked before it is put in place.

    Raises UsageError (no such file, not an exported home, the home is in use already), StoreDamaged (the file is not
    what was exported), StoreUnavailable.
    """
    _refuse_in_use(root)
    if not source.is_file():
        raise UsageError(f"There is no file {source}.", hint="Name what `engram export` wrote.")
    prepare_home(root)
    staging = root / "importing"
    with _alone(root):
        shutil.rmtree(staging, ignore_errors=True)
        try:
            make_private_folder(staging)
            manifest = _unpack(source, staging)
            _check(staging, manifest)
            # Unpacking takes minutes for a large home: somebody may have begun to use this one.
            _refuse_in_use(root)
            _put_in_place(staging, root, manifest)
        except OSError as error:
            raise StoreUnavailable(
                f"{root} cannot be written: {error.strerror or error}.", hint="Check space and permissions."
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _refuse_in_use(root: Path) -> None:
    files = HomeFiles(root)
    log = files.journal.with_name(files.journal.name + "-wal")  # SQLite would apply it to the new journal
    if files.journal.exists() or files.journal_lock.exists() or log.exists():
        raise UsageError(
            f"The home {root} has a journal already, and two cannot be merged: their ids would collide.",
            hint="Set ENGRAM_HOME to a new folder, or move this home away first.",
        )


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder: of two imports at once one would put the other's half-written files in place."""
    folder = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another import into {root} runs.", hint="Wait for its end.") from None
        yield
    finally:
        os.close(folder)


# --- writing ------------------------------------------------------------------------------------------


def _refuse_unsound(files: HomeFiles) -> None:
    if not files.journal.exists():
        raise UsageError(f"The home {files.root} has no journal.", hint="There is nothing to export yet.")
    journal = Journal(files, read_only=True)
    try:
        if isinstance(journal.trouble, StoreTooNew):
            raise journal.trouble
        checked = journal.verify()
    finally:
        journal.close()
    if checked.flaw:
        raise StoreDamaged(
            f"The journal is not sound: {checked.flaw.rstrip('.')}.", hint="Run `engram recover` first."
        )


def _copy_journal(files: HomeFiles, copy: Path) -> tuple[int, str]:
    """A consistent copy through SQLite; its last position and hash."""
    make_private_file(copy)
    source = database.connect_bare(files.journal, access="read")
    try:
        target = database.driver().connect(str(copy))
        try:
            source.backup(target)
            # The copy is one file: no write-ahead log beside it.
            target.execute("PRAGMA journal_mode=DELETE")
        finally:
            target.close()
    except database.errors() as error:
        raise database.failure(error, "The journal") from error
    finally:
        source.close()
    journal = Journal(HomeFiles(files.root), read_only=True)
    try:
        position = _head_of(copy)
        seal = journal.hash_at(position) or b""
    finally:
        journal.close()
    return position, seal.hex()


def _head_of(copy: Path) -> int:
    bare = database.driver().connect(str(copy))
    try:
        found = bare.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'journal'").fetchone()
        return int(found[0] or 0)
    finally:
        bare.close()


def _write(files: HomeFiles, copy: Path, out: IO[bytes], position: int, seal: str) -> Manifest:
    members: list[Member] = []
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=_LEVEL, filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        members.append(_add(tar, "journal.sqlite", copy))
        for name, path in _others(files):
            # Blobs may be forgotten, and recordings rotate, while this runs: what is gone is not in the manifest.
            with contextlib.suppress(FileNotFoundError):
                members.append(_add(tar, name, path))
        manifest = Manifest(
            engram=installed("engram-tui"),
            created_at=stamp(datetime.now(UTC)),
            position=position,
            hash=seal,
            files=tuple(members),
        )
        _add_bytes(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def _others(files: HomeFiles) -> Iterator[tuple[str, Path]]:
    found = [files.config] if files.config.is_file() else []
    for folder in (files.archive, files.blobs, files.sessions):
        if folder.is_dir():
            found += sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    for path in found:
        name = path.relative_to(files.root).as_posix()
        if _MEMBER.match(name) and (path.name != "session.json" or _is_ended(path)):
            yield name, path


def _is_ended(card: Path) -> bool:
    """Whether the session said its end; one that runs is closed as lost where it arrives, by the journal's word."""
    try:
        return bool(msgspec.json.decode(card.read_bytes()).get("ended"))
    except (OSError, msgspec.MsgspecError, AttributeError):
        return False


def _add(tar: tarfile.TarFile, name: str, path: Path) -> Member:
    with path.open("rb") as file:
        info = _info(name, os.fstat(file.fileno()).st_size)
        reader = _Digesting(file)
        tar.addfile(info, reader)
        return Member(name=name, bytes=info.size, sha256=reader.digest.hexdigest())


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_info(name, len(content)), io.BytesIO(content))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, PRIVATE_FILE
    return info


class _Digesting:
    """A file whose digest is taken while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As of a file; one that is rewritten shorter meanwhile is filled up, and fails its check on arrival."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


# --- reading ------------------------------------------------------------------------------------------


def _unpack(source: Path, staging: Path) -> Manifest:
    """The members below `staging`; gives the manifest once every digest agrees."""
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(source, mode="r:gz") as tar:
            for info in tar:
                # A sparse member claims any size without a byte for it.
                plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
                file = tar.extractfile(info) if plain else None
                if file is None or manifest is not None:
                    raise StoreDamaged(
                        f"{source} is no exported home: {info.name[:80]!r} does not belong there."
                    )
                if info.name == MANIFEST:
                    manifest = msgspec.json.decode(file.read(_LARGEST_MANIFEST), type=Manifest)
                elif _MEMBER.match(info.name) and info.name not in found:
                    if info.size > shutil.disk_usage(staging).free - _SPARE_BYTES:
                        raise StoreUnavailable(
                            f"There is no space for {info.name} ({info.size:,} bytes).",
                            hint="Make space, or set ENGRAM_HOME to another disk.",
                        )
                    found[info.name] = _extract(file, staging / info.name)
                else:
                    raise StoreDamaged(
                        f"{source} is no exported home: {info.name[:80]!r} does not belong there."
                    )
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, msgspec.MsgspecError) as error:
        raise StoreDamaged(
            f"{source} is not a whole exported home ({error}).", hint="Export it again."
        ) from error
    if manifest is None or manifest.format != FORMAT:
        raise StoreDamaged(f"{source} is not a whole exported home.", hint="Export it again.")
    if manifest.version > FORMAT_VERSION:
        raise UsageError(f"{source} was written by a newer Engram.", hint="Update Engram.")
    told = {member.name: (member.bytes, member.sha256) for member in manifest.files}
    for name in sorted(told.keys() | found.keys()):
        if told.get(name) != found.get(name):
            raise StoreDamaged(f"{source}: {name} is not what was exported.", hint="Export it again.")
    return manifest


def _extract(file: IO[bytes], path: Path) -> tuple[int, str]:
    make_private_folder(path.parent)
    make_private_file(path)
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        while data := file.read(_CHUNK):
            digest.update(data)
            size += len(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return size, digest.hexdigest()


def _check(staging: Path, manifest: Manifest) -> None:
    """The whole chain, archive included, up to the event the manifest names."""
    journal = Journal(HomeFiles(staging), read_only=True)
    try:
        flaw = journal.verify().flaw
        head = journal.head()
        seal = (journal.hash_at(head) or b"").hex()
    finally:
        journal.close()
    if flaw or (head, seal) != (manifest.position, manifest.hash):
        raise StoreDamaged(
            f"The exported journal is not sound: {flaw.rstrip('.') if flaw else 'it does not end where it should'}.",
            hint="Export it again.",
        )


def _put_in_place(staging: Path, root: Path, manifest: Manifest) -> None:
    """Move the files; the journal last, so that a killed import can be run again. Settings that are there stay."""
    names = [member.name for member in manifest.files if member.name != "journal.sqlite"]
    folders = set()
    for name in names:
        target = root / name
        if name == "config.toml" and target.exists():
            continue
        make_private_folder(target.parent)
        (staging / name).replace(target)
        folders.add(target.parent)
    for folder in folders:
        sync_folder(folder)
    (staging / "journal.sqlite").replace(root / "journal.sqlite")
    sync_folder(root)
