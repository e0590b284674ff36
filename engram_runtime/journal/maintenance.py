"""The one sanctioned way past the journal's guards: sealing old events, and forgetting payloads.

One process at a time (`maintenance.lock`); writers wait only for the short transactions in it. Whatever moment it
is killed at, the journal is whole: a segment counts from the transaction on that records it and deletes its rows.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engram_runtime import database
from engram_runtime.errors import StoreDamaged, StoreUnavailable
from engram_runtime.journal import segments, table
from engram_runtime.journal.chain import GENESIS, Row, flaw_in
from engram_runtime.journal.segments import Segment
from engram_runtime.paths import HomeFiles, make_private_file, sync_folder

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

LEAST_KEPT = 2 * table.TAIL
"""Events that always stay in the table: the check at open and the writer look at its end."""

VACUUM_BYTES = 100_000_000
"""What is left is written anew, to give space back, if it is no more than this."""

_ROWS = f"SELECT {table.COLUMNS} FROM journal WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?"  # noqa: S608
_RECORDS = f"SELECT {segments.COLUMNS} FROM segments"  # noqa: S608
_RECORD = (
    f"INSERT INTO segments ({segments.COLUMNS}) VALUES ({', '.join('?' * len(Segment.__struct_fields__))})"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Budget:
    """When the table is due for sealing (events, or bytes of its file), and how many of the newest events it keeps."""

    events: int = 200_000
    bytes: int = 256_000_000
    keep: int = 50_000


class Sealed(NamedTuple):
    """What sealing did: segments and events written to the archive, and the database's bytes before and after."""

    segments: int
    events: int
    bytes_before: int
    bytes_after: int


Stop = Callable[[], bool]


def is_due(connection: Connection, budget: Budget) -> bool:
    """Whether the table holds more than its budget."""
    low, high = connection.exec_driver_sql("SELECT min(position), max(position) FROM journal").one()
    if low is None or high - low < max(budget.keep, LEAST_KEPT):
        return False
    return high - low >= budget.events or _bytes_used(connection) > budget.bytes


def seal(files: HomeFiles, engine: Engine, keep: int, *, stop: Stop = lambda: False) -> Sealed | None:
    """Move all but the newest `keep` events into segments, and give the space back.

    None where another process is at it. `stop` is asked between two segments. Raises StoreDamaged where events
    to be sealed are not sound (nothing is deleted then), StoreUnavailable where files cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if not stack.enter_context(_maintaining(files, wait=False)):
            return None
        try:
            connection = stack.enter_context(engine.connect())
            before, events, count = _bytes_on_disk(files), 0, 0
            remove_strays(files, connection)
            # Of this moment: others go on writing, and chasing them would end never, in ever smaller segments.
            until = _head(connection) - max(keep, LEAST_KEPT)
            while not stop() and (rows := _next_rows(connection, until)):
                _seal_rows(files, connection, rows)
                events, count = events + len(rows), count + 1
            if count:
                _give_space_back(files, connection)
        except database.errors(OSError) as error:
            raise database.failure(error, "The journal") from error
        return Sealed(count, events, before, _bytes_on_disk(files))


def forget(files: HomeFiles, engine: Engine, positions: Sequence[int]) -> int:
    """Erase payload and salt of these events in table and archive; the chain still verifies. Gives how many.

    Free pages, the write-ahead log and the bytes of replaced segment files are overwritten as well, also what an
    earlier, interrupted forget left. Raises StoreUnavailable where that cannot be done now (run it again).
    """
    wanted = sorted(set(positions))
    with _maintaining(files, wait=True), engine.connect() as connection:
        try:
            remove_strays(files, connection)
            erased = 0
            for segment in [segments.from_record(at) for at in connection.exec_driver_sql(_RECORDS)]:
                within = {at for at in wanted if segment.first <= at <= segment.last}
                erased += _forget_sealed(files, connection, segment, within) if within else 0
            erased += _forget_rows(files, connection, wanted)
            with database.exclusive(files.journal_lock):
                connection.exec_driver_sql("VACUUM")
                _empty_log(connection)
        except database.errors(OSError) as error:
            raise database.failure(error, "The journal") from error
    return erased


def remove_strays(files: HomeFiles, connection: Connection) -> None:
    """Overwrite and remove files of the archive that no record names: left by a killed process.

    One that goes beyond the journal's end was left by none: an older copy of the journal was put in its place, and
    these events are nowhere else.
    """
    if not files.archive.is_dir():
        return
    head = _head(connection)
    recorded = {name for (name,) in connection.exec_driver_sql("SELECT file FROM segments")}
    for path in files.archive.iterdir():
        told = segments.named(path.name.removesuffix(".tmp"))
        if told is not None and told[1] <= head and path.name not in recorded:
            erase_file(path)


def erase_file(path: Path) -> None:
    """Overwrite a file's bytes, then remove it."""
    with path.open("r+b", buffering=0) as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 20)))
        os.fsync(file.fileno())
    path.unlink()
    sync_folder(path.parent)


# --- sealing ------------------------------------------------------------------------------------------


def _head(connection: Connection) -> int:
    return connection.exec_driver_sql("SELECT max(position) FROM journal").scalar() or 0


def _next_rows(connection: Connection, until: int) -> list[Row]:
    """The oldest rows of the table up to a position, as many as make a segment."""
    sealed, _ = _last_sealed(connection)
    rows: list[Row] = []
    size = 0
    for record in connection.exec_driver_sql(_ROWS, (sealed + 1, until, segments.SEGMENT_EVENTS)):
        rows.append(Row._make(record))
        size += len(rows[-1].payload or "")
        if size >= segments.SEGMENT_BYTES:
            break
    return rows


def _seal_rows(files: HomeFiles, connection: Connection, rows: Sequence[Row]) -> None:
    flaw = flaw_in(rows, _last_sealed(connection))
    if flaw:
        raise StoreDamaged(f"The journal was altered: {flaw}.", hint="Run `engram recover`.")
    segment = segments.write(files.archive, rows)
    with database.exclusive(files.journal_lock), _unlocked(connection, "seal"):
        connection.exec_driver_sql(
            _RECORD, tuple(getattr(segment, name) for name in segment.__struct_fields__)
        )
        connection.exec_driver_sql(
            "DELETE FROM journal WHERE position BETWEEN ? AND ?", (segment.first, segment.last)
        )


def _last_sealed(connection: Connection) -> tuple[int, bytes]:
    last = connection.exec_driver_sql(table.LAST_SEALED).fetchone()
    return (int(last[0]), bytes(last[1])) if last else (0, GENESIS)


def _give_space_back(files: HomeFiles, connection: Connection) -> None:
    """Write the table anew without its free pages, where that is cheap; else new events fill them."""
    with contextlib.suppress(*database.errors()), database.exclusive(files.journal_lock):
        if _bytes_used(connection) <= VACUUM_BYTES:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()


def _bytes_on_disk(files: HomeFiles) -> int:
    log = files.journal.with_name(files.journal.name + "-wal")
    return sum(path.stat().st_size for path in (files.journal, log) if path.exists())


def _bytes_used(connection: Connection) -> int:
    pages, free, size = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


# --- forgetting ---------------------------------------------------------------------------------------


def _forget_sealed(files: HomeFiles, connection: Connection, segment: Segment, wanted: set[int]) -> int:
    """Write a segment anew without the payloads, record it, overwrite the old file."""
    rows = list(segments.all_rows(files.archive, segment))
    kept = [_forgotten(row) if row.position in wanted else row for row in rows]
    erased = sum(old != new for old, new in zip(rows, kept, strict=True))
    if not erased:
        return 0
    told = segments.named(segment.file)
    new = segments.write(files.archive, kept, revision=(told[2] if told else 0) + 1)
    with database.exclusive(files.journal_lock), _unlocked(connection, "forget"):
        connection.exec_driver_sql(
            "UPDATE segments SET file = ?, bytes = ?, sha256 = ?, contents = ? WHERE last = ?",
            (new.file, new.bytes, new.sha256, new.contents, new.last),
        )
    erase_file(files.archive / segment.file)
    return erased


def _forgotten(row: Row) -> Row:
    return row._replace(payload=None, salt=None)


def _forget_rows(files: HomeFiles, connection: Connection, positions: Sequence[int]) -> int:
    if not positions:
        return 0
    connection.exec_driver_sql("PRAGMA secure_delete=ON")
    try:
        with database.exclusive(files.journal_lock), _unlocked(connection, "forget"):
            return connection.exec_driver_sql(
                "UPDATE journal SET payload = NULL, salt = NULL WHERE position = ? AND salt NOT NULL",
                [(position,) for position in positions],
            ).rowcount
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete=OFF")


def _empty_log(connection: Connection) -> None:
    """Move the write-ahead log into the file and cut it off. Raises StoreUnavailable while somebody reads from it."""
    busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    if busy:
        raise StoreUnavailable(
            "What was to be forgotten is still in the journal's write-ahead log: another process reads it.",
            hint="Run it again in a moment.",
        )


# --- the way past the guards --------------------------------------------------------------------------


@contextlib.contextmanager
def _unlocked(connection: Connection, what: str) -> Iterator[None]:
    """A transaction in which the journal's guards let `what` pass; the caller holds the journal's lock."""
    with database.atomic(connection):
        connection.exec_driver_sql("INSERT INTO maintenance VALUES (?)", (what,))
        yield
        connection.exec_driver_sql("DELETE FROM maintenance")


@contextlib.contextmanager
def _maintaining(files: HomeFiles, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of maintenance; gives False where another has it and `wait` is False."""
    make_private_file(files.maintenance_lock)
    descriptor = os.open(files.maintenance_lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
