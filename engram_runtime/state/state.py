"""The state file: brought up to date from the journal before it is read, thrown away when it is not sound.

Any number of processes share the file. Whoever finds the journal ahead takes the lock file and applies the
events after the stored position; rows and position are one transaction. Where the file cannot be written
(full disk, damaged journal, reading only) the same rows are kept in memory instead. A file that is lost is
begun from the newest snapshot (`snapshots.py`), a file that is thrown away on purpose (`rebuild`) from nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from engram_runtime import database
from engram_runtime.errors import StoreDamaged, StoreError
from engram_runtime.journal.background import Background
from engram_runtime.journal.journal import Journal
from engram_runtime.paths import clear_database_place, make_private_file
from engram_runtime.state import schema
from engram_runtime.state.projector import project
from engram_runtime.state.rows import Rows
from engram_runtime.state.snapshots import Snapshots

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BATCH = 1000
"""Events applied in one transaction."""

SNAPSHOT_SECONDS = 60.0
"""How often a process that lives long looks whether a snapshot is due."""

_PLACE = "SELECT position, hash FROM projection"
_MOVE = "UPDATE projection SET position = ?, hash = ?"


class State:
    """Rows projected from a journal, for any number of threads."""

    def __init__(self, journal: Journal, *, read_only: bool = False) -> None:
        """Open the state of the journal's home; rows are brought up to date by `read`, not yet here."""
        self._journal = journal
        self._files = journal.files
        self._guard = threading.RLock()
        self._engine: Engine | None = None
        self._inode: int | None = None
        self._position = 0
        self._pid = os.getpid()
        self._in_memory = read_only and not self._files.journal.exists()
        self._snapshots = Snapshots(journal)
        self._upkeep = Background("engram-snapshot", self._snapshots.take_if_due, SNAPSHOT_SECONDS)
        self._refuse_a_shorter_journal()

    @property
    def in_memory(self) -> bool:
        """Whether the rows are kept in memory, since the file cannot be written."""
        return self._in_memory

    @property
    def position(self) -> int:
        """Position of the last event the rows contain, as far as this process knows."""
        return self._position

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for queries; the rows contain every event committed before the call."""
        self.catch_up()
        engine = self._engine
        if engine is None:
            raise StoreDamaged("The state was closed.")
        # One connection serves all threads where the rows are in memory.
        with self._guard if self._in_memory else contextlib.nullcontext(), engine.connect() as connection:
            yield connection

    def catch_up(self) -> int:
        """Apply what the journal has and the rows do not; the position reached."""
        head = self._journal.head()
        if self._is_current(head):
            return self._position
        with self._guard:
            if self._in_memory or self._journal.damaged:
                self._catch_up_in_memory()
            elif not self._is_current(head):
                try:
                    self._catch_up_in_file()
                except StoreError:
                    self._close_file()
                    self._in_memory = True
                    self._catch_up_in_memory()
                else:
                    self._upkeep.consider()
            return self._position

    def rebuild(self) -> int:
        """Throw the file and all snapshots away and make it anew from the journal; the position reached."""
        with self._guard:
            with database.exclusive(self._files.state_lock):
                self._snapshots.remove_all()
                self._discard()
            return self.catch_up()

    def snapshot(self) -> int:
        """Take a snapshot now; its position, 0 where none was taken. Raises StoreError."""
        self.catch_up()
        return 0 if self._in_memory else self._snapshots.take()

    def discard_damaged(self) -> None:
        """A query found the file unsound: the next one starts from a new file."""
        with self._guard:
            if not self._in_memory and not self._journal.damaged:
                with database.exclusive(self._files.state_lock):
                    self._discard()

    def close(self) -> None:
        """Close the file (not in a forked child: the parent uses it)."""
        if os.getpid() == self._pid:
            self._upkeep.close()
        with self._guard:
            self._close_file()

    def _close_file(self) -> None:
        if self._engine is not None:
            self._engine.dispose(close=os.getpid() == self._pid)
        self._engine = None
        self._inode = None

    # --- in the file --------------------------------------------------------------------------------

    def _is_current(self, head: int) -> bool:
        if self._engine is None or self._position < head:
            return False
        return self._in_memory or self._file_inode() == self._inode

    def _file_inode(self) -> int | None:
        try:
            return self._files.state.stat().st_ino
        except OSError:
            return None

    def _catch_up_in_file(self) -> None:
        try:
            with database.exclusive(self._files.state_lock):
                if self._engine is None or self._file_inode() != self._inode:
                    self._open_file()
                try:
                    self._apply()
                except database.errors() as error:
                    if not isinstance(database.failure(error, "The state"), StoreDamaged):
                        raise
                    self._discard()
                    self._open_file()
                    self._apply()
        except database.errors(OSError) as error:
            raise database.failure(error, "The state") from error

    def _open_file(self) -> None:
        """Open the file, or make it; one that is unsound or of another journal is made anew."""
        self._close_file()
        clear_database_place(self._files.state)
        self._engine = self._sound() if self._files.state.exists() else None
        if self._engine is None:
            self._discard()
            self._engine = self._from_snapshot() or self._usable(new=True)
        self._inode = self._file_inode()

    def _from_snapshot(self) -> Engine | None:
        """The engine on the newest snapshot, if that serves."""
        if not self._snapshots.restore():
            return None
        found = self._sound()
        if found is None:
            self._discard()
        return found

    def _sound(self) -> Engine | None:
        try:
            return self._usable()
        except database.errors() as error:
            if not isinstance(database.failure(error, "The state"), StoreDamaged):
                raise
            return None

    def _usable(self, *, new: bool = False) -> Engine | None:
        """The engine, if the file holds rows of this journal (or is new)."""
        if new:
            make_private_file(self._files.state)
        engine = database.engine(self._files.state, synchronous="NORMAL")
        try:
            with engine.connect() as connection:
                if new:
                    _create(connection)
                if _has_rows(connection) and self._fits(connection):
                    return engine
        except BaseException:
            engine.dispose()
            raise
        engine.dispose()
        return None

    def _fits(self, connection: Connection) -> bool:
        position, seal = connection.exec_driver_sql(_PLACE).one()
        known = self._journal.hash_at(position)
        if known is None or known.hex() != seal:
            return False
        firsts = connection.exec_driver_sql("SELECT min(position) FROM skipped GROUP BY kind, version")
        for (skipped,) in firsts.fetchall():
            # An older Engram skipped what this one understands: its rows are missing.
            if any(found.event is not None for found in self._journal.read_after(skipped - 1, 1)):
                return False
        self._position = position
        return True

    def _discard(self) -> None:
        self._close_file()
        self._position = 0
        clear_database_place(self._files.state)
        for suffix in ("", "-wal", "-shm"):
            self._files.state.with_name(self._files.state.name + suffix).unlink(missing_ok=True)

    def _apply(self) -> None:
        """Apply the events after the stored position, in batches; the caller holds the lock."""
        assert self._engine is not None
        with self._engine.connect() as connection:
            driver = database.driver_connection(connection)
            # Projectors know SQLAlchemy's connection; this is its part they use.
            rows = cast("Connection", Rows(driver))
            self._position = int(driver.execute(_PLACE).fetchone()[0])
            while recorded := self._journal.read_after(self._position, BATCH):
                position = recorded[-1].position
                seal = self._journal.hash_at(position) or b""
                with database.atomic(driver):
                    project(rows, recorded)
                    driver.execute(_MOVE, (position, seal.hex()))
                self._position = position

    # --- in memory ----------------------------------------------------------------------------------

    def _catch_up_in_memory(self) -> None:
        if self._engine is None or not self._in_memory:
            self._close_file()
            self._engine = database.engine(":memory:")
            with self._engine.connect() as connection:
                if not self._copy_file(connection):
                    _empty(connection)
                    _create(connection)
            self._in_memory = True
        self._apply()

    def _copy_file(self, connection: Connection) -> bool:
        """Start from the rows of the file: of a damaged journal they may know more than can be read."""
        if not self._files.state.exists():
            return False
        try:
            source = database.connect_bare(self._files.state, access="read")
        except database.errors():
            return False
        try:
            source.backup(connection.connection.driver_connection)
            return _has_rows(connection) and (self._journal.damaged or self._fits(connection))
        except database.errors():
            return False
        finally:
            source.close()

    def _refuse_a_shorter_journal(self) -> None:
        """Rows are only made of durable events: if they know more, the journal lost its end."""
        if self._journal.damaged or not self._files.state.exists():
            return
        try:
            file = database.connect_bare(self._files.state, access="read")
        except database.errors():
            return
        try:
            place = file.execute(_PLACE).fetchone()
        except database.errors():
            return
        finally:
            file.close()
        head = self._journal.head()
        if place and place[0] > head:
            self._journal.degrade(
                StoreDamaged(
                    f"The journal ends at event {head}, though {place[0]} were written.",
                    hint="Run `engram recover`.",
                )
            )


def _create(connection: Connection) -> None:
    with database.atomic(connection):
        schema.METADATA.create_all(connection, checkfirst=False)
        connection.exec_driver_sql(
            "INSERT INTO projection (one, position, hash) VALUES (1, 0, ?)", ("00" * 32,)
        )


def _empty(connection: Connection) -> None:
    for (table,) in connection.exec_driver_sql(
        "SELECT name FROM sqlite_schema WHERE type = 'table'"
    ).fetchall():
        connection.exec_driver_sql(f'DROP TABLE "{table}"')


def _has_rows(connection: Connection) -> bool:
    found = connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {name for (name,) in found} >= set(schema.METADATA.tables)
