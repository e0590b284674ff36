"""The memory of a project, as callers see it."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, get_args

from engram_runtime.errors import EngramError, NotFound, StoreError, UsageError
from engram_runtime.journal.events import Category, Event, MemoryRecalled, MemoryStored, MemoryUpdated
from engram_runtime.memory import dedup, recall
from engram_runtime.memory.decay import strength
from engram_runtime.memory.embedder import Embedder, Vectors, embedder_for
from engram_runtime.memory.index import Index, JournalReader
from engram_runtime.memory.indexer import Indexer
from engram_runtime.memory.ranking import DEFAULT, Weights
from engram_runtime.memory.results import MemoryStats, MemoryType, Recall, Semantic, StoreResult
from engram_runtime.memory.scope import Scope
from engram_runtime.state.views import MemoryRow

PATIENCE = 0.15
"""Seconds a recall waits for the vector of its query from a worker that is ready."""
MOST_HITS = 100
Scopes = Literal["project", "global"]
Sources = Literal["agent", "user", "observed", "import"]


class ModelSetting(Protocol):
    """What the memory needs of the settings."""

    @property
    def model(self) -> str:
        """Embedding model: name, path, or "off"."""
        ...


class Memory:
    """Stores and recalls. Thread-safe; nothing here waits for a model unless asked to.

    `append` writes events durably and returns their positions; `submit` does so later; both redact secrets.
    `clock` tells the time (aware, UTC), on which strength depends.
    """

    def __init__(
        self,
        *,
        journal: JournalReader,
        append: Callable[..., tuple[int, ...]],
        submit: Callable[..., Future[tuple[int, ...]]],
        home: Path,
        project: str,
        settings: ModelSetting,
        embedder: Embedder | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._append = append
        self._submit = submit
        self._project = project
        self._weights = _weights(settings)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._embedder = embedder or embedder_for(home, settings.model)
        self._index = Index(home, journal)
        self._indexer = Indexer(self._index, self._embedder, home, self._submit_quietly)
        self._storing = threading.Lock()

    def store(
        self,
        content: str,
        *,
        importance: float,
        category: Category = "fact",
        user: str = "default",
        metadata: Mapping[str, object] | None = None,
        scope: Scopes = "project",
        task: int | None = None,
        source: Sources = "agent",
    ) -> StoreResult:
        """Keeps a text; it is durable on return. One that is known already is strengthened instead.

        Contradictions are not looked for: both texts stay. Raises UsageError for an empty text, an importance
        outside 0..1, an unknown category or scope.
        """
        _check_text(content, "a memory")
        _check_importance(importance)
        _check_choice("category", category, get_args(Category))
        _check_choice("scope", scope, get_args(Scopes))
        with self._storing:
            self.catch_up()
            known = self._same(content, user, scope)
            if known is not None:
                return self._reinforce(known, importance)
            event = MemoryStored(
                content=content,
                importance=importance,
                category=category,
                user=user,
                metadata=dict(metadata or {}),
                scope=scope,
                task=task,
                source=source,
            )
            (memory,) = self._append(event)
        self.catch_up()
        self._indexer.wake(stored=memory)
        return StoreResult(memory=memory, outcome="stored")

    def update(self, memory: int, content: str, importance: float | None = None) -> StoreResult:
        """Gives a memory a new wording (and importance). Raises NotFound for one that is not in this project."""
        _check_text(content, "a memory")
        if importance is not None:
            _check_importance(importance)
        row = self.row(memory)
        if row is None or (row.project != self._project and row.scope != "global"):
            raise NotFound(f"There is no memory {memory} in this project.", hint="Recall it to see its id.")
        self._append(MemoryUpdated(memory=memory, content=content, importance=importance))
        self.catch_up()
        self._indexer.wake()
        return StoreResult(memory=memory, outcome="updated")

    def recall(
        self,
        query: str,
        *,
        k: int = 5,
        user: str = "default",
        project: str | None = None,
        memory_type: MemoryType = "all",
        wait: float = 0.0,
    ) -> Recall:
        """The k memories that answer a query best, of `project` (this one by default) and global ones.

        Without `wait` (seconds) a cold model costs nothing: the answer goes by words and says so. The hits are
        strengthened, later. Raises UsageError for an empty query, k outside 1..100, an unknown type.
        """
        started = time.perf_counter()
        query = query.encode("utf-8", "replace").decode("utf-8")
        _check_text(query, "a query")
        _check_choice("memory_type", memory_type, get_args(MemoryType))
        if not 1 <= k <= MOST_HITS:
            raise UsageError(f"k is {k}.", hint=f"Ask for 1 to {MOST_HITS} memories.")
        # Where nothing can be written any more, what is indexed already can still be recalled.
        with contextlib.suppress(StoreError):
            self.catch_up()
        vector = self._query_vector(query, wait)
        scope = Scope(project or self._project, user, memory_type)
        found, compared = self._index.healing(
            lambda: recall.find(self._index, query, vector, scope, self._clock(), self._weights)
        )
        hits = tuple(found[:k])
        digest = hashlib.sha256(query.encode()).hexdigest()[:16]
        self._submit_quietly(
            MemoryRecalled(memories=tuple(hit.memory.id for hit in hits), query_digest=digest)
        )
        took = (time.perf_counter() - started) * 1000
        return Recall(hits=hits, semantic=self._semantic(vector, compared), took_ms=round(took, 2))

    def stats(self, *, user: str = "default", project: str | None = None) -> MemoryStats:
        """Figures of a user's memories, in one project or (None) in all of the home."""
        rows = self.rows(user=user, project=project, limit=None)
        now = self._clock()
        strengths = [strength(row, now) for row in rows]
        tenths = Counter(min(9, int(value * 10)) for value in strengths)
        with self._index.connection() as connection:
            asked, hit = connection.execute(
                "SELECT coalesce(sum(asked), 0), coalesce(sum(hit), 0) FROM recalls WHERE ?1 IS NULL OR project = ?1",
                (project,),
            ).fetchone()
            lag, model = self._index.vectors.lag(), self._index.vectors.model()[0]
        return MemoryStats(
            total=len(rows),
            by_category=dict(Counter(row.category for row in rows)),
            by_type=dict(Counter(row.memory_type for row in rows)),
            avg_strength=round(sum(strengths) / len(rows), 4) if rows else 0.0,
            strength_histogram=tuple(tenths[tenth] for tenth in range(10)),
            superseded=sum(row.superseded_by is not None for row in rows),
            recalls=asked,
            hit_rate=round(hit / asked, 4) if asked else 0.0,
            lag=lag,
            embedder=self._embedder.state,
            model=model,
            bytes_on_disk=self._index.bytes_on_disk(),
            position=self._index.position,
        )

    def row(self, memory: int) -> MemoryRow | None:
        """A memory by its id, of any project; None when there is none."""
        self.catch_up()
        found = self._select("m.id = ?", (memory,))
        return found[0] if found else None

    def rows(
        self,
        *,
        project: str | None = None,
        user: str | None = None,
        task: int | None = None,
        memory_type: str | None = None,
        limit: int | None = 200,
    ) -> list[MemoryRow]:
        """Memories, newest first; None as a filter means any."""
        self.catch_up()
        filters = {"project": project, "user": user, "task": task, "memory_type": memory_type}
        used = {name: value for name, value in filters.items() if value is not None}
        condition = " AND ".join(f"m.{name} = ?" for name in used) or "1"
        values = (*used.values(), -1 if limit is None else limit)
        return self._select(f"{condition} ORDER BY m.id DESC LIMIT ?", values)

    @property
    def worker_pid(self) -> int | None:
        """Pid of the home's embedding worker, as far as known: it serves every session, so none may end it."""
        return self._embedder.worker

    @property
    def position(self) -> int:
        """Journal position up to which the rows are known to be."""
        return self._index.position

    def catch_up(self) -> int:
        """Brings the rows up to the journal. Returns the position reached."""
        before = self._index.position
        position = self._index.healing(self._index.catch_up)
        if position != before:
            self._indexer.wake()
        return position

    def rebuild(self) -> None:
        """Deletes the file and derives it anew: after events were forgotten, nothing of them is left in it."""
        self._index.rebuild()
        self._indexer.wake()

    def close(self) -> None:
        """Ends indexing and closes the file; the worker lives on for others."""
        self._indexer.close()
        self._embedder.close()
        self._index.close()

    def _select(self, condition: str, values: tuple[object, ...]) -> list[MemoryRow]:
        return self._index.healing(lambda: self._index.select(condition, values))

    def _same(self, content: str, user: str, scope: str) -> MemoryRow | None:
        found = self._select(
            "m.user = ? AND m.project = ? AND m.normalised = ? AND m.scope = ? AND m.memory_type = 'memory'"
            " AND m.superseded_by IS NULL ORDER BY m.id DESC LIMIT 1",
            (user, self._project, dedup.normalised(content), scope),
        )
        return found[0] if found else None

    def _reinforce(self, known: MemoryRow, importance: float) -> StoreResult:
        events: list[Event] = [MemoryRecalled(memories=(known.id,))]
        if importance > known.importance:
            events.append(MemoryUpdated(memory=known.id, content=known.content, importance=importance))
        self._append(*events)
        self.catch_up()
        return StoreResult(memory=known.id, outcome="reinforced")

    def _query_vector(self, query: str, wait: float) -> Vectors | None:
        deadline = time.monotonic() + wait
        # "off" is also the state of a worker never asked: another process may have one ready.
        if wait <= 0 and self._embedder.state not in ("ready", "off"):
            self._indexer.wake(asked=True)
            return None
        vector = self._embedder.embed((query,), within=max(wait, PATIENCE), urgent=True)
        if vector is None:
            self._indexer.wake(asked=True)
        while vector is None and not self._is_hopeless() and (left := deadline - time.monotonic()) > 0:
            self._indexer.wait_for_news(min(0.5, left))
            if self._embedder.state == "ready":
                vector = self._embedder.embed((query,), within=left, urgent=True)
        return vector

    def _is_hopeless(self) -> bool:
        return self._embedder.state.startswith("failed")

    def _semantic(self, vector: Vectors | None, compared: bool) -> Semantic:
        if compared:
            return "ready"
        if vector is None and (self._is_hopeless() or self._embedder.state == "off"):
            return "off"
        return "warming"

    def _submit_quietly(self, event: Event) -> None:
        # A journal that refuses writes must not take reading away.
        with contextlib.suppress(EngramError):
            self._submit(event)


def _weights(settings: ModelSetting) -> Weights:
    """The weights, with mcp-engram's settings for them where they are set."""
    words = getattr(settings, "w_bm25", None)
    meaning = getattr(settings, "w_vector", None)
    least = getattr(settings, "sim_low", None)
    return Weights(
        words=DEFAULT.words if words is None else words,
        meaning=DEFAULT.meaning if meaning is None else meaning,
        least_similarity=DEFAULT.least_similarity if least is None else least,
    )


def _check_text(text: str, what: str) -> None:
    if not text.strip():
        raise UsageError(f"The text of {what} is empty.", hint="Say what it is about.")


def _check_importance(importance: float) -> None:
    if math.isnan(importance) or not 0 <= importance <= 1:
        raise UsageError(f"importance is {importance}.", hint="It is a number from 0 to 1.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {value!r}.", hint=f"It is one of {', '.join(choices)}.")


__all__ = ["Memory"]
