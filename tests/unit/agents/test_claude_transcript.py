"""Claude's transcript as observations: torn lines, repeated usage, API errors, interrupted tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engram_tui.agents.claude_transcript import ClaudeTranscript
from engram_tui.agents.hook_payloads import read_hook
from engram_tui.watch.observations import (
    ContextSeen,
    Prompted,
    ToolBegan,
    ToolEnded,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
)
from engram_tui.watch.transcript import JSONLinesTail


def line(kind: str, **fields: Any) -> str:
    """A transcript line."""
    return json.dumps({"type": kind, "timestamp": "2026-11-22T08:20:06.487Z", **fields}) + "\n"


def assistant(*blocks: dict[str, Any], identity: str = "m1", used: int = 100, stop: str = "tool_use") -> str:
    """An assistant line."""
    usage = {"input_tokens": used, "cache_read_input_tokens": 5, "output_tokens": 7}
    message = {
        "id": identity,
        "model": "claude-opus-5-5",
        "content": blocks,
        "usage": usage,
        "stop_reason": stop,
    }
    return line("assistant", message=message)


CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "pytest -x"}}


def test_a_call_cut_off_is_the_last_thing_seen(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(line("user", message={"content": "fix it"}) + assistant(CALL))
    seen = ClaudeTranscript(path).read()
    assert [type(o) for o in seen] == [Prompted, ToolBegan, ContextSeen]
    call = seen[1]
    assert isinstance(call, ToolBegan) and call.command == "pytest -x" and call.call_id == "t1"


def test_a_torn_last_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    whole = line("user", message={"content": "one"})
    path.write_text(whole + whole[:20])
    reader = ClaudeTranscript(path)
    assert len(reader.read()) == 1
    path.write_text(whole + whole)
    assert len(reader.read()) == 1


def test_usage_repeated_by_blocks_of_one_message_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(assistant({"type": "text", "text": "a"}) + assistant(CALL))
    fills = [o for o in ClaudeTranscript(path).read() if isinstance(o, ContextSeen)]
    assert [f.used for f in fills] == [105]


def test_a_failed_tool_and_an_ended_turn_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    result = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "Exit code 1"}
    path.write_text(
        assistant(CALL)
        + line("user", message={"content": [result]})
        + assistant({"type": "text", "text": "done"}, identity="m2", stop="end_turn")
    )
    seen = ClaudeTranscript(path).read()
    ended = next(o for o in seen if isinstance(o, ToolEnded))
    assert (ended.ok, ended.error, ended.tool) == (False, "Exit code 1", "Bash")
    assert next(o for o in seen if isinstance(o, TurnEnded)).text == "done"


def test_api_errors_become_conditions(tmp_path: Path) -> None:
    def error(word: str, status: int, text: str) -> str:
        content = [{"type": "text", "text": text}]
        fields = {
            "isApiErrorMessage": True,
            "error": word,
            "apiErrorStatus": status,
            "message": {"content": content},
        }
        return line("assistant", **fields)

    path = tmp_path / "t.jsonl"
    path.write_text(
        error("rate_limit", 429, "API Error: Request rejected (429)")
        + error("server_error", 529, "API Error: 529 Overloaded")
        + error("authentication_failed", 401, "Invalid API key")
        + error("invalid_request", 400, "Prompt is too long")
        + error("server_error", 500, "Internal")
    )
    conditions = [o.condition for o in ClaudeTranscript(path).read() if isinstance(o, TurnFailed)]
    assert conditions == ["rate_limit", "overloaded", "auth", "overflow", "api_error"]


def test_malformed_and_unknown_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"type": "mode"}\nnot json\n[1]\n' + line("user", message={"content": "one"}))
    assert len(ClaudeTranscript(path).read()) == 1


def result(text: str, **more: Any) -> str:
    """The line of a failed call's result."""
    block = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": text}
    return line("user", message={"content": [block]}, **more)


def test_a_call_that_the_end_of_the_session_cut_off_is_not_told_as_failed(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(assistant(CALL) + result("Exit code 137"))
    reader = ClaudeTranscript(path)
    assert not [o for o in reader.read() if isinstance(o, ToolEnded)]
    with path.open("a") as file:
        file.write(assistant({"type": "text", "text": "it was killed"}, identity="m2", stop="end_turn"))
    told = reader.read()
    assert [type(o) for o in told] == [ToolEnded, ContextSeen, TurnEnded]
    assert isinstance(told[0], ToolEnded) and told[0].error == "Exit code 137"


def test_an_interruption_is_no_failure_of_the_tool(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    broken_off = {"type": "text", "text": "[Request interrupted by user for tool use]"}
    refused = "The user doesn't want to proceed with this tool use. The tool use was rejected"
    path.write_text(assistant(CALL) + result(refused) + line("user", message={"content": [broken_off]}))
    seen = ClaudeTranscript(path).read()
    assert [type(o) for o in seen] == [ToolBegan, ContextSeen, TurnInterrupted]


@pytest.mark.parametrize(
    "odd",
    [
        '{"type": "assistant", "message": {"content": 3}}',
        '{"type": "system", "subtype": "compact_boundary", "compactMetadata": "x"}',
        '{"type": "assistant", "message": {"content": [], "usage": {"input_tokens": 1e400}}}',
        '{"type": "user", "message": {"content": [{"type": "tool_result", "content": [3]}]}}',
        "[" * 100_000,
    ],
)
def test_one_odd_line_costs_that_line_only(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        line("user", message={"content": "one"}) + odd + "\n" + line("user", message={"content": "two"})
    )
    prompts = [o.text for o in ClaudeTranscript(path).read() if isinstance(o, Prompted)]
    assert prompts == ["one", "two"]


def test_a_line_longer_than_is_read_at_once_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": "' + "x" * 5000 + '"}\n{"b": 1}\n')
    tail = JSONLinesTail(path)
    found = [value for _ in range(10) for value in tail.read(limit=1000)]
    assert found == [{"b": 1}]
    assert tail.offset == path.stat().st_size


@pytest.mark.parametrize("payload", [{"tool_input": "text"}, {"tool_input": 3}, {}])
def test_an_odd_hook_tells_nothing_and_harms_nothing(payload: dict[str, Any]) -> None:
    for event in ("PreToolUse", "PostToolUse", "SessionStart", "mro", "__doc__", "Unheard"):
        read_hook(event, payload)
