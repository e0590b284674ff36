"""watchfiles over a list of folders, in portions, with a thread per portion.

watchfiles holds the interpreter while it sets up its watches (0.2 s for a tree of 50,000 files), and a recursive watch
would take in node_modules. So on Linux the folders worth watching are given to it in portions; macOS watches a tree as
one at no cost.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Literal

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

FOLDERS_AT_ONCE = 300
"""Folders per watcher: about 14 ms in which the interpreter stands still."""
MOST_WATCHERS = 12
_DEBOUNCE_MS = 100
_TIMEOUT_MS = 2000
_ATTEMPTS = 5

RawChanges = set[tuple[int, str]]
"""watchfiles' own: (1 added | 2 modified | 3 deleted, absolute path)."""


class CannotWatch(Exception):
    """The system refuses more watches; the text says what it said."""


Delivery = RawChanges | CannotWatch | None
"""What a watcher hands on: changes, or why it stopped; None only wakes the receiver."""


class FolderWatch:
    """Watches folders until `stop`; raw changes arrive in `changes`. Not thread-safe but for the queue."""

    def __init__(self, step_ms: int, *, recursive: bool) -> None:
        self.changes: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._step_ms = step_ms
        self._recursive = recursive
        self._watchers: list[_Watcher] = []

    def add(self, folders: Collection[str]) -> None:
        """Watch these too. Raises `CannotWatch`; folders that vanish meanwhile are passed over."""
        portion = max(FOLDERS_AT_ONCE, -(-len(folders) // MOST_WATCHERS))
        listed = sorted(folders)
        for start in range(0, len(listed), portion):
            notify = _notify(listed[start : start + portion], self._recursive)
            if notify is not None:
                self._watchers.append(_Watcher(notify, self.changes, self._step))

    def needs_rebuilding(self) -> bool:
        """Whether additions have made too many small watchers."""
        return len(self._watchers) > MOST_WATCHERS

    def rebuild(self, folders: Collection[str]) -> None:
        """Watch exactly these, the old watchers until the new ones stand. Raises `CannotWatch`."""
        old, self._watchers = self._watchers, []
        try:
            self.add(folders)
        finally:
            _stop(old)

    def stop(self) -> None:
        """Stop all watchers and wait for their threads (a step each)."""
        watchers, self._watchers = self._watchers, []
        _stop(watchers)

    def _step(self) -> int:
        # Each step of each watcher wakes the interpreter: many watchers look less often.
        return self._step_ms * max(1, len(self._watchers) // 2)


class _Watcher:
    """One RustNotify and the thread that listens to it."""

    def __init__(
        self, notify: RustNotify, changes: queue.SimpleQueue[Delivery], step: Callable[[], int]
    ) -> None:
        self._notify = notify
        self._changes = changes
        self._step = step
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._listen, name="file-watch", daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        answer: RawChanges | Literal["signal", "stop", "timeout"] = "timeout"
        try:
            while answer != "stop":
                if isinstance(answer, set):
                    self._changes.put(answer)
                answer = self._notify.watch(_DEBOUNCE_MS, self._step(), _TIMEOUT_MS, self.stopping)
        except (OSError, RuntimeError) as error:
            self._changes.put(CannotWatch(str(error)))
        finally:
            self._notify.close()


def _notify(folders: Iterable[str], recursive: bool) -> RustNotify | None:
    present = list(folders)
    for _attempt in range(_ATTEMPTS):
        present = [folder for folder in present if Path(folder).is_dir()]
        if not present:
            return None
        try:
            return RustNotify(present, False, False, 300, recursive, True)
        except FileNotFoundError:
            continue
        except (OSError, WatchfilesRustInternalError) as error:
            raise CannotWatch(str(error)) from error
    return None


def _stop(watchers: Iterable[_Watcher]) -> None:
    for watcher in watchers:
        watcher.stopping.set()
    for watcher in watchers:
        watcher.thread.join()
