"""The folder and lock of a session that runs: what tells a live session from one whose process was killed.

`<home>/sessions/<id>/session.json` says what it is, `lock` is held exclusively (flock) for its whole life, so the
system lets go of it however the process ends. A session is lost when its lock can be taken and it is not `ended`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engram_runtime.ids import is_session_id
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder

_LOCK = "lock"
_CARD = "session.json"


@dataclass(frozen=True, slots=True)
class Found:
    """A session's folder, as its card tells."""

    id: str
    folder: Path
    project: str
    agent: str
    mode: str
    task: int | None
    ended: bool


class Presence:
    """Holds the lock of one session. `leave` gives it up and removes the folder."""

    def __init__(self, home: Path, session: str, card: dict[str, Any]) -> None:
        """Make the folder (0700), take the lock, then write the card: who reads a card finds the lock held.

        Raises OSError where the home cannot be written.
        """
        make_private_folder(HomeFiles(home).sessions)
        self._folder = HomeFiles(home).sessions / session
        make_private_folder(self._folder)
        make_private_file(self._folder / _LOCK)
        self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            draft = self._folder / (_CARD + ".new")
            make_private_file(draft)
            draft.write_text(json.dumps({"id": session, **card}), "utf-8")
            draft.replace(self._folder / _CARD)
        except BaseException:
            # Held on, the lock would block this process's own next attempt for good.
            self.release()
            raise

    def leave(self) -> None:
        """The session is over and recorded: nothing of it has to be found. Again: nothing."""
        if self._lock >= 0:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of the lock, as the system does when the process dies: the session can be found dead."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sessions(home: Path) -> Iterator[Found]:
    """All session folders that say what they are; unreadable ones are passed over."""
    folder = HomeFiles(home).sessions
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return
    for name in names:
        if not is_session_id(name):
            continue
        try:
            card = json.loads((folder / name / _CARD).read_text("utf-8"))
            yield Found(
                id=name,
                folder=folder / name,
                project=str(card.get("project", "")),
                agent=str(card.get("agent", "")),
                mode=str(card.get("mode", "")),
                task=card.get("task") if isinstance(card.get("task"), int) else None,
                ended=bool(card.get("ended")),
            )
        except (OSError, ValueError, AttributeError):
            continue


def is_dead(found: Found) -> bool:
    """Whether nobody holds the session's lock. A shared lock is tried, so that two who ask don't mistake each other."""
    try:
        lock = os.open(found.folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


@contextmanager
def buried(found: Found) -> Iterator[bool]:
    """Hold a dead session's lock while its end is recorded; False where it lives, or another process was first.

    The folder is removed afterwards, unless recording failed.
    """
    try:
        lock = os.open(found.folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = (found.folder / _CARD).exists()
        except OSError:
            mine = False
        yield mine
        if mine:
            shutil.rmtree(found.folder, ignore_errors=True)
    finally:
        os.close(lock)
