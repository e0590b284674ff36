"""Claude's transcript as observations: torn lines, repeated usage, API errors, interrupted tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engram_tui.agents.claude_transcript import ClaudeTranscript
from engram_tui.watch.observations import ContextSeen, Prompted, ToolBegan, ToolEnded, TurnEnded, TurnFailed


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
