"""Rows by position, wherever they are: in sealed segments, in the table, or in what is left of either.

Sealing may go on in another process meanwhile: each look at the table says, of the same moment, how far events
are sealed, and what is sealed never changes its place.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from engram_runtime import database
from engram_runtime.errors import StoreDamaged, StoreError
from engram_runtime.journal import opening, segments, table
from engram_runtime.journal.chain import GENESIS, Row, flaw_in
from engram_runtime.journal.salvage import Ranges, readable_ranges, rows_of_segment
from engram_runtime.journal.segments import Block, Segment
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from sqlalchemy import Engine

T = TypeVar("T")

LAST_POSITION = 2**62

_BLOCKS_KEPT = 4
"""Decoded blocks in memory, some hundred kilobytes each: a replay reads each block once."""
_RECORDS = 16
_ROWS = f"SELECT {table.COLUMNS} FROM journal WHERE position BETWEEN ? AND ?"  # noqa: S608
_SEGMENTS = f"SELECT {segments.COLUMNS} FROM segments WHERE last >= ? AND first <= ? ORDER BY last"  # noqa: S608


class Wanted(NamedTuple):
    """Which events are meant; conditions that are given are joined by "and"."""

    session: str | None = None
    project: str | None = None
    kinds: tuple[str, ...] = ()

    def condition(self) -> tuple[str, list[str]]:
        """As SQL, with its values."""
        clauses, values = "", []
        for column, value in (("session", self.session), ("project", self.project)):
            if value is not None:
                clauses += f" AND {column} = ?"
                values.append(value)
        if self.kinds:
            clauses += f" AND kind IN ({', '.join('?' * len(self.kinds))})"
        return clauses, [*values, *self.kinds]

    def takes(self, row: Row) -> bool:
        """Whether a row is meant."""
        return (
            (self.session is None or row.session == self.session)
            and (self.project is None or row.project == self.project)
            and (not self.kinds or row.kind in self.kinds)
        )

    def within(self, contents: segments.Contents) -> tuple[int, int] | None:
        """The positions of a segment that have to be looked at; None where none of it is meant."""
        if self.project is not None and self.project not in contents.projects:
            return None
        if self.kinds and not set(self.kinds) & set(contents.kinds):
            return None
        return (1, LAST_POSITION) if self.session is None else contents.sessions.get(self.session)


ALL = Wanted()


class Verification(NamedTuple):
    """Result of a full check: how many events are sound from the first on, and the flaw after them ("" if none)."""

    events: int
    flaw: str


class Reader:
    """Reads a journal for any number of threads. `on_damage` is told of damage; what is left is read on."""

    def __init__(
        self, files: HomeFiles, engine: Engine | None, on_damage: Callable[[StoreError], None]
    ) -> None:
        self._files = files
        self._on_damage = on_damage
        self._has_segments = False
        self._records_lost = False
        self._blocks: OrderedDict[tuple[str, int], list[Row]] = OrderedDict()
        self._guard = threading.Lock()
        self.engine = engine
        self.readable: Ranges | None = None
        """Ranges of positions of a damaged table that can be read; None while it is sound."""

    @classmethod
    def of_damaged(cls, files: HomeFiles, on_damage: Callable[[StoreError], None]) -> Reader:
        """A reader of what is left of a journal that failed its check."""
        size = opening.size_of(files, with_log=True)
        engine = opening.open_damaged(files) if opening.size_of(files) else None
        left = cls(files, engine, on_damage)
        after = left.sealed_through()
        left.readable = []
        if engine is not None:
            with contextlib.suppress(*database.errors()), engine.connect() as connection:
                left.readable = readable_ranges(connection, size, after)
        return left

    def go_on_with(self, left: Reader) -> None:
        """Read from now on what that reader reads, also in what is going on in other threads."""
        self._records_lost = left._records_lost
        self.engine, self.readable = left.engine, left.readable

    # --- places ---------------------------------------------------------------------------------------

    def head(self) -> int:
        """Position of the last event that can be read; 0 if there is none."""
        if self.readable is None:
            rows = self._query("SELECT max(position) FROM journal", ())
            if self.readable is None:
                return int(rows[0][0] or 0) if rows else 0
        if self.readable:
            return self.readable[-1][1]
        return max((last for _, last, _ in self._files_by_name()), default=0)

    def sealed_through(self) -> int:
        """Position of the last sealed event; 0 if none is. Told by file names where the records are lost."""
        last = self._ask(self._last_sealed)
        if last is not None:
            return last
        self._records_lost = True
        return max((last for _, last, _ in self._files_by_name()), default=0)

    def hash_at(self, position: int) -> bytes | None:
        """The chain's hash at a position; None where there is no such event."""
        if position == 0:
            return GENESIS
        rows = self._query("SELECT hash FROM journal WHERE position = ?", (position,))
        if rows:
            return bytes(rows[0][0])
        sealed = self.rows(position, position, 1)
        return sealed[0].hash if sealed else None

    def segments(self, low: int = 1, high: int = LAST_POSITION, *, newest: bool = False) -> Iterator[Segment]:
        """Records of the sealed segments that hold any of these positions, in order."""
        query = _SEGMENTS + (" DESC" if newest else "") + f" LIMIT {_RECORDS}"
        while low <= high and (self._ask(self._last_sealed) or 0) > 0:
            found = [segments.from_record(record) for record in self._query(query, (low, high))]
            yield from found
            if len(found) < _RECORDS:
                return
            low, high = (low, found[-1].first - 1) if newest else (found[-1].last + 1, high)

    # --- rows -----------------------------------------------------------------------------------------

    def rows(
        self, low: int, high: int, limit: int, wanted: Wanted = ALL, *, newest: bool = False
    ) -> list[Row]:
        """At most `limit` rows from `low` to `high`, both inclusive, that are wanted, in order.

        Damage that shows itself is reported and the rest is read. Raises StoreUnavailable.
        """
        low, high = max(low, 1), min(high, LAST_POSITION)
        healthy = self.readable is None
        found = self._rows(low, high, limit, wanted, newest=newest)
        if healthy and self.readable is not None:
            # The table proved to be damaged: read again what can be read.
            found = self._rows(low, high, limit, wanted, newest=newest)
        return found

    def _rows(self, low: int, high: int, limit: int, wanted: Wanted, *, newest: bool) -> list[Row]:
        if self.readable is not None:
            return self._left(low, high, limit, wanted, newest=newest)
        found: list[Row] = []
        while len(found) < limit and low <= high:
            sealed, rows = self._look(low, high, limit - len(found), wanted, newest=newest)
            found += rows
            if low > sealed:
                break
            top = min(high, sealed)
            found += itertools.islice(self._sealed(low, top, wanted, newest=newest), limit - len(found))
            if newest:
                break
            low = top + 1
        return found

    def _look(
        self, low: int, high: int, limit: int, wanted: Wanted, *, newest: bool
    ) -> tuple[int, list[Row]]:
        """How far events are sealed, and rows of the table: for oldest first only where nothing sealed is meant."""
        condition, values = wanted.condition()
        query = f"{_ROWS}{condition} ORDER BY position {'DESC' if newest else 'ASC'} LIMIT ?"

        def look(driver: Any) -> tuple[int, list[Row]]:
            driver.execute("BEGIN")
            try:
                sealed = self._last_sealed(driver)
                if low <= sealed and not newest:
                    return sealed, []
                return sealed, [Row._make(row) for row in driver.execute(query, (low, high, *values, limit))]
            finally:
                database.undo(driver)

        return self._ask(look) or (0, [])

    def _left(self, low: int, high: int, limit: int, wanted: Wanted, *, newest: bool) -> list[Row]:
        """Rows of a damaged journal: what the table still gives, and sealed segments, recorded or not."""
        condition, values = wanted.condition()
        query = f"{_ROWS}{condition} ORDER BY position LIMIT ?"
        if newest:
            query = query.replace("position LIMIT", "position DESC LIMIT")
        found: list[Row] = []
        for first, last in reversed(self.readable or []) if newest else self.readable or []:
            start, end = max(first, low), min(last, high)
            if start <= end and len(found) < limit:
                found += map(Row._make, self._query(query, (start, end, *values, limit - len(found))))
        first = self.readable[0][0] if self.readable else LAST_POSITION
        if low < first and not (newest and len(found) >= limit):
            top = min(high, first - 1)
            read = self._unrecorded if self._records_lost else self._sealed
            sealed = list(itertools.islice(read(low, top, wanted, newest=newest), limit))
            found = found + sealed if newest else sealed + found
        return found[:limit]

    # --- sealed rows ----------------------------------------------------------------------------------

    def _sealed(self, low: int, high: int, wanted: Wanted, *, newest: bool) -> Iterator[Row]:
        for segment in self.segments(low, high, newest=newest):
            try:
                contents = segment.index()
            except StoreDamaged as error:
                self._on_damage(error)
                continue
            bounds = wanted.within(contents)
            if bounds is None:
                continue
            start, end = max(low, bounds[0]), min(high, bounds[1])
            blocks = [block for block in contents.blocks if block.last >= start and block.first <= end]
            for block in reversed(blocks) if newest else blocks:
                rows = self._block(segment, block)
                chosen = [row for row in rows if start <= row.position <= end and wanted.takes(row)]
                yield from reversed(chosen) if newest else chosen

    def _block(self, segment: Segment, block: Block) -> list[Row]:
        key = (segment.file, block.first)
        with self._guard:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        try:
            rows = self._read_block(segment, block)
        except StoreDamaged as error:
            self._on_damage(error)
            # What can still be unpacked of it; whoever takes a row checks it.
            left = rows_of_segment(self._files.archive / segment.file)
            return [row for row in left if block.first <= row.position <= block.last]
        with self._guard:
            self._blocks[key] = rows
            while len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return rows

    def _read_block(self, segment: Segment, block: Block) -> list[Row]:
        try:
            return segments.read_block(self._files.archive, segment, block)
        except (FileNotFoundError, StoreDamaged) as error:
            # A forget writes the segment anew, then overwrites the old file and removes it.
            now = self._now(segment)
            if now.file == segment.file:
                gone = isinstance(error, FileNotFoundError)
                raise segments.damaged(segment, "its file is missing") if gone else error from None
        # With shorter payloads its blocks may begin elsewhere.
        among = [at for at in now.index().blocks if at.last >= block.first and at.first <= block.last]
        rows = [row for at in among for row in self._read_block(now, at)]
        return [row for row in rows if block.first <= row.position <= block.last]

    def _now(self, segment: Segment) -> Segment:
        """The segment's record of this moment: a forget in another process may have changed it."""
        return next(iter(self.segments(segment.last, segment.last)), segment)

    def _unrecorded(self, low: int, high: int, wanted: Wanted, *, newest: bool) -> Iterator[Row]:
        """Rows of segment files whose records are lost with the table that held them."""
        files = [name for first, last, name in self._files_by_name() if last >= low and first <= high]
        for name in reversed(files) if newest else files:
            rows = [
                row
                for row in segments.salvaged(self._files.archive / name)
                if low <= row.position <= high and wanted.takes(row)
            ]
            yield from reversed(rows) if newest else rows

    def _files_by_name(self) -> list[tuple[int, int, str]]:
        """First, last and name of each segment file, the latest revision of each."""
        latest: dict[tuple[int, int], tuple[int, str]] = {}
        with contextlib.suppress(OSError):
            for path in self._files.archive.iterdir():
                told = segments.named(path.name)
                if told:
                    latest[told[:2]] = max(latest.get(told[:2], (-1, "")), (told[2], path.name))
        return sorted((first, last, name) for (first, last), (_, name) in latest.items())

    # --- checks ---------------------------------------------------------------------------------------

    def missing_segment(self) -> str:
        """The first segment whose file is not there or has another size, and what is wrong ("" if none)."""
        for segment in self.segments():
            flaw = segments.flaw_of_file(self._files.archive, segment)
            while flaw and (now := self._now(segment)).file != segment.file:
                segment, flaw = now, segments.flaw_of_file(self._files.archive, now)
            if flaw:
                return str(segments.damaged(segment, flaw).args[0])
        return ""

    def verify(self, progress: Callable[[int], None] | None = None) -> Verification:
        """Check every event, the whole chain, and every byte of the archive."""
        before = (0, GENESIS)
        for segment in self.segments():
            flaw = self._flaw_of(segment, before)
            if flaw:
                return Verification(before[0], flaw)
            before = (segment.last, segment.hash)
            if progress:
                progress(before[0])
        while newer := self.rows(before[0] + 1, LAST_POSITION, 1000):
            for row in newer:
                flaw = flaw_in([row], before)
                if flaw:
                    return Verification(before[0], flaw)
                before = (row.position, row.hash)
            if progress:
                progress(before[0])
        return Verification(before[0], "")

    def _flaw_of(self, segment: Segment, before: tuple[int, bytes]) -> str:
        """What is wrong with a segment after the event `before` ("" if nothing)."""
        try:
            rows = segments.all_rows(self._files.archive, segment)
            flaw = segments.flaw_of_rows(rows, segment, before)
            if not flaw:
                return ""
            error = segments.damaged(segment, flaw)
        except FileNotFoundError:
            error = segments.damaged(segment, "its file is missing")
        except StoreDamaged as found:
            error = found
        now = self._now(segment)
        return str(error.args[0]) if now.file == segment.file else self._flaw_of(now, before)

    # --- the database ---------------------------------------------------------------------------------

    def _last_sealed(self, driver: Any) -> int:
        if not self._has_segments:
            # A journal of version 1 has none until it is upgraded.
            query = "SELECT 1 FROM sqlite_schema WHERE name = 'segments'"
            self._has_segments = driver.execute(query).fetchone() is not None
        last = driver.execute(table.LAST_SEALED).fetchone() if self._has_segments else None
        return int(last[0]) if last else 0

    def _query(self, query: str, parameters: Sequence[Any]) -> list[Any]:
        """Rows of a query; damage of the file is reported (then: no rows)."""
        return self._ask(lambda driver: list(driver.execute(query, parameters))) or []

    def _ask(self, question: Callable[[Any], T]) -> T | None:
        """The answer of a function that is given a connection; None where there is none or the file is damaged."""
        if self.engine is None:
            return None
        try:
            with self.engine.connect() as connection:
                return question(database.driver_connection(connection))
        except database.errors() as error:
            problem = database.failure(error, "The journal")
            if not isinstance(problem, StoreDamaged):
                raise problem from error
            self._on_damage(problem)
            return None
