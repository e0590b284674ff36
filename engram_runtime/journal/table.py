"""The journal's table, and the check a journal passes before it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram_runtime.database import undo
from engram_runtime.errors import StoreDamaged, StoreTooNew
from engram_runtime.journal.chain import GENESIS, Row, flaw_in

if TYPE_CHECKING:
    from sqlalchemy import Connection

APPLICATION_ID = 0x456E6772
"""`Engr`, in the file's header: file(1) and the check at open tell a journal by it."""

SCHEMA_VERSION = 1

TAIL = 32
"""Rows whose chain is checked at open; `Journal.verify` checks all."""

SCHEMA = (
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
    # A row here, inside a maintenance transaction only, lets payloads be erased (see `Journal.forget`).
    "CREATE TABLE maintenance (what TEXT NOT NULL) STRICT",
    """CREATE TRIGGER journal_keeps_its_rows BEFORE DELETE ON journal
       BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
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
    f"PRAGMA user_version={SCHEMA_VERSION}",
)

COLUMNS = ", ".join(Row._fields)
INSERT = f"INSERT INTO journal ({COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608
LAST = "SELECT position, hash FROM journal ORDER BY position DESC LIMIT 1"
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
    if not {"journal_keeps_its_rows", "journal_keeps_its_words", "journal_only_grows"} <= tables:
        raise StoreDamaged("The journal lost its guards against changes.", hint="Run `engram recover`.")
    rows, written = _tail(connection)
    last = rows[-1].position if rows else 0
    if (written or 0) != last:
        raise StoreDamaged(f"The journal lost events {last + 1} to {written}.", hint="Run `engram recover`.")
    first = len(rows) <= TAIL
    before = (0, GENESIS) if first else (rows[0].position, rows[0].hash)
    flaw = flaw_in(rows if first else rows[1:], before)
    if flaw:
        raise StoreDamaged(f"The journal was altered: {flaw}.", hint="Run `engram recover`.")


def _tail(connection: Connection) -> tuple[list[Row], int | None]:
    """The last rows and the last position ever given, of one moment: others may be writing."""
    connection.exec_driver_sql("BEGIN")
    try:
        rows = [Row._make(row) for row in connection.exec_driver_sql(_LAST_ROWS)]
        written = connection.exec_driver_sql(
            "SELECT seq FROM sqlite_sequence WHERE name = 'journal'"
        ).scalar()
    finally:
        undo(connection)
    return rows[::-1], written
