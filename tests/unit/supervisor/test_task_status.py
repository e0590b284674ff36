"""What is shown of a task's status: an open one that nobody works on any more has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Verdict
from engram_runtime.runtime import Runtime
from engram_tui.supervisor.status import task_lines


def worked_on(runtime: Runtime, status: ev.TaskStatus = "in_progress") -> int:
    """A task that the session s1 works on."""
    runtime.append(ev.SessionStarted(agent="claude", cwd="/w"), session="s1")
    (task,) = runtime.append(ev.TaskCreated(name="fix-login", status=status), session="s1")
    runtime.append(ev.TaskAttached(task=task), session="s1")
    return task


def shown(runtime: Runtime, current: int | None = None) -> str:
    """The one task's status in the Tasks pane."""
    (line,) = task_lines(runtime, "p", current)
    return line.status


def test_an_open_task_reads_ended_once_its_session_has_finished(tmp_path: Path) -> None:
    with Runtime.open(tmp_path, project="p") as runtime:
        task = worked_on(runtime)
        assert shown(runtime) == "in_progress"
        runtime.append(ev.SessionEnded(verdict=Verdict(kind="finished")), session="s1")
        assert shown(runtime) == "ended"
        assert shown(runtime, current=task) == "in_progress"
        view = runtime.state.task(task)
        assert view is not None and view.status == "in_progress"


@pytest.mark.parametrize("status", ["done", "blocked", "cancelled"])
def test_what_was_said_of_the_end_stays(tmp_path: Path, status: ev.TaskStatus) -> None:
    with Runtime.open(tmp_path, project="p") as runtime:
        worked_on(runtime, status)
        runtime.append(ev.SessionEnded(verdict=Verdict(kind="finished")), session="s1")
        assert shown(runtime) == status


def test_a_task_whose_session_was_killed_does_not_read_ended(tmp_path: Path) -> None:
    with Runtime.open(tmp_path, project="p") as runtime:
        worked_on(runtime)
        runtime.append(ev.SessionEnded(verdict=Verdict(kind="killed", signal=9)), session="s1")
        assert shown(runtime) == "in_progress"
