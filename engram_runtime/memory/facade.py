"""The memory of a project, as callers see it."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, get_args

from msgspec.structs import replace

from engram_runtime.errors import EngramError, NotFound, StoreError, UsageError
from engram_runtime.journal.events import (
    Category,
    Event,
    MemoryRecalled,
    MemoryReinforced,
    MemoryStored,
    MemoryUpdated,
    OutcomeReported,
)
from engram_runtime.memory import dedup, recall
from engram_runtime.memory.embedder import Embedder, Likeness, embedder_for
from engram_runtime.memory.figures import figures
from engram_runtime.memory.index import Index, JournalReader
from engram_runtime.memory.indexer import Indexer
from engram_runtime.memory.lifecycle import Consolidated, Lifecycle, limits_of, recalled_in
from engram_runtime.memory.ranking import USUAL_MEANING, USUAL_WORDS, Weights, shipped
from engram_runtime.memory.recall import Ask
from engram_runtime.memory.results import MemoryStats, MemoryType, Recall, Semantic, StoreResult
from engram_runtime.memory.scope import Scope
from engram_runtime.memory.store import Finder, floors, place, stored_event
from engram_runtime.state.views import MemoryRow

PATIENCE = 0.15
"""Seconds a recall waits for the vector of its query from a worker that is ready."""
CROWD = 4
"""Stores at once in this process from which on texts are kept first and compared later."""
SETTLE_SECONDS = 2.0
MOST_HITS = 100
STATS_SECONDS = 30.0
"""How long figures of an unchanged journal are told again: strengths fade slowly, and panes ask every second."""
Scopes = Literal["project", "global"]
Sources = Literal["agent", "user", "observed", "import"]


class Crowd:
    """How many threads are inside a block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.size = 0

    def __enter__(self) -> None:
        with self._lock:
            self.size += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.size -= 1


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
        self._booked: Future[tuple[int, ...]] | None = None
        self._project = project
        self._weights = _weights(settings)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._embedder = embedder or embedder_for(home, settings.model)
        self._index = Index(home, journal, settings.model)
        self._indexer = Indexer(self._index, self._embedder, home, self._look_again)
        self._thresholds = floors(settings)
        self._finder = Finder(self._index, self._embedder)
        self._lifecycle = Lifecycle(
            index=self._index,
            embedder=self._embedder,
            append=append,
            catch_up=self.catch_up,
            home=home,
            project=project,
            clock=self._clock,
            limits=limits_of(settings, self._thresholds),
        )
        self._storing = threading.Lock()
        self._crowd = Crowd()
        self._figures: tuple[object, MemoryStats] | None = None

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
        """Keeps a text; it is durable on return.

        One that is known already strengthens what is known instead; one that outdates, contradicts or completes what
        is known takes its place, and the older stays, linked. While the model is not ready it is stored at once and
        compared later (`pending`). Raises UsageError for an empty text, an importance outside 0..1, an unknown
        category or scope.
        """
        _check_text(content, "a memory")
        _check_importance(importance)
        _check_choice("category", category, get_args(Category))
        _check_choice("scope", scope, get_args(Scopes))
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
        with self._crowd, self._storing:
            self.catch_up()
            result = self._placed(event)
            self.catch_up()
        self._indexer.wake(stored=result.memory)
        self._lifecycle.wake()
        return result

    def _placed(self, event: MemoryStored) -> StoreResult:
        same = self._same(event.content, event.user, event.scope)
        if same is not None:
            return self._reinforce(same.id, event, "the same words")
        # Where many wait in line, each is kept at once and compared in the background, as with a cold model.
        crowded = self._crowd.size > CROWD
        found = None if crowded else self._finder.candidates(event.content, self._project, event.user)
        pending = found is None or not found.whole
        placing = place(
            event.content,
            found.rows if found is not None else (),
            scope=event.scope,
            source=event.source,
            thresholds=self._thresholds,
        )
        if placing.known is not None:
            return self._reinforce(placing.known, event, placing.why)
        (memory,) = self._append(stored_event(event, placing, pending=pending))
        return StoreResult(
            memory=memory,
            outcome=placing.outcome,
            superseded=placing.supersedes,
            below=placing.below,
            why=placing.why,
            pending=pending,
        )

    def _reinforce(self, known: int, event: MemoryStored, why: str) -> StoreResult:
        self._append(MemoryReinforced(memory=known, content=event.content, importance=event.importance))
        return StoreResult(memory=known, outcome="reinforced", why=why)

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

    def consolidate(self, user: str | None = None, *, wait: float = 0.0) -> Consolidated:
        """Links repetitions and hides faded ones in this project, of one user or (None) of all.

        Happens by itself every twelve hours in a process that lives long enough. `wait`: seconds to wait for the
        model and for memories without vectors; they are left out without. Raises StoreError.
        """
        self.catch_up()
        self._indexer.wake(asked=wait > 0)
        return self._lifecycle.consolidate(user, wait)

    def restore(self, *memories: int) -> None:
        """Lets memories that were pruned be recalled again. Raises NotFound for one that is not in this project."""
        for memory in memories:
            row = self.row(memory)
            if row is None or (row.project != self._project and row.scope != "global"):
                raise NotFound(
                    f"There is no memory {memory} in this project.", hint="`engram consolidate` names them."
                )
        self._lifecycle.restore(tuple(memories))

    def report_outcome(
        self, session: str, outcome: Literal["success", "failure"], *, user: str = "default", notes: str = ""
    ) -> int:
        """Books how a session ended on the memories recalled in it; how many there are.

        Each gains (loses) 0.05 of importance, once per session, within 0.2 of what was stated. Raises StoreError.
        """
        self._settle()
        self.catch_up()
        with self._index.connection() as connection:
            memories = recalled_in(connection, session, self._project, user)
        self._append(
            OutcomeReported(
                reported_session=session, outcome=outcome, memories=memories, notes=notes, user=user
            )
        )
        self.catch_up()
        return len(memories)

    def recall(
        self,
        query: str,
        *,
        k: int = 5,
        user: str = "default",
        project: str | None = None,
        memory_type: MemoryType = "all",
        wait: float = 0.0,
        session: str | None = None,
    ) -> Recall:
        """The k memories that answer a query best, of `project` (this one by default) and global ones.

        Without `wait` (seconds) a cold model costs nothing: the answer goes by words and says so. The hits are
        strengthened, later; `session` is one that the asker named: what it recalled is booked on it as well (see
        `report_outcome`). Raises UsageError for an empty query, k outside 1..100, an unknown type.
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
        found, compared = recall.find(
            self._index,
            self._embedder,
            query,
            Scope(project or self._project, user, memory_type),
            self._clock(),
            patiently=lambda ask: self._patiently(ask, wait),
            weights=self._weights,
            most=k,
        )
        hits = tuple(found)
        digest = hashlib.sha256(query.encode()).hexdigest()[:16]
        self._submit_quietly(
            MemoryRecalled(
                memories=tuple(hit.memory.id for hit in hits), query_digest=digest, reported_session=session
            )
        )
        took = (time.perf_counter() - started) * 1000
        return Recall(hits=hits, semantic=self._semantic(compared), took_ms=round(took, 2))

    def stats(self, *, user: str = "default", project: str | None = None) -> MemoryStats:
        """Figures of a user's memories, in one project or (None) in all of the home."""
        self._settle()
        self.catch_up()
        key = (user, project, self._index.position, int(self._clock().timestamp() / STATS_SECONDS))
        if self._figures is None or self._figures[0] != key:
            made = self._index.healing(
                lambda: figures(
                    self._index,
                    self._embedder,
                    user=user,
                    project=project,
                    now=self._clock(),
                    last_maintenance=self._lifecycle.last_done(project),
                )
            )
            self._figures = (key, made)
        made = self._figures[1]
        with self._index.connection():
            lag = self._index.vectors.lag()
        return replace(made, lag=lag, embedder=self._embedder.state, note=self._embedder.note)

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

    def cosine(self, one: str, other: str) -> float | None:
        """Cosine similarity of two texts; None where no model is ready at once."""
        if self._embedder.state != "ready":
            return None
        made = self._embedder.embed((one, other), within=PATIENCE, urgent=True)
        if made is None:
            return None
        left, right = (array.array("f", row) for row in made.rows)
        return sum(a * b for a, b in zip(left, right, strict=True))

    def expect_questions(self) -> None:
        """Somebody will ask soon: the model may warm up, in the background, if there is anything to be found."""
        if self._index.position:
            self._indexer.wake(asked=True)

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
        self._lifecycle.close()
        self._indexer.close()
        self._embedder.close()
        self._index.close()

    def _select(self, condition: str, values: tuple[object, ...]) -> list[MemoryRow]:
        return self._index.healing(lambda: self._index.select(condition, values))

    def _same(self, content: str, user: str, scope: str) -> MemoryRow | None:
        found = self._select(
            "m.user = ? AND m.project = ? AND m.normalised = ? AND m.scope = ? AND +m.memory_type = 'memory'"
            " AND m.superseded_by IS NULL ORDER BY m.id DESC LIMIT 1",
            (user, self._project, dedup.normalised(content), scope),
        )
        return found[0] if found else None

    def _patiently(self, ask: Ask, wait: float) -> Likeness | None:
        deadline = time.monotonic() + wait
        # "off" is also the state of a worker never asked: another process may have one ready.
        if wait <= 0 and self._embedder.state not in ("ready", "off"):
            self._indexer.wake(asked=True)
            return None
        answer = ask(max(wait, PATIENCE))
        if answer is None:
            self._indexer.wake(asked=True)
        while answer is None and not self._is_hopeless() and (left := deadline - time.monotonic()) > 0:
            self._indexer.wait_for_news(min(0.5, left))
            if self._embedder.state == "ready":
                answer = ask(left)
        return answer

    def _is_hopeless(self) -> bool:
        return self._embedder.state.startswith("failed")

    def _semantic(self, compared: bool) -> Semantic:
        if compared:
            return "ready"
        return "off" if self._is_hopeless() or self._embedder.state == "off" else "warming"

    def _look_again(self, memory: int, vector: bytes) -> None:
        """A memory stored here has its vector now: it can be compared, and have edges."""
        self._lifecycle.wake()

    def _submit_quietly(self, event: Event) -> None:
        # A journal that refuses writes must not take reading away.
        with contextlib.suppress(EngramError):
            self._booked = self._submit(event)

    def _settle(self) -> None:
        """What was submitted before counts: waits until the last recall is booked, not for long."""
        booked = self._booked
        if booked is not None:
            with contextlib.suppress(EngramError, TimeoutError, CancelledError):
                booked.result(SETTLE_SECONDS)


def _weights(settings: ModelSetting) -> Weights:
    """The weights, with mcp-engram's settings for them where they are set."""
    words = getattr(settings, "w_bm25", None)
    meaning = getattr(settings, "w_vector", None)
    least = getattr(settings, "sim_low", None)
    usual = shipped()
    return dataclasses.replace(
        usual,
        words=usual.words if words is None else words / USUAL_WORDS,
        meaning=usual.meaning if meaning is None else meaning / USUAL_MEANING,
        least_similarity=usual.least_similarity if least is None else least,
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
