"""What a scripted model is asked and what it answers, whichever wire format the agent speaks.

A `Request` reads one model request of an agent (Anthropic Messages or OpenAI Chat Completions); a `Reply`
is what the model does next. A script is any callable from the one to the other, so a scripted model decides
its next step from what it was told, and a test judges by what really happened.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

type_of_status: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
"""Anthropic's `error.type` by HTTP status (https://docs.claude.com/en/api/errors)."""

SUMMARY_MARK = "<summary>"
"""Only the request that compacts a conversation asks for a block of this name while forbidding tools."""
NO_TOOLS_MARK = "Do NOT call any tools"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of the model: the tool's name as the agent lists it, and its input."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the agent answered to a tool call; `name` is empty if the call is not in the history."""

    name: str
    text: str
    is_error: bool
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error answer of the API: HTTP status, the vendor's error type, message, response headers."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer. Text and calls may be combined; `error` excludes both.

    `usage` overrides single token counts by Anthropic's names (`input_tokens`, `output_tokens`,
    `cache_read_input_tokens`, `cache_creation_input_tokens`). `delay` is in seconds, before the first byte;
    `chunk_delay` is in seconds, before each piece of 40 characters of streamed text. `hold` keeps the model
    thinking until the event is set, the client goes away or the server closes.
    """

    text: str | None = None
    calls: tuple[ToolCall, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)
    error: ApiError | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    hold: threading.Event | None = None

    @classmethod
    def say(cls, text: str, **options: Any) -> Reply:
        """A final answer in words; `options` are further fields of Reply."""
        return cls(text=text, **options)

    @classmethod
    def call(cls, tool: str, /, **tool_input: Any) -> Reply:
        """One tool call."""
        return cls(calls=(ToolCall(tool, tool_input),))

    @classmethod
    def fail(
        cls, status: int, message: str = "", *, type: str = "", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """An API error; the type defaults to the one that belongs to the status."""
        kind = type or type_of_status.get(status, "api_error")
        return cls(error=ApiError(status, kind, message or kind, dict(headers or {})))


@dataclass(frozen=True, eq=False)
class Request:
    """One model request of an agent; `number` counts from 1, `arrived` is `time.monotonic()` in seconds."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    arrived: float

    @property
    def model(self) -> str:
        """The model's name that the agent asked for."""
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """The conversation as sent."""
        sent = self.body.get("messages")
        return [message for message in sent if isinstance(message, dict)] if isinstance(sent, list) else []

    @cached_property
    def system(self) -> str:
        """The system prompt, and every message of role system or developer, wherever it stands."""
        inside = (m.get("content") for m in self.messages if m.get("role") in ("system", "developer"))
        return _join(_text_of(part) for part in (self.body.get("system"), *inside))

    @cached_property
    def text(self) -> str:
        """Every text in system prompt and messages, the model's own turns and tool inputs included."""
        return _join(
            (_text_of(self.body.get("system")), *(_join((_text_of(m), _inputs_of(m))) for m in self.messages))
        )

    @cached_property
    def told_text(self) -> str:
        """Every text that others told the model: all of `text` but its own turns."""
        heard = (_text_of(m) for m in self.messages if m.get("role") != "assistant")
        return _join((_text_of(self.body.get("system")), *heard))

    @cached_property
    def last_user_text(self) -> str:
        """The text of the last message of role user (tool results included)."""
        mine = [m for m in self.messages if m.get("role") == "user"]
        return _text_of(mine[-1]) if mine else ""

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools offered with their schemas (deferred tools are not among them)."""
        offered = self.body.get("tools") or []
        return tuple(
            str(tool.get("name") or (tool.get("function") or {}).get("name", "")) for tool in offered
        )

    @property
    def is_summary(self) -> bool:
        """Is this the request by which the agent compacts its conversation?"""
        return SUMMARY_MARK in self.last_user_text and NO_TOOLS_MARK in self.last_user_text

    @property
    def is_subagent(self) -> bool:
        """Does it come from a sub-agent of Claude Code, not from the main conversation?"""
        return "x-claude-code-agent-id" in self.headers

    @property
    def is_main(self) -> bool:
        """A turn of the main conversation: it offers tools, and is no compaction and no sub-agent's."""
        return bool(self.tools) and not self.is_summary and not self.is_subagent

    def told(self, text: str) -> bool:
        """Did anyone but the model itself say this, in the system prompt, a message or a tool result?"""
        return text in self.told_text

    def tool_results(self) -> list[ToolResult]:
        """The results of all tool calls in the history, in order."""
        calls: dict[str, ToolCall] = {}
        results: list[ToolResult] = []
        for message in self.messages:
            calls.update(_calls_of(message))
            results.extend(_results_of(message, calls))
        return results


Script = Callable[[Request], Reply]
"""Decides the model's next step from what it was told. It is called from several threads."""


def _join(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


def _text_of(node: Any) -> str:
    """All text in a message, a content list or a block."""
    if node is None:
        return ""
    if isinstance(node, str):
        return node
    if isinstance(node, dict):
        return _join(_text_of(node[key]) for key in ("text", "content") if key in node)
    if isinstance(node, list):
        return _join(_text_of(part) for part in node)
    return str(node)


def _inputs_of(message: Mapping[str, Any]) -> str:
    return _join(json.dumps(call.input, ensure_ascii=False) for _, call in _calls_of(message))


def _calls_of(message: Mapping[str, Any]) -> Iterable[tuple[str, ToolCall]]:
    content = message.get("content")
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "tool_use":
            yield str(block.get("id")), ToolCall(str(block.get("name", "")), block.get("input") or {})
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        yield (
            str(call.get("id")),
            ToolCall(str(function.get("name", "")), _decoded(function.get("arguments"))),
        )


def _results_of(message: Mapping[str, Any], calls: Mapping[str, ToolCall]) -> Iterable[ToolResult]:
    unknown = ToolCall("", {})
    if message.get("role") == "tool":
        call = calls.get(str(message.get("tool_call_id")), unknown)
        yield ToolResult(call.name, _text_of(message.get("content")), False, call.input)
        return
    content = message.get("content")
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "tool_result":
            call = calls.get(str(block.get("tool_use_id")), unknown)
            failed = bool(block.get("is_error"))
            yield ToolResult(call.name, _text_of(block.get("content")), failed, call.input)


def _decoded(arguments: Any) -> Mapping[str, Any]:
    try:
        decoded = json.loads(arguments) if isinstance(arguments, str) else arguments
    except json.JSONDecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
