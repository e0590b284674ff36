"""A copy of the state file now and then, so that a state that was lost is not replayed from the first event.

A snapshot is derived data of derived data: it is used only if every byte of it passes its checksum, its schema is
this Engram's (it is part of the name), and the event it ends at has the same hash in the journal. It is moved into
the place of the state file, so using it costs one pass over its bytes; the rest of the way is replayed as always.

Files: `snapshots/state.v<schema>.<position>.sqlite`, and beside it `….json` (`Head`), which is written last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from engram_runtime import database
from engram_runtime.journal.journal import Journal
from engram_runtime.paths import STATE_VERSION, make_private_file, make_private_folder

EVERY_EVENTS = 5_000
"""Events after which a process that lives long takes the next snapshot: about what is replayed at most."""

_BLOCK_BYTES = 4_000_000
_PLACE = "SELECT position, hash FROM projection"
_NAME = re.compile(rf"state\.v{STATE_VERSION}\.(\d+)\.json")

Stop = Callable[[], bool]


class Head(msgspec.Struct, frozen=True):
    """What is known of a snapshot: the last event its rows contain, that event's hash (hex), its size and CRC-32."""

    position: int
    hash: str
    size: int
    crc: int


class Snapshots:
    """The snapshots of a home that this Engram can use; the newest is kept."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._files = journal.files
        self._folder = journal.files.snapshots

    def newest(self) -> int:
        """Position of the newest snapshot; 0 if there is none."""
        return max((position for position, _ in self._heads()), default=0)

    def restore(self) -> bool:
        """Move the newest sound snapshot into the place of the state file; False if there is none.

        The caller holds the state's lock. Raises OSError where that cannot be done.
        """
        for position, told in sorted(self._heads(), reverse=True):
            copy = told.with_suffix(".sqlite")
            usable = self._is_sound(told, copy, position)
            told.unlink(missing_ok=True)
            if usable:
                copy.replace(self._files.state)
                return True
            copy.unlink(missing_ok=True)
        return False

    def take_if_due(self, stop: Stop) -> int:
        """Take a snapshot if enough happened since the last one; its position, 0 if none was taken."""
        if self._journal.damaged or self._journal.head() < self.newest() + EVERY_EVENTS:
            return 0
        return self.take(stop, wait=False)

    def take(self, stop: Stop = lambda: False, *, wait: bool = True) -> int:
        """Copy the state as it is now; the position of the copy, 0 where none was made.

        `wait`: for another process (or thread) that is at it. Raises StoreError where files cannot be read or written.
        """
        try:
            make_private_folder(self._folder)
            with _alone(self._files.snapshots_lock, wait=wait) as alone:
                return self._take(stop) if alone else 0
        except database.errors(OSError) as error:
            raise database.failure(error, "The snapshot of the state") from error

    def remove_all(self) -> None:
        """Remove every snapshot, of any schema: something in them must not come back."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)

    def _take(self, stop: Stop) -> int:
        copy, told = self._folder / "copy.sqlite", self._folder / "copy.json"
        try:
            copy.unlink(missing_ok=True)  # of a process that was killed
            head, inode = self._copy(copy, stop)
            if head is None:
                return 0
            told.write_bytes(msgspec.json.encode(head))
            told.chmod(0o600)
            with database.exclusive(self._files.state_lock):
                # A state that was thrown away meanwhile may have held what is to be forgotten.
                if _inode(self._files.state) != inode:
                    return 0
                older = [path for _, path in self._heads()]
                place = self._folder / f"state.v{STATE_VERSION}.{head.position:09d}.json"
                copy.replace(place.with_suffix(".sqlite"))
                told.replace(place)
            for path in older:
                if path != place:
                    path.unlink(missing_ok=True)
                    path.with_suffix(".sqlite").unlink(missing_ok=True)
            return head.position
        finally:
            copy.unlink(missing_ok=True)
            told.unlink(missing_ok=True)

    def _copy(self, copy: Path, stop: Stop) -> tuple[Head | None, int]:
        """Copy the state file through SQLite; what is known of the copy, and the inode of the state file."""
        make_private_file(copy)
        with contextlib.ExitStack() as stack:
            stack.enter_context(database.exclusive(self._files.state_lock))
            inode = _inode(self._files.state)
            if not inode:
                return None, 0
            source = stack.enter_context(
                contextlib.closing(database.connect_bare(self._files.state, access="read"))
            )
            target = stack.enter_context(contextlib.closing(database.driver().connect(str(copy))))
            target.execute("PRAGMA synchronous=OFF")
            source.backup(target)
            position, seal = target.execute(_PLACE).fetchone()
        if stop():
            return None, inode
        size, crc = _sum(copy)
        return Head(int(position), str(seal), size, crc), inode

    def _is_sound(self, told: Path, copy: Path, position: int) -> bool:
        try:
            head = msgspec.json.decode(told.read_bytes(), type=Head)
            known = self._journal.hash_at(position)
            return (
                head.position == position
                and known is not None
                and known.hex() == head.hash
                and _sum(copy) == (head.size, head.crc)
            )
        except (OSError, msgspec.MsgspecError):
            return False

    def _heads(self) -> list[tuple[int, Path]]:
        try:
            told = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        except OSError:
            return []
        return [(int(found[1]), path) for found, path in told if found]


def _sum(path: Path) -> tuple[int, int]:
    """Size and CRC-32 of a file that no connection has open."""
    size = crc = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


@contextlib.contextmanager
def _alone(lock: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file while the block runs; without `wait` only if nobody else does."""
    make_private_file(lock)
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
