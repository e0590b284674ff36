"""The journal's table, and the check a journal passes before it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engram_runtime.database import atomic, undo
from engram_runtime.errors import StoreDamaged, StoreTooNew
from engram_runtime.journal.chain import GENESIS, Row, flaw_in

if TYPE_CHECKING:
    from sqlalchemy import Connection

APPLICATION_ID = 0x456E6772
"""`Engr`, in the file's header: file(1) and the check at open tell a journal by it."""

SCHEMA_VERSION = 2
"""2: sealed segments. A journal of version 1 is brought up to date when it is opened for writing (`upgrade`)."""

TAIL = 32
"""Rows whose chain is checked at open; `Journal.verify` checks all."""

_JOURNAL = (
    """CREATE TABLE journal (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        version INTEGER NOT NULL,
        project TEXT NOT NULL,
        session TEXT,
        payload TEXT,
        salt BLOB,
        digest BLOB NOT NULL,
        previous_hash BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT""",
    # A row here, inside a maintenance transaction only, lets payloads be erased ("forget") or rows leave for a
    # segment that holds them ("seal").
    "CREATE TABLE maintenance (what TEXT NOT NULL) STRICT",
    """CREATE TRIGGER journal_keeps_its_words BEFORE UPDATE ON journal
       WHEN NOT (EXISTS (SELECT 1 FROM maintenance WHERE what = 'forget')
                 AND NEW.payload IS NULL AND NEW.salt IS NULL
                 AND NEW.position IS OLD.position AND NEW.at IS OLD.at AND NEW.kind IS OLD.kind
                 AND NEW.version IS OLD.version AND NEW.project IS OLD.project AND NEW.session IS OLD.session
                 AND NEW.digest IS OLD.digest AND NEW.previous_hash IS OLD.previous_hash
                 AND NEW.hash IS OLD.hash)
       BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER journal_only_grows BEFORE INSERT ON journal
       WHEN NEW.position <= (SELECT seq FROM sqlite_sequence WHERE name = 'journal')
       BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    f"PRAGMA application_id={APPLICATION_ID}",
)

_SEGMENTS = (
    """CREATE TABLE segments (
        last INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        events INTEGER NOT NULL,
        previous_hash BLOB NOT NULL,
        hash BLOB NOT NULL,
        file TEXT NOT NULL UNIQUE,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        contents TEXT NOT NULL
    ) STRICT""",
    """CREATE TRIGGER journal_keeps_its_rows BEFORE DELETE ON journal
       WHEN NOT coalesce(EXISTS (SELECT 1 FROM maintenance WHERE what = 'seal')
                         AND OLD.position <= (SELECT max(last) FROM segments), 0)
       BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER segments_stay BEFORE DELETE ON segments
       BEGIN SELECT RAISE(ABORT, 'sealed segments stay'); END""",
    """CREATE TRIGGER segments_are_sealed BEFORE INSERT ON segments
       WHEN NOT EXISTS (SELECT 1 FROM maintenance WHERE what = 'seal')
       BEGIN SELECT RAISE(ABORT, 'segments are only made by sealing'); END""",
    """CREATE TRIGGER segments_keep_their_place BEFORE UPDATE ON segments
       WHEN NOT (EXISTS (SELECT 1 FROM maintenance WHERE what = 'forget')
                 AND NEW.last IS OLD.last AND NEW.first IS OLD.first AND NEW.events IS OLD.events
                 AND NEW.previous_hash IS OLD.previous_hash AND NEW.hash IS OLD.hash)
       BEGIN SELECT RAISE(ABORT, 'sealed segments stay'); END""",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)

SCHEMA = (*_JOURNAL, *_SEGMENTS)
"""Statements that make a new journal; in one transaction."""

_GUARDS = {"journal_keeps_its_rows", "journal_keeps_its_words", "journal_only_grows"}
_SEGMENT_GUARDS = {"segments", "segments_stay", "segments_are_sealed", "segments_keep_their_place"}

COLUMNS = ", ".join(Row._fields)
INSERT = f"INSERT INTO journal ({COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608
LAST = "SELECT position, hash FROM journal ORDER BY position DESC LIMIT 1"
LAST_SEALED = "SELECT last, hash FROM segments ORDER BY last DESC LIMIT 1"
_FIRST_ROW = f"SELECT {COLUMNS} FROM journal ORDER BY position LIMIT 1"  # noqa: S608
_LAST_ROWS = f"SELECT {COLUMNS} FROM journal ORDER BY position DESC LIMIT {TAIL + 1}"  # noqa: S608


def is_new(connection: Connection) -> bool:
    """Whether the file holds nothing yet."""
    return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar()


def check(connection: Connection) -> None:
    """Raise StoreTooNew or StoreDamaged for a file that is not a sound journal, by its header and last rows."""
    application = connection.exec_driver_sql("PRAGMA application_id").scalar()
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    tables = {
        name for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE sql NOT NULL")
    }
    if application != APPLICATION_ID or "journal" not in tables:
        raise StoreDamaged("journal.sqlite holds no journal.", hint="Run `engram recover`.")
    if version > SCHEMA_VERSION:
        raise StoreTooNew("The journal was written by a newer Engram.", hint="Update Engram.")
    if not (_GUARDS | (_SEGMENT_GUARDS if version > 1 else set())) <= tables:
        raise StoreDamaged("The journal lost its guards against changes.", hint="Run `engram recover`.")
    tail = _tail(connection, sealed="segments" in tables)
    last = tail.rows[-1].position if tail.rows else tail.sealed[0]
    if tail.written != last:
        raise StoreDamaged(
            f"The journal lost events {last + 1} to {tail.written}.", hint="Run `engram recover`."
        )
    all_of_it = len(tail.rows) <= TAIL
    flaw = flaw_in(
        tail.rows if all_of_it else tail.rows[1:], tail.sealed if all_of_it else _place(tail.rows[0])
    )
    if not flaw and tail.first is not None:
        flaw = flaw_in([tail.first], tail.sealed)
    if flaw:
        raise StoreDamaged(f"The journal was altered: {flaw}.", hint="Run `engram recover`.")


def upgrade(connection: Connection) -> None:
    """Bring a sound journal of an older version to this one; nothing where it is of this one."""
    if connection.exec_driver_sql("PRAGMA user_version").scalar_one() >= SCHEMA_VERSION:
        return
    with atomic(connection):
        # Another process may have been first.
        if connection.exec_driver_sql("PRAGMA user_version").scalar_one() < SCHEMA_VERSION:
            connection.exec_driver_sql("DROP TRIGGER journal_keeps_its_rows")
            for statement in _SEGMENTS:
                connection.exec_driver_sql(statement)


class _Tail(NamedTuple):
    """The table's end (last rows, last position ever given) and start (first row, what was sealed before it)."""

    rows: list[Row]
    written: int
    first: Row | None
    sealed: tuple[int, bytes]


def _tail(connection: Connection, *, sealed: bool) -> _Tail:
    """Of one moment: others may be writing or sealing."""
    connection.exec_driver_sql("BEGIN")
    try:
        rows = [Row._make(row) for row in connection.exec_driver_sql(_LAST_ROWS)]
        first = connection.exec_driver_sql(_FIRST_ROW).fetchone()
        written = connection.exec_driver_sql(
            "SELECT seq FROM sqlite_sequence WHERE name = 'journal'"
        ).scalar()
        before = connection.exec_driver_sql(LAST_SEALED).fetchone() if sealed else None
    finally:
        undo(connection)
    return _Tail(
        rows[::-1],
        written or 0,
        None if first is None else Row._make(first),
        (0, GENESIS) if before is None else (int(before[0]), bytes(before[1])),
    )


def _place(row: Row) -> tuple[int, bytes]:
    return row.position, row.hash
