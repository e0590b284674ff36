"""The scripted model's answers in the wire formats of Anthropic Messages and OpenAI Chat Completions.

Both as one JSON document and as the events of a stream; sources:
https://docs.claude.com/en/api/messages-streaming and
https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.fakes.llm_dialogue import ApiError, Reply, Request

CHUNK: Final = 40
"""Characters of text in one streamed piece."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `pause` is in seconds, before it; `thinking` marks where a reply is held."""

    data: Mapping[str, Any] | str
    name: str | None = None
    pause: float = 0.0
    thinking: bool = False

    def encoded(self) -> bytes:
        """The event as bytes of a text/event-stream."""
        head = f"event: {self.name}\n" if self.name else ""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data)
        return f"{head}data: {data}\n\n".encode()


def usage_of(request: Request, reply: Reply) -> dict[str, int]:
    """Token counts by Anthropic's names: four characters a token, unless the reply says otherwise."""
    estimate = {
        "input_tokens": max(1, len(request.text) // 4),
        "output_tokens": 12,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    return estimate | dict(reply.usage)


def anthropic_error(error: ApiError) -> dict[str, Any]:
    """The error document of the Messages API."""
    return {
        "type": "error",
        "error": {"type": error.type, "message": error.message},
        "request_id": "req_scripted",
    }


def openai_error(error: ApiError) -> dict[str, Any]:
    """The error document of the Chat Completions API."""
    return {"error": {"message": error.message, "type": error.type, "param": None, "code": error.type}}


def anthropic_message(request: Request, reply: Reply) -> dict[str, Any]:
    """The whole answer as one document."""
    return {
        "id": f"msg_{_token()}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": _blocks(reply),
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": usage_of(request, reply),
    }


def anthropic_events(request: Request, reply: Reply) -> Iterator[Event]:
    """The same answer as a stream."""
    whole = anthropic_message(request, reply)
    usage = whole["usage"]
    opening = whole | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    yield _typed({"type": "message_start", "message": opening})
    yield Event({"type": "ping"}, "ping", thinking=True)
    for index, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield _typed({"type": "content_block_start", "index": index, "content_block": empty})
        if is_text:
            for piece in _pieces(block["text"]):
                delta = {"type": "text_delta", "text": piece}
                yield _typed(
                    {"type": "content_block_delta", "index": index, "delta": delta}, reply.chunk_delay
                )
        else:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield _typed({"type": "content_block_delta", "index": index, "delta": delta})
        yield _typed({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _typed({"type": "message_delta", "delta": ending, "usage": usage})
    yield _typed({"type": "message_stop"})


def openai_message(request: Request, reply: Reply) -> dict[str, Any]:
    """The whole answer as one document."""
    message: dict[str, Any] = {"role": "assistant", "content": _words(reply)}
    if calls := _function_calls(reply):
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    head = _openai_head(request, "chat.completion")
    return head | {"choices": [choice], "usage": _openai_usage(request, reply)}


def openai_events(request: Request, reply: Reply) -> Iterator[Event]:
    """The same answer as a stream, usage in the last chunk but `[DONE]`."""
    head = _openai_head(request, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None, pause: float = 0.0) -> Event:
        return Event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}, pause=pause)

    opening = chunk({"role": "assistant", "content": ""})
    yield Event(opening.data, thinking=True)
    for piece in _pieces(_words(reply) or ""):
        yield chunk({"content": piece}, pause=reply.chunk_delay)
    calls = _function_calls(reply)
    for index, call in enumerate(calls):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, "tool_calls" if calls else "stop")
    yield Event(head | {"choices": [], "usage": _openai_usage(request, reply)})
    yield Event("[DONE]")


def _token() -> str:
    return uuid.uuid4().hex[:20]


def _typed(data: Mapping[str, Any], pause: float = 0.0) -> Event:
    return Event(data, str(data["type"]), pause)


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + CHUNK] for start in range(0, len(text), CHUNK))


def _words(reply: Reply) -> str | None:
    """The text; a reply with neither text nor calls says "OK.", as an API never answers nothing."""
    return "OK." if reply.text is None and not reply.calls else reply.text


def _blocks(reply: Reply) -> list[dict[str, Any]]:
    words = _words(reply)
    blocks: list[dict[str, Any]] = [] if words is None else [{"type": "text", "text": words}]
    blocks += [
        {"type": "tool_use", "id": f"toolu_{_token()}", "name": call.name, "input": dict(call.input)}
        for call in reply.calls
    ]
    return blocks


def _function_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{_token()}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.input))},
        }
        for call in reply.calls
    ]


def _openai_head(request: Request, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{_token()}", "object": kind, "created": int(time.time()), "model": request.model}


def _openai_usage(request: Request, reply: Reply) -> dict[str, Any]:
    usage = usage_of(request, reply)
    prompt = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage["output_tokens"],
        "total_tokens": prompt + usage["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": usage["cache_read_input_tokens"]},
    }
