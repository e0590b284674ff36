"""What erased events say since some of their words were forgotten: told by the `Forgotten` events after them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable

from engram_runtime.journal.chain import Row
from engram_runtime.journal.encoding import canonical, decode
from engram_runtime.journal.events import Forgotten

_BATCH = 100


class Retellings:
    """Looked for when an erased event is read, so a journal in which nothing was forgotten pays nothing."""

    def __init__(self, tombstones: Callable[[int, int], list[Row]], head: Callable[[], int]) -> None:
        """`tombstones(position, limit)` gives the rows of `Forgotten` events after a position."""
        self._tombstones = tombstones
        self._head = head
        self._seen = 0
        self._told: dict[int, str] = {}
        self._guard = threading.Lock()

    def of(self, position: int) -> str | None:
        """The payload that an erased event has now; None if it was erased whole."""
        with self._guard:
            head = self._head()
            if head > self._seen:
                self._look()
                self._seen = head
            return self._told.get(position)

    def _look(self) -> None:
        while rows := self._tombstones(self._seen, _BATCH):
            for row in rows:
                self._seen = row.position
                event = decode(row.kind, row.version, row.payload)[0] if row.payload is not None else None
                if isinstance(event, Forgotten):
                    self._tell(event)

    def _tell(self, event: Forgotten) -> None:
        if self._told and event.ranges:
            # What was told of them before may be what had to go now.
            firsts, lasts = zip(*sorted(event.ranges), strict=True)
            for position in list(self._told):
                place = bisect_right(firsts, position) - 1
                if place >= 0 and position <= lasts[place]:
                    del self._told[position]
        for retold in event.retold:
            self._told[retold.position] = canonical(retold.payload).decode("utf-8")
