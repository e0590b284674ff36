"""What was taken over from other programs: what its event does to the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram_runtime.journal import events
from engram_runtime.journal.events import Recorded
from engram_runtime.state import schema
from engram_runtime.state.rows import insert_into

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INSERT = insert_into(schema.IMPORTS, or_ignore=True)


def records_imported(rows: Connection, at: Recorded, event: events.RecordsImported) -> None:
    """A row for each record; one that was taken over already stays what it is."""
    place = {"source": event.source, "project": at.project, "position": at.position}
    for record in event.records:
        own = record.id if record.offset is None else at.position + record.offset
        values = {"key": record.digest, "kind": record.kind, "name": record.name, "session": record.session}
        rows.exec_driver_sql(_INSERT, place | values | {"id": own})
