"""The thread that gives rows their vectors: starts the worker when there is need, and never in anybody's way."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engram_runtime.memory.embedder import Embedder
from engram_runtime.memory.index import Index
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder

BATCH = 16
"""Texts sent to the worker at a time: some 0.2 s of its time, and of waiting at the end of a session."""
LISTED = 512
"""Rows without a vector that are listed at a time."""
BATCH_SECONDS = 60.0
"""How long one batch may take on a busy machine."""
LOOK_SECONDS = 0.2
"""Between looks at a worker that is starting, or at another process that is indexing."""
PAUSE_SECONDS = 5.0
"""After a failure."""

log = logging.getLogger("engram.memory.indexer")


class Indexer:
    """Embeds rows without vectors, in batches, one process of the home at a time.

    `look_again(memory, vector)` is called, in this thread, for each memory stored here once it has its vector:
    what it repeats or replaces can be told only then, if the model was cold when it was stored.
    """

    def __init__(
        self, index: Index, embedder: Embedder, home: Path, look_again: Callable[[int, bytes], object]
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._lock_file = HomeFiles(home).run / "embed-index.lock"
        self._look_again = look_again
        self._changed = threading.Condition()
        self._work = True
        self._asked = False
        self._closed = False
        self._fresh: set[int] = set()
        self._todo: list[tuple[int, str]] = []
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

    def _is_closed(self) -> bool:
        with self._changed:
            return self._closed

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
                if self._is_closed():
                    return  # the file was closed under a step that took too long
                log.warning("indexing failed; trying again", exc_info=True)
                pause = PAUSE_SECONDS
            with self._changed:
                self._changed.notify_all()

    def _step(self) -> float | None:
        """Does one thing. Returns after how many seconds to come again, None: when woken."""
        self._look_at_fresh()
        with self._index.connection():
            lag = bool(self._todo) or bool(self._index.vectors.missing(1))
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
                self._todo = []
                return LOOK_SECONDS
            return 0.0 if self._batch() else LOOK_SECONDS

    def _batch(self) -> bool:
        rows = self._next_rows()
        if not rows:
            return True
        started = time.monotonic()
        made = self._embedder.embed([content for _, content in rows], within=BATCH_SECONDS)
        if made is None:
            self._todo = []
            return False
        with self._index.transaction() as connection:
            self._index.vectors.prepare(made.model, made.dim)
            for (memory, content), vector in zip(rows, made.rows, strict=True):
                now = connection.execute("SELECT content FROM memories WHERE id = ?", (memory,)).fetchone()
                # Reworded while it was embedded: its turn comes again.
                if now and now[0] == content:
                    self._index.vectors.put(memory, vector)
            if not self._todo:
                self._index.vectors.settle()
        log.debug("%d rows embedded in %.2f s", len(rows), time.monotonic() - started)
        return True

    def _next_rows(self) -> list[tuple[int, str]]:
        """The next rows to embed: what was stored here just now first, then the newest."""
        newest = self._todo[0][0] if self._todo else 0
        if not self._todo or any(memory > newest for memory in self._fresh):
            with self._index.connection():
                self._todo = self._index.vectors.missing(LISTED)
        rows, self._todo = self._todo[:BATCH], self._todo[BATCH:]
        return rows

    def _look_at_fresh(self) -> None:
        """Looks at what was stored here and has a vector by now, whichever process made it."""
        for memory in sorted(self._fresh):
            with self._index.connection():
                vector = self._index.vectors.get(memory)
            if vector:
                self._fresh.discard(memory)
                self._look_again(memory, vector)
