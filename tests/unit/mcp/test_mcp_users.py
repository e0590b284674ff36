"""A user who is named is given only what is theirs."""

from __future__ import annotations

from tests.unit.mcp.conftest import Agent


def test_another_users_task_is_not_found(agent: Agent) -> None:
    task = agent.call("create_task", name="login", user_id="alice")["task_id"]
    agent.call("track_progress", feature="form", status="in_progress", task_id=task, user_id="alice")
    agent.call("session_handoff", summary="half", in_progress=["form"], task_id=task, user_id="alice")
    tools = (
        "get_task",
        "list_checkpoints",
        "restore_checkpoint",
        "recommend_recovery",
        "evaluate_continuity",
    )
    for tool in tools:
        assert f"Task {task} not found for user 'bob'" in agent.refused(tool, task_id=task, user_id="bob"), (
            tool
        )
    for tool, more in (("detect_drift", {"current_goal": "x"}), ("score_recovery", {"goal": "x"})):
        assert "for user 'bob'" in agent.refused(tool, task_id=task, user_id="bob", **more), tool
    for tool in tools[:3]:
        agent.call(tool, task_id=task, user_id="alice")
        agent.call(tool, task_id=task)


def test_another_users_execution_is_not_found(agent: Agent) -> None:
    began = agent.call("start_execution", goal="login", user_id="alice")["execution_id"]
    assert "for user 'bob'" in agent.refused("trace_execution", execution_id=began, user_id="bob")
    assert "for user 'bob'" in agent.refused(
        "end_execution", execution_id=began, status="completed", user_id="bob"
    )
    agent.call("trace_execution", execution_id=began, user_id="alice")
    agent.call("trace_execution", execution_id=began)
