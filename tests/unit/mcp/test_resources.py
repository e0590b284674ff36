"""Resources and prompts, through the official client in both generations of the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from engram_runtime.journal.events import MemoryStored, SessionEnded, TaskCreated
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.server import build_server


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Any:
    return request.param


def client(agent: Any, mode: Any) -> Client:
    return Client(build_server(agent.runtime, agent.context), mode=mode)


async def read(reader: Client, uri: str) -> str:
    (content,) = (await reader.read_resource(uri)).contents
    return str(content.text)


def leave_work(agent: Any) -> int:
    task: int = agent.call("create_task", name="login", goal="fix the login timeout")["task_id"]
    agent.call("session_handoff", summary="half way", in_progress=["raise the limit"], must_not_redo=["mail"])
    agent.call("store_memory", content="login uses JWT", importance=0.8)
    agent.runtime.append(SessionEnded(verdict=Verdict(kind="oom")), session=agent.context.session)
    return task


async def test_interrupted_work_can_be_read_without_a_tool(agent: Any, mode: Any) -> None:
    task = leave_work(agent)
    successor = agent.session()
    async with client(successor, mode) as reader:
        listed = {entry.uri: entry for entry in (await reader.list_resources()).resources}
        assert {"engram://briefing", "engram://tasks", "engram://memories", f"engram://tasks/{task}"} <= set(
            listed
        )
        assert f"engram://checkpoints/{task}" in listed
        templates = {
            entry.uri_template for entry in (await reader.list_resource_templates()).resource_templates
        }
        assert templates == {
            "engram://tasks/{id}",
            "engram://checkpoints/{task_id}",
            "engram://memories/{id}",
            "engram://tools/{name}",
        }
        briefing = await read(reader, "engram://briefing")
        assert "raise the limit" in briefing and "<engram-briefing" in briefing
        assert json.loads(await read(reader, f"engram://tasks/{task}"))["task"]["name"] == "login"
        told = json.loads(await read(reader, f"engram://checkpoints/{task}"))
        assert told["latest"]["continuation"]["in_progress"] == ["raise the limit"] and told["total"] == 1
        memories = json.loads(await read(reader, "engram://memories"))
        number = next(row["memory_id"] for row in memories["memories"] if row["content"] == "login uses JWT")
        assert json.loads(await read(reader, f"engram://memories/{number}"))["importance"] == 0.8
        assert json.loads(await read(reader, "engram://tasks"))["total"] == 1
    assert successor.runtime.state.task(task).interrupted, "looking is not working on it"


async def test_what_is_not_there_is_an_error_that_says_what_is(agent: Any, mode: Any) -> None:
    (other, memory) = agent.runtime.append(
        TaskCreated(name="theirs"), MemoryStored(content="theirs", importance=0.5), project="/projects/other"
    )
    async with client(agent, mode) as reader:
        for uri in (
            "engram://tasks/4711",
            f"engram://tasks/{other}",
            f"engram://memories/{memory}",
            "engram://tasks/x",
            "engram://memories/4711",
            "engram://tools/coffee",
            "engram://",
            "engram://sessions/1",
            "engram://tasks/1/2",
            "file:///etc/passwd",
        ):
            with pytest.raises(MCPError) as caught:
                await reader.read_resource(uri)
            assert caught.value.code == -32602
            assert "\n" not in caught.value.message and len(caught.value.message) < 400


async def test_without_open_work_the_briefing_says_so(agent: Any, mode: Any) -> None:
    async with client(agent, mode) as reader:
        assert await read(reader, "engram://briefing") == "Nothing of this project is interrupted."


async def test_the_prompts_resume_and_hand_over(agent: Any, mode: Any) -> None:
    task = leave_work(agent)
    successor = agent.session()
    async with client(successor, mode) as reader:
        assert [prompt.name for prompt in (await reader.list_prompts()).prompts] == ["resume", "handoff"]
        for given in ({}, {"task_id": str(task)}):
            (message,) = (await reader.get_prompt("resume", given)).messages
            assert message.role == "user" and "raise the limit" in message.content.text
        successor.call("update_task", task_id=task, status="in_progress")
        successor.call("track_progress", feature="docs", status="in_progress")
        (message,) = (await reader.get_prompt("handoff", {"note": "mind the cache"})).messages
        for said in ("session_handoff", "must_not_redo", "docs", "mind the cache"):
            assert said in message.content.text


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("sing", {}, "no prompt"),
        ("resume", {"task": "1"}, "task_id"),
        ("resume", {"task_id": "one"}, "no number"),
        ("resume", {"task_id": "4711"}, "list_tasks"),
    ],
)
async def test_a_wrong_prompt_is_one_clear_line(
    agent: Any, mode: Any, name: str, given: dict[str, str], said: str
) -> None:
    async with client(agent, mode) as reader:
        with pytest.raises(MCPError) as caught:
            await reader.get_prompt(name, given)
        assert said in caught.value.message and caught.value.code == -32602


async def test_a_fault_of_ours_is_an_error_without_a_trace(
    agent: Any, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret inner detail")

    monkeypatch.setattr(agent.runtime.state, "tasks", fail, raising=False)
    async with client(agent, mode) as reader:
        with pytest.raises(MCPError) as caught:
            await reader.read_resource("engram://tasks")
        assert "RuntimeError" in caught.value.message and "secret" not in caught.value.message
