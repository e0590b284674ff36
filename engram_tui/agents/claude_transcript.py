"""Claude Code's transcript (`projects/<cwd>/<session>.jsonl`) as observations.

Facts (seen with 2.1.330): a line per content block; the tool_use line is on disk before the tool ends, so a SIGKILL
in mid-tool leaves it last; a SIGHUP or SIGTERM in mid-tool may leave an unanswered result `Exit code 137`, which is
the end of the session and not the tool's; an interruption (Esc, SIGINT) leaves a refused result and the line
`[Request interrupted by user…`; blocks of one message repeat the same usage; context fill is input + cache read + cache
creation of the last assistant line; API errors are assistant lines with `isApiErrorMessage`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from engram_runtime.journal.records import ConditionKind
from engram_tui.agents.base import TranscriptReader
from engram_tui.agents.tool_calls import change, command, excerpt, summary, written_paths
from engram_tui.watch.observations import (
    CompactionEnded,
    ContextSeen,
    Observation,
    PlanSeen,
    Prompted,
    ToolBegan,
    ToolEnded,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
)
from engram_tui.watch.transcript import JSONLinesTail

ODD = (TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError)
"""What an unexpected shape of a line raises."""
WINDOWS = (
    ("[1m]", 1_000_000),
    ("claude-opus-5", 1_000_000),
    ("claude-sonnet-5", 1_000_000),
    ("claude", 200_000),
)
"""Context windows by part of the model's name, first match counts (2.1.330 reports 1,000,000 for its default)."""


INTERRUPTED = "[Request interrupted by user"
CUT_OFF = re.compile(r"Exit code 1(?:29|30|37|43)\b|The user doesn't want to proceed with this tool use")
"""Results that a call also gets when session or turn are broken off in its middle."""


def window_of(model: str) -> int | None:
    """Context window of a model in tokens, None where its name says nothing."""
    return next((size for part, size in WINDOWS if part in model), None)


def condition_of(error: str, status: int | None, text: str) -> ConditionKind:
    """Claude's error words and HTTP status as a condition."""
    low = text.lower()
    if (
        (status == 400 and "prompt is too long" in low)
        or "prompt is too long" in low
        or "context limit" in low
    ):
        return "overflow"
    if status in (401, 403) or error in ("authentication_failed", "billing_error"):
        return "auth"
    if status == 429 or error == "rate_limit":
        return "rate_limit"
    if status == 529 or "overloaded" in low:
        return "overloaded"
    return "api_error"


class ClaudeTranscript(TranscriptReader):
    """Incremental reader of one transcript file."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._tail = JSONLinesTail(path, offset)
        self.path: Path | None = path
        self._tools: dict[str, ToolBegan] = {}
        self._unanswered: list[ToolEnded] = []
        self._last_usage = ""

    @property
    def offset(self) -> int:  # type: ignore[override]
        """Bytes read so far."""
        return self._tail.offset

    @property
    def malformed(self) -> int:
        """Lines so far that could not be read."""
        return self._tail.malformed

    def read(self) -> list[Observation]:
        """Observations of the lines appended since the last call."""
        found: list[Observation] = []
        for line in self._tail.read():
            try:
                found.extend(self._line(line))
            except ODD:
                self._tail.malformed += (
                    1  # the agent's file, the agent's shapes: one odd line costs that line only
                )
        return found

    def _line(self, line: dict[str, Any]) -> Iterator[Observation]:
        at = _seconds(line.get("timestamp"))
        message = line.get("message")
        if line.get("isSidechain"):
            return
        if line.get("type") == "system" and line.get("subtype") == "compact_boundary":
            data = line.get("compactMetadata") or {}
            yield CompactionEnded(
                channel="transcript",
                at=at,
                trigger=str(data.get("trigger", "")),
                tokens_before=data.get("preTokens"),
                tokens_after=data.get("postTokens"),
            )
        elif isinstance(message, dict) and line.get("type") == "assistant":
            yield from self._unanswered
            self._unanswered = []
            yield from self._assistant(line, message, at)
        elif isinstance(message, dict) and line.get("type") == "user" and not line.get("isMeta"):
            yield from self._user(line, message, at)

    def _assistant(self, line: dict[str, Any], message: dict[str, Any], at: float) -> Iterator[Observation]:
        blocks = [b for b in message.get("content") or () if isinstance(b, dict)]
        text = "\n".join(str(b.get("text", "")) for b in blocks if b.get("type") == "text")
        if line.get("isApiErrorMessage"):
            status = line.get("apiErrorStatus")
            kind = condition_of(str(line.get("error", "")), status, text)
            yield TurnFailed(
                channel="transcript", at=at, condition=kind, text=excerpt(text, 500), status=status
            )
            return
        for block in blocks:
            if block.get("type") == "tool_use":
                yield from self._tool_use(block, at)
        usage = message.get("usage") or {}
        identity = str(message.get("id", ""))
        if usage and identity != self._last_usage:
            self._last_usage = identity
            used = sum(
                int(usage.get(key) or 0)
                for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            )
            yield ContextSeen(
                channel="transcript",
                at=at,
                used=used,
                window=window_of(str(message.get("model", ""))),
                tokens_out=int(usage.get("output_tokens") or 0),
            )
        if message.get("stop_reason") in ("end_turn", "stop_sequence") and text:
            yield TurnEnded(channel="transcript", at=at, text=excerpt(text, 600))

    def _tool_use(self, block: dict[str, Any], at: float) -> Iterator[Observation]:
        tool, given = str(block.get("name", "")), block.get("input")
        arguments = given if isinstance(given, dict) else {}
        call = ToolBegan(
            channel="transcript",
            at=at,
            tool=tool,
            call_id=str(block.get("id", "")),
            summary=summary(tool, arguments),
            paths=written_paths(tool, arguments),
            command=command(tool, arguments),
            change=change(tool, arguments),
        )
        self._tools[call.call_id] = call
        yield call
        if tool == "TodoWrite" and isinstance(arguments.get("todos"), list):
            items = [t for t in arguments["todos"] if isinstance(t, dict)]
            yield PlanSeen(
                channel="transcript",
                at=at,
                items=tuple((str(t.get("content", "")), str(t.get("status", ""))) for t in items),
            )

    def _user(self, line: dict[str, Any], message: dict[str, Any], at: float) -> Iterator[Observation]:
        content = message.get("content")
        if isinstance(content, str):
            if not line.get("isCompactSummary") and not content.startswith(
                ("<", "This session is being continued")
            ):
                yield Prompted(channel="transcript", at=at, text=content)
            return
        blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
        if not any(b.get("type") == "tool_result" for b in blocks) and not line.get("isCompactSummary"):
            text = "\n".join(str(b["text"]) for b in blocks if b.get("type") == "text" and b.get("text"))
            if text and not text.startswith(("<", "This session is being continued", INTERRUPTED)):
                yield Prompted(channel="transcript", at=at, text=text)
        for block in blocks:
            if block.get("type") == "tool_result":
                yield from self._tool_result(block, at)
            elif str(block.get("text", "")).startswith(INTERRUPTED):
                self._unanswered = []
                yield TurnInterrupted(channel="transcript", at=at)

    def _tool_result(self, block: dict[str, Any], at: float) -> Iterator[ToolEnded]:
        """The end of a call; one that was cut off is told only once the model went on from it."""
        call_id = str(block.get("tool_use_id", ""))
        began = self._tools.pop(call_id, None)
        body = block.get("content")
        if isinstance(body, list):
            body = "\n".join(str(b.get("text", "")) for b in body if isinstance(b, dict))
        failed = bool(block.get("is_error"))
        ended = ToolEnded(
            channel="transcript",
            at=at,
            tool=began.tool if began else "",
            call_id=call_id,
            summary=began.summary if began else "",
            paths=began.paths if began else (),
            ok=not failed,
            error=excerpt(body, 800) if failed else "",
            output="" if failed else excerpt(body),
        )
        if failed and CUT_OFF.match(ended.error):
            self._unanswered.append(ended)
        else:
            yield ended


def _seconds(stamp: object) -> float:
    if not isinstance(stamp, str):
        return 0.0
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
