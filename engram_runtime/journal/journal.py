"""The journal: append-only, hash-chained, fsynced before anything is acknowledged. The only durability there is.

A damaged journal stays readable as far as it goes and refuses writes (`problem`, `hint`); it is never
silently replaced by an empty one: the lock file beside it remembers that there was one. Old events leave the
database for sealed segments (`maintenance.py`); reading knows no difference (`reading.py`).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engram_runtime import database
from engram_runtime.errors import StoreDamaged, StoreError, StoreTooNew, StoreUnavailable
from engram_runtime.journal import maintenance, opening, table
from engram_runtime.journal.background import Background
from engram_runtime.journal.chain import GENESIS, Row, flaw_of
from engram_runtime.journal.encoding import decode, encode
from engram_runtime.journal.events import Event, Recorded
from engram_runtime.journal.maintenance import Budget, Sealed
from engram_runtime.journal.reading import ALL, LAST_POSITION, Reader, Verification, Wanted
from engram_runtime.journal.retold import Retellings
from engram_runtime.journal.segments import Segment
from engram_runtime.journal.writer import Draft, Positions, Writer
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Budget", "Clock", "Journal", "Sealed", "Segment", "Verification", "stamp", "utc_now"]

PATIENCE_SECONDS = 30.0
"""How long `append` waits for another process that holds the journal before it gives up (nothing is written)."""

SEAL_SECONDS = 600.0
"""How often a process that lives long looks whether events are due for sealing."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Journal:
    """The journal of a home, for any number of threads. Other processes may write at the same time.

    Open it after fork(), not before: a child cannot use its parent's journal. `clock` gives the time of
    events; order comes from positions alone, so a clock that is set back does no harm. With a `budget`, a process
    that lives long seals old events in the background.
    """

    def __init__(
        self,
        files: HomeFiles,
        *,
        clock: Clock = utc_now,
        read_only: bool = False,
        budget: Budget | None = None,
    ) -> None:
        """Open or create. Raises StoreUnavailable only where there is nothing that could be opened."""
        self.files = files
        self._clock = clock
        self._guard = threading.RLock()
        self._writer: Writer | None = None
        self._inode = -1
        self._reader = Reader(files, None, self._degrade)
        self._retellings = Retellings(
            lambda after, limit: self._reader.rows(
                after + 1, LAST_POSITION, limit, Wanted(kinds=("Forgotten",))
            ),
            lambda: self._reader.head(),
        )
        self._budget = budget or Budget()
        self._sealing = (
            Background("engram-seal", self._seal_if_due, SEAL_SECONDS)
            if budget is not None and not read_only
            else None
        )
        self._damage: StoreError | None = None
        self._refusal: StoreError | None = None
        self._trouble: StoreError | None = None
        self._closed = False
        self._pid = os.getpid()
        try:
            self._open(read_only)
            self._check_archive()
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

    # --- looking after it ---------------------------------------------------------------------------

    def forget(self, positions: Sequence[int]) -> int:
        """Erase payload and salt of these events, for good, sealed or not; the chain still verifies. Gives how many.

        The bytes are overwritten in the table, its free pages, the write-ahead log and the archive. What was
        derived must be rebuilt by the caller, snapshots of the state included. Also finishes what an interrupted
        forget left. Raises StoreUnavailable where something could not be overwritten yet: run it again.
        """
        self._ready_writer()
        try:
            return maintenance.forget(self.files, self._engine(), positions)
        except StoreDamaged as error:
            self._degrade(error)
            raise

    def seal(self, keep: int | None = None, *, stop: Callable[[], bool] = lambda: False) -> Sealed | None:
        """Move all but the newest `keep` events (default: the budget's) into the archive.

        None if another process is at it. Raises StoreUnavailable, and StoreDamaged where the events to be sealed
        are not sound (those stay where they are).
        """
        self._ready_writer()
        keep = self._budget.keep if keep is None else keep
        try:
            return maintenance.seal(self.files, self._engine(), keep, stop=stop)
        except StoreDamaged as error:
            self._degrade(error)
            raise

    def segments(self) -> list[Segment]:
        """The sealed segments, oldest first."""
        return list(self._reader.segments())

    def verify(self, progress: Callable[[int], None] | None = None) -> Verification:
        """Check every event, the whole chain and every byte of the archive; writes are taken as before.

        `progress` is told the position reached, now and then.
        """
        found = self._reader.verify(progress)
        if found.flaw or self._damage is None:
            return found
        return Verification(found.events, str(self._damage.args[0]))

    # --- reading ------------------------------------------------------------------------------------

    def head(self) -> int:
        """Position of the last event; 0 if there is none. In a damaged journal: of the last readable one."""
        return self._reader.head()

    def hash_at(self, position: int) -> bytes | None:
        """The chain's hash at a position: tells whether this is the journal one has seen before."""
        return self._reader.hash_at(position)

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
        """Events after a position (to `until`, inclusive), oldest first; the filters are joined by "and".

        Filters are answered by looking at each event of the table between the two positions (and at those sealed
        segments that hold any): give bounds where they are known.
        """
        wanted = Wanted(session, project, tuple(kinds))
        if wanted != ALL or position < 0:
            rows = self._reader.rows(position + 1, _or_last(until), limit, wanted)
            return [self._recorded(row) for row in rows]
        # From the event before on, so that the chain is checked into these.
        rows = self._linked(self._reader.rows(position, _or_last(until), limit + 1), position)
        return [self._recorded(row) for row in rows if row.position > position][:limit]

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
        wanted = Wanted(session, project, tuple(kinds))
        rows = self._reader.rows(after + 1, _or_last(until), limit, wanted, newest=True)
        return [self._recorded(row) for row in reversed(rows)]

    def rows_after(self, position: int, limit: int = 1000) -> list[Row]:
        """Events as they are kept, unchecked: for export and recovery."""
        return self._reader.rows(position + 1, LAST_POSITION, limit)

    def close(self) -> None:
        """Write what was submitted, then close. Again, or in a forked child: nothing."""
        with self._guard:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
            writer, engine = self._writer, self._reader.engine
        atexit.unregister(self.close)
        if self._sealing is not None:
            self._sealing.close()
        if writer is not None:
            writer.close()
        if engine is not None:
            engine.dispose()

    # --- opening ------------------------------------------------------------------------------------

    def _open(self, read_only: bool) -> None:
        if read_only:
            self._reader.engine = self._open_for_reading()
            self._refusal = StoreUnavailable("The journal was opened for reading only.")
            return
        try:
            self._reader.engine = engine = opening.open_for_writing(self.files)
            self._inode = self.files.journal.stat().st_ino
            with engine.connect() as connection:
                table.upgrade(connection)
        except database.errors(OSError) as error:
            problem = database.failure(error, "The journal")
            if isinstance(problem, StoreDamaged) or not self.files.journal.exists():
                raise problem from error
            self._reader.engine = self._open_for_reading()
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
            old = self._reader.engine
            self._reader.go_on_with(Reader.of_damaged(self.files, self._degrade))
        if old is not None:
            old.dispose()

    def _check_archive(self) -> None:
        missing = self._reader.missing_segment()
        if missing:
            raise StoreDamaged(missing, hint="Run `engram recover`.")

    def _seal_if_due(self, stop: Callable[[], bool]) -> None:
        """In a thread of its own."""
        try:
            with self._engine().connect() as connection:
                due = maintenance.is_due(connection, self._budget)
        except database.errors() as error:
            raise database.failure(error, "The journal") from error
        if due:
            self.seal(stop=stop)

    def _ready_writer(self) -> Writer:
        with self._guard:
            if self._closed:
                raise StoreUnavailable("The journal is closed.")
            if self._refusal is not None:
                raise self._refusal
            if self._writer is None:
                try:
                    self._writer = Writer(self._engine().connect(), self.files, self._inode, self._note)
                except database.errors(OSError) as error:
                    raise database.failure(error, "The journal") from error
            return self._writer

    def _note(self, error: StoreError | None) -> None:
        """The writer's report after each transaction."""
        self._trouble = error
        if isinstance(error, StoreDamaged | StoreTooNew):
            self._degrade(error)
        elif error is None and self._sealing is not None:
            self._sealing.consider()

    def _linked(self, rows: list[Row], after: int) -> list[Row]:
        """Consecutive events, checked for gaps and forgery; one that the next does not attest loses its words here."""
        position, seal = (0, GENESIS) if after == 0 else (-1, b"")
        for number, row in enumerate(rows):
            flaw = ""
            if position >= 0 and row.position != position + 1:
                flaw = f"events {position + 1} to {row.position - 1} are missing"
            elif position >= 0 and row.previous_hash != seal:
                flaw = f"event {row.position} does not follow event {position}"
                if number and not flaw_of(row):
                    rows[number - 1] = rows[number - 1]._replace(payload=None, salt=None)
            if flaw:
                self._degrade(StoreDamaged(f"The journal was altered: {flaw}.", hint="Run `engram recover`."))
            position, seal = row.position, row.hash
        return rows

    # --- rows ---------------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        if self._reader.engine is None:
            raise StoreUnavailable("There is no journal here yet.")
        return self._reader.engine

    def _recorded(self, row: Row) -> Recorded:
        event, plain = None, None
        # Checked at every read (2 µs): what was altered since it was opened must not become a row anywhere.
        flaw = flaw_of(row)
        if flaw:
            self._degrade(StoreDamaged(f"The journal was altered: {flaw}.", hint="Run `engram recover`."))
        else:
            payload = self._retellings.of(row.position) if row.payload is None else row.payload
            if payload is not None:
                event, plain = decode(row.kind, row.version, payload)
        return Recorded(
            position=row.position,
            at=row.at,
            kind=row.kind,
            version=row.version,
            project=row.project,
            session=row.session,
            event=event,
            payload=plain,
        )


def stamp(time: datetime) -> str:
    """A time as the journal writes it: UTC, ISO 8601, microseconds, `Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _or_last(position: int | None) -> int:
    return LAST_POSITION if position is None else position


def _nothing() -> Future[Positions]:
    done: Future[Positions] = Future()
    done.set_result(())
    return done
