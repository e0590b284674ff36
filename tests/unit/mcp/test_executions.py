"""Executions: attempts, retries and subtasks, and what an attempt takes over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engram_runtime.journal.events import ExecutionStarted, SessionEnded, TaskAttached, TaskCreated
from engram_runtime.journal.records import Verdict
from tests.support import rows_of


def begin(agent: Any, goal: str = "ship the parser") -> dict[str, Any]:
    return dict(agent.call("start_execution", goal=goal))


def trace(agent: Any, execution: str) -> dict[str, Any]:
    return dict(agent.call("trace_execution", execution_id=execution))


def test_an_execution_begins_with_a_task_that_is_the_sessions(agent: Any) -> None:
    begun = begin(agent)
    assert begun["attempt"] == 1
    task = agent.runtime.state.task(begun["task_id"])
    assert (task.goal, task.status) == ("ship the parser", "in_progress")
    assert agent.runtime.state.session(agent.context.session).task == task.id
    told = trace(agent, begun["execution_id"])
    assert told["execution"]["status"] == "active" and told["execution"]["root_goal"] == "ship the parser"
    assert told["current_task_id"] == task.id and told["total_attempts"] == 1


def test_a_retry_takes_over_goal_prohibitions_and_failures(agent: Any) -> None:
    begun = begin(agent)
    task = begun["task_id"]
    agent.call(
        "track_failure", error="segfault in lexer", component="lexer", root_cause="recursion", fix="loop"
    )
    agent.call(
        "session_handoff",
        summary="lexer crashes",
        completed=["grammar"],
        must_not_redo=[{"action": "publish to the index", "reason": "side_effect_emitted"}],
        must_preserve=["public API"],
    )
    again = agent.call("retry_task", task_id=task, reason="tool_failure")
    assert (again["attempt"], again["retry_of_task_id"]) == (2, task)
    new = again["new_task_id"]
    package = agent.call("restore_checkpoint", task_id=new)["continuation"]
    assert package["goal"] == "ship the parser"
    actions = [entry["action"] for entry in package["must_not_redo"]]
    assert {"publish to the index", "segfault in lexer"} <= set(actions)
    assert package["must_preserve"] == ["public API"]
    assert package["last_failure"] == "segfault in lexer"
    # What the failed attempt merely said it had done may be what went wrong.
    assert package["completed"] == []
    told = agent.call("restore_checkpoint", task_id=new)
    assert told["related_failures"][0]["error"] == "segfault in lexer"
    assert agent.runtime.state.task(task).status == "cancelled"
    assert agent.runtime.state.session(agent.context.session).task == new


def test_a_failure_told_of_the_earlier_attempt_later_reaches_the_retry(agent: Any) -> None:
    task = begin(agent)["task_id"]
    new = agent.call("retry_task", task_id=task)["new_task_id"]
    agent.call("track_failure", error="disk full", component="ci", task_id=task)
    agent.call("track_progress", feature="x", status="in_progress", task_id=new)
    package = agent.call("restore_checkpoint", task_id=new)["continuation"]
    assert "disk full" in [entry["action"] for entry in package["must_not_redo"]]


def test_attempts_are_numbered_along_the_chain_whichever_task_is_named(agent: Any) -> None:
    begun = begin(agent)
    first = begun["task_id"]
    second = agent.call("retry_task", task_id=first)["new_task_id"]
    third = agent.call("retry_task", task_id=first)
    assert third["attempt"] == 3
    nodes = {node["task_id"]: node for node in trace(agent, begun["execution_id"])["tasks"]}
    assert nodes[third["new_task_id"]]["previous_task_id"] == second
    assert nodes[third["new_task_id"]]["retry_of_task_id"] == first
    assert [node["attempt"] for node in nodes.values()] == [1, 2, 3]


def test_a_task_made_otherwise_becomes_an_execution_with_its_family(agent: Any) -> None:
    task = agent.call("create_task", name="login", goal="fix the login")["task_id"]
    child = agent.call("spawn_subtask", parent_task_id=task, name="docs")
    again = agent.call("retry_task", task_id=child["new_task_id"])
    assert again["execution_id"] == child["execution_id"]
    told = trace(agent, child["execution_id"])
    assert told["execution"]["root_goal"] == "fix the login"
    assert [node["task_id"] for node in told["tasks"]] == [task, child["new_task_id"], again["new_task_id"]]
    assert [node["parent_task_id"] for node in told["tasks"]] == [None, task, task]


def test_every_session_that_worked_on_a_task_is_an_attempt(agent: Any) -> None:
    begun = begin(agent)
    agent.runtime.append(
        SessionEnded(verdict=Verdict(kind="killed", signal=9)), session=agent.context.session
    )
    for _ in range(2):
        successor = agent.session()
        successor.runtime.append(
            TaskAttached(task=begun["task_id"]),
            session=successor.context.session,
            project=successor.context.project,
        )
    agent.call("spawn_subtask", parent_task_id=begun["task_id"], name="docs")
    told = trace(agent, begun["execution_id"])
    assert told["total_attempts"] == 4
    worked = told["tasks"][0]["sessions"]
    assert [session["verdict"] for session in worked] == ["killed(9)", None, None]


def test_a_retried_task_is_no_longer_offered_as_interrupted(agent: Any) -> None:
    task = begin(agent)["task_id"]
    agent.call("retry_task", task_id=task)
    agent.runtime.append(
        SessionEnded(verdict=Verdict(kind="killed", signal=9)), session=agent.context.session
    )
    interrupted = agent.runtime.state.interrupted_tasks(agent.context.project)
    assert [view.retry_of for view in interrupted] == [task]


@pytest.mark.parametrize("status", ["completed", "abandoned"])
def test_an_ended_execution_takes_no_attempts_and_says_what_to_do(agent: Any, status: str) -> None:
    begun = begin(agent)
    ended = agent.call("end_execution", execution_id=begun["execution_id"], status=status)
    assert "Still open" in ended["message"]
    for tool, name in (("retry_task", "task_id"), ("spawn_subtask", "parent_task_id")):
        more = {"name": "x"} if tool == "spawn_subtask" else {}
        line = agent.refused(tool, **{name: begun["task_id"]}, **more)
        assert f"is {status}" in line and "start_execution" in line
    agent.call("end_execution", execution_id=begun["execution_id"], status="paused")
    agent.call("retry_task", task_id=begun["task_id"])
    assert trace(agent, begun["execution_id"])["execution"]["status"] == "active"


def test_tasks_and_executions_of_another_project_are_refused(agent: Any) -> None:
    (other,) = agent.runtime.append(TaskCreated(name="theirs"), project="/projects/other")
    (execution,) = agent.runtime.append(ExecutionStarted(task=other), project="/projects/other")
    assert "another project" in agent.refused("retry_task", task_id=other)
    assert "another project" in agent.refused("spawn_subtask", parent_task_id=other, name="x")
    assert "another project" in agent.refused("trace_execution", execution_id=f"exec-{execution}")
    for name in ("exec-99", "exec-0", "exec-x", "7"):
        assert "does not exist" in agent.refused("trace_execution", execution_id=name)
    assert "is blank" in agent.refused("trace_execution", execution_id=" ")


def test_a_named_checkpoint_must_exist_and_is_taken_over(agent: Any) -> None:
    task = begin(agent)["task_id"]
    left = agent.call("session_handoff", summary="x", must_not_redo=["mail"])["checkpoint_id"]
    begun = agent.call("start_execution", goal="next release", origin_checkpoint=str(left))
    package = agent.call("restore_checkpoint", task_id=begun["task_id"])["continuation"]
    assert (package["goal"], package["must_not_redo"][0]["action"]) == ("next release", "mail")
    assert trace(agent, begun["execution_id"])["tasks"][0]["checkpoint_id"] == str(left)
    assert "no checkpoint 99" in agent.refused("start_execution", goal="x", origin_checkpoint="99")
    part = agent.call("spawn_subtask", parent_task_id=task, name="part", checkpoint_id=str(left))
    assert agent.runtime.state.task(part["new_task_id"]).checkpoint == left


def test_retries_at_once_are_different_attempts_of_one_execution(agent: Any) -> None:
    task = agent.call("create_task", name="login")["task_id"]
    agents = [agent.session() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda one: one.call("retry_task", task_id=task), agents))
    assert sorted(told["attempt"] for told in made) == [2, 3, 4, 5, 6, 7]
    assert len({told["execution_id"] for told in made}) == 1
    begun = agent.runtime.events(kinds=("ExecutionStarted",))
    assert sum(agent.runtime.state.execution(at.position) is not None for at in begun) == 1


def test_an_execution_that_begins_at_a_subtask_holds_the_whole_family(agent: Any) -> None:
    project = agent.context.project
    (top,) = agent.runtime.append(TaskCreated(name="top", goal="ship it"), project=project)
    (part,) = agent.runtime.append(TaskCreated(name="part", parent=top), project=project)
    (other,) = agent.runtime.append(TaskCreated(name="other", parent=top), project=project)
    again = agent.call("retry_task", task_id=part)
    told = trace(agent, again["execution_id"])
    assert [node["task_id"] for node in told["tasks"]] == [top, part, other, again["new_task_id"]]
    assert told["execution"]["root_goal"] == "ship it"


def test_a_replay_gives_the_same_lineage(agent: Any) -> None:
    begun = begin(agent)
    agent.call("retry_task", task_id=begun["task_id"])
    agent.call("spawn_subtask", parent_task_id=begun["task_id"], name="part")
    agent.call("end_execution", execution_id=begun["execution_id"])
    file = agent.runtime.journal.files.state
    before = rows_of(file)
    agent.runtime.rebuild_state()
    assert rows_of(file) == before


def test_relations_that_make_no_sense_are_no_loop(agent: Any) -> None:
    """As a forged or a partly lost journal could hold."""
    (one,) = agent.runtime.append(
        TaskCreated(name="a", retry_of=999, parent=998), project=agent.context.project
    )
    (own,) = agent.runtime.append(
        TaskCreated(name="b", retry_of=one + 1, parent=one + 1), project=agent.context.project
    )
    made = agent.call("retry_task", task_id=own)
    assert made["attempt"] == 2
    assert len(trace(agent, made["execution_id"])["tasks"]) == 2
