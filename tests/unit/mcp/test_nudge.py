"""The drift nudge: one line, once per episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.journal.events import PlanObserved, ToolFinished
from engram_runtime.mcp import nudge
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.unit.mcp.conftest import PROJECT, Agent


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudge, "LOOK_EVERY_SECONDS", 0.0)


def restored(agent: Any) -> tuple[Any, int]:
    task = agent.call("create_task", name="login", goal="fix the login timeout")["task_id"]
    agent.call(
        "session_handoff",
        summary="the session limit is too low for slow networks",
        completed=["reproduced the timeout in test_auth.py"],
        in_progress=["raise the session limit in auth.py"],
        next_steps=["document the new limit"],
        must_not_redo=["send the release mail"],
    )
    successor = agent.session()
    successor.call("restore_checkpoint", task_id=task)
    return successor, task


def plan(agent: Any, *steps: str) -> None:
    items = tuple((step, "in_progress") for step in steps)
    agent.runtime.append(PlanObserved(items=items), session=agent.context.session, project=PROJECT)


def nudged(agent: Any) -> str | None:
    return agent.call("list_tasks").get("nudge")


def test_a_plan_that_left_the_task_is_told_once(agent: Any) -> None:
    successor, task = restored(agent)
    assert nudged(successor) is None
    plan(successor, "raise the session limit", "document the new limit")
    assert nudged(successor) is None
    plan(successor, "draft the quarterly newsletter", "pick newsletter photos")
    line = nudged(successor)
    assert line is not None and f"restore_checkpoint(task_id={task})" in line and "\n" not in line
    assert nudged(successor) is None
    (drift,) = successor.runtime.state.drifts(task)
    assert drift.source == "observed" and drift.composite >= 0.7


def test_another_episode_is_told_again(agent: Any) -> None:
    successor, task = restored(agent)
    plan(successor, "draft the quarterly newsletter")
    assert nudged(successor)
    plan(successor, "raise the session limit in auth.py")
    assert nudged(successor) is None
    plan(successor, "pick newsletter photos")
    assert nudged(successor)
    assert [drift.composite >= 0.7 for drift in successor.runtime.state.drifts(task)] == [True, False, True]


def test_doing_what_must_not_be_redone_is_told(agent: Any) -> None:
    successor, _ = restored(agent)
    call = ToolFinished(tool="Bash", summary="python send_mail.py --release")
    successor.runtime.append(call, session=successor.context.session, project=PROJECT)
    line = nudged(successor)
    assert line is not None and "send the release mail" in line


def test_reading_about_it_is_not(agent: Any) -> None:
    successor, _ = restored(agent)
    call = ToolFinished(tool="Bash", summary="grep -rn 'send release mail' .")
    successor.runtime.append(call, session=successor.context.session, project=PROJECT)
    assert nudged(successor) is None


def test_a_session_that_was_given_nothing_is_not_nudged(agent: Any) -> None:
    agent.call("create_task", name="login", goal="fix the login timeout")
    plan(agent, "draft the quarterly newsletter")
    assert nudged(agent) is None


@pytest.fixture(params=[{"drift_nudge": False}, {"drift_nudge_threshold": 0.95}])
def quiet_agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    from engram_runtime.mcp.context import ToolContext

    settings = replace(Settings(model="off"), **request.param)
    with Runtime.open(tmp_path / "quiet", project=PROJECT, settings=settings) as runtime:
        yield Agent(runtime, ToolContext(project=PROJECT)).session()


def test_the_nudge_can_be_turned_off_or_made_rarer(quiet_agent: Agent) -> None:
    successor, _ = restored(quiet_agent)
    call = ToolFinished(tool="Bash", summary="python send_mail.py --release")
    successor.runtime.append(call, session=successor.context.session, project=PROJECT)
    assert nudged(successor) is None
