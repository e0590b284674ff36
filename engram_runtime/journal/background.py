"""Upkeep in the background of a process that lives long: never in the way of an append, a query or a start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engram_runtime.errors import StoreError

FIRST_SECONDS = 60.0
"""A process younger than this looks after nothing: commands come and go."""

_CLOSE_SECONDS = 5.0

Work = Callable[[Callable[[], bool]], object]


class Background:
    """Runs `work` in a thread of its own, at most every `seconds`.

    `work` is given a function that says when to stop.
    """

    def __init__(self, name: str, work: Work, seconds: float) -> None:
        self._name = name
        self._work = work
        self._seconds = seconds
        self._next = time.monotonic() + FIRST_SECONDS
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def consider(self) -> None:
        """Something changed: there may be work. Costs nothing most of the time."""
        if time.monotonic() < self._next:
            return
        with self._guard:
            if self._stopped.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._next = time.monotonic() + self._seconds
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ask the work to stop, and wait for it, though not for ever."""
        self._stopped.set()
        with self._guard:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._work(self._stopped.is_set)
        except StoreError:
            return  # damage has been noted by who found it; a full disk or a lock is asked again later
