"""Snapshots of the state: a lost state is back at once, and never one that the journal does not bear out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_runtime.journal import background, segments
from engram_runtime.journal import events as e
from engram_runtime.journal.events import Event
from engram_runtime.journal.journal import Journal
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.state import snapshots
from engram_runtime.state import state as state_module
from tests.support import rows_of, wait_until
from tests.unit.runtime.test_state_file import ANY_EVENT, QUIET, delete

pytestmark = pytest.mark.guarantee("G8")


def open_again(home: Path) -> Runtime:
    return Runtime.open(home, project="/project", session="s1", settings=Settings())


def head_file(home: Path) -> Path:
    (found,) = (home / "snapshots").glob("*.json")
    return found


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Positions after which events were read from here on."""
    asked: list[int] = []
    read = Journal.read_after

    def watched(self: Journal, position: int = 0, limit: int = 1000, **options: object) -> object:
        asked.append(position)
        return read(self, position, limit, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "read_after", watched)
    return asked


@pytest.fixture
def home_with_snapshot(home: Path) -> Path:
    """Ten tasks, a snapshot, two more tasks; the state is gone."""
    with open_again(home) as runtime:
        for number in range(10):
            runtime.append(e.TaskCreated(name=str(number)))
        assert runtime._state.snapshot() == 10
        runtime.append(e.TaskCreated(name="10"), e.TaskCreated(name="11"))
        runtime.catch_up()
        state = runtime.journal.files.state
    delete(state)
    return home


def names(runtime: Runtime) -> list[str]:
    return sorted((task.name for task in runtime.state.tasks()), key=int)


def test_a_lost_state_is_begun_from_the_snapshot(home_with_snapshot: Path, replayed: list[int]) -> None:
    with open_again(home_with_snapshot) as runtime:
        assert names(runtime) == [str(n) for n in range(12)]
    assert min(replayed) == 10
    assert list((home_with_snapshot / "snapshots").iterdir()) == []


def test_the_rows_are_those_of_a_replay(home_with_snapshot: Path) -> None:
    with open_again(home_with_snapshot) as runtime:
        runtime.catch_up()
        restored = rows_of(runtime.journal.files.state)
        runtime.rebuild_state()
        assert rows_of(runtime.journal.files.state) == restored


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [flip, cut, lose])
@pytest.mark.parametrize("suffix", [".sqlite", ".json"])
def test_a_damaged_snapshot_is_ignored(
    home_with_snapshot: Path, harm: Callable[[Path], None], suffix: str, replayed: list[int]
) -> None:
    harm(head_file(home_with_snapshot).with_suffix(suffix))
    with open_again(home_with_snapshot) as runtime:
        assert names(runtime) == [str(n) for n in range(12)]
    if harm is not cut or suffix == ".sqlite":
        assert min(replayed) == 0


def test_a_snapshot_of_another_journal_is_ignored(home_with_snapshot: Path, tmp_path: Path) -> None:
    with open_again(tmp_path / "other") as runtime:
        for number in range(20):
            runtime.append(e.TaskCreated(name=str(100 + number)))
    (home_with_snapshot / "snapshots").rename(tmp_path / "other" / "snapshots")
    with open_again(tmp_path / "other") as runtime:
        assert names(runtime) == [str(100 + n) for n in range(20)]


def test_a_snapshot_of_another_schema_is_left_alone(home_with_snapshot: Path) -> None:
    head = head_file(home_with_snapshot)
    theirs = head.with_name("state.v999.000000010.json")
    head.rename(theirs)
    head.with_suffix(".sqlite").rename(theirs.with_suffix(".sqlite"))
    with open_again(home_with_snapshot) as runtime:
        assert names(runtime) == [str(n) for n in range(12)]
    assert theirs.exists() and theirs.with_suffix(".sqlite").exists()


def test_rebuilding_on_purpose_uses_no_snapshot_and_leaves_none(
    home_with_snapshot: Path, replayed: list[int]
) -> None:
    with open_again(home_with_snapshot) as runtime:
        runtime.rebuild_state()
        assert names(runtime) == [str(n) for n in range(12)]
    assert min(replayed) == 0
    assert list((home_with_snapshot / "snapshots").iterdir()) == []


def test_a_snapshot_of_a_state_that_was_thrown_away_meanwhile_is_not_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_again(home) as runtime, open_again(home) as other:
        runtime.append(e.TaskCreated(name="1"))
        runtime.catch_up()
        summed = snapshots._sum

        def thrown_away_meanwhile(path: Path) -> tuple[int, int]:
            other.rebuild_state()
            path.touch()
            return summed(path)

        monkeypatch.setattr(snapshots, "_sum", thrown_away_meanwhile)
        assert runtime._state.snapshot() == 0
        assert list((home / "snapshots").iterdir()) == []


def test_only_the_newest_snapshot_is_kept_and_it_is_private(home: Path) -> None:
    with open_again(home) as runtime:
        for number in range(3):
            runtime.append(e.TaskCreated(name=str(number)))
            assert runtime._state.snapshot() == number + 1
        kept = sorted((home / "snapshots").iterdir())
        assert [path.suffix for path in kept] == [".json", ".sqlite"]
        assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


def test_a_process_that_lives_long_takes_snapshots_by_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(state_module, "SNAPSHOT_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "EVERY_EVENTS", 5)
    with open_again(home) as runtime:

        def taken_after_a_task() -> bool:
            runtime.append(e.TaskCreated(name="1"))
            runtime.catch_up()
            return runtime._state._snapshots.newest() >= 5

        wait_until(taken_after_a_task, 10)


# --- any sequence, any seals, snapshots, restarts ---------------------------------------------------------

ACTS = st.sampled_from(["seal", "snapshot", "restart", "lose", "nothing"])
STEP = st.tuples(st.lists(ANY_EVENT, max_size=30), st.sampled_from(["s1", "s2", None]), ACTS)


def check_any_points(home: Path, steps: list[tuple[list[Event], str | None, str]]) -> None:
    """Append step by step with seals, snapshots, restarts and lost states; then replay everything and compare."""
    runtime = open_again(home)
    written = 0
    for told, session, act in steps:
        written += len(runtime.append(*told, session=session))
        runtime.catch_up()
        if act == "seal":
            runtime.journal.seal(0)
        elif act == "snapshot":
            runtime._state.snapshot()
        elif act in ("restart", "lose"):
            state = runtime.journal.files.state
            runtime.close()
            if act == "lose":
                delete(state)
            runtime = open_again(home)
    runtime.catch_up()
    stepwise = rows_of(runtime.journal.files.state)
    assert runtime.verify() == (written, "")
    assert [at.position for at in runtime.events(limit=100_000)] == list(range(1, written + 1))
    runtime.rebuild_state()
    assert rows_of(runtime.journal.files.state) == stepwise
    runtime.close()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_EVENTS", 20)
    monkeypatch.setattr(segments, "BLOCK_EVENTS", 7)
    monkeypatch.setattr(sys.modules["engram_runtime.journal.maintenance"], "LEAST_KEPT", 10)


LOOSE = [*QUIET, HealthCheck.function_scoped_fixture]


@settings(max_examples=2, deadline=None, suppress_health_check=LOOSE, derandomize=True)
@given(steps=st.lists(STEP, min_size=3, max_size=8))
def test_any_events_with_any_seals_and_snapshots_give_the_state_a_replay_gives(
    small_segments: None,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[list[Event], str | None, str]],
) -> None:
    check_any_points(tmp_path_factory.mktemp("points") / "home", steps)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=LOOSE)
@given(steps=st.lists(STEP, min_size=3, max_size=20))
def test_many_events_with_any_seals_and_snapshots_give_the_state_a_replay_gives(
    small_segments: None,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[list[Event], str | None, str]],
) -> None:
    check_any_points(tmp_path_factory.mktemp("points") / "home", steps)
