"""What a start learns of a home before anything heavy is imported (see also `test_interrupted`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_runtime.database import connect_bare
from engram_runtime.journal import events as e
from engram_runtime.journal.records import Verdict, VerdictKind
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.state.preflight import Preflight, look

PROJECT = "/project"


def work(runtime: Runtime, session: str = "s1", verdict: VerdictKind | None = None) -> None:
    runtime.append(e.SessionStarted(agent="claude"), session=session)
    (task,) = runtime.append(e.TaskCreated(name="t"), session=session)
    runtime.append(e.TaskAttached(task=task), session=session)
    if verdict is not None:
        runtime.append(e.SessionEnded(verdict=Verdict(kind=verdict)), session=session)
    runtime.catch_up()


@pytest.mark.parametrize("verdict", ["finished", "user_quit"])
def test_work_that_ended_well_needs_no_second_look(
    runtime: Runtime, home: Path, verdict: VerdictKind
) -> None:
    work(runtime, verdict=verdict)
    assert look(HomeFiles(home), PROJECT) == Preflight(interrupted=False, unfinished=())


def test_interrupted_work_is_of_its_project_alone(runtime: Runtime, home: Path) -> None:
    work(runtime, verdict="oom")
    assert look(HomeFiles(home), PROJECT) == Preflight(interrupted=True, unfinished=())
    assert look(HomeFiles(home), "/another") == Preflight(interrupted=False, unfinished=())


def test_sessions_without_an_end_are_named_since_they_may_be_lost(runtime: Runtime, home: Path) -> None:
    work(runtime, "s1", "finished")
    work(runtime, "s2")
    assert look(HomeFiles(home), PROJECT) == Preflight(interrupted=False, unfinished=("s2",))


def test_a_state_behind_the_journal_tells_nothing(runtime: Runtime, home: Path) -> None:
    work(runtime, verdict="finished")
    runtime.append(e.SessionStarted(agent="claude"), session="s2")
    assert look(HomeFiles(home), PROJECT) is None
    runtime.catch_up()
    assert look(HomeFiles(home), PROJECT) is not None


def test_a_home_without_state_tells_nothing_and_is_left_as_it_is(tmp_path: Path) -> None:
    assert look(HomeFiles(tmp_path), PROJECT) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["garbage", "another journal"])
def test_an_unsound_home_tells_nothing(runtime: Runtime, home: Path, damage: str) -> None:
    work(runtime, verdict="finished")
    runtime.close()
    if damage == "garbage":
        for suffix in ("-wal", "-shm"):
            (Path(f"{HomeFiles(home).state}{suffix}")).unlink(missing_ok=True)
        HomeFiles(home).state.write_bytes(b"garbage" * 1000)
    else:
        state = connect_bare(HomeFiles(home).state)
        state.execute("UPDATE projection SET hash = ?", ("11" * 32,))
        state.close()
    assert look(HomeFiles(home), PROJECT) is None
