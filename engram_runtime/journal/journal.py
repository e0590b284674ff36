"""The journal: append-only, hash-chained, fsynced before anything is acknowledged. The only durability there is.

A damaged journal stays readable as far as it goes and refuses writes (`problem`, `hint`); it is never
silently replaced by an empty one: the lock file beside it remembers that there was one.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from engram_runtime import database
from engram_runtime.errors import StoreDamaged, StoreError, StoreTooNew, StoreUnavailable
from engram_runtime.journal import opening, table
from engram_runtime.journal.chain import GENESIS, Row, digest_of, flaw_in
from engram_runtime.journal.encoding import decode, encode
from engram_runtime.journal.events import Event, Recorded
from engram_runtime.journal.salvage import Ranges, readable_ranges
from engram_runtime.journal.writer import Draft, Positions, Writer
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from sqlalchemy import Engine

PATIENCE_SECONDS = 30.0
"""How long `append` waits for another process that holds the journal before it gives up (nothing is written)."""

Clock = Callable[[], datetime]

_READ = "SELECT position, at, kind, version, project, session, payload, salt, digest FROM journal WHERE "


class Verification(NamedTuple):
    """Result of a full check: how many events are sound from the first on, and the flaw after them ("" if none)."""

    events: int
    flaw: str


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Journal:
    """The journal of a home, for any number of threads. Other processes may write at the same time.

    Open it after fork(), not before: a child cannot use its parent's journal. `clock` gives the time of
    events; order comes from positions alone, so a clock that is set back does no harm.
    """

    def __init__(self, files: HomeFiles, *, clock: Clock = utc_now, read_only: bool = False) -> None:
        """Open or create. Raises StoreUnavailable only where there is nothing that could be opened."""
        self.files = files
        self._clock = clock
        self._guard = threading.RLock()
        self._writer: Writer | None = None
        self._readers: Engine | None = None
        self._readable: Ranges | None = None
        self._damage: StoreError | None = None
        self._refusal: StoreError | None = None
        self._trouble: StoreError | None = None
        self._closed = False
        self._pid = os.getpid()
        try:
            self._open(read_only)
        except (StoreDamaged, StoreTooNew) as error:
            self._degrade(error)
        atexit.register(self.close)

    # --- what is wrong ------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Whether appends are taken. A full disk leaves it True: it may be over at the next append."""
        return self._refusal is None and not self._closed

    @property
    def damaged(self) -> bool:
        """Whether the journal failed its check: what is read may be incomplete."""
        return self._damage is not None

    @property
    def trouble(self) -> StoreError | None:
        """Why the last append failed or the next will; None if all is well."""
        return self._refusal or self._trouble

    def degrade(self, error: StoreError) -> None:
        """From now on refuse writes: somebody found that the journal is not what it should be."""
        self._degrade(error)

    # --- writing ------------------------------------------------------------------------------------

    def submit(self, events: Sequence[Event], *, project: str, session: str | None) -> Future[Positions]:
        """Queue events as one transaction; the future gives their positions once they are durable.

        Raises InvalidEvent for an event that cannot be written (then none is), StoreError where nothing can.
        """
        drafts = self._drafts(events, project, session)
        return self._ready_writer().submit(drafts) if drafts else _nothing()

    def append(self, events: Sequence[Event], *, project: str, session: str | None) -> Positions:
        """Write events as one transaction; they are durable on return.

        Raises as `submit`, and StoreUnavailable (nothing was written; try again) where the disk is full or
        another process holds the journal.
        """
        return self.append_drafts(self._drafts(events, project, session))

    def append_drafts(self, drafts: tuple[Draft, ...]) -> Positions:
        """Write events that are encoded already. Raises as `append`."""
        future = self._ready_writer().write_now(drafts) if drafts else _nothing()
        try:
            return future.result(PATIENCE_SECONDS)
        except TimeoutError:
            if future.cancel():
                raise StoreUnavailable(
                    f"Another process held the journal for {PATIENCE_SECONDS:.0f} s.", hint="Try again."
                ) from None
            return future.result()

    def _drafts(self, events: Sequence[Event], project: str, session: str | None) -> tuple[Draft, ...]:
        at = stamp(self._clock())
        return tuple(
            Draft(at, event.kind, event.VERSION, project, session, encode(event)) for event in events
        )

    def forget(self, positions: Sequence[int]) -> int:
        """Erase payload and salt of these events, for good; the chain still verifies. Returns how many.

        The bytes are overwritten in the file (secure_delete) and the write-ahead log is emptied, so no
        copy stays in this home's journal; what was derived must be rebuilt by the caller.
        """
        self._ready_writer()
        engine = self._engine()
        erase = [(position,) for position in positions]
        with database.exclusive(self.files.journal_lock), engine.connect() as connection:
            try:
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
                with database.atomic(connection):
                    connection.exec_driver_sql("INSERT INTO maintenance VALUES ('forget')")
                    erased = (
                        connection.exec_driver_sql(
                            "UPDATE journal SET payload = NULL, salt = NULL WHERE position = ? AND salt NOT NULL",
                            erase,
                        ).rowcount
                        if erase
                        else 0
                    )
                    connection.exec_driver_sql("DELETE FROM maintenance")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            except database.errors() as error:
                raise database.failure(error, "The journal") from error
        return erased

    # --- reading ------------------------------------------------------------------------------------

    def head(self) -> int:
        """Position of the last event; 0 if there is none. In a damaged journal: of the last readable one."""
        if self._readable is not None:
            return self._readable[-1][1] if self._readable else 0
        rows = self._rows("SELECT max(position) FROM journal", ())
        return int(rows[0][0] or 0) if rows else self.head() if self._readable is not None else 0

    def hash_at(self, position: int) -> bytes | None:
        """The chain's hash at a position: tells whether this is the journal one has seen before."""
        if position == 0:
            return GENESIS
        rows = self._rows("SELECT hash FROM journal WHERE position = ?", (position,))
        return bytes(rows[0][0]) if rows else None

    def read_after(
        self,
        position: int = 0,
        limit: int = 1000,
        *,
        session: str | None = None,
        project: str | None = None,
        kinds: Sequence[str] = (),
        until: int | None = None,
    ) -> list[Recorded]:
        """Events after a position (to `until`, inclusive), oldest first; the filters are joined by "and"."""
        return self._read(position, until, limit, session, project, kinds, newest=False)

    def read_last(
        self,
        limit: int = 50,
        *,
        session: str | None = None,
        project: str | None = None,
        kinds: Sequence[str] = (),
        after: int = 0,
        until: int | None = None,
    ) -> list[Recorded]:
        """The newest events that pass the filters, newest last. `after` and `until` bound the search."""
        return self._read(after, until, limit, session, project, kinds, newest=True)[::-1]

    def verify(self) -> Verification:
        """Check every event and the whole chain. Does not change whether writes are taken."""
        sound, previous = 0, (0, GENESIS)
        while True:
            query = f"SELECT {table.COLUMNS} FROM journal WHERE position > ? ORDER BY position LIMIT 1000"  # noqa: S608
            rows = [Row._make(row) for row in self._rows(query, (sound,))]
            for row in rows:
                flaw = flaw_in([row], previous)
                if flaw:
                    return Verification(sound, flaw)
                sound, previous = row.position, (row.position, row.hash)
            if not rows:
                flaw = str(self._damage.args[0]) if self._damage else ""
                return Verification(sound, flaw)

    def close(self) -> None:
        """Write what was submitted, then close. Again, or in a forked child: nothing."""
        with self._guard:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
            writer, readers = self._writer, self._readers
        atexit.unregister(self.close)
        if writer is not None:
            writer.close()
        if readers is not None:
            readers.dispose()

    # --- opening ------------------------------------------------------------------------------------

    def _open(self, read_only: bool) -> None:
        if read_only:
            self._readers = self._open_for_reading()
            self._refusal = StoreUnavailable("The journal was opened for reading only.")
            return
        try:
            self._readers = opening.open_for_writing(self.files)
        except database.errors(OSError) as error:
            problem = database.failure(error, "The journal")
            if isinstance(problem, StoreDamaged) or not self.files.journal.exists():
                raise problem from error
            self._readers = self._open_for_reading()
            self._refusal = problem

    def _open_for_reading(self) -> Engine | None:
        try:
            return opening.open_for_reading(self.files)
        except database.errors() as error:
            raise database.failure(error, "The journal") from error

    def _degrade(self, error: StoreError) -> None:
        """Refuse writes, and read whatever can be read."""
        with self._guard:
            if self._damage is not None:
                return
            self._damage = self._refusal = error
            ranges: Ranges = []
            engine = None
            if opening.size_of(self.files):
                engine = database.engine(self.files.journal, access="read", salvage=True)
                try:
                    with engine.connect() as connection:
                        ranges = readable_ranges(connection, opening.size_of(self.files, with_log=True))
                except database.errors():
                    ranges = []
            old, self._readers, self._readable = self._readers, engine, ranges
        if old is not None:
            old.dispose()

    def _ready_writer(self) -> Writer:
        with self._guard:
            if self._closed:
                raise StoreUnavailable("The journal is closed.")
            if self._refusal is not None:
                raise self._refusal
            if self._writer is None:
                try:
                    self._writer = Writer(self._engine().connect(), self.files, self._note)
                except database.errors(OSError) as error:
                    raise database.failure(error, "The journal") from error
            return self._writer

    def _note(self, error: StoreError | None) -> None:
        """The writer's report after each transaction."""
        self._trouble = error
        if isinstance(error, StoreDamaged):
            self._degrade(error)

    # --- rows ---------------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        if self._readers is None:
            raise StoreUnavailable("There is no journal here yet.")
        return self._readers

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Rows of a query; a file that turns out to be damaged degrades the journal (then: no rows)."""
        engine = self._readers
        if engine is None:
            return []
        try:
            with engine.connect() as connection:
                return list(connection.exec_driver_sql(query, parameters))
        except database.errors() as error:
            problem = database.failure(error, "The journal")
            if not isinstance(problem, StoreDamaged):
                raise problem from error
            self._degrade(problem)
            return []

    def _read(
        self,
        after: int,
        until: int | None,
        limit: int,
        session: str | None,
        project: str | None,
        kinds: Sequence[str],
        *,
        newest: bool,
    ) -> list[Recorded]:
        clauses, values = [], []
        for column, value in (("session", session), ("project", project)):
            if value is not None:
                clauses.append(f" AND {column} = ?")
                values.append(value)
        if kinds:
            clauses.append(f" AND kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        query = (
            _READ
            + "position BETWEEN ? AND ?"
            + "".join(clauses)
            + f" ORDER BY position {'DESC' if newest else 'ASC'} LIMIT ?"
        )
        healthy = self._readable is None
        found = self._read_ranges(query, values, after + 1, until, limit, newest)
        if healthy and self._readable is not None:
            # Damage showed itself while reading: read again what can be read.
            found = self._read_ranges(query, values, after + 1, until, limit, newest)
        return [self._recorded(row) for row in found]

    def _read_ranges(
        self, query: str, values: list[str], low: int, until: int | None, limit: int, newest: bool
    ) -> list[Any]:
        high = 2**62 if until is None else until
        ranges = [(low, high)] if self._readable is None else self._readable
        rows: list[Any] = []
        for first, last in reversed(ranges) if newest else ranges:
            start, end = max(first, low), min(last, high)
            if start <= end and len(rows) < limit:
                rows += self._rows(query, (start, end, *values, limit - len(rows)))
        return rows

    def _recorded(self, row: Any) -> Recorded:
        position, at, kind, version, project, session, payload, salt, digest = row
        event, plain = None, None
        if payload is not None:
            if salt is not None and digest_of(salt, payload) == digest:
                event, plain = decode(kind, version, payload)
            else:
                flaw = f"The journal was altered: event {position} is not what was written."
                self._degrade(StoreDamaged(flaw, hint="Run `engram recover`."))
        return Recorded(
            position=position,
            at=at,
            kind=kind,
            version=version,
            project=project,
            session=session,
            event=event,
            payload=plain,
        )


def stamp(time: datetime) -> str:
    """A time as the journal writes it: UTC, ISO 8601, microseconds, `Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nothing() -> Future[Positions]:
    done: Future[Positions] = Future()
    done.set_result(())
    return done
