"""The state file is derived: deleted, damaged or foreign, it comes back the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_runtime.database import connect_bare
from engram_runtime.journal import events as e
from engram_runtime.journal.events import Event
from engram_runtime.journal.records import Checkpoint, ContextFill, FileChange, Verdict
from engram_runtime.paths import STATE_VERSION
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.state import state as state_module
from tests.support import rows_of

pytestmark = pytest.mark.guarantee("G8")

STATE = f"state.v{STATE_VERSION}.sqlite"


def open_again(home: Path) -> Runtime:
    return Runtime.open(home, project="/project", session="s1", settings=Settings())


def fill(runtime: Runtime) -> None:
    runtime.append(e.SessionStarted(agent="claude"), e.TaskCreated(name="t"), e.TaskAttached(task=2))
    runtime.append(
        e.ToolStarted(tool="Bash", call_id="1"), e.ProgressTracked(feature="f", status="blocked", task=2)
    )
    runtime.append(e.CheckpointWritten(task=2, reason="FAILURE", content=Checkpoint(goal="g")))
    runtime.append(e.SessionEnded(verdict=Verdict(kind="oom")))


def delete(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def empty(file: Path) -> None:
    delete(file)
    file.write_bytes(b"")


def garble(file: Path) -> None:
    delete(file)
    file.write_bytes(b"garbage" * 5000)


def truncate(file: Path) -> None:
    content = file.read_bytes()
    delete(file)
    file.write_bytes(content[:8192])


def destroy_pages(file: Path) -> None:
    content = file.read_bytes()
    delete(file)
    file.write_bytes(content[:8192] + b"\xee" * (len(content) - 8192))


@pytest.mark.parametrize("harm", [delete, empty, garble, truncate, destroy_pages])
def test_a_state_file_that_is_lost_or_damaged_is_made_anew_the_same(
    home: Path, harm: Callable[[Path], None]
) -> None:
    with open_again(home) as runtime:
        fill(runtime)
        runtime.catch_up()
    before = rows_of(home / STATE)
    harm(home / STATE)
    with open_again(home) as runtime:
        assert [task.name for task in runtime.state.interrupted_tasks("/project")] == ["t"]
        assert runtime.health().writable
    assert rows_of(home / STATE) == before


def test_a_state_file_deleted_while_it_is_open_is_made_anew(runtime: Runtime, home: Path) -> None:
    fill(runtime)
    runtime.catch_up()
    before = rows_of(home / STATE)
    delete(home / STATE)
    assert runtime.state.counts()["tasks"] == 1
    assert rows_of(home / STATE) == before


def test_rebuilding_gives_identical_rows(runtime: Runtime, home: Path) -> None:
    fill(runtime)
    runtime.catch_up()
    before = rows_of(home / STATE)
    assert runtime.rebuild_state() == 7
    assert rows_of(home / STATE) == before


def test_the_state_of_another_journal_is_not_believed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with open_again(tmp_path / name) as runtime:
            runtime.append(e.TaskCreated(name=name))
            runtime.catch_up()
    (tmp_path / "b" / STATE).replace(tmp_path / "a" / STATE)
    with open_again(tmp_path / "a") as runtime:
        assert [task.name for task in runtime.state.tasks()] == ["a"]


def test_events_an_older_engram_skipped_are_projected_by_the_newer_one(runtime: Runtime, home: Path) -> None:
    fill(runtime)
    runtime.catch_up()
    before = rows_of(home / STATE)
    runtime.close()
    older = connect_bare(home / STATE)
    older.execute("INSERT INTO skipped VALUES (2, 'TaskCreated', 1)")
    older.execute("DELETE FROM tasks")
    older.close()
    with open_again(home) as again:
        assert [task.name for task in again.state.tasks()] == ["t"]
    assert rows_of(home / STATE) == before


def test_runtimes_on_one_home_see_each_others_events_at_once(home: Path) -> None:
    with open_again(home) as one, open_again(home) as other:
        for number in range(5):
            (task,) = one.append(e.TaskCreated(name=str(number)))
            seen = other.state.task(task)
            assert seen is not None and seen.name == str(number)
            other.append(e.TaskUpdated(task=task, status="done"))
            back = one.state.task(task)
            assert back is not None and back.status == "done"


def test_threads_may_ask_while_others_append(runtime: Runtime) -> None:
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            last = 0
            for _ in range(30):
                count = len(runtime.state.tasks(limit=1000))
                assert count >= last
                last = count
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        runtime.append(e.TaskCreated(name=str(number)))
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(runtime.state.tasks()) == 60


def test_rows_are_kept_in_memory_where_the_file_cannot_be_written(home: Path) -> None:
    with open_again(home) as runtime:
        fill(runtime)
    delete(home / STATE)
    (home / STATE).mkdir()
    with open_again(home) as runtime:
        assert runtime.state.counts()["tasks"] == 1
        runtime.append(e.TaskCreated(name="u"))
        assert [task.name for task in runtime.state.tasks()] == ["u", "t"]


def test_a_batch_is_all_or_nothing(runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(runtime)
    runtime.catch_up()
    before = rows_of(home / STATE)
    runtime.append(e.TaskCreated(name="u"), e.TaskCreated(name="v"))

    def fails_halfway(rows: object, recorded: object) -> None:
        project(rows, recorded)  # type: ignore[arg-type]
        raise RuntimeError("halfway")

    project = state_module.project
    monkeypatch.setattr(state_module, "project", fails_halfway)
    with pytest.raises(RuntimeError, match="halfway"):
        runtime.catch_up()
    assert rows_of(home / STATE) == before
    monkeypatch.undo()
    assert len(runtime.state.tasks()) == 3


# --- any sequence, any restarts ---------------------------------------------------------------------------

SMALL = st.integers(1, 12)
TEXTS = st.sampled_from(["", "a", "b", "päth", "x y"])
TOOLS = st.sampled_from(["Bash", "Read"])
CALLS = st.sampled_from(["", "c1", "c2"])
ANY_EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(e.SessionStarted, agent=TEXTS, mode=st.sampled_from(["interactive", "mcp"])),
    st.builds(e.PromptSubmitted, text=TEXTS, by=st.sampled_from(["user", "engram"])),
    st.builds(e.ToolStarted, tool=TOOLS, call_id=CALLS, summary=TEXTS),
    st.builds(e.ToolFinished, tool=TOOLS, call_id=CALLS, summary=TEXTS, ok=st.booleans()),
    st.builds(e.TurnFinished, text=TEXTS),
    st.builds(
        e.FilesObserved,
        changes=st.lists(
            st.builds(FileChange, path=TEXTS, change=st.sampled_from(["added", "modified", "deleted"])),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(e.ContextMeasured, fill=st.builds(ContextFill, used=SMALL)),
    st.builds(e.ConditionRaised, condition=st.sampled_from(["rate_limit", "waiting"])),
    st.builds(e.ConditionCleared, condition=st.sampled_from(["rate_limit", "waiting"])),
    st.builds(e.SignalSent, signal=SMALL),
    st.builds(e.AgentExited, code=SMALL),
    st.builds(
        e.SessionEnded, verdict=st.builds(Verdict, kind=st.sampled_from(["finished", "user_quit", "killed"]))
    ),
    st.builds(e.TaskCreated, name=TEXTS),
    st.builds(e.TaskUpdated, task=SMALL, status=st.sampled_from(["done", "blocked", None])),
    st.builds(e.TaskAttached, task=SMALL),
    st.builds(
        e.ProgressTracked,
        feature=TEXTS,
        status=st.sampled_from(["in_progress", "done"]),
        task=st.one_of(st.none(), SMALL),
    ),
    st.builds(e.FailureTracked, error=TEXTS, component=TEXTS),
    st.builds(e.HandoffRecorded, summary=TEXTS),
    st.builds(e.InterruptionReported, reason=st.just("crash"), task=st.one_of(st.none(), SMALL)),
    st.builds(
        e.CheckpointWritten,
        task=SMALL,
        reason=st.just("AUTO_SAVE"),
        content=st.builds(Checkpoint, goal=TEXTS),
    ),
    st.builds(e.MemoryStored, content=TEXTS, importance=st.just(0.5)),
)
STEP = st.tuples(st.lists(ANY_EVENT, max_size=5), st.sampled_from(["s1", "s2", None]), st.booleans())


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=5, deadline=None, suppress_health_check=QUIET)
@given(steps=st.lists(STEP, min_size=1, max_size=8))
def test_any_events_with_any_restarts_give_the_state_a_replay_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[list[Event], str | None, bool]]
) -> None:
    check_replay(tmp_path_factory.mktemp("replay") / "home", steps)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=QUIET)
@given(steps=st.lists(STEP, min_size=1, max_size=15))
def test_many_events_with_many_restarts_give_the_state_a_replay_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[list[Event], str | None, bool]]
) -> None:
    check_replay(tmp_path_factory.mktemp("replay") / "home", steps)


def check_replay(home: Path, steps: list[tuple[list[Event], str | None, bool]]) -> None:
    """Append step by step, with restarts; then throw the state away and compare."""
    runtime = open_again(home)
    for events, session, restart in steps:
        runtime.append(*events, session=session)
        if restart:
            runtime.catch_up()
            runtime.close()
            runtime = open_again(home)
    runtime.catch_up()
    asked = [task.interrupted for task in runtime.state.tasks()]
    runtime.close()
    stepwise = rows_of(home / STATE)
    delete(home / STATE)
    with open_again(home) as replayed:
        replayed.catch_up()
        assert [task.interrupted for task in replayed.state.tasks()] == asked
        assert replayed.verify().flaw == ""
    assert rows_of(home / STATE) == stepwise
