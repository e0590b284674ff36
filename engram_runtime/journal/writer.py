"""The one place of a process that writes to the journal, one transaction at a time.

Callers queue; whatever waits when the thread is free becomes one transaction (group commit), and each caller
is told after COMMIT has returned, that is after fsync. A caller that finds nobody waiting writes itself.
Between processes a lock file is held around BEGIN IMMEDIATE … COMMIT: waiters of flock queue in the kernel,
SQLite's busy handler polls and starves some.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engram_runtime.database import atomic, driver_connection, errors, failure
from engram_runtime.errors import StoreDamaged, StoreError, StoreTooNew, StoreUnavailable
from engram_runtime.journal.chain import GENESIS, SALT_BYTES, Draft, bound_rows
from engram_runtime.journal.high_water import set_mark
from engram_runtime.journal.table import INSERT, LAST, SCHEMA_VERSION
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Batch", "Draft", "Positions", "Writer"]

GROUP_EVENTS = 1000
GROUP_BYTES = 4_000_000
QUEUE_LIMIT = 10_000
CLOSE_SECONDS = 5.0
"""How long a close waits for what was submitted."""
"""Batches that may wait; more means the disk stands still, and the caller is told."""

Positions = tuple[int, ...]


@dataclass(slots=True)
class Batch:
    """Drafts of one caller, written together or not at all."""

    drafts: tuple[Draft, ...]
    done: Future[Positions] = field(default_factory=Future)


class Writer:
    """Owns the writing connection. Not for use across fork(): the child must open its own."""

    def __init__(
        self,
        connection: Connection,
        files: HomeFiles,
        inode: int,
        on_result: Callable[[StoreError | None], None],
    ) -> None:
        """`inode` is that of the journal's file when it was opened, before this connection was."""
        self._connection = connection
        self._driver = driver_connection(connection)
        self._path = files.journal
        self._inode = inode
        self._lock = os.open(files.journal_lock, os.O_RDWR | os.O_CLOEXEC)
        self._on_result = on_result
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._waiting = 0
        self._closed = False
        self._turn = threading.Lock()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="engram-journal", daemon=True)
        self._thread.start()

    def submit(self, drafts: tuple[Draft, ...]) -> Future[Positions]:
        """Queue drafts; the future gives their positions once they are durable.

        Raises StoreUnavailable where too much waits already, when closed, and in a forked child.
        """
        batch = Batch(drafts)
        with self._guard:
            self._refuse_what_cannot_work()
            self._waiting += 1
            self._queue.put(batch)
        return batch.done

    def write_now(self, drafts: tuple[Draft, ...]) -> Future[Positions]:
        """As `submit`, but in the caller's thread where nothing else waits: two thread switches less."""
        with self._guard:
            self._refuse_what_cannot_work()
            alone = self._waiting == 0 and self._turn.acquire(blocking=False)
            if alone:
                self._waiting += 1
        if not alone:
            return self.submit(drafts)
        batch = Batch(drafts)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Another process writes: the thread waits for it, so that the caller can lose patience.
            with self._guard:
                self._queue.put(batch)
            self._turn.release()
        else:
            try:
                self._write([batch], wait=False)
            finally:
                self._turn.release()
        return batch.done

    def close(self) -> None:
        """Write what waits, end the thread, close the connection."""
        if os.getpid() != self._pid:
            return
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            return  # it waits for a lock that another process holds; a daemon thread ends with this process
        with self._turn:
            self._connection.close()
            os.close(self._lock)

    def _refuse_what_cannot_work(self) -> None:
        if os.getpid() != self._pid:
            raise StoreUnavailable("The journal was opened before a fork.", hint="Open it in the child.")
        if self._closed:
            raise StoreUnavailable("The journal is closed.")
        if self._waiting >= QUEUE_LIMIT:
            raise StoreUnavailable("The journal cannot keep up: the disk does not answer.", hint="Try again.")

    def _run(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                with self._turn:
                    self._write(group, wait=True)

    def _next_group(self) -> tuple[list[Batch], bool]:
        """Everything that waits, at least one batch; True when the writer is to end after it."""
        group: list[Batch] = []
        events = size = 0
        try:
            while events < GROUP_EVENTS and size < GROUP_BYTES:
                batch = self._queue.get(block=not group)
                if batch is None:
                    return group, True
                group.append(batch)
                events += len(batch.drafts)
                size += sum(len(draft.payload) for draft in batch.drafts)
        except queue.Empty:
            pass
        return group, False

    def _write(self, group: list[Batch], *, wait: bool) -> None:
        """Write a group as one transaction and tell each caller. Lets the lock file go; `wait`: takes it first."""
        running: list[Batch] = []
        results: list[Positions] = []
        failed: StoreError | None = None
        try:
            if wait:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Only now: a caller that lost patience while another process held the lock has cancelled.
            running = [batch for batch in group if batch.done.set_running_or_notify_cancel()]
            results = self._commit(running) if running else []
        except StoreError as error:
            failed = error
        except errors() as error:
            failed = failure(error, "The journal")
        except Exception as error:  # noqa: BLE001  thread boundary: whoever waits must be told
            failed = StoreUnavailable(f"The journal cannot be written ({error!r}).")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            with self._guard:
                self._waiting -= len(group)
        self._on_result(failed)
        for number, batch in enumerate(running or (group if failed else ())):
            if failed is not None:
                batch.done.set_exception(failed)
            else:
                batch.done.set_result(results[number])

    def _commit(self, group: list[Batch]) -> list[Positions]:
        self._refuse_a_lost_file()
        drafts = list(itertools.chain.from_iterable(batch.drafts for batch in group))
        salts = secrets.token_bytes(SALT_BYTES * len(drafts))
        with atomic(self._driver) as driver:
            if driver.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
                raise StoreTooNew("A newer Engram has taken over the journal.", hint="Update Engram.")
            # Read every time: another process may have written since.
            last = driver.execute(LAST).fetchone()
            position, previous = (int(last[0]), bytes(last[1])) if last else (0, GENESIS)
            driver.executemany(INSERT, bound_rows(previous, position, salts, drafts))
        results = []
        for batch in group:
            first, position = position + 1, position + len(batch.drafts)
            results.append(tuple(range(first, position + 1)))
        set_mark(self._lock, position)
        return results

    def _refuse_a_lost_file(self) -> None:
        """Writing to a file that was deleted or replaced would be acknowledged and lost."""
        try:
            inode = self._path.stat().st_ino
        except OSError:
            inode = -1
        if inode != self._inode:
            raise StoreDamaged(
                "The journal was removed or replaced while it was open.",
                hint="Run `engram recover`, then start again.",
            )
