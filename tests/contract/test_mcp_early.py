"""Calls that come before the SDK is loaded: answered at once, as the SDK would, and recorded like all others."""

from __future__ import annotations

import json
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
        waits = request(100, "resources/list", {}, meta if modern else {})
        calls = [
            request(101 + i, "tools/call", {"name": name, "arguments": given}, meta if modern else {})
            for i, (name, given) in enumerate(CALLS)
        ]
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
