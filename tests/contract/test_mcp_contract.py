"""mcp-engram's tools by the same names, parameters and answer keys, through the official SDK's client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import jsonschema
import pytest
from mcp.client import Client

from engram_runtime.ids import session_id
from engram_runtime.journal.events import SessionStarted
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import build_server
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.contract.calls import CONTRACT, ERRORS, Conversation, every_tool, missing

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


@pytest.mark.slow
async def test_every_answer_has_the_keys_of_mcp_engram(connect: Connect) -> None:
    async with connect() as client:
        said = await every_tool(client)
        assert set(said.answers) == set(CONTRACT)
        lacking = [
            line
            for tool, parts in CONTRACT.items()
            for line in missing(parts["answer"], said.answers[tool], tool)
        ]
        assert lacking == []
        assert {
            tool: sorted(set(CONTRACT[tool]["parameters"]) - given) for tool, given in said.given.items()
        } == {tool: [] for tool in CONTRACT}
        for tool in (await client.list_tools()).tools:
            jsonschema.validate(said.answers[tool.name], tool.output_schema or {})


@pytest.mark.slow
async def test_every_answer_fits_its_whole_schema(connect: Connect) -> None:
    async with connect() as client:
        said = await every_tool(client)
        for name, answer in said.answers.items():
            (content,) = (await client.read_resource(f"engram://tools/{name}")).contents
            schema = json.loads(content.text)["outputSchema"]
            jsonschema.validate(answer, schema)
            assert set(schema["required"]) == set(schema["properties"]) <= set(answer)


async def test_every_error_of_mcp_engram_is_an_error_that_says_what_to_do(connect: Connect) -> None:
    async with connect() as client:
        say = Conversation(client)
        for tool, given, named in ERRORS:
            line, told = await say.refused(tool, **given)
            assert named in line, (tool, line)
            assert told["ok"] is False and told["error"] == line and told["code"]


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
            "trace_execution",
            "score_recovery",
            "recommend_recovery",
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
        assert result.structured_content == {"ok": False, "error": content.text, "code": "not_found"}


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
