"""What happens to memories in the background: late comparison, edges, and the tidying every twelve hours."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from engram_runtime.journal.events import (
    Event,
    MaintenanceDone,
    MemoryCompared,
    MemoryPruned,
    MemoryRestored,
    MemorySuperseded,
)
from engram_runtime.memory import graph
from engram_runtime.memory.consolidate import CONSOLIDATE_THRESHOLD, PRUNE_THRESHOLD, plan
from engram_runtime.memory.decay import instant
from engram_runtime.memory.embedder import Embedder
from engram_runtime.memory.index import Index
from engram_runtime.memory.projector import MEMORY_MAINTENANCE
from engram_runtime.memory.store import Finder, Thresholds, compared_event, place
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder

EVERY_SECONDS = 12 * 3600.0
"""Between two consolidations of a project."""
SETTLED_AFTER = 120.0
"""A process that has run so long counts as long-lived: only such a one consolidates by itself."""
LOOK_SECONDS = 0.25
"""Between looks while something waits for the model."""
LONGEST_LOOK = 10.0
IDLE_SECONDS = 300.0
PAUSE_SECONDS = 10.0
"""After a failure."""
BATCH = 16
LINKED_AT_ONCE = 64
LINK_SECONDS = 10.0
"""For the edges of so many memories."""
EVENTS_AT_ONCE = 200
"""Events of a consolidation in one transaction, so that no other writer waits long."""

log = logging.getLogger("engram.memory.lifecycle")


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of the life of memories; mcp-engram's settings where they are set."""

    place: Thresholds
    consolidate: float
    prune: float
    edge: float
    edges: int


class Consolidated(msgspec.Struct, frozen=True, kw_only=True):
    """What a consolidation did: ids that went below another, and ids that are no longer recalled."""

    compared: int
    linked: tuple[tuple[int, int, str], ...]
    """(memory, the one above it, why)."""
    pruned: tuple[int, ...]
    took_ms: float
    unlinked: int = 0
    """Memories of the home whose neighbours are not known yet: they were not compared."""


class Lifecycle:
    """Keeps a project's memories in order, in a thread of its own that is made when first needed.

    `append` writes events durably; `catch_up` brings the rows up to them. One process of the home works at a time.
    """

    def __init__(
        self,
        *,
        index: Index,
        embedder: Embedder,
        append: Callable[..., tuple[int, ...]],
        catch_up: Callable[[], int],
        home: Path,
        project: str,
        clock: Callable[[], datetime],
        limits: Limits,
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._finder = Finder(index, embedder)
        self._append = append
        self._catch_up = catch_up
        self._lock_file = HomeFiles(home).run / "memory-upkeep.lock"
        self._project = project
        self._clock = clock
        self._limits = limits
        self._changed = threading.Condition()
        self._work = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._since = time.monotonic()

    # --- in the background ------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to do."""
        with self._changed:
            if self._closed:
                return
            self._work = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memory-lifecycle", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread, after the memory in hand."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=2.0)

    def _is_closed(self) -> bool:
        with self._changed:
            return self._closed

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work or self._closed, timeout=pause)
                if self._closed:
                    return
                self._work = False
            try:
                found = self._step()
                waits = found == LOOK_SECONDS and self._embedder.state != "ready"
                # What waits for a model that does not come is looked at ever more seldom.
                pause = min(LONGEST_LOOK, max(found, 2 * pause)) if waits else found
            except Exception:  # thread boundary: a full disk or a damaged file must not end upkeep for good
                if self._is_closed():
                    return  # the file was closed under a step that took too long
                log.warning("upkeep of memories failed; trying again", exc_info=True)
                pause = PAUSE_SECONDS

    def _step(self) -> float:
        """Does one thing. Returns after how many seconds to come again."""
        waiting, unlinked = self._read(self._backlog)
        unlinked = unlinked and self._embedder.state == "ready"
        if not waiting and not unlinked and not self._is_due():
            return IDLE_SECONDS
        with self._alone() as mine:
            if not mine:
                return PAUSE_SECONDS
            if waiting:
                return 0.0 if self._compare_waiting() else LOOK_SECONDS
            if unlinked:
                return 0.0 if self._link_some() else LOOK_SECONDS
            if self._is_due():
                self._tidy()
        return IDLE_SECONDS

    def _backlog(self, connection: Any) -> tuple[bool, bool]:
        waiting = connection.execute(
            "SELECT EXISTS(SELECT 1 FROM memories WHERE pending AND project = ?)", (self._project,)
        ).fetchone()[0]
        unlinked = connection.execute("SELECT EXISTS(SELECT 1 FROM unlinked)").fetchone()[0]
        return bool(waiting), bool(unlinked)

    def _compare_waiting(self) -> bool:
        """Compares what was stored unseen with what was known before it. Says whether it got anywhere."""
        rows = self._index.select("m.pending AND m.project = ? ORDER BY m.id LIMIT ?", (self._project, BATCH))
        done: list[MemoryCompared] = []
        for row in rows:
            found = self._finder.candidates(row.content, row.project, row.user, before=row.id)
            if self._closed or found is None or not found.whole:
                break
            placing = place(
                row.content,
                found.rows,
                scope=row.scope,
                source=row.source,
                thresholds=self._limits.place,
            )
            done.append(compared_event(row.id, placing))
            if placing.supersedes or placing.below or placing.known:
                # The next one must be compared with what is current after this.
                break
        if done:
            self._append(*done)
            self._catch_up()
        return bool(done)

    def _link_some(self) -> bool:
        """Looks for edges of some memories, once all of them have vectors: those without would be missed."""
        if self._read(lambda _: bool(self._index.vectors.missing(1))):
            return False
        model = self._read(lambda _: self._index.vectors.model()[0])
        if not model:
            return False
        with self._index.transaction() as connection:
            graph.use_model(connection, model)
        memories = self._read(lambda connection: graph.unlinked(connection, LINKED_AT_ONCE))
        near = self._embedder.neighbours(memories, k=self._limits.edges, within=LINK_SECONDS)
        if near is None or near.model != model:
            return False
        with self._index.transaction() as connection:
            for memory in memories:
                cosines = near.cosine.get(memory, {})
                graph.link(connection, memory, cosines, threshold=self._limits.edge, most=self._limits.edges)
        return True

    # --- tidying ----------------------------------------------------------------------------------------

    def consolidate(self, user: str | None = None, wait: float = 0.0) -> Consolidated:
        """Links repetitions and hides faded ones, now; of one user, or of all. Waits so many seconds for the model
        and the indexer. Raises StoreError."""
        with self._alone(wait=True):
            self._finish_backlog(time.monotonic() + wait)
            return self._tidy(user)

    def restore(self, memories: tuple[int, ...]) -> None:
        """Lets pruned memories be recalled again. Raises StoreError."""
        self._append(MemoryRestored(memories=memories))
        self._catch_up()

    def last_done(self, project: str | None) -> str | None:
        """When a project was consolidated last (any project: None), None if never."""
        row = self._read(
            lambda connection: connection.execute(
                "SELECT max(at) FROM maintained WHERE ?1 IS NULL OR project = ?1", (project,)
            ).fetchone()
        )
        return str(row[0]) if row[0] else None

    def _finish_backlog(self, deadline: float) -> None:
        """Compares and links what waits: as long as it goes on at once, and until the deadline if it does not."""
        while not self._closed and any(self._read(self._backlog)):
            state = self._embedder.ensure()
            if state == "ready" and (self._compare_waiting() or self._link_some()):
                continue
            if state == "off" or state.startswith("failed") or time.monotonic() > deadline:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=LOOK_SECONDS)

    def _is_due(self) -> bool:
        if time.monotonic() - self._since < SETTLED_AFTER:
            return False
        first = self._read(
            lambda connection: connection.execute(
                "SELECT min(created_at) FROM memories WHERE project = ?", (self._project,)
            ).fetchone()[0]
        )
        last = self.last_done(self._project) or first
        return bool(last) and (self._clock() - instant(str(last))).total_seconds() >= EVERY_SECONDS

    def _tidy(self, user: str | None = None) -> Consolidated:
        started = time.perf_counter()
        self._catch_up()
        users = (user,) if user is not None else self._read(self._users)
        limits = self._limits
        planned = plan(
            self._read, self._project, users, self._clock(), threshold=limits.consolidate, faded=limits.prune
        )
        events: list[Event] = [
            MemorySuperseded(memory=found.memory, by=found.by, why=found.why, merged=True)
            for found in planned.restated
        ]
        if planned.faded:
            events.append(MemoryPruned(memories=planned.faded, why="faded, and said by another memory"))
        took = (time.perf_counter() - started) * 1000
        detail = {"compared": planned.compared, "linked": len(planned.restated), "pruned": len(planned.faded)}
        events.append(MaintenanceDone(what=MEMORY_MAINTENANCE, detail=detail))
        for start in range(0, len(events), EVENTS_AT_ONCE):
            self._append(*events[start : start + EVENTS_AT_ONCE])
        self._catch_up()
        linked = tuple((found.memory, found.by, found.why) for found in planned.restated)
        left = self._read(
            lambda connection: connection.execute("SELECT count(*) FROM unlinked").fetchone()[0]
        )
        return Consolidated(
            compared=planned.compared,
            linked=linked,
            pruned=planned.faded,
            took_ms=round(took, 1),
            unlinked=int(left),
        )

    def _users(self, connection: Any) -> tuple[str, ...]:
        rows = connection.execute(
            "SELECT DISTINCT user FROM memories WHERE project = ? ORDER BY user", (self._project,)
        )
        return tuple(str(row[0]) for row in rows)

    # --- shared -----------------------------------------------------------------------------------------

    def _read(self, query: Callable[[Any], Any]) -> Any:
        """Runs a query with the connection; recalls of other threads come in between two of them."""
        with self._index.connection() as connection:
            return query(connection)

    @contextlib.contextmanager
    def _alone(self, *, wait: bool = False) -> Iterator[bool]:
        """Holds the home's lock of upkeep; gives False where another process has it (unless it is waited for)."""
        make_private_folder(self._lock_file.parent)
        make_private_file(self._lock_file)
        with self._lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def limits_of(settings: object, thresholds: Thresholds) -> Limits:
    """Limits with mcp-engram's settings where they are set."""

    def of(name: str, default: float) -> float:
        value = getattr(settings, name, None)
        return default if value is None else float(value)

    return Limits(
        place=thresholds,
        consolidate=of("consolidate_threshold", CONSOLIDATE_THRESHOLD),
        prune=of("prune_threshold", PRUNE_THRESHOLD),
        edge=of("edge_threshold", graph.EDGE_THRESHOLD),
        edges=int(of("max_edges", graph.MAX_EDGES)),
    )


def recalled_in(connection: Any, session: str, project: str, user: str) -> tuple[int, ...]:
    """Memories of a project's user that were recalled in a session."""
    rows = connection.execute(
        "SELECT r.memory FROM recalled_in r JOIN memories m ON m.id = r.memory"
        " WHERE r.session = ? AND m.user = ? AND (m.project = ? OR m.scope = 'global') ORDER BY r.memory",
        (session, user, project),
    )
    return tuple(int(row[0]) for row in rows)


__all__ = ["Consolidated", "Lifecycle", "Limits", "limits_of", "recalled_in"]
