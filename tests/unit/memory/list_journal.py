"""A journal in a list, and a memory over it: what the memory needs of the runtime, without the runtime."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engram_runtime.journal.events import Event, Recorded
from engram_runtime.memory import Memory


class ListJournal:
    """Events in a list; time moves a second an event from `now`."""

    def __init__(self) -> None:
        self.rows: list[Recorded] = []
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.project = "one"
        self.session: str | None = "s1"
        self.damaged = False
        self.refuses: Exception | None = None
        self._lock = threading.Lock()

    def head(self) -> int:
        return len(self.rows)

    def read_after(self, position: int, limit: int) -> list[Recorded]:
        return self.rows[position : position + limit]

    def append(self, *events: Event, project: str | None = None) -> tuple[int, ...]:
        if self.refuses:
            raise self.refuses
        with self._lock:
            return tuple(self._add(event, project or self.project) for event in events)

    def submit(self, *events: Event) -> Future[tuple[int, ...]]:
        done: Future[tuple[int, ...]] = Future()
        done.set_result(self.append(*events))
        return done

    def _add(self, event: Event | None, project: str) -> int:
        self.now += timedelta(seconds=1)
        self.rows.append(
            Recorded(
                position=len(self.rows) + 1,
                at=self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                kind=event.kind if event else "FromTheFuture",
                version=1,
                project=project,
                session=self.session,
                event=event,
                payload=None,
            )
        )
        return len(self.rows)

    def add_unknown(self) -> int:
        """An event that this Engram does not know, or that was forgotten."""
        return self._add(None, self.project)


def memory_over(
    journal: ListJournal, home: Path, *, project: str = "one", model: str = "off", **more: Any
) -> Memory:
    """A memory whose clock is the journal's."""
    return Memory(
        journal=journal,
        append=lambda *events: journal.append(*events, project=project),
        submit=journal.submit,
        home=home,
        project=project,
        settings=SimpleNamespace(model=model),
        clock=lambda: journal.now,
        **more,
    )
