"""The front of `engram mcp`: answers as the SDK would, and hands on everything."""

from __future__ import annotations

import json
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from engram_runtime.mcp import front as front_module
from engram_runtime.mcp.front import (
    HANDSHAKE_VERSIONS,
    META_CAPABILITIES,
    META_CLIENT,
    META_VERSION,
    MODERN_VERSION,
    Front,
    key_of,
)
from engram_runtime.mcp.server import build_server

CLIENT = {"name": "probe", "version": "1"}


class Wire:
    """What a front wrote and forwarded."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.forwarded: list[dict[str, Any]] = []
        self.front = Front(
            lambda line: self.written.append(json.loads(line)),
            lambda line: self.forwarded.append(json.loads(line)),
        )

    def say(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        self.front.feed(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
        return self.written


def request(given: int | str, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": given, "method": method, "params": params}


def initialize(version: str) -> dict[str, Any]:
    return request(1, "initialize", protocolVersion=version, capabilities={}, clientInfo=CLIENT)


def modern(given: int, method: str, version: str = MODERN_VERSION) -> dict[str, Any]:
    return request(given, method, _meta={META_VERSION: version, META_CLIENT: CLIENT, META_CAPABILITIES: {}})


async def sdk_answers(runtime: Any, context: Any, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the SDK's server says to the same messages."""
    server = build_server(runtime, context)
    inbound, from_client = anyio.create_memory_object_stream[Any](100)
    to_client, outbound = anyio.create_memory_object_stream[Any](100)
    answers = []
    async with anyio.create_task_group() as group:
        group.start_soon(server.run, from_client, to_client, server.create_initialization_options())
        for message in messages:
            parsed = types.jsonrpc_message_adapter.validate_json(json.dumps(message), by_name=False)
            await inbound.send(SessionMessage(parsed))
            if "id" in message:
                with anyio.fail_after(5):
                    answer = await outbound.receive()
                answers.append(json.loads(answer.message.model_dump_json(by_alias=True, exclude_unset=True)))
        inbound.close()
        outbound.close()
    return answers


@pytest.mark.parametrize("version", [*HANDSHAKE_VERSIONS, "1999-01-01", MODERN_VERSION])
async def test_the_front_shakes_hands_as_the_sdk_does(agent: Any, version: str) -> None:
    messages = [
        initialize(version),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(2, "tools/list"),
        request("3", "ping"),
    ]
    wire = Wire()
    assert wire.say(*messages) == await sdk_answers(agent.runtime, agent.context, messages)
    assert wire.forwarded == messages


async def test_the_front_answers_the_modern_protocol_as_the_sdk_does(agent: Any) -> None:
    messages = [modern(0, "server/discover"), modern(1, "tools/list")]
    assert Wire().say(*messages) == await sdk_answers(agent.runtime, agent.context, messages)


@pytest.mark.parametrize(
    "message",
    [
        modern(1, "server/discover", version="2027-01-01"),
        modern(1, "ping"),
        request(1, "server/discover"),
        request(1, "tools/list"),
        request(1, "tools/call", name="list_tasks", arguments={}),
        request(1, "initialize", protocolVersion=5, capabilities={}, clientInfo=CLIENT),
        request(1, "initialize"),
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []},
    ],
)
def test_anything_unusual_waits_for_the_sdk(message: dict[str, Any]) -> None:
    wire = Wire()
    assert wire.say(message) == []
    assert wire.forwarded == [message]
    assert wire.front.outstanding == 1


def test_the_sdks_second_answer_is_dropped_and_others_pass() -> None:
    wire = Wire()
    wire.say(initialize("2025-06-18"), request(2, "resources/list"))
    assert [answer["id"] for answer in wire.written] == [1]
    wire.front.loaded()
    wire.front.from_sdk(b'{"jsonrpc":"2.0","id":1,"result":{}}\n', key_of(1))
    wire.front.from_sdk(b'{"jsonrpc":"2.0","id":2,"result":{}}\n', key_of(2))
    assert [answer["id"] for answer in wire.written] == [1, 2]
    assert wire.front.outstanding == 0
    wire.say(request(3, "tools/list"))
    assert wire.front.outstanding == 1


def test_a_cancelled_request_is_not_waited_for() -> None:
    wire = Wire()
    wire.say(request(7, "tools/call", name="x"))
    wire.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
    assert wire.front.outstanding == 0


def test_messages_arrive_in_any_pieces() -> None:
    wire = Wire()
    data = json.dumps(initialize("2025-06-18")).encode() + b"\n" + json.dumps(request(2, "ping")).encode()
    for byte in data:
        wire.front.feed(bytes([byte]))
    assert [answer["id"] for answer in wire.written] == [1]
    wire.front.finish()
    assert [answer["id"] for answer in wire.written] == [1, 2]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{nonsense\n", -32700),
        (b"[1,2]\n", -32600),
        (b'{"id":1,"method":"ping"}\n', -32600),
        (b"\xff\xfe\n", -32700),
    ],
)
def test_what_is_no_message_is_refused_and_the_next_is_served(line: bytes, code: int) -> None:
    wire = Wire()
    wire.front.feed(line)
    assert wire.written[0]["error"]["code"] == code
    assert wire.forwarded == []
    wire.say(initialize("2025-06-18"))
    assert wire.written[1]["id"] == 1


def test_an_endless_line_is_refused_once_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "LONGEST_MESSAGE", 1000)
    wire = Wire()
    for _ in range(50):
        wire.front.feed(b"x" * 100)
    wire.front.feed(b"x\n")
    wire.say(initialize("2025-06-18"))
    assert [answer.get("id") for answer in wire.written] == [None, 1]


def test_without_a_home_every_request_is_answered_with_the_reason() -> None:
    wire = Wire()
    wire.say(initialize("2025-06-18"), request(2, "tools/call", name="list_tasks"))
    wire.front.broken("The home is a file.")
    wire.say(request(3, "tools/call", name="list_tasks"), request(4, "resources/list"), request(5, "ping"))
    assert [answer["id"] for answer in wire.written] == [1, 2, 3, 4, 5]
    assert wire.written[1]["result"] == {
        "content": [{"type": "text", "text": "The home is a file."}],
        "isError": True,
    }
    assert wire.written[3]["error"]["message"] == "The home is a file."
    assert wire.front.outstanding == 0
