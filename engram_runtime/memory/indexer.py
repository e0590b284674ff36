"""The thread that gives rows their vectors: starts the worker when there is need, and never in anybody's way."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engram_runtime.journal.events import MemorySuperseded
from engram_runtime.memory import dedup
from engram_runtime.memory.embedder import Embedder
from engram_runtime.memory.index import Index
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder

BATCH = 16
BATCH_SECONDS = 60.0
"""How long one batch may take on a busy machine."""
LOOK_SECONDS = 0.2
"""Between looks at a worker that is starting, or at another process that is indexing."""
PAUSE_SECONDS = 5.0
"""After a failure."""

log = logging.getLogger("engram.memory.indexer")


class Indexer:
    """Embeds rows without vectors, in batches, one process of the home at a time."""

    def __init__(
        self, index: Index, embedder: Embedder, home: Path, supersede: Callable[[MemorySuperseded], object]
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._lock_file = HomeFiles(home).run / "embed-index.lock"
        self._supersede = supersede
        self._changed = threading.Condition()
        self._work = True
        self._asked = False
        self._closed = False
        self._fresh: set[int] = set()
        self._thread: threading.Thread | None = None

    def wake(self, *, stored: int | None = None, asked: bool = False) -> None:
        """There may be something to do: a memory was stored, or somebody asked and would like the model."""
        with self._changed:
            if self._closed:
                return
            if stored is not None:
                self._fresh.add(stored)
            self._asked |= asked
            self._work = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memory-indexer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait_for_news(self, seconds: float) -> None:
        """Waits until the worker was looked at again, at most so long."""
        with self._changed:
            self._changed.wait(seconds)

    def close(self) -> None:
        """Ends the thread, after the batch in hand at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=2.0)

    def _run(self) -> None:
        pause: float | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work or self._closed, timeout=pause)
                if self._closed:
                    return
                self._work = False
            try:
                pause = self._step()
            except Exception:  # thread boundary: a full disk or a damaged file must not end indexing for good
                log.warning("indexing failed; trying again", exc_info=True)
                pause = PAUSE_SECONDS
            with self._changed:
                self._changed.notify_all()

    def _step(self) -> float | None:
        """Does one thing. Returns after how many seconds to come again, None: when woken."""
        self._link_repetitions()
        with self._index.connection():
            lag = bool(self._index.vectors.missing(1))
        if not lag and not self._asked:
            # What another process embedded just now is still to be looked at.
            return LOOK_SECONDS if self._fresh else None
        state = self._embedder.ensure()
        if state == "ready":
            self._asked = False
            return self._batch_alone() if lag else None
        if state == "off":
            return None
        return PAUSE_SECONDS if state.startswith("failed") else LOOK_SECONDS

    def _batch_alone(self) -> float:
        make_private_folder(self._lock_file.parent)
        make_private_file(self._lock_file)
        with self._lock_file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return LOOK_SECONDS
            return 0.0 if self._batch() else LOOK_SECONDS

    def _batch(self) -> bool:
        with self._index.connection():
            rows = self._index.vectors.missing(BATCH)
        started = time.monotonic()
        made = self._embedder.embed([content for _, content in rows], within=BATCH_SECONDS)
        if made is None:
            return False
        with self._index.transaction() as connection:
            self._index.vectors.prepare(made.model, made.dim)
            for (memory, content), vector in zip(rows, made.rows, strict=True):
                now = connection.execute("SELECT content FROM memories WHERE id = ?", (memory,)).fetchone()
                # Reworded while it was embedded: its turn comes again.
                if now and now[0] == content:
                    self._index.vectors.put(memory, vector)
        log.debug("%d rows embedded in %.2f s", len(rows), time.monotonic() - started)
        return True

    def _link_repetitions(self) -> None:
        """Looks at what was stored here and has a vector by now, whichever process made it."""
        for memory in sorted(self._fresh):
            with self._index.connection():
                vector = self._index.vectors.get(memory)
            if vector:
                self._fresh.discard(memory)
                self._link_repetition(memory, vector)

    def _link_repetition(self, memory: int, vector: bytes) -> None:
        """If an older memory says the same, it is superseded by this one."""
        row = self._index.row(memory)
        if row is None or row.memory_type != "memory" or row.superseded_by is not None:
            return
        with self._index.connection():
            near = self._index.vectors.nearest(
                vector,
                "SELECT id FROM memories WHERE user = ? AND project = ? AND scope = ? AND id < ?"
                " AND memory_type = 'memory' AND superseded_by IS NULL",
                (row.user, row.project, row.scope, memory),
                4,
            )
        for other, cosine in near.items():
            older = self._index.row(other)
            if older and cosine >= dedup.SAME_COSINE and dedup.says_the_same(older.content, row.content):
                self._supersede(MemorySuperseded(memory=other, by=memory, why="says the same"))
