"""Two versions of Engram on one home: neither harms the other, and the older one says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engram_runtime.database import connect_bare
from engram_runtime.errors import StoreTooNew
from engram_runtime.journal import events as e
from engram_runtime.journal import segments, table
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.support import rows_of

pytestmark = pytest.mark.guarantee("G9")

ANOTHER = """
import sys
from pathlib import Path
from engram_runtime import paths
from engram_runtime.journal import table

paths.STATE_VERSION = int(sys.argv[2])
table.SCHEMA_VERSION = int(sys.argv[3])
from engram_runtime.errors import StoreTooNew
from engram_runtime.journal.events import TaskCreated
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

with Runtime.open(Path(sys.argv[1]), project="/p", session="s1", settings=Settings()) as runtime:
    {body}
    print("state", runtime.journal.files.state.name)
"""


def open_again(home: Path) -> Runtime:
    return Runtime.open(home, project="/p", session="s1", settings=Settings())


def another(home: Path, body: str, state: int, schema: int) -> subprocess.Popen[str]:
    """Another version of Engram that runs `body` on the home."""
    script = ANOTHER.replace("{body}", body.strip().replace("\n", "\n    "))
    return subprocess.Popen(
        [sys.executable, "-c", script, str(home), str(state), str(schema)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def brought_up_to_date(home: Path) -> None:
    """What a newer Engram does to the journal: a new version, another table, another column."""
    newer = connect_bare(home / "journal.sqlite")
    newer.execute("BEGIN IMMEDIATE")
    newer.execute("CREATE TABLE attachments (position INTEGER PRIMARY KEY) STRICT")
    newer.execute("ALTER TABLE segments ADD COLUMN place TEXT")
    newer.execute(f"PRAGMA user_version={table.SCHEMA_VERSION + 1}")
    newer.execute("COMMIT")
    newer.close()


@pytest.fixture
def used(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with sealed and other events."""
    monkeypatch.setattr(segments, "SEGMENT_EVENTS", 50)
    with open_again(home) as runtime:
        runtime.append(e.TaskCreated(name="first"), *([e.PromptSubmitted(text="x")] * 199))
        assert runtime.journal.seal(100) is not None
        runtime.catch_up()
    return home


RUNNING = """
runtime.append(TaskCreated(name="before"))
print("ready", flush=True)
sys.stdin.readline()
try:
    runtime.append(TaskCreated(name="after"))
except StoreTooNew as error:
    print("refused:", error)
print("events", len(runtime.events(limit=1000)), "tasks", [task.name for task in runtime.state.tasks()])
print("health", runtime.health().writable, runtime.health().problem)
"""


@pytest.mark.slow
def test_a_session_that_still_runs_when_a_newer_engram_comes_reads_on_and_writes_nothing(used: Path) -> None:
    running = another(used, RUNNING, 2, table.SCHEMA_VERSION)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n", running.communicate()[1]
    brought_up_to_date(used)
    said, errors = running.communicate("go on\n", timeout=60)
    assert running.returncode == 0, errors
    assert "refused: A newer Engram has taken over the journal. Update Engram." in said
    assert "events 201 tasks ['before', 'first']" in said
    assert "health False A newer Engram" in said


def test_an_older_engram_reads_all_of_a_newer_journal_and_refuses_to_write(used: Path) -> None:
    brought_up_to_date(used)
    with open_again(used) as runtime:
        assert [at.position for at in runtime.events(limit=1000)] == list(range(1, 201))
        assert [task.name for task in runtime.state.tasks()] == ["first"]
        with pytest.raises(StoreTooNew, match="Update Engram"):
            runtime.append(e.TaskCreated(name="x"))
        with pytest.raises(StoreTooNew, match="Update Engram"):
            runtime.journal.seal(64)
        with pytest.raises(StoreTooNew, match="Update Engram"):
            runtime.journal.forget([1])
        assert "Update Engram" in runtime.health().hint
    assert len(rows_of(used / "journal.sqlite")) > 100


@pytest.mark.slow
def test_states_of_two_versions_live_side_by_side(used: Path) -> None:
    with open_again(used) as runtime:
        own = runtime.journal.files.state
        for number in range(2):
            other = another(
                used, f'runtime.append(TaskCreated(name="theirs {number}"))\nruntime.catch_up()', 98, 2
            )
            said, errors = other.communicate(timeout=60)
            assert said == "state state.v98.sqlite\n", errors
            assert len(runtime.state.tasks()) == 2 + number
    assert rows_of(own) == rows_of(used / "state.v98.sqlite")


@pytest.mark.slow
def test_what_a_newer_engram_wrote_is_kept_and_told(used: Path) -> None:
    body = """
from engram_runtime.journal.writer import Draft
at = "2026-11-22T12:00:00.000000Z"
runtime.journal.append_drafts((Draft(at, "TaskPinned", 1, "/p", None, '{"task":1}'),))
"""
    said, errors = another(used, body, 98, 2).communicate(timeout=60)
    assert said == "state state.v98.sqlite\n", errors
    with open_again(used) as runtime:
        assert runtime.health().unknown_kinds == ("TaskPinned",)
        assert runtime.health().writable
        assert runtime.events(200)[0].payload == {"task": 1}
        assert runtime.verify() == (201, "")
