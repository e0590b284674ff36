"""Which tasks count as interrupted."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from engram_runtime.journal import events as e
from engram_runtime.journal.records import Verdict, VerdictKind
from engram_runtime.runtime import Runtime
from engram_runtime.state.preflight import look

PROJECT = "/project"


def begin(runtime: Runtime, session: str = "s1", mode: e.SessionMode = "interactive") -> int:
    runtime.append(e.SessionStarted(agent="claude", mode=mode), session=session)
    (task,) = runtime.append(e.TaskCreated(name="t"), session=session)
    runtime.append(e.TaskAttached(task=task), session=session)
    return task


def end(runtime: Runtime, kind: VerdictKind, session: str = "s1") -> None:
    runtime.append(e.SessionEnded(verdict=Verdict(kind=kind)), session=session)


def again(runtime: Runtime, task: int, session: str) -> None:
    runtime.append(e.SessionStarted(agent="codex"), e.TaskAttached(task=task), session=session)


def interrupted(runtime: Runtime) -> list[int]:
    listed = [view.id for view in runtime.state.interrupted_tasks(PROJECT)]
    assert set(listed) == {view.id for view in runtime.state.tasks() if view.interrupted}
    glance = look(runtime.journal.files, PROJECT)
    assert glance is not None
    assert glance.interrupted or not listed, "a start would offer none of this"
    return listed


def test_a_task_is_interrupted_by_any_end_but_finishing_or_quitting(runtime: Runtime) -> None:
    kinds = get_args(VerdictKind)
    tasks = {kind: begin(runtime, kind) for kind in kinds}
    assert interrupted(runtime) == []
    for kind in kinds:
        end(runtime, kind, kind)
    expected = [tasks[kind] for kind in kinds if kind not in ("finished", "user_quit")]
    assert interrupted(runtime) == expected[::-1]
    for kind, task in tasks.items():
        view = runtime.state.task(task)
        assert view is not None and view.last_verdict is not None and view.last_verdict.kind == kind


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (e.ToolStarted(tool="Bash", call_id="1"), True),
        (e.TurnFinished(), False),
        (e.ProgressTracked(feature="f", status="in_progress", task=2), True),
        (e.ProgressTracked(feature="f", status="blocked", task=2), True),
        (e.ProgressTracked(feature="f", status="review", task=2), False),
        (e.ProgressTracked(feature="f", status="in_progress", task=None), False),
    ],
)
def test_quitting_interrupts_only_what_was_in_progress(
    runtime: Runtime, event: e.Event, expected: bool
) -> None:
    task = begin(runtime)
    assert task == 2
    runtime.append(event)
    runtime.append(e.AgentExited(code=0))
    end(runtime, "user_quit")
    assert interrupted(runtime) == ([task] if expected else [])


def test_a_tool_that_ended_before_the_user_quit_was_not_in_progress(runtime: Runtime) -> None:
    begin(runtime)
    runtime.append(e.ToolStarted(tool="Bash", call_id="1"), e.ToolFinished(tool="Bash", call_id="1"))
    end(runtime, "user_quit")
    assert interrupted(runtime) == []


@pytest.mark.parametrize("status", ["done", "cancelled"])
def test_closed_tasks_are_never_interrupted(runtime: Runtime, status: e.TaskStatus) -> None:
    task = begin(runtime)
    runtime.append(e.InterruptionReported(reason="crash", task=task), e.TaskUpdated(task=task, status=status))
    end(runtime, "crashed")
    assert interrupted(runtime) == []


def test_the_last_session_decides(runtime: Runtime) -> None:
    task = begin(runtime)
    end(runtime, "killed")
    again(runtime, task, "s2")
    assert interrupted(runtime) == []
    view = runtime.state.task(task)
    assert view is not None and view.live
    assert (view.attempts, view.last_session, view.last_agent) == (2, "s2", "codex")
    end(runtime, "finished", "s2")
    assert interrupted(runtime) == []
    again(runtime, task, "s3")
    end(runtime, "rate_limit", "s3")
    assert interrupted(runtime) == [task]
    assert [s.id for s in runtime.state.sessions_of_task(task)] == ["s1", "s2", "s3"]


def test_a_reported_interruption_outlives_a_finished_session_until_someone_goes_on(runtime: Runtime) -> None:
    task = begin(runtime)
    runtime.append(e.InterruptionReported(reason="overflow", context={"k": 1}))
    assert interrupted(runtime) == [], "its session is live"
    end(runtime, "finished")
    assert interrupted(runtime) == [task]
    (report,) = runtime.state.interruptions()
    assert (report.task, report.reason, report.context, report.resolved_by) == (
        task,
        "overflow",
        {"k": 1},
        None,
    )
    again(runtime, task, "s2")
    end(runtime, "finished", "s2")
    assert interrupted(runtime) == []
    assert runtime.state.interruptions() == []
    (resolved,) = runtime.state.interruptions(open_only=False)
    assert resolved.resolved_by == "s2"


def test_an_unsupervised_session_is_interrupted_by_its_own_report(runtime: Runtime) -> None:
    task = begin(runtime, mode="mcp")
    assert interrupted(runtime) == []
    runtime.append(e.InterruptionReported(reason="user_away"))
    assert interrupted(runtime) == [task]


def test_a_task_begun_after_the_report_is_live_and_the_reported_one_stays_interrupted(
    runtime: Runtime,
) -> None:
    reported = begin(runtime, mode="mcp")
    runtime.append(e.InterruptionReported(reason="user_away"))
    (later,) = runtime.append(e.TaskCreated(name="later"))
    runtime.append(e.TaskAttached(task=later))
    assert interrupted(runtime) == [reported]
    view = runtime.state.task(later)
    assert view is not None and view.live


def test_a_report_counts_for_all_that_an_unsupervised_session_had_taken_up(runtime: Runtime) -> None:
    first = begin(runtime, mode="mcp")
    (second,) = runtime.append(e.TaskCreated(name="second"))
    runtime.append(e.TaskAttached(task=second))
    runtime.append(e.InterruptionReported(reason="overflow"))
    assert set(interrupted(runtime)) == {first, second}


@pytest.mark.parametrize("mode", ["mcp", "interactive"])
def test_work_tracked_after_a_report_says_that_the_task_goes_on(
    runtime: Runtime, mode: e.SessionMode
) -> None:
    for number, work in enumerate(
        (e.ProgressTracked(feature="f", status="done"), e.FailureTracked(error="boom", component="c"))
    ):
        session = f"s{number}"
        runtime.append(e.SessionStarted(agent="claude", mode=mode), session=session)
        (task,) = runtime.append(e.TaskCreated(name="t"), session=session)
        runtime.append(e.TaskAttached(task=task), session=session)
        runtime.append(e.InterruptionReported(reason="overflow"), session=session)
        runtime.append(msgspec.structs.replace(work, task=task), session=session)
        view = runtime.state.task(task)
        assert view is not None and view.live
        end(runtime, "finished", session)
    assert interrupted(runtime) == []


def test_a_hand_off_after_a_report_leaves_the_task_interrupted(runtime: Runtime) -> None:
    task = begin(runtime, mode="mcp")
    runtime.append(e.InterruptionReported(reason="overflow"), e.HandoffRecorded(summary="so far", task=task))
    assert interrupted(runtime) == [task]


def test_the_newest_interruption_comes_first_and_other_projects_are_left_out(runtime: Runtime) -> None:
    first, second = begin(runtime, "s1"), begin(runtime, "s2")
    end(runtime, "killed", "s2")
    end(runtime, "killed", "s1")
    runtime.append(e.TaskUpdated(task=second, goal="touched later"))
    runtime.append(e.TaskCreated(name="elsewhere"), project="/q")
    assert interrupted(runtime) == [first, second]
    assert runtime.state.interrupted_tasks("/q") == []


def test_a_task_nobody_worked_on_is_not_interrupted(runtime: Runtime) -> None:
    runtime.append(e.TaskCreated(name="t"))
    assert interrupted(runtime) == []
