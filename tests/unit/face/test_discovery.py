"""Sessions by their locks."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engram_runtime.errors import NotFound, UsageError
from engram_tui.discovery import is_locked, live_session, sessions, state_of
from tests.support import wait_until

HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1])
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def put(
    home: Path, id: str, *, started: str = "2026-11-22T10:00:00Z", ended: bool = False, **facts: object
) -> Path:
    folder = home / "sessions" / id
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    values = {
        "id": id,
        "agent": "claude",
        "socket": "/run/x.sock",
        "started_at": started,
        "ended": ended,
        **facts,
    }
    (folder / "session.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def hold():  # type: ignore[no-untyped-def]
    """Hold the lock of a session directory in a process of its own."""
    held = []

    def start(folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, folder / "lock"], stdout=subprocess.PIPE, text=True
        )
        held.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in held:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.guarantee("G2")
def test_a_session_is_live_while_its_lock_is_held_and_lost_when_its_supervisor_is_killed(
    tmp_path: Path, hold
) -> None:  # type: ignore[no-untyped-def]
    folder = put(tmp_path, "one")
    process = hold(folder)
    assert state_of(folder) == "live"
    process.kill()
    wait_until(lambda: state_of(folder) == "lost", 5)


def test_a_session_that_said_it_ended_is_ended(tmp_path: Path) -> None:
    assert state_of(put(tmp_path, "one", ended=True)) == "ended"


def test_two_processes_asking_at_once_do_not_take_each_other_for_a_supervisor(tmp_path: Path) -> None:
    folder = put(tmp_path, "one")
    with open(folder / "lock") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not is_locked(folder / "lock")


def test_asking_leaves_no_lock_and_no_open_file_behind(tmp_path: Path) -> None:
    folder = put(tmp_path, "one")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(5):
        state_of(folder)
    with open(folder / "lock") as supervisor:
        fcntl.flock(supervisor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_live_sessions_come_first_and_the_newest_first_among_them(tmp_path: Path, hold) -> None:  # type: ignore[no-untyped-def]
    put(tmp_path, "old-ended", ended=True)
    put(tmp_path, "lost")
    put(tmp_path, "new-ended", started="2026-11-22T12:00:00Z", ended=True)
    hold(put(tmp_path, "live"))
    assert [e.id for e in sessions(tmp_path)] == ["live", "lost", "new-ended", "old-ended"]


def test_half_written_and_foreign_directories_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "good")
    (put(tmp_path, "bad") / "session.json").write_text('{"id":')
    (tmp_path / "sessions" / "empty").mkdir()
    (tmp_path / "sessions" / "file").touch()
    assert [e.id for e in sessions(tmp_path)] == ["good"]
    assert sessions(tmp_path / "nowhere") == []


def test_a_live_session_is_named_by_the_start_of_its_id(tmp_path: Path, hold) -> None:  # type: ignore[no-untyped-def]
    hold(put(tmp_path, "abc1"))
    hold(put(tmp_path, "abd2", started="2026-11-22T12:00:00Z"))
    put(tmp_path, "zzz")
    assert live_session(tmp_path).id == "abd2"
    assert live_session(tmp_path, "abc").id == "abc1"
    with pytest.raises(NotFound, match=r"More than one.*abd2"):
        live_session(tmp_path, "ab")
    with pytest.raises(NotFound, match=r"No live session 'zzz'.*abd2, abc1"):
        live_session(tmp_path, "zzz")
    with pytest.raises(NotFound, match="engram run"):
        live_session(tmp_path / "nowhere")


def test_a_session_that_only_uses_the_tools_is_never_meant(tmp_path: Path, hold) -> None:  # type: ignore[no-untyped-def]
    hold(put(tmp_path, "cursor1", started="2026-11-22T12:00:00Z", mode="mcp"))
    with pytest.raises(NotFound, match="No live session"):
        live_session(tmp_path, sole=True)
    hold(put(tmp_path, "own"))
    assert live_session(tmp_path).id == "own"
    assert live_session(tmp_path, sole=True).id == "own"
    with pytest.raises(UsageError, match=r"cursor1.*runs elsewhere"):
        live_session(tmp_path, "cursor")


def test_a_session_of_the_project_is_meant_before_a_newer_one_of_another(tmp_path: Path, hold) -> None:  # type: ignore[no-untyped-def]
    hold(put(tmp_path, "here", project="/a"))
    hold(put(tmp_path, "there", project="/b", started="2026-11-22T12:00:00Z"))
    assert live_session(tmp_path, project="/a").id == "here"
    assert live_session(tmp_path, project="/c").id == "there"
    assert live_session(tmp_path, "there", project="/a").id == "there"


def test_the_sole_session_is_only_one_of_the_project_that_has_no_other(tmp_path: Path, hold) -> None:  # type: ignore[no-untyped-def]
    hold(put(tmp_path, "one", project="/a"))
    assert live_session(tmp_path, project="/a", sole=True).id == "one"
    with pytest.raises(UsageError, match=r"No live session in this project.*: one"):
        live_session(tmp_path, project="/b", sole=True)
    hold(put(tmp_path, "two", project="/a", started="2026-11-22T12:00:00Z"))
    with pytest.raises(UsageError, match="Name one: two, one"):
        live_session(tmp_path, project="/a", sole=True)
    assert live_session(tmp_path, "one", project="/a", sole=True).id == "one"


def test_discovery_loads_nothing_heavy() -> None:
    heavy = "('textual', 'rich', 'sqlalchemy', 'mcp', 'asyncio')"
    code = f"import engram_tui.discovery, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
