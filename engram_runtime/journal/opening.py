"""Making, finding and checking the journal's file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from engram_runtime import database
from engram_runtime.errors import StoreDamaged
from engram_runtime.journal import high_water, table
from engram_runtime.paths import HomeFiles, clear_folder, make_private_file, prepare_home, sync_folder

if TYPE_CHECKING:
    from sqlalchemy import Engine

RECOVER = "Run `engram recover`."


def open_for_writing(files: HomeFiles) -> Engine:
    """The journal of a home, made if there is none.

    Raises StoreDamaged, StoreTooNew, StoreUnavailable, OSError and the driver's errors.
    """
    prepare_home(files.root)
    _refuse_an_unfinished_recovery(files)
    _clear_the_way(files)
    _create_if_missing(files)
    # Looked at without the means to change anything: what is wrong stays as it is, for `engram recover`.
    _check(database.engine(files.journal, access="read"), files).dispose()
    return database.engine(files.journal, synchronous="FULL")


def open_for_reading(files: HomeFiles) -> Engine | None:
    """The journal of a home, on a medium that may be read-only; None if there never was one."""
    _refuse_an_unfinished_recovery(files)
    if size_of(files) == 0:
        _refuse_a_vanished_journal(files, birth_of(files))
        return None
    try:
        return _check(database.engine(files.journal, access="read"), files)
    except database.errors() as error:
        if isinstance(database.failure(error, "The journal"), StoreDamaged):
            raise
        return _check(database.engine(files.journal, access="static"), files)


def open_damaged(files: HomeFiles) -> Engine:
    """A journal that failed its check, for reading what can be read; it is left exactly as it is."""
    log = files.root / (files.journal.name + "-wal")
    # SQLite opens no file whose log is not a file.
    access: database.Access = "static" if log.is_dir() else "read"
    return database.engine(files.journal, access=access, salvage=True)


def birth_of(files: HomeFiles) -> bytes:
    """What the lock file remembers: the id of the journal that was made here; empty if none was."""
    return high_water.id_of(files.journal_lock)


def size_of(files: HomeFiles, *, with_log: bool = False) -> int:
    """Bytes of the journal's file, and of its write-ahead log; 0 for a folder in its place."""
    total = 0
    for name in (files.journal.name, files.journal.name + "-wal")[: 2 if with_log else 1]:
        path = files.root / name
        if path.is_file():
            total += path.stat().st_size
    return total


def _check(engine: Engine, files: HomeFiles) -> Engine:
    """The engine, if what it opened is a sound journal that ends where it should."""
    acknowledged = high_water.mark_of(files.journal_lock)
    try:
        with engine.connect() as connection:
            table.check(connection)
            head = int(connection.exec_driver_sql("SELECT max(seq) FROM sqlite_sequence").scalar() or 0)
    except BaseException:
        engine.dispose()
        raise
    if head < acknowledged:
        engine.dispose()
        raise StoreDamaged(
            f"The journal ends at event {head}, though {acknowledged} were written.", hint=RECOVER
        )
    return engine


def _clear_the_way(files: HomeFiles) -> None:
    """Empty folders where the journal's own files belong are removed; a log's place says that it was lost."""
    log, shared = (files.root / (files.journal.name + suffix) for suffix in ("-wal", "-shm"))
    clear_folder(shared)
    if log.is_dir():
        raise StoreDamaged("The journal's write-ahead log was replaced by a folder.", hint=RECOVER)
    if files.journal.is_dir():
        raise StoreDamaged("The journal was replaced by a folder.", hint=RECOVER)
    for path in (files.journal, files.journal_lock):
        if path.exists() and not os.access(path, os.W_OK):
            # SQLite would open it all the same, and say so at the first append.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _create_if_missing(files: HomeFiles) -> None:
    if birth_of(files) and size_of(files) > 0:
        return
    with database.exclusive(files.journal_lock) as lock:
        birth = os.pread(lock, 16, 0)
        if birth:
            _refuse_a_vanished_journal(files, birth)
            return
        if size_of(files) == 0:
            _refuse_to_begin_anew(files)
        make_private_file(files.journal)
        engine = database.engine(files.journal, synchronous="FULL")
        try:
            with engine.connect() as connection:
                if table.is_new(connection):
                    with database.atomic(connection):
                        for statement in table.SCHEMA:
                            connection.exec_driver_sql(statement)
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            engine.dispose()
        os.pwrite(lock, high_water.new_id(), 0)
        os.fsync(lock)
        sync_folder(files.root)


def _refuse_to_begin_anew(files: HomeFiles) -> None:
    """Both the journal and its lock file are gone; what was made of it, or sealed, tells that there was one."""
    left = [path for path in (files.state, files.memory) if path.is_file() and path.stat().st_size]
    if left or (files.archive.is_dir() and any(files.archive.iterdir())):
        raise _vanished()


def _refuse_a_vanished_journal(files: HomeFiles, birth: bytes) -> None:
    if files.journal.is_dir():
        raise StoreDamaged("The journal was replaced by a folder.", hint=RECOVER)
    if birth and size_of(files) == 0:
        raise _vanished()


def _vanished() -> StoreDamaged:
    return StoreDamaged(
        "The journal is gone: its file is missing or empty, though there was one.",
        hint="Run `engram recover`, or remove the whole home to start anew.",
    )


def _refuse_an_unfinished_recovery(files: HomeFiles) -> None:
    if (files.recovering / "ready").exists():
        raise StoreDamaged("A recovery was interrupted.", hint="Run `engram recover` again to finish it.")
