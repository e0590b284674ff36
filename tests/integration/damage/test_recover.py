"""`engram recover`: nothing intact is lost, nothing is done half, and nobody is in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engram_runtime.errors import StoreDamaged, StoreUnavailable
from engram_runtime.journal.events import (
    BriefingInjected,
    CheckpointRestored,
    CheckpointWritten,
    DriftDetected,
    ExecutionEnded,
    ExecutionStarted,
    Forgotten,
    InterruptionReported,
    PromptSubmitted,
    SessionStarted,
    TaskAttached,
    TaskCreated,
)
from engram_runtime.journal.records import Checkpoint
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.upkeep.importers.mcp_engram import import_mcp_engram
from engram_runtime.upkeep.recover import Recovery, recover
from engram_tui.cli.past_conversations import import_claude
from tests.integration.damage.probe import (
    FORGOTTEN,
    KEPT_OF_IT,
    PROJECT,
    REMEMBERED,
    SESSION,
    copy,
    events_of,
    make_home,
    opened,
)
from tests.support import rounds
from tests.unit.upkeep.conftest import OLD_HOME
from tests.unit.upkeep.test_import_claude import Transcript

pytestmark = pytest.mark.guarantee("G1", "G9")

# Ends without any tidying at the given step: a rename, or a file or folder made durable.
KILLED = """
import os, sys
from pathlib import Path
from engram_runtime.upkeep.recover import recover
left = int(sys.argv[2])
def counted(call):
    def step(*given):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*given)
    return step
Path.rename, os.fsync = counted(Path.rename), counted(os.fsync)
recover(Path(sys.argv[1]))
"""
HOLDING = """
import sys
from pathlib import Path
from tests.integration.damage.probe import opened
runtime = opened(Path(sys.argv[1]))
runtime.events()
print("open", flush=True)
sys.stdin.readline()
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, object]]:
    home = tmp_path_factory.mktemp("recover") / "home"
    return home, make_home(home)


@pytest.fixture
def home(template: tuple[Path, dict[int, object]], tmp_path: Path) -> Path:
    """A home whose journal lost 8 KB in the middle."""
    home = copy(template[0], tmp_path / "home")
    with (home / "journal.sqlite").open("r+b") as file:
        file.seek(4096 * 10)
        file.write(bytes(8192))
    return home


@pytest.fixture
def written(template: tuple[Path, dict[int, object]]) -> dict[int, object]:
    return template[1]


def contents(home: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(home)): p.read_bytes()
        for p in home.rglob("*")
        if p.is_file() and not p.name.endswith(("-shm", "-wal", ".lock"))
    }


def test_a_dry_run_tells_the_same_and_writes_nothing(home: Path) -> None:
    before = contents(home)
    told = recover(home, dry_run=True)
    assert told is not None and told.losses
    assert contents(home) == before
    done = recover(home)
    assert done is not None
    assert (done.losses, done.kept, done.top) == (told.losses, told.kept, told.top)


def test_what_was_damaged_is_kept_and_a_second_run_has_nothing_to_do(home: Path) -> None:
    damaged = (home / "journal.sqlite").read_bytes()
    done = recover(home)
    assert done is not None
    assert (home / done.put_aside / "journal.sqlite").read_bytes() == damaged
    files = HomeFiles(home)
    assert (home / done.put_aside / files.state.name).exists() and not files.state.exists()
    assert recover(home) is None


def test_lost_events_keep_their_place_so_that_ids_stay(home: Path, written: dict[int, object]) -> None:
    done = recover(home)
    assert done is not None
    lost = {position for first, last, _ in done.losses for position in range(first, last + 1)}
    with opened(home) as runtime:
        kinds = {at.position: at.kind for at in runtime.events(limit=10_000)}
        assert sorted(kinds) == list(range(1, done.top + 2))
        assert all(kinds[position] == "EventLost" for position, _, why in done.losses if why == "gone")
        assert kinds[done.top + 1] == "JournalRecovered"
        assert runtime.verify() == (done.top + 1, "")
        assert {p for p, event in events_of(runtime).items() if written.get(p) == event} >= set(
            written
        ) - lost
        assert runtime.append(PromptSubmitted(text="on")) == (done.top + 2,)


@pytest.mark.slow
def test_killed_at_any_step_the_next_run_finishes(
    home: Path, written: dict[int, object], tmp_path: Path
) -> None:
    whole = recover(copy(home, tmp_path / "whole"))
    assert whole is not None
    for step in range(0, 40, rounds(2, 1)):
        here = copy(home, tmp_path / str(step))
        ended = subprocess.run([sys.executable, "-c", KILLED, str(here), str(step)], cwd=ROOT)
        if ended.returncode == 0:
            break
        with opened(here) as runtime:
            runtime.events(limit=10_000)
            assert not runtime.journal.writable
        again = recover(here)
        assert again is not None and again.losses == whole.losses
        with opened(here) as runtime:
            assert runtime.journal.writable and not runtime.verify().flaw
            assert [task.name for task in runtime.state.tasks(project=PROJECT)] == ["first"]
    assert ended.returncode == 0 and step > 10


@pytest.mark.slow
def test_a_home_in_use_is_left_alone_and_the_user_is_named(home: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(home)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout
    try:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreUnavailable, match=f"in use by process {holder.pid}"):
            recover(home)
        assert recover(home, dry_run=True) is not None
    finally:
        holder.communicate(b"\n", timeout=20)
    assert recover(home) is not None


def test_whoever_had_the_old_journal_open_cannot_write_to_it_any_more(home: Path) -> None:
    with opened(home) as before:
        before.append(PromptSubmitted(text="x"))
        (home / "journal.sqlite").rename(home / "away")
        recovered = home.with_name("other")
        with opened(recovered) as other:
            other.append(TaskCreated(name="x"))
        shutil.copy(recovered / "journal.sqlite", home / "journal.sqlite")
        with pytest.raises(StoreDamaged, match="removed or replaced"):
            before.append(PromptSubmitted(text="x"))


def test_without_a_journal_tasks_checkpoints_and_memories_come_back_from_what_was_made_of_it(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    make_home(home)
    with opened(home) as runtime:
        before = [(task.id, task.name, task.goal) for task in runtime.state.tasks()]
        checkpoints = [(c.id, c.version, c.reason) for c in runtime.state.checkpoints(before[0][0])]
        assert checkpoints and runtime.state.tasks()[0].interrupted
    shutil.rmtree(home / "archive")
    for name in ("journal.sqlite", "journal.sqlite-wal", "journal.lock"):
        (home / name).unlink(missing_ok=True)
    with opened(home) as runtime, pytest.raises(StoreDamaged, match="gone"):
        runtime.append(PromptSubmitted(text="x"))
    done = recover(home)
    assert done is not None and done.kept == 0
    with opened(home) as runtime:
        assert [(task.id, task.name, task.goal) for task in runtime.state.tasks()] == before
        assert [(c.id, c.version, c.reason) for c in runtime.state.checkpoints(before[0][0])] == checkpoints
        assert runtime.state.tasks()[0].interrupted
        session = runtime.state.session(SESSION)
        assert session is not None and str(session.verdict) == "crashed(1)"
        assert [hit.memory.content for hit in runtime.memory.recall("staging port").hits] == [REMEMBERED]


def without_journal(home: Path) -> Recovery:
    """A home whose journal is lost with its archive, and recovered."""
    shutil.rmtree(home / "archive", ignore_errors=True)
    for name in ("journal.sqlite", "journal.sqlite-wal", "journal.lock"):
        (home / name).unlink(missing_ok=True)
    done = recover(home)
    assert done is not None and done.kept == 0
    return done


def test_without_a_journal_executions_interruptions_restores_and_drift_come_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened(home) as runtime:
        runtime.append(SessionStarted(agent="demo"))
        first, other = runtime.append(TaskCreated(name="first"), TaskCreated(name="other"))
        execution, ended = runtime.append(
            ExecutionStarted(task=first, goal="ship it"), ExecutionStarted(task=other, goal="long over")
        )
        again, part = runtime.append(
            TaskCreated(name="again", retry_of=first), TaskCreated(name="part", parent=first)
        )
        runtime.append(InterruptionReported(reason="overflow", task=first, context={"step": 3}))
        runtime.append(TaskAttached(task=first), session="another")
        runtime.append(InterruptionReported(reason="crash", task=again))
        runtime.append(DriftDetected(task=first, composite=0.4), PromptSubmitted(text="no row tells of it"))
        (checkpoint,) = runtime.append(
            CheckpointWritten(task=again, reason="MANUAL", content=Checkpoint(goal="ship it"))
        )
        runtime.append(
            CheckpointRestored(task=again, checkpoint=checkpoint, to="agent"),
            BriefingInjected(task=again, checkpoint=checkpoint),
            ExecutionEnded(execution=ended, status="completed"),
        )
        before = lineage_of(runtime, first, again, execution, ended)
        assert [task.id for task in runtime.state.tasks_of_execution(execution)] == [first, again, part]
    without_journal(home)
    with opened(home) as runtime:
        assert lineage_of(runtime, first, again, execution, ended) == before
        ended_view = runtime.state.execution(ended)
        assert ended_view is not None and ended_view.status == "completed"


def lineage_of(runtime: Runtime, first: int, again: int, *executions: int) -> list[object]:
    state = runtime.state
    return [
        [(t.id, t.attempt, t.execution, t.interrupted) for t in state.tasks()],
        [(e.id, e.goal, e.status) for e in map(state.execution, executions) if e is not None],
        [(i.id, i.reason, i.task, i.resolved_by) for i in state.interruptions(open_only=False)],
        [(r.id, r.task, r.checkpoint, r.to) for r in state.restores(task=again)],
        [(d.id, d.composite) for d in state.drifts(first)],
    ]


def test_what_was_taken_over_is_not_taken_over_again_once_the_journal_was_lost(tmp_path: Path) -> None:
    home = tmp_path / "home"
    transcripts = tmp_path / "claude"
    Transcript(transcripts).work("Build the cart", "t1")
    with opened(home) as runtime:
        report = import_mcp_engram(runtime.journal, runtime.state, OLD_HOME, project=PROJECT)
        assert sum(report.imported.values()) == 31
        import_claude(runtime, transcripts)
        runtime.memory.catch_up()
        tasks = [(task.id, task.name, task.status) for task in runtime.state.tasks()]
        memories = sorted((row.id, row.content) for row in runtime.memory.rows())
    without_journal(home)
    with opened(home) as runtime:
        head = runtime.journal.head()
        report = import_mcp_engram(runtime.journal, runtime.state, OLD_HOME, project=PROJECT)
        assert (sum(report.imported.values()), report.known) == (0, 31)
        assert import_claude(runtime, transcripts).conversations == 0
        assert runtime.journal.head() == head
        assert [(task.id, task.name, task.status) for task in runtime.state.tasks()] == tasks
        assert sorted((row.id, row.content) for row in runtime.memory.rows()) == memories


def test_where_nothing_is_left_only_the_user_may_begin_anew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened(home) as runtime:
        runtime.append(PromptSubmitted(text="x"))
    (home / "journal.sqlite").write_bytes(b"\xff" * 50_000)
    for path in home.glob("*.v*"):
        path.unlink()
    with pytest.raises(StoreUnavailable, match="--begin-anew"):
        recover(home)
    assert (home / "journal.sqlite").read_bytes() == b"\xff" * 50_000
    assert not HomeFiles(home).recovering.exists()
    done = recover(home, anew=True)
    assert done is not None and (done.kept, done.top) == (0, 1)
    with opened(home) as runtime:
        assert runtime.append(PromptSubmitted(text="y")) == (3,)


def test_what_was_forgotten_stays_forgotten(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with opened(home) as runtime:
        positions = [runtime.append(PromptSubmitted(text=f"secret {n} " + "x" * 300))[0] for n in range(60)]
        runtime.append(Forgotten(what="text", ranges=((positions[10], positions[19]),)))
        runtime.journal.forget(positions[10:20])
    content = bytearray((home / "journal.sqlite").read_bytes())
    page = content.index(b"secret 30 ") // 4096 * 4096
    content[page : page + 4096] = bytes(4096)
    (home / "journal.sqlite").write_bytes(content)
    done = recover(home)
    assert done is not None and done.losses
    assert all(why != "words" for *_, why in done.losses)
    with opened(home) as runtime:
        said = [
            at.payload["text"][:10] for at in runtime.events() if at.kind == "PromptSubmitted" and at.payload
        ]
        assert not {f"secret {n} " for n in range(10, 20)} & set(said)


@pytest.mark.parametrize("how", ["flipped", "zeroed"])
def test_what_a_lost_tombstone_told_comes_back_from_what_was_made_of_it(
    template: tuple[Path, dict[int, object]], tmp_path: Path, how: str
) -> None:
    home = copy(template[0], tmp_path / "home")
    with opened(home) as runtime:
        assert KEPT_OF_IT in [row.content for row in runtime.memory.rows()]
        (memory,) = [row.id for row in runtime.memory.rows() if row.content == KEPT_OF_IT]
        (stone,) = [at.position for at in runtime.events(kinds=("Forgotten",))]
    content = bytearray((home / "journal.sqlite").read_bytes())
    at = content.index(b'"retold"')
    if how == "flipped":
        content[at + 3] ^= 1
    else:
        page = at // 4096 * 4096
        content[page : page + 4096] = bytes(4096)
    (home / "journal.sqlite").write_bytes(content)
    done = recover(home)
    assert done is not None and (memory, memory, "retold") in done.losses
    assert any(first <= stone <= last for first, last, _ in done.losses)
    with opened(home) as runtime:
        assert KEPT_OF_IT in [row.content for row in runtime.memory.rows()]
        assert runtime.verify().flaw == ""
    assert FORGOTTEN.encode() not in b"".join(contents(home).values())


def test_a_lock_file_that_became_a_full_folder_is_put_aside(home: Path) -> None:
    (home / "journal.lock").unlink()
    (home / "journal.lock").mkdir()
    (home / "journal.lock" / "something").touch()
    assert recover(home) is not None
    assert (home / "journal.lock").is_file()
    assert os.listdir(home / "damaged")


def test_a_home_without_a_journal_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
