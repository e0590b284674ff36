"""Folders of sessions that ended long ago go; no other one does."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from engram_runtime.ids import session_id
from engram_runtime.journal.events import SessionEnded, SessionStarted
from engram_runtime.journal.records import Verdict
from engram_runtime.runtime import Runtime
from engram_runtime.upkeep.session_folders import remove_old_folders

pytestmark = pytest.mark.guarantee("G9")

KEEP_DAYS = 30


def put(runtime: Runtime, *, days: float, ended: bool = True, recorded: bool = True, name: str = "") -> Path:
    """A session's folder of which nothing was heard for so many days."""
    session = name or session_id()
    runtime.append(SessionStarted(agent="demo"), session=session)
    if recorded:
        runtime.append(SessionEnded(verdict=Verdict(kind="finished", code=0)), session=session)
    folder = runtime.home / "sessions" / session
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "supervisor.log").write_text("a line")
    card = folder / "session.json"
    card.write_text(json.dumps({"id": session, "ended": ended}))
    heard = time.time() - days * 86_400
    os.utime(card, (heard, heard))
    return folder


def remove(runtime: Runtime) -> int:
    return remove_old_folders(runtime.journal, runtime.state, KEEP_DAYS)


def test_folders_of_sessions_that_ended_long_ago_go_and_the_journal_keeps_them(runtime: Runtime) -> None:
    old, young = put(runtime, days=KEEP_DAYS + 1), put(runtime, days=KEEP_DAYS - 1)
    assert remove(runtime) == 1
    assert not old.exists()
    assert young.exists()
    assert {view.id for view in runtime.state.sessions()} == {old.name, young.name}
    assert remove(runtime) == 0


def test_a_session_that_lives_or_still_has_to_be_closed_keeps_its_folder(runtime: Runtime) -> None:
    living = put(runtime, days=KEEP_DAYS + 1)
    lost = put(runtime, days=KEEP_DAYS + 1, ended=False)
    unrecorded = put(runtime, days=KEEP_DAYS + 1, recorded=False)
    with (living / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove(runtime) == 0
    assert living.exists()
    assert lost.exists()
    assert unrecorded.exists()


def test_what_is_no_sessions_folder_stays(runtime: Runtime, tmp_path: Path) -> None:
    mine = put(runtime, days=KEEP_DAYS + 1, name="My notes")
    elsewhere = tmp_path / "elsewhere"
    put(runtime, days=KEEP_DAYS + 1).rename(elsewhere)
    (runtime.home / "sessions" / session_id()).symlink_to(elsewhere)
    assert remove(runtime) == 0
    assert (mine / "session.json").exists()
    assert (elsewhere / "session.json").exists()


def test_a_damaged_journal_is_not_asked(runtime: Runtime) -> None:
    old = put(runtime, days=KEEP_DAYS + 1)
    runtime.close()
    content = bytearray((runtime.home / "journal.sqlite").read_bytes())
    content[:16] = bytes(16)
    (runtime.home / "journal.sqlite").write_bytes(content)
    with Runtime.open(runtime.home, project="/p", settings=runtime.settings) as again:
        assert not again.journal.writable
        assert remove(again) == 0
    assert old.exists()
