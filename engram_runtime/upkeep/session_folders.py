"""Folders of sessions that ended long ago: what they did is in the journal, so the folders go."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from engram_runtime.ids import is_session_id
from engram_runtime.journal.journal import Journal
from engram_runtime.state.queries import Queries

_CARD = "session.json"
_LOCK = "lock"
_DAY = 86_400.0


def remove_old_folders(journal: Journal, queries: Queries, days: int) -> int:
    """Remove folders of sessions that ended more than `days` ago; how many.

    Never that of a session that lives, or that was lost and has not got its checkpoint yet: its folder says that it
    ended, and so does the journal. A journal that cannot be written is not asked: nothing is removed.
    """
    if not journal.writable:
        return 0
    before = time.time() - days * _DAY
    removed = 0
    for folder in list(_older(journal.files.sessions, before)):
        with _unused(folder) as unused:
            if unused and _said_its_end(folder) and _is_over(queries, folder.name):
                shutil.rmtree(folder, ignore_errors=True)
                removed += not folder.exists()
    return removed


def _older(sessions: Path, before: float) -> Iterator[Path]:
    """Folders of sessions of which nothing was heard since; the card is written anew when a session ends."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(sessions):
            if is_session_id(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    if Path(entry.path, _CARD).stat().st_mtime < before:
                        yield Path(entry.path)


@contextlib.contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the session's lock; nobody can take it while the block runs."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _said_its_end(folder: Path) -> bool:
    try:
        card = json.loads((folder / _CARD).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("ended") is True


def _is_over(queries: Queries, session: str) -> bool:
    """Whether the journal knows of no session that still has to be closed."""
    view = queries.session(session)
    return view is None or view.ended_at is not None
