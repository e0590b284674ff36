"""The memory file: rows, text index and vectors, derived from the journal and rebuilt from it whenever in doubt."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from engram_runtime.database import atomic, connect_bare, driver, exclusive, failure, load_vec
from engram_runtime.errors import StoreUnavailable
from engram_runtime.journal.events import Recorded
from engram_runtime.memory import projector
from engram_runtime.memory.vectors import BlobStore, VecStore, VectorStore
from engram_runtime.paths import HomeFiles, clear_database_place, make_private_file
from engram_runtime.state.views import MemoryRow

BATCH = 1000
"""Events applied in one transaction."""
MAPPED = 256 * 1024 * 1024
"""Bytes of the file that are read without copying: a recall touches some hundred pages all over it."""

_COLUMNS = (
    "id, content, category, importance, user, project, scope, metadata, memory_type, task, session, source,"
    " created_at, updated_at, recalls, last_recalled_at, superseded_by, superseded_at,"
    " superseded_why, pruned_at"
)
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))

T = TypeVar("T")


class JournalReader(Protocol):
    """What the index needs of the journal."""

    def head(self) -> int:
        """Position of the last event, 0 when there is none."""
        ...

    def read_after(self, position: int, limit: int) -> list[Recorded]:
        """The next events after a position, in order."""
        ...


class Index:
    """The memory file of a home, for one process. Thread-safe: one connection under one lock.

    A file that is damaged, or that does not belong to this journal, is deleted and rebuilt. Where the home
    cannot be written the index is kept in RAM. While the home is away (moved, unmounted) what needs its files is
    refused with StoreUnavailable; once it is back the index goes on. `model` is the setting whose vectors are used.
    """

    def __init__(self, home: Path, journal: JournalReader, model: str = "") -> None:
        self._model = model
        self._files = HomeFiles(home)
        self._journal = journal
        self._lock = threading.RLock()
        self._position = 0
        self._in_memory = False
        self._closed = False
        self._inode = 0
        self._connection: Any = None
        self.vectors: VectorStore
        self._open()

    # --- opening, closing, healing ----------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._connect()
        except (OSError, driver().DatabaseError) as error:
            if _is_unsound(error):
                self._delete()
            else:
                # Not writable (read-only home, full disk): what is derived can live in RAM.
                self._in_memory = True
            self._connect()
        self._replace_another_journals()

    def _reopen(self) -> None:
        """Connects again after the file went away. Raises StoreUnavailable where it is away still."""
        self._require_home()
        try:
            self._connect()
            self._replace_another_journals()
        except (OSError, driver().DatabaseError) as error:
            self._close_connection()
            if _is_unsound(error):
                raise
            raise failure(error, "The memory index") from error

    def _require_home(self) -> None:
        home = self._files.memory.parent
        if not self._in_memory and not home.is_dir():
            raise StoreUnavailable(
                f"The home {home} is not there.", hint="Put it back or mount it, then try again."
            )

    def _replace_another_journals(self) -> None:
        if not self._belongs():
            self._close_connection()
            self._delete()
            self._connect()

    def _connect(self) -> None:
        # In line: while another process removes a file and then its log, a new file would lose its own log.
        with self._turn():
            if not self._in_memory:
                clear_database_place(self._files.memory)
                make_private_file(self._files.memory)
                self._inode = self._file_inode()
            self._connection = connect_bare(":memory:" if self._in_memory else self._files.memory)
            try:
                self._connection.execute(f"PRAGMA mmap_size={MAPPED}")
                has_vec = load_vec(self._connection)
                with atomic(self._connection):
                    for statement in projector.SCHEMA:
                        self._connection.execute(statement)
                self._position = self._stored_position()
            except BaseException:
                self._close_connection()
                raise
        store = VecStore if has_vec else BlobStore
        self.vectors = store(self._connection, self._model)

    def _delete(self) -> None:
        if self._in_memory:
            return
        if getattr(self._journal, "damaged", False):
            # Its rows may be the best copy left of what the journal lost: `engram recover` looks at them.
            self._in_memory = True
            return
        with exclusive(self._files.memory_lock):
            for suffix in ("", "-wal", "-shm"):
                self._files.memory.with_name(self._files.memory.name + suffix).unlink(missing_ok=True)

    def _file_inode(self) -> int:
        """The file's inode, 0 where there is none: another process may have put a new file in its place."""
        try:
            return self._files.memory.stat().st_ino
        except OSError:
            return 0

    def _belongs(self) -> bool:
        """Whether the last applied event is still in the journal, as it was.

        Of a damaged journal nothing is asked: the rows may be the best copy left of what it lost.
        """
        if self._position == 0 or getattr(self._journal, "damaged", False):
            return True
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'applied_at'").fetchone()
        last = self._journal.read_after(self._position - 1, 1)
        return bool(row and last and last[0].position == self._position and last[0].at == row[0])

    def rebuild(self) -> None:
        """Deletes the file and derives it anew; vectors follow when they are embedded again."""
        with self._lock:
            self._require_home()
            self._close_connection()
            self._delete()
            self._connect()
            self.catch_up()

    def healing(self, call: Callable[[], T]) -> T:
        """Runs a query; if the file proves damaged, rebuilds it and runs the query again.

        Raises StoreUnavailable where the file cannot be used for another reason (home away, full disk, locked).
        """
        with self._lock:
            try:
                return call()
            except (driver().ProgrammingError, driver().NotSupportedError):
                raise
            except (OSError, driver().DatabaseError) as error:
                self._require_home()
                if "readonly" in str(error) and not self._in_memory:
                    # The file may not be written (any more): what is derived can live in RAM.
                    self._in_memory = True
                elif not _is_unsound(error):
                    raise failure(error, "The memory index") from error
                self.rebuild()
                return call()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._closed = True
            self._close_connection()

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- transactions -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """The connection, for this thread alone meanwhile."""
        with self._lock:
            if self._closed:
                raise driver().ProgrammingError("the memory index is closed")
            if self._connection is None:
                self._reopen()
            yield self._connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """One write transaction; other processes of the home wait in line at a lock file."""
        with self.connection() as connection, self._turn(), atomic(connection):
            yield connection

    def _turn(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._in_memory else exclusive(self._files.memory_lock)

    # --- projection -------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Journal position up to which this process knows the rows to be applied."""
        return self._position

    def catch_up(self) -> int:
        """Applies the events the rows do not have yet. Returns the position reached."""
        head = self._journal.head()
        with self._lock:
            if not self._in_memory and self._connection is not None and self._file_inode() != self._inode:
                # Rebuilt by another process (`engram rebuild-cache`, a forget): its file is the one to go on with.
                self._require_home()
                self._close_connection()
                self._reopen()
            while self._position < head and self._apply_batch():
                pass
            return self._position

    def _apply_batch(self) -> bool:
        with self.transaction() as connection:
            # Another process may have been here meanwhile.
            self._position = self._stored_position()
            events = self._journal.read_after(self._position, BATCH)
            for recorded in events:
                projector.apply(connection, recorded)
            if events:
                connection.executemany(
                    "INSERT OR REPLACE INTO meta VALUES(?, ?)",
                    [("position", events[-1].position), ("applied_at", events[-1].at)],
                )
        if events:
            self._position = events[-1].position
        return bool(events)

    def _stored_position(self) -> int:
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'position'").fetchone()
        return int(row[0]) if row else 0

    # --- rows -------------------------------------------------------------------------------------------

    def select(self, condition: str, values: Sequence[object]) -> list[MemoryRow]:
        """Rows that meet an SQL condition over `memories m` (may end in ORDER BY and LIMIT)."""
        with self.connection() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM memories m WHERE {condition}", tuple(values))  # noqa: S608
            return [_row(values) for values in found.fetchall()]

    def row(self, memory: int) -> MemoryRow | None:
        """A row by its id."""
        found = self.select("m.id = ?", (memory,))
        return found[0] if found else None

    def bytes_on_disk(self) -> int:
        """Size of the file with its write-ahead log, in bytes."""
        names = [self._files.memory.name + suffix for suffix in ("", "-wal")]
        files = [self._files.memory.with_name(name) for name in names]
        return 0 if self._in_memory else sum(file.stat().st_size for file in files if file.exists())


def _is_unsound(error: Exception) -> bool:
    """Whether the file itself is at fault: damaged, or with other columns than this version makes."""
    if isinstance(error, driver().OperationalError):
        text = str(error)
        return "Could not decode" in text or "no such column" in text or "has no column" in text
    return isinstance(error, driver().DatabaseError)


def _row(values: Sequence[Any]) -> MemoryRow:
    fields = dict(zip(_NAMES, values, strict=True))
    said = fields["metadata"]
    fields["metadata"] = msgspec.json.decode(said) if said != "{}" else {}
    return MemoryRow(**fields)
