"""Changes of files below the working tree, as observations on the event loop, without what nobody wants to see."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from engram_runtime.journal.records import ChangeKind
from engram_tui.watch.folder_watch import CannotWatch, Delivery, FolderWatch, RawChanges
from engram_tui.watch.git_watch import git_status, tracked_files, worktree_top
from engram_tui.watch.ignore import IgnoreRules
from engram_tui.watch.observations import FileTouched

STEP_MS = 20
POLL_SECONDS = 5.0
MOST_FOLDERS = 30_000
MOST_FILES_POLLED = 50_000
_ADDED, _DELETED = 1, 3
_GONE = (0, 0)

OnTouched = Callable[[tuple[FileTouched, ...]], None]
Stamp = tuple[int, int]
"""Modification time (ns) and size; (0, 0) for a file that is gone."""
Snapshot = Mapping[str, tuple[Stamp, ChangeKind]]
"""By absolute path: its stamp, and what it would mean to see the path for the first time."""


class FileWatch:
    """Watches one working tree, whether or not git knows it.

    `top` is the worktree's top folder; `ignore` the user's patterns; `step_ms` (5 to 50) sets latency against idle
    cost; `recursive` is right where the system itself watches trees (FSEvents). `problem` says in words when changes
    are seen late only.
    """

    def __init__(
        self,
        top: str,
        *,
        ignore: Sequence[str] = (),
        step_ms: int = STEP_MS,
        poll_seconds: float = POLL_SECONDS,
        recursive: bool = sys.platform == "darwin",
    ) -> None:
        self.top = os.path.realpath(top)
        self.problem: str | None = None
        self._patterns = tuple(ignore)
        self._poll_seconds = poll_seconds
        self._recursive = recursive
        self._watch = FolderWatch(step_ms, recursive=recursive)
        self._folders: set[str] = set()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_touched: OnTouched | None = None

    @property
    def ready(self) -> bool:
        """Whether changes are seen from now on (by watching or by polling)."""
        return self._ready.is_set()

    def start(self, loop: asyncio.AbstractEventLoop, on_touched: OnTouched) -> None:
        """Begin in a thread; returns at once. `on_touched` gets batches on the loop.

        A path with a slash at its end is a folder that went away with everything in it.
        """
        self._loop, self._on_touched = loop, on_touched
        self._thread = threading.Thread(target=self._run, name="file-sort", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End all threads; nothing is reported after it."""
        self._on_touched = None
        self._stopping.set()
        self._watch.changes.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - a thread's end: it must be seen, not printed over the screen
            self.problem = f"Files are not watched any more: {error!r}."
        finally:
            self._watch.stop()

    def _look(self) -> None:
        is_repository = worktree_top(self.top) is not None
        self._rules = IgnoreRules(self.top, self._patterns, git=is_repository)
        try:
            self._set_up()
            self._ready.set()
            while not self._stopping.is_set():
                self._sort(_next_changes(self._watch.changes))
        except CannotWatch as error:
            self._watch.stop()
            pace = f"changes are looked up every {self._poll_seconds:g} seconds instead"
            self.problem = f"Files cannot be watched ({error}); {pace}."
            self._poll(is_repository)

    def _set_up(self) -> None:
        if self._recursive:
            self._watch.add([self.top])
            return
        self._folders = set(self._worthwhile([self.top]))
        self._watch.add(self._folders)

    def _set_up_again(self) -> None:
        if not self._recursive:
            self._folders = set(self._worthwhile([self.top]))
            self._watch.rebuild(self._folders)

    def _worthwhile(self, roots: Iterable[str]) -> list[str]:
        """Folders worth watching from `roots` down, level by level: git is asked once per level."""
        found: list[str] = []
        level = list(roots)
        while level and not self._stopping.is_set():
            found += level
            if len(found) > MOST_FOLDERS:
                raise CannotWatch(f"more than {MOST_FOLDERS} folders")
            level = self._rules.kept(
                path for folder in level for path, is_folder in _entries(folder) if is_folder
            )
        return found

    def _sort(self, raw: RawChanges) -> None:
        kinds: dict[str, set[int]] = {}
        for kind, path in raw:
            if path != self.top and not self._rules.by_name(path):
                kinds.setdefault(path, set()).add(kind)
        if any(path.endswith("/.gitignore") for path in kinds):
            self._rules.rules_changed()
            self._set_up_again()
        touched: dict[str, ChangeKind] = {}
        new_folders: list[str] = []
        for path in self._rules.kept(sorted(kinds)):
            change = _change(path, kinds[path])
            if path in self._folders and change == "deleted":
                self._forget(path)
                touched[path + "/"] = "deleted"
            elif Path(path).is_dir() and not Path(path).is_symlink():
                new_folders += [path] if change == "added" else []
            elif change is not None:
                touched[path] = change
        self._take_in(new_folders, touched)
        self._report(self._as_modified(touched))

    def _as_modified(self, touched: Mapping[str, ChangeKind]) -> dict[str, ChangeKind]:
        """Most editors and agents write a new file and rename it over the old one: that is a modification."""
        added = [path for path, change in touched.items() if change == "added"]
        known = tracked_files(self.top, added) if added else frozenset()
        return {path: "modified" if path in known else change for path, change in touched.items()}

    def _take_in(self, new_folders: Sequence[str], touched: dict[str, ChangeKind]) -> None:
        """Watch new folders, then look what is in them already."""
        if not new_folders:
            return
        folders = [folder for folder in self._worthwhile(new_folders) if folder not in self._folders]
        if not self._recursive:
            self._folders.update(folders)
            self._watch.add(folders)
            if self._watch.needs_rebuilding():
                self._watch.rebuild(self._folders)
        inside = [path for folder in folders for path, is_folder in _entries(folder) if not is_folder]
        for path in self._rules.kept(inside):
            touched.setdefault(path, "added")

    def _forget(self, folder: str) -> None:
        below = folder + "/"
        self._folders = {path for path in self._folders if path != folder and not path.startswith(below)}

    def _report(self, touched: Mapping[str, ChangeKind]) -> None:
        on_touched, loop = self._on_touched, self._loop
        if not touched or on_touched is None or loop is None:
            return
        at = time.time()
        batch = tuple(
            FileTouched(channel="files", at=at, path=path, change=change) for path, change in touched.items()
        )
        try:
            loop.call_soon_threadsafe(on_touched, batch)
        except RuntimeError:  # The loop is closed: nobody is left to tell.
            self._stopping.set()

    def _poll(self, is_repository: bool) -> None:
        look = self._changed_in_git if is_repository else self._all_files
        before = look()
        self._ready.set()
        while not self._stopping.wait(self._poll_seconds):
            now = look()
            self._report(_compare(before, now))
            before = now

    def _changed_in_git(self) -> Snapshot:
        status = git_status(self.top)
        files = () if status is None else status.changed
        looks = ((os.path.join(self.top, file.path), file.change) for file in files)
        return {path: (_stamp(path), change) for path, change in looks if not self._rules.by_name(path)}

    def _all_files(self) -> Snapshot:
        found: dict[str, tuple[Stamp, ChangeKind]] = {}
        level = [self.top]
        while level and len(found) < MOST_FILES_POLLED:
            entries = [
                entry for folder in level for entry in _entries(folder) if not self._rules.by_name(entry[0])
            ]
            found.update((path, (_stamp(path), "added")) for path, is_folder in entries if not is_folder)
            level = [path for path, is_folder in entries if is_folder]
        return found


def _next_changes(changes: queue.SimpleQueue[Delivery]) -> RawChanges:
    """Wait for changes, and take all that have come by then. Raises the `CannotWatch` of a watcher that stopped."""
    merged: RawChanges = set()
    while True:
        delivery = changes.get()
        if isinstance(delivery, CannotWatch):
            raise delivery
        merged |= delivery or set()
        if changes.empty():
            return merged


def _entries(folder: str) -> list[tuple[str, bool]]:
    """Absolute path of each entry, and whether it is a folder (a link to one is not)."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return []


def _change(path: str, kinds: set[int]) -> ChangeKind | None:
    """What became of the path in this batch; None for a file that came and went within it."""
    if not os.path.lexists(path):
        return None if _ADDED in kinds else "deleted"
    return "added" if _ADDED in kinds and _DELETED not in kinds else "modified"


def _stamp(path: str) -> Stamp:
    try:
        stat = os.lstat(path)
    except OSError:
        return _GONE
    return (stat.st_mtime_ns, stat.st_size)


def _compare(before: Snapshot, now: Snapshot) -> dict[str, ChangeKind]:
    """What changed from one look to the next. With git only files that differ from HEAD are in a look."""
    touched: dict[str, ChangeKind] = {}
    for path, (stamp, first) in now.items():
        if path not in before:
            touched[path] = first
        elif stamp != before[path][0]:
            touched[path] = "modified" if stamp != _GONE else "deleted"
    for path in before.keys() - now.keys():
        stamp = _stamp(path)
        if stamp != before[path][0]:
            touched[path] = "modified" if stamp != _GONE else "deleted"
    return touched
