"""Writing what is taken over: many records in a transaction, each with the time it has there, each only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from engram_runtime.journal.encoding import encode
from engram_runtime.journal.events import Event, MaintenanceDone, RecordsImported
from engram_runtime.journal.journal import stamp
from engram_runtime.journal.records import ImportedRecord
from engram_runtime.journal.writer import Draft

if TYPE_CHECKING:
    from engram_runtime.journal.journal import Journal
    from engram_runtime.state.queries import Queries

MOST_RECORDS: Final = 200
MOST_BYTES: Final = 2_000_000
"""Of one transaction."""

Source = Literal["mcp-engram", "claude"]


@dataclass(frozen=True, slots=True)
class Told:
    """An event to be written as of the time `at` (as the journal writes times), in a session or in none."""

    at: str
    event: Event
    session: str | None = None
    project: str | None = None
    """None: the project of the import."""


class Batches:
    """Collects records and writes them. `flush` at the end; what was not flushed was not written."""

    def __init__(self, journal: Journal, queries: Queries, source: Source, project: str) -> None:
        self._journal = journal
        self._queries = queries
        self._source: Source = source
        self._project = project
        self._keys = queries.imported_keys(source)
        self._known: dict[str, dict[str, int | str]] = {}
        self._waiting: list[tuple[ImportedRecord, tuple[Draft, ...]]] = []
        self._names: set[tuple[str, str]] = set()
        self._bytes = 0

    def has(self, key: str) -> bool:
        """Whether a record was taken over already."""
        return key in self._keys

    def here(self, kind: str, name: object) -> int | str | None:
        """What the record of that kind and name is here: an id or a session; None where it was not taken over."""
        if (kind, str(name)) in self._names:
            self.flush()
        if kind not in self._known:
            self._known[kind] = self._queries.imported(self._source, kind)
        return self._known[kind].get(str(name))

    def add(
        self,
        key: str,
        told: Sequence[Told] = (),
        *,
        kind: str = "",
        name: object = "",
        made: int | None = None,
        id: int | None = None,
        session: str | None = None,
    ) -> None:
        """Take a record over. `made` is the index of the event that it lives on as; else `id` or `session` tell.

        Raises InvalidEvent for an event that cannot be written (then nothing of the record is), StoreError.
        """
        drafts = tuple(
            Draft(t.at, t.event.kind, t.event.VERSION, t.project or self._project, t.session, encode(t.event))
            for t in told
        )
        record = ImportedRecord(digest=key, kind=kind, name=str(name), id=id, offset=made, session=session)
        self._waiting.append((record, drafts))
        self._keys.add(key)
        self._bytes += sum(len(draft.payload) for draft in drafts)
        if kind:
            self._names.add((kind, str(name)))
        if len(self._waiting) >= MOST_RECORDS or self._bytes >= MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one transaction. Raises StoreError: then none of it was written."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._names.clear()
        self._bytes = 0
        records: list[ImportedRecord] = []
        drafts: list[Draft] = []
        for record, events in waiting:
            records.append(_placed(record, 1 + len(drafts)))
            drafts += events
        header = RecordsImported(source=self._source, records=tuple(records))
        first = self._journal.append_drafts((self._draft(header), *drafts))[0]
        for record in records:
            here = record.session if record.offset is None else first + record.offset
            here = record.id if record.id is not None else here
            if record.kind and here is not None and record.kind in self._known:
                self._known[record.kind][record.name] = here

    def keep_places(self, last: int) -> None:
        """See to it that nothing new gets an id up to `last`: those numbers mean what the other program calls so."""
        free = last - self._journal.head()
        note = MaintenanceDone(what=f"number kept for what {self._source} calls by it")
        for start in range(0, max(0, free), MOST_RECORDS):
            count = min(MOST_RECORDS, free - start)
            self._journal.append_drafts((self._draft(note),) * count)

    def _draft(self, event: Event) -> Draft:
        now = stamp(datetime.now(UTC))
        return Draft(now, event.kind, event.VERSION, self._project, None, encode(event))


def _placed(record: ImportedRecord, first: int) -> ImportedRecord:
    if record.offset is None:
        return record
    return ImportedRecord(
        digest=record.digest,
        kind=record.kind,
        name=record.name,
        id=None,
        offset=first + record.offset,
        session=record.session,
    )
