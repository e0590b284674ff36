"""Requests answered without the SDK: side by side, each answered whatever happens; the unusual ones are left alone."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from engram_runtime.mcp import calling
from engram_runtime.mcp.calling import Outcome
from engram_runtime.mcp.early import EarlyCalls
from engram_runtime.mcp.front import Front, key_of
from tests.support import wait_until


class Line:
    """A front with early calls behind it; the tool "slow" waits for `go`, "broken" raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[int, dict[str, Any]] = {}
        self.left: list[dict[str, Any]] = []
        self.go = threading.Event()
        self.front = Front(self._write, self._forward)
        opened: Any = SimpleNamespace(runtime=None, context=None)
        self.early = EarlyCalls(opened, self.front)
        monkeypatch.setattr(calling, "call_tool", self._call)

    def say(self, given: int, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": given, "method": method, "params": params}
        self.front.feed(json.dumps(message).encode() + b"\n")

    def _call(self, _: Any, __: Any, client: Any, name: str, given: Any) -> Outcome:
        if name == "broken":
            raise RuntimeError("not foreseen")
        if name == "slow":
            self.go.wait(20)
        return Outcome(name, {"client": client[0]})

    def _write(self, line: bytes) -> None:
        message = json.loads(line)
        self.answers[message["id"]] = message

    def _forward(self, line: bytes) -> None:
        if not self.early.take(line):
            self.left.append(json.loads(line))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Line(monkeypatch)
    client = {"name": "probe", "version": "1"}
    made.say(0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
    made.left.clear()
    yield made
    made.go.set()
    made.early.wait()
    made.early.close()


def test_a_call_that_takes_long_does_not_hold_up_the_next(line: Line) -> None:
    line.say(1, "tools/call", name="slow", arguments={})
    line.say(2, "tools/call", name="quick", arguments={})
    wait_until(lambda: 2 in line.answers, 10)
    assert 1 not in line.answers
    line.go.set()
    wait_until(lambda: 1 in line.answers, 10)
    assert line.answers[2]["result"]["structuredContent"] == {"client": "probe"}


def test_a_call_that_fails_unforeseen_is_answered_and_the_next_too(line: Line) -> None:
    for given in range(1, 20):
        line.say(given, "tools/call", name="broken", arguments={})
    line.say(20, "tools/call", name="quick", arguments={})
    wait_until(lambda: len(line.answers) == 21, 10)
    assert line.answers[1]["error"]["message"] == "tools/call failed inside Engram (RuntimeError)."
    assert line.answers[20]["result"]["isError"] is False


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "engram://tasks"}),
        ("resources/list", {"cursor": "x"}),
        ("tools/call", {"name": "quick", "arguments": [], "_meta": {}}),
        ("tools/call", {"name": "quick", "_meta": {"progressToken": {}}}),
        ("tools/call", {"name": "quick", "task": {"ttl": 1}}),
        ("tools/call", {"name": 5}),
    ],
)
def test_what_is_unusual_is_left_to_the_sdk(line: Line, method: str, params: dict[str, Any]) -> None:
    line.say(1, method, **params)
    assert [message["id"] for message in line.left] == [1]
    assert line.front.outstanding == 1


def test_an_answer_that_was_forgotten_is_not_expected_of_the_sdk(line: Line) -> None:
    line.say(1, "ping")
    assert line.front.has_answered(("int", "1"))
    line.front.forget(("int", "1"))
    line.say(2, "resources/read", uri="engram://tasks")
    line.front.from_sdk(b'{"jsonrpc":"2.0","id":1,"result":{"again":1}}\n', key_of(1))
    assert line.answers[1]["result"] == {"again": 1}
