"""What needs no SDK is answered without it, as the SDK would, and recorded like all else; the rest loads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.mcp.front import (
    HANDSHAKE_VERSIONS,
    META_CAPABILITIES,
    META_CLIENT,
    META_VERSION,
    MODERN_VERSION,
)
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.contract.servers import PROJECT, server

pytestmark = pytest.mark.slow

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("recall_memory", {"query": "which port"}),
    ("recall_memory", {"query": ""}),
    ("get_task", {"task_id": 999}),
    ("no_such_tool", {}),
)
LISTS = ("prompts/list", "resources/list", "resources/templates/list")


def has_sdk(process: subprocess.Popen[Any]) -> bool:
    """Whether a process has loaded the SDK's machinery (a compiled part of it is mapped)."""
    return "pydantic_core" in Path(f"/proc/{process.pid}/maps").read_text()


def request(given: int, method: str, params: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": given,
        "method": method,
        "params": {**params, **({"_meta": meta} if meta else {})},
    }


@pytest.mark.parametrize("version", [*HANDSHAKE_VERSIONS, MODERN_VERSION])
def test_early_answers_are_those_of_the_sdk(tmp_path: Path, version: str) -> None:
    modern = version == MODERN_VERSION
    meta = {META_VERSION: version, META_CLIENT: {"name": "probe", "version": "1"}, META_CAPABILITIES: {}}
    with server(tmp_path / "home", begin=not modern, version=version) as running:
        # Only the SDK answers the first: calls that overtake it were answered without it.
        briefing = {"uri": "engram://briefing"}
        waits = request(100, "resources/read", briefing, meta if modern else {})
        calls = [
            request(101 + i, "tools/call", {"name": name, "arguments": given}, meta if modern else {})
            for i, (name, given) in enumerate(CALLS)
        ]
        calls += [request(201 + i, name, {}, meta if modern else {}) for i, name in enumerate(LISTS)]
        for message in (waits, *calls):
            running.send(message)
        early = [running.next() for _ in calls]
        assert {answer["id"] for answer in early} == {call["id"] for call in calls}
        assert running.next()["id"] == 100
        for answer in early:
            again = next(call for call in calls if call["id"] == answer["id"])
            running.send(again)
            assert running.next() == answer


def test_a_call_with_more_than_name_and_arguments_waits_for_the_sdk(tmp_path: Path) -> None:
    with server(tmp_path / "home") as running:
        arguments = {"name": "recall_memory", "arguments": {"query": "x"}}
        running.send(request(50, "tools/call", {**arguments, "unheard_of": 1}, {}))
        running.send(request(51, "tools/call", arguments, {}))
        assert [running.next()["id"], running.next()["id"]] == [51, 50]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is read in /proc")
def test_the_sdk_is_loaded_for_the_first_request_that_takes_it_and_answers_all_from_then_on(
    tmp_path: Path,
) -> None:
    with server(tmp_path / "home") as running:
        running.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        for number in range(5):
            running.call(
                "store_memory", content=f"The port of service {number} is 80{number}", importance=0.5
            )
            assert running.ask("ping") == {}
        assert len(running.ask("tools/list")["tools"]) == 26
        assert [running.ask(name) != {} for name in LISTS] == [True] * 3
        assert not has_sdk(running.process)
        assert "Nothing" in running.ask("resources/read", uri="engram://briefing")["contents"][0]["text"]
        assert has_sdk(running.process)
        assert running.ask("ping") == {}
        assert running.call("recall_memory", query="port")["memories"]
        assert running.close() == 0


def test_half_a_character_is_refused_and_the_next_call_answered(tmp_path: Path) -> None:
    with server(tmp_path / "home") as running:
        arguments = {"name": "recall_memory", "arguments": {"query": "\ud800"}}
        running.send(request(50, "tools/call", arguments, {}))
        assert running.next()["error"]["code"] == -32600
        assert running.call("recall_memory", query="port")["memories"] == []


def test_a_client_that_leaves_before_the_sdk_is_there_is_recorded(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with server(home, "hasty") as running:
        given = {"content": "Redis is on 6380", "importance": 0.5}
        running.send(request(7, "tools/call", {"name": "store_memory", "arguments": given}, {}))
        assert not running.next()["result"]["isError"]
        assert running.close() == 0
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        (session,) = runtime.state.sessions(project=PROJECT)
        assert (session.agent, session.ended_at is not None) == ("hasty", True)
        assert runtime.memory.recall("redis").hits


def test_a_cancelled_call_is_not_answered_twice_or_late() -> None:
    from engram_runtime.mcp.front import Front

    written: list[bytes] = []
    front = Front(written.append, lambda line: None)
    call = request(1, "tools/call", {"name": "recall_memory", "arguments": {}}, {})
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    front.feed(json.dumps(call).encode() + b"\n" + json.dumps(cancel).encode() + b"\n")
    front.answered(("int", "1"), {"jsonrpc": "2.0", "id": 1, "result": {}})
    assert written == []
    assert front.outstanding == 0
