"""Making, finding and checking the journal's file."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from engram_runtime import database
from engram_runtime.errors import StoreDamaged
from engram_runtime.journal import table
from engram_runtime.paths import HomeFiles, make_private_file, prepare_home, sync_folder

if TYPE_CHECKING:
    from sqlalchemy import Engine


def open_for_writing(files: HomeFiles) -> Engine:
    """The journal of a home, made if there is none.

    Raises StoreDamaged, StoreTooNew, StoreUnavailable, OSError and the driver's errors.
    """
    prepare_home(files.root)
    _create_if_missing(files)
    engine = database.engine(files.journal, synchronous="FULL")
    _check(engine)
    return engine


def open_for_reading(files: HomeFiles) -> Engine | None:
    """The journal of a home, on a medium that may be read-only; None if there never was one."""
    if size_of(files) == 0:
        _refuse_a_vanished_journal(files, birth_of(files))
        return None
    engine = database.engine(files.journal, access="read")
    try:
        _check(engine)
    except database.errors() as error:
        if isinstance(database.failure(error, "The journal"), StoreDamaged):
            raise
        engine = database.engine(files.journal, access="static")
        _check(engine)
    return engine


def birth_of(files: HomeFiles) -> bytes:
    """What the lock file remembers: the id of the journal that was made here; empty if none was."""
    try:
        return files.journal_lock.read_bytes()[:64]
    except OSError:
        return b""


def size_of(files: HomeFiles, *, with_log: bool = False) -> int:
    """Bytes of the journal's file, and of its write-ahead log."""
    total = 0
    for name in (files.journal.name, files.journal.name + "-wal")[: 2 if with_log else 1]:
        try:
            total += (files.root / name).stat().st_size
        except OSError:
            continue
    return total


def _check(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            table.check(connection)
    except BaseException:
        engine.dispose()
        raise


def _create_if_missing(files: HomeFiles) -> None:
    if birth_of(files) and size_of(files) > 0:
        return
    with database.exclusive(files.journal_lock) as lock:
        birth = os.pread(lock, 64, 0)
        if birth:
            _refuse_a_vanished_journal(files, birth)
            return
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
        os.pwrite(lock, secrets.token_hex(8).encode() + b"\n", 0)
        os.fsync(lock)
        sync_folder(files.root)


def _refuse_a_vanished_journal(files: HomeFiles, birth: bytes) -> None:
    if birth and size_of(files) == 0:
        raise StoreDamaged(
            "The journal is gone: its file is missing or empty, though there was one.",
            hint="Run `engram recover`, or remove the whole home to start anew.",
        )
