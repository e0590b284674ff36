"""After a supervisor's death: its agent is seen to its end, and files are told from times and tool calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.state.views import SessionView
from engram_tui.supervisor import aftermath
from engram_tui.watch.observations import ToolBegan, ToolEnded
from engram_tui.watch.process_table import identify
from tests.integration.watch.repositories import repository

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)
PATIENT = "import time; print(1, flush=True); time.sleep(60)"


def view(worktree: Path, **fields: Any) -> SessionView:
    """A session as the journal tells it, with what matters here."""
    known = {"worktree": str(worktree), "dirty_files": (), "agent_pid": None, "agent_started_at": None}
    empty = dict.fromkeys(SessionView.__struct_fields__)
    return SessionView(**{**empty, **known, **fields})


@contextmanager
def agent(script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has begun; killed and reaped at the end."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "number"), [(PATIENT, signal.SIGTERM), (IGNORES_TERM, signal.SIGKILL)], ids=["term", "kill"]
)
def test_an_agent_that_went_on_without_its_supervisor_is_ended(
    script: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aftermath, "LAST_BREATH_S", 0.05)
    monkeypatch.setattr(aftermath, "TERM_S", 0.5)
    with agent(script) as process:
        known = identify(process.pid)
        assert known is not None
        told = aftermath.end_agent(view(tmp_path, agent_pid=known.pid, agent_started_at=known.start))
        assert told == f"its agent (pid {process.pid}) went on without it and was ended by {number.name}"
        assert process.wait(5) == -number


def test_a_stranger_with_the_dead_agents_number_is_left_alone(tmp_path: Path) -> None:
    with agent(PATIENT) as process:
        known = identify(process.pid)
        assert known is not None
        told = aftermath.end_agent(view(tmp_path, agent_pid=known.pid, agent_started_at=known.start - 100))
        assert told == f"its agent (pid {process.pid}) is gone"
        assert process.poll() is None


def test_changes_are_told_from_their_times_and_the_calls_that_ran(tmp_path: Path) -> None:
    top = repository(tmp_path / "repo", edited_dot_txt="one\n", dirty_dot_txt="one\n")
    now = time.time()

    def change(name: str, at: float) -> None:
        (top / name).write_text("two\n")
        os.utime(top / name, (at, at))

    change("dirty.txt", now - 500)
    change("edited.txt", now - 95)  # while the edit ran that names it
    change("made.txt", now - 75)  # while a command ran that does not name it
    change("mine.txt", now - 85)  # between calls
    change("cut-off.log", now - 10)  # named by the command that was cut off, after the last sign
    change("later.txt", now - 5)
    told = (
        ToolBegan(tool="Edit", call_id="1", at=now - 96, paths=(str(top / "edited.txt"),)),
        ToolEnded(tool="Edit", call_id="1", at=now - 94),
        ToolBegan(tool="Bash", call_id="2", at=now - 80, command="make all", summary="make all"),
        ToolEnded(tool="Bash", call_id="2", at=now - 70),
        ToolBegan(tool="Bash", call_id="3", at=now - 60, command="run > cut-off.log", summary="run"),
    )
    session = view(top, dirty_files=("dirty.txt",))
    changes = aftermath.changes_left(session, told, {"known.txt"}, now - 60, sees_tools=True)
    assert {c.path: c.by for c in changes} == {
        "edited.txt": "agent",
        "made.txt": "unattributed",
        "mine.txt": "user",
        "cut-off.log": "agent",
        "later.txt": "unattributed",
    }
    late = next(c for c in changes if c.path == "later.txt")
    assert late.evidence == "changed after the last sign of a session that was lost"
