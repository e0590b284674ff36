"""What needs no SDK: tool calls and lists, answered by plain JSON. The SDK takes a second of CPU and 40 MB.

The answers are, byte for byte but for the order of keys, those the SDK would give (a test compares them). Whatever is
unusual about a request (more parameters than it has use for, text that is no Unicode) makes it one for the SDK.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engram_runtime.continuity.inert import inert_line
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.front import META_CLIENT, META_SERVER, META_VERSION, Front, is_modern, key_of

if TYPE_CHECKING:
    from engram_runtime.mcp.opened import OpenHome

CATCH_UP_SECONDS = 2.0
"""How long the SDK's import, or the end, waits for calls that came before it."""
MOST_THREADS = 8
"""Calls that run at once; most take some milliseconds, one that waits for the model must not hold up the others."""
_INTERNAL_ERROR = -32603
_OF_CALLS = frozenset({"name", "arguments", "_meta"})
_OF_LISTS = frozenset({"_meta"})

logger = logging.getLogger(__name__)


class EarlyCalls:
    """Takes lines of the client until the SDK takes over; runs them in threads of its own, begun as they are needed."""

    def __init__(self, opened: OpenHome, front: Front) -> None:
        self._opened = opened
        self._front = front
        self._client = ("", "")
        self._requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._left = 0
        self._threads = 0
        self._lists: dict[str, Callable[[], dict[str, Any]]] = {
            "prompts/list": _prompts,
            "resources/list": self._resources,
            "resources/templates/list": _templates,
        }

    def take(self, line: bytes) -> bool:
        """Whether the line is a request that is answered here; the SDK must not see it then."""
        message = json.loads(line)
        method = message.get("method")
        if method == "initialize":
            self._client = _client(message.get("params"), "clientInfo")
        known = _OF_CALLS if method == "tools/call" else _OF_LISTS if method in self._lists else None
        if known is None or not _is_plain(message, known, self._front.era) or not _is_unicode(line, message):
            return False
        with self._changed:
            self._left += 1
            if self._threads < min(self._left, MOST_THREADS):
                # A daemon: a disk or a model that hangs must not hold up the end.
                threading.Thread(target=self._run, name=f"mcp-early-{self._threads}", daemon=True).start()
                self._threads += 1
        self._requests.put(message)
        return True

    def wait(self) -> None:
        """Returns when the requests taken so far are answered, or some seconds have passed."""
        until = time.monotonic() + CATCH_UP_SECONDS
        with self._changed:
            while self._left and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Ends the threads after what they were given."""
        with self._changed:
            for _ in range(self._threads):
                self._requests.put(None)

    def _run(self) -> None:
        while (message := self._requests.get()) is not None:
            try:
                reply = self._reply(message)
            except Exception as error:
                # The boundary of the thread: without an answer the client would wait for ever.
                logger.exception("%s failed", message["method"])
                line = f"{message['method']} failed inside Engram ({type(error).__name__})."
                reply = {"error": {"code": _INTERNAL_ERROR, "message": line}}
            self._front.answered(key_of(message["id"]), {"jsonrpc": "2.0", "id": message["id"], **reply})
            with self._changed:
                self._left -= 1
                self._changed.notify_all()

    def _reply(self, message: dict[str, Any]) -> dict[str, Any]:
        """The `result`, or `error`, of a request."""
        from engram_runtime.errors import EngramError

        params = message.get("params") or {}
        meta = params.get("_meta") or {}
        modern = META_VERSION in meta
        envelope: dict[str, Any] = {}
        if modern:
            envelope = {"resultType": "complete", "_meta": {META_SERVER: catalogue.card()["serverInfo"]}}
        if message["method"] == "tools/call":
            client = _client(meta, META_CLIENT) if modern else self._client
            return {"result": {**self._called(client, params), **envelope}}
        if modern:
            envelope |= {"cacheScope": "private", "ttlMs": 0}
        try:
            return {"result": {**self._lists[message["method"]](), **envelope}}
        except EngramError as error:
            return {"error": {"code": _INTERNAL_ERROR, "message": str(error), "data": {"code": error.code}}}

    def _called(self, client: tuple[str, str], params: dict[str, Any]) -> dict[str, Any]:
        from engram_runtime.mcp.calling import call_tool

        opened, given = self._opened, params.get("arguments") or {}
        outcome = call_tool(opened.runtime, opened.context, client, params["name"], given)
        return {
            "content": [{"text": outcome.text, "type": "text"}],
            "isError": outcome.is_error,
            "structuredContent": outcome.structured,
        }

    def _resources(self) -> dict[str, Any]:
        from engram_runtime.mcp.context import Call
        from engram_runtime.mcp.resources import listed

        context = self._opened.context
        return {"resources": listed(Call(self._opened.runtime, context, "resources/list", context.clock()))}


def _prompts() -> dict[str, Any]:
    from engram_runtime.mcp.prompts import PROMPTS

    return {"prompts": list(PROMPTS)}


def _templates() -> dict[str, Any]:
    from engram_runtime.mcp.resources import TEMPLATES

    return {"resourceTemplates": list(TEMPLATES)}


def _is_plain(message: dict[str, Any], known: frozenset[str], era: str) -> bool:
    """Whether a request has nothing but what it is answered by here, in the protocol the client began with."""
    params = message.get("params", {})
    meta = params.get("_meta", {}) if isinstance(params, dict) else None
    if not isinstance(meta, dict) or not params.keys() <= known:
        return False
    if not isinstance(meta.get("progressToken", ""), (str, int)) or key_of(message.get("id")) is None:
        return False
    if known is _OF_CALLS and not (
        isinstance(params.get("name"), str) and isinstance(params.get("arguments", {}), dict)
    ):
        return False
    return is_modern(meta) if era == "modern" else era == "handshake" and META_VERSION not in meta


def _is_unicode(line: bytes, message: dict[str, Any]) -> bool:
    """Whether all text can be put on the wire: JSON can spell half a character, which UTF-8 cannot."""
    if b"\\ud" not in line.lower():
        return True
    try:
        json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _client(said: object, key: str) -> tuple[str, str]:
    """Name and version that the client gives itself, "" where it gives none."""
    card = said.get(key) if isinstance(said, dict) else None
    if not isinstance(card, dict):
        return ("", "")
    return (inert_line(str(card.get("name", "")), 60), inert_line(str(card.get("version", "")), 40))
