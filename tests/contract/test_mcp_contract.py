"""mcp-engram's tools by the same names, parameters and answer keys, through the official SDK's client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from engram_runtime.ids import session_id
from engram_runtime.journal.events import SessionStarted
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import build_server
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "mcp_contract.json").read_text("utf-8")
)
PROJECT = "/projects/shop"


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["legacy", "auto"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Opens a client on a server in this process; in the test's own task, as anyio wants it."""

    @asynccontextmanager
    async def connected() -> AsyncIterator[Client]:
        session = session_id()
        settings = Settings(model="off")
        with Runtime.open(tmp_path / "home", project=PROJECT, session=session, settings=settings) as runtime:
            runtime.append(SessionStarted(agent="test"))
            server = build_server(runtime, ToolContext(project=PROJECT, session=session))
            async with Client(server, mode=request.param) as client:
                yield client

    return connected


async def answers(client: Client) -> dict[str, Any]:
    """One answer of each tool, with something in every list."""

    async def call(tool: str, /, **given: Any) -> Any:
        result = await client.call_tool(tool, given)
        assert not result.is_error, result.content
        (content,) = result.content
        assert json.loads(content.text) == result.structured_content
        return result.structured_content

    said: dict[str, Any] = {}
    said["create_task"] = await call("create_task", name="login", goal="fix the login", metadata={"k": "v"})
    task = said["create_task"]["task_id"]
    said["update_task"] = await call("update_task", task_id=task, status="in_progress")
    said["list_tasks"] = await call("list_tasks")
    said["track_progress"] = await call(
        "track_progress", feature="login flow", status="in_progress", blockers=["review"], task_id=task
    )
    said["track_failure"] = await call(
        "track_failure",
        error="login timeout",
        component="billing",
        root_cause="slow",
        fix="cache",
        task_id=task,
    )
    said["session_handoff"] = await call(
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
    )
    said["store_memory"] = await call("store_memory", content="login uses JWT", importance=0.8)
    memory = said["store_memory"]["memory_id"]
    said["update_memory"] = await call("update_memory", memory_id=memory, new_content="login uses cookies")
    said["recall_memory"] = await call("recall_memory", query="login", top_k=10)
    said["get_task"] = await call("get_task", task_id=task)
    said["list_checkpoints"] = await call("list_checkpoints", task_id=task)
    said["restore_checkpoint"] = await call("restore_checkpoint", task_id=task, memory_restore_mode="FULL")
    said["report_interruption"] = await call(
        "report_interruption", reason="user_away", context={"why": "lunch"}
    )
    said["memory_stats"] = await call("memory_stats")
    said["get_runtime_health"] = await call("get_runtime_health")
    return said


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


async def test_every_answer_has_the_keys_of_mcp_engram(connect: Connect) -> None:
    async with connect() as client:
        said = await answers(client)
        assert set(said) == set(CONTRACT)
        lacking = [
            line for tool, parts in CONTRACT.items() for line in missing(parts["answer"], said[tool], tool)
        ]
        assert lacking == []


async def test_every_tool_has_the_parameters_of_mcp_engram(connect: Connect) -> None:
    async with connect() as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(CONTRACT) <= set(listed)
        for name, parts in CONTRACT.items():
            schema = listed[name].input_schema
            required = set(schema.get("required", ()))
            for parameter, wanted in parts["parameters"].items():
                ours = schema["properties"][parameter]
                assert (parameter in required) == wanted["required"], (name, parameter)
                assert ours.get("type", wanted["type"]) == wanted["type"], (name, parameter)
                assert set(ours.get("enum", ())) == set(wanted.get("enum", ())), (name, parameter)
                if "items" in wanted:
                    assert ours["items"] == {"type": wanted["items"]}, (name, parameter)
                if wanted.get("default"):
                    assert ours["default"] == wanted["default"], (name, parameter)


async def test_every_tool_says_what_it_answers_and_whether_it_writes(connect: Connect) -> None:
    async with connect() as client:
        reading = {
            "get_task",
            "list_tasks",
            "list_checkpoints",
            "recall_memory",
            "memory_stats",
            "get_runtime_health",
        }
        for tool in (await client.list_tools()).tools:
            assert tool.output_schema and tool.output_schema["type"] == "object"
            assert tool.annotations is not None
            assert bool(tool.annotations.read_only_hint) == (tool.name in reading)
            assert tool.annotations.destructive_hint is not True
            assert tool.description and len(tool.description) < 140


async def test_an_error_is_marked_and_says_what_to_do(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool("restore_checkpoint", {"task_id": 4711})
        assert result.is_error
        (content,) = result.content
        assert content.text == "Task 4711 does not exist. Call list_tasks to see the tasks of this project."
        assert result.structured_content == {"ok": False, "error": content.text}


async def test_a_task_without_a_checkpoint_answers_with_mcp_engrams_fallback(connect: Connect) -> None:
    async with connect() as client:
        created = await client.call_tool("create_task", {"name": "bare"})
        assert created.structured_content is not None
        task = created.structured_content["task_id"]
        result = await client.call_tool("restore_checkpoint", {"task_id": task})
        assert result.is_error
        assert result.structured_content is not None
        assert result.structured_content["task_id"] == task
        assert set(result.structured_content["fallback"]) == {"task", "associated_memories_count", "hint"}


async def test_instructions_say_when_to_call_what(connect: Connect) -> None:
    async with connect() as client:
        assert client.instructions is not None
        for tool in ("recall_memory", "restore_checkpoint", "session_handoff", "track_failure"):
            assert tool in client.instructions
