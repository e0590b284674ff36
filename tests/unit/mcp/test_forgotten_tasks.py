"""A task that is forgotten takes nothing of the other tasks along that the same session made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Verdict
from engram_runtime.upkeep.forget import carry_out
from engram_runtime.upkeep.forget_plan import Plan, plan_task
from engram_runtime.upkeep.needles import Needles

pytestmark = pytest.mark.guarantee("G7")


def begins_an_execution(agent: Any, _: int) -> int:
    return int(agent.call("start_execution", goal="Badger the parser")["task_id"])


def starts_another(agent: Any, _: int) -> int:
    other = int(agent.call("create_task", name="Badger", goal="Badger the parser")["task_id"])
    agent.call("update_task", task_id=other, status="in_progress")
    agent.call("session_handoff", summary="badgers half done", next_steps=["more badgers"], task_id=other)
    return other


def spawns_a_subtask(agent: Any, task: int) -> int:
    return int(agent.call("spawn_subtask", parent_task_id=task, name="Badger", goal="x")["new_task_id"])


def tries_again(agent: Any, task: int) -> int:
    return int(agent.call("retry_task", task_id=task, reason="tool_failure")["new_task_id"])


@pytest.mark.parametrize("makes", [begins_an_execution, starts_another, spawns_a_subtask, tries_again])
def test_a_forgotten_task_leaves_the_other_tasks_of_its_session(
    agent: Any, makes: Callable[[Any, int], int]
) -> None:
    runtime = agent.runtime
    task = int(agent.call("create_task", name="Wombat", goal="Feed the wombat")["task_id"])
    agent.call("store_memory", content="Wombats eat grass", importance=0.5)
    other = makes(agent, task)
    runtime.append(
        ev.SessionEnded(verdict=Verdict(kind="user_quit")), session=agent.context.session, project="/p"
    )
    before = told_of(runtime, other)
    plan = partial(plan_of, runtime, task)
    shown = plan(Needles())
    assert shown.tasks == {task: "Wombat"}
    assert agent.context.session not in shown.sessions
    carry_out(shown, plan, runtime.journal, runtime.blobs, runtime.project, live=frozenset)
    assert [view.id for view in runtime.state.tasks()] == [other]
    assert told_of(runtime, other) == before
    assert runtime.state.session(agent.context.session) is not None
    assert [row.content for row in runtime.memory.rows() if "grass" in row.content] == []


def told_of(runtime: Any, task: int) -> list[tuple[int, str, Any]]:
    """All that the journal says of a task."""
    return [
        (at.position, at.kind, at.payload)
        for at in runtime.events(limit=10_000)
        if at.position == task or (at.payload or {}).get("task") == task
    ]


def plan_of(runtime: Any, task: int, _: Needles) -> Plan:
    return plan_task(runtime.journal, task)
