"""One conversation that calls every tool with every parameter, and what it is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mcp.client import Client

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "mcp_contract.json").read_text("utf-8")
)
USER = "alice"


class Conversation:
    """Calls tools; keeps the answers, and which parameters were given to each tool."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.answers: dict[str, Any] = {}
        self.given: dict[str, set[str]] = {}

    async def call(self, tool: str, /, **given: Any) -> Any:
        result = await self._client.call_tool(tool, given)
        assert not result.is_error, (tool, result.content)
        (content,) = result.content
        assert json.loads(content.text) == result.structured_content
        self.given.setdefault(tool, set()).update(given)
        self.answers[tool] = result.structured_content
        return result.structured_content

    async def refused(self, tool: str, /, **given: Any) -> tuple[str, dict[str, Any]]:
        """A call that must fail; the line and the structured error."""
        result = await self._client.call_tool(tool, given)
        assert result.is_error, (tool, given, result.structured_content)
        (content,) = result.content
        assert isinstance(result.structured_content, dict)
        return content.text, result.structured_content


async def every_tool(client: Client) -> Conversation:
    """All tools with all parameters, with something in every list of an answer."""
    say = Conversation(client)
    task = (
        await say.call(
            "create_task",
            name="login",
            goal="fix the login",
            status="planning",
            user_id=USER,
            metadata={"k": "v"},
        )
    )["task_id"]
    await say.call(
        "update_task", task_id=task, status="in_progress", goal="fix the login", metadata={"k": "v"}
    )
    await say.call("list_tasks", user_id=USER, status="in_progress")
    await _tell(say, task)
    await _remember(say)
    await _look(say, task)
    await _judge(say, task)
    await _execute(say)
    await say.call(
        "report_interruption", reason="user_away", context={"why": "lunch"}, session_id="s-1", user_id=USER
    )
    await say.call("memory_stats", user_id=USER)
    await say.call("get_runtime_health")
    return say


async def _tell(say: Conversation, task: int) -> None:
    await say.call(
        "track_progress",
        feature="login flow",
        status="in_progress",
        completion=40,
        blockers=["review"],
        quality_score=0.5,
        notes="half way",
        task_id=task,
        user_id=USER,
    )
    await say.call(
        "track_failure",
        error="login timeout",
        component="billing",
        root_cause="slow",
        severity="critical",
        fix="cache",
        related_test_ids=["t1"],
        task_id=task,
        user_id=USER,
    )
    await say.call(
        "session_handoff",
        summary="login half done",
        completed=["login form"],
        in_progress=["login flow"],
        blocked=["login deploy"],
        next_steps=["login docs"],
        must_not_redo=[{"action": "resend mails", "reason": "side_effect_emitted"}],
        must_preserve=["public API"],
        working_set={"files": ["a.py"], "artifacts": ["report.html"]},
        task_id=task,
        user_id=USER,
    )


async def _remember(say: Conversation) -> None:
    memory = (
        await say.call(
            "store_memory",
            content="login uses JWT",
            importance=0.8,
            category="fact",
            user_id=USER,
            metadata={"by": "test"},
        )
    )["memory_id"]
    await say.call("update_memory", memory_id=memory, new_content="login uses cookies", importance=0.9)
    await say.call(
        "recall_memory", query="login", top_k=10, user_id=USER, session_id="s-1", memory_type="all"
    )
    await say.call("consolidate_memory", user_id=USER)
    await say.call("session_outcome", session_id="s-1", outcome="success", notes="fine", user_id=USER)


async def _look(say: Conversation, task: int) -> None:
    await say.call("get_task", task_id=task, user_id=USER)
    await say.call("list_checkpoints", task_id=task, limit=5, user_id=USER)
    await say.call(
        "restore_checkpoint", task_id=task, version=1, memory_restore_mode="SELECTIVE", user_id=USER
    )
    await say.call("restore_checkpoint", task_id=task, memory_restore_mode="FULL")


async def _judge(say: Conversation, task: int) -> None:
    await say.call(
        "detect_drift",
        task_id=task,
        current_goal="repair the sign-in",
        tools_used=["Bash"],
        actions_taken=["ran the login tests"],
        in_progress=["login flow"],
        violated_constraints=["no deploys on Friday"],
        user_id=USER,
    )
    await say.call(
        "evaluate_continuity",
        task_id=task,
        before_version=1,
        after_version=3,
        actions_taken_after_restore=["wrote the login docs"],
        user_id=USER,
    )
    await say.call(
        "score_recovery",
        task_id=task,
        goal="fix the login",
        completed=["login form"],
        in_progress=["login flow"],
        must_not_redo=["resend mails"],
        active_constraints=["public API"],
        tools_used=["Bash"],
        user_id=USER,
    )
    await say.call(
        "recommend_recovery", task_id=task, interruption_reason="crash", retry_count=1, user_id=USER
    )


async def _execute(say: Conversation) -> None:
    begun = await say.call("start_execution", goal="ship it", user_id=USER, origin_checkpoint="release 4")
    again = await say.call("retry_task", task_id=begun["task_id"], reason="tool_failure", user_id=USER)
    await say.call(
        "spawn_subtask",
        parent_task_id=again["new_task_id"],
        name="changelog",
        goal="write the changelog",
        user_id=USER,
        checkpoint_id="release 4",
    )
    await say.call("trace_execution", execution_id=begun["execution_id"], user_id=USER)
    await say.call("end_execution", execution_id=begun["execution_id"], status="completed", user_id=USER)


def missing(wanted: Any, given: Any, path: str) -> Iterable[str]:
    """Keys of the contract that an answer lacks; entries of a list are taken together."""
    if isinstance(wanted, list):
        if not isinstance(given, list):
            yield f"{path} is no list"
        elif wanted and isinstance(wanted[0], dict):
            yield from missing(wanted[0], _together(given), path + "[]") if given else [f"{path} is empty"]
    elif isinstance(wanted, dict) and wanted:
        if not isinstance(given, dict):
            yield f"{path} is no object"
            return
        for key, part in wanted.items():
            if key not in given:
                yield f"{path}.{key}"
            elif isinstance(part, (dict, list)):
                yield from missing(part, given[key], f"{path}.{key}")


def _together(entries: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for entry in entries:
        for key, value in entry.items():
            known = whole.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                value = {**known, **value}
            whole[key] = value or known
    return whole


ERRORS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("store_memory", {"content": "x"}, "importance"),
    ("store_memory", {"content": " ", "importance": 0.5}, "empty"),
    ("store_memory", {"content": "x", "importance": 7}, "importance"),
    ("update_memory", {"memory_id": 999999, "new_content": "x"}, "999999"),
    ("create_task", {"name": "x", "status": "nope"}, "status"),
    ("create_task", {"name": ""}, "name"),
    ("update_task", {"task_id": 999999, "status": "done"}, "list_tasks"),
    ("get_task", {"task_id": 999999}, "list_tasks"),
    ("restore_checkpoint", {"task_id": 999999}, "list_tasks"),
    ("report_interruption", {"reason": "banana"}, "reason"),
    ("evaluate_continuity", {"task_id": 999999}, "list_tasks"),
    ("retry_task", {"task_id": 999999}, "list_tasks"),
    ("trace_execution", {"execution_id": "exec-999999"}, "start_execution"),
    ("end_execution", {"execution_id": "nope"}, "start_execution"),
    ("recommend_recovery", {"task_id": 999999}, "list_tasks"),
)
"""Every error that mcp-engram documents, and what the line must name."""
