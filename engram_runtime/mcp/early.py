"""Tool calls answered before the SDK is there: it takes a second of CPU to import, a recall takes hundredths.

The answers are, byte for byte but for the order of keys, those the SDK would give (a test compares them). A call that
is unusual (more parameters than name and arguments) waits for the SDK.
"""

from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any

from engram_runtime.continuity.inert import inert_line
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.front import META_CLIENT, META_SERVER, META_VERSION, Front, is_modern, key_of

if TYPE_CHECKING:
    from engram_runtime.mcp.opened import OpenHome

CATCH_UP_SECONDS = 2.0
"""How long the SDK's import waits for calls that came before it."""


class EarlyCalls:
    """Takes lines of the client until the SDK takes over. Calls run one after the other, in a thread."""

    def __init__(self, opened: OpenHome, front: Front) -> None:
        self._opened = opened
        self._front = front
        self._client = ("", "")
        self._calls: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._guard = threading.Lock()
        self._left = 0
        self._thread = threading.Thread(target=self._run, name="mcp-early", daemon=True)
        self._thread.start()

    def take(self, line: bytes) -> bool:
        """Whether the line is a call that is answered here; the SDK must not see it then."""
        message = json.loads(line)
        if message.get("method") == "initialize":
            self._client = _client(message.get("params"), "clientInfo")
        if not _is_plain_call(message, self._front.era):
            return False
        with self._guard:
            self._left += 1
            self._idle.clear()
        self._calls.put(message)
        return True

    def wait(self) -> None:
        """Returns when the calls taken so far are answered, or some seconds have passed."""
        self._idle.wait(CATCH_UP_SECONDS)

    def close(self) -> None:
        """Ends the thread after what it was given."""
        self._calls.put(None)

    def _run(self) -> None:
        from engram_runtime.mcp.calling import call_tool

        while (message := self._calls.get()) is not None:
            params = message["params"]
            meta = params.get("_meta") or {}
            modern = META_VERSION in meta
            client = _client(meta, META_CLIENT) if modern else self._client
            opened, given = self._opened, params.get("arguments") or {}
            outcome = call_tool(opened.runtime, opened.context, client, params["name"], given)
            result: dict[str, Any] = {
                "content": [{"text": outcome.text, "type": "text"}],
                "isError": outcome.is_error,
                "structuredContent": outcome.structured,
            }
            if modern:
                server = catalogue.card()["serverInfo"]
                result |= {"resultType": "complete", "_meta": {META_SERVER: server}}
            self._front.answered(
                key_of(message["id"]), {"jsonrpc": "2.0", "id": message["id"], "result": result}
            )
            with self._guard:
                self._left -= 1
                if not self._left:
                    self._idle.set()


def _is_plain_call(message: dict[str, Any], era: str) -> bool:
    params = message.get("params")
    meta = params.get("_meta", {}) if isinstance(params, dict) else None
    if message.get("method") != "tools/call" or not isinstance(params, dict) or not isinstance(meta, dict):
        return False
    fits = is_modern(meta) if era == "modern" else era == "handshake" and META_VERSION not in meta
    return (
        fits
        and key_of(message.get("id")) is not None
        and params.keys() <= {"name", "arguments", "_meta"}
        and isinstance(params.get("name"), str)
        and isinstance(params.get("arguments", {}), dict)
    )


def _client(said: object, key: str) -> tuple[str, str]:
    """Name and version that the client gives itself, "" where it gives none."""
    card = said.get(key) if isinstance(said, dict) else None
    if not isinstance(card, dict):
        return ("", "")
    return (inert_line(str(card.get("name", "")), 60), inert_line(str(card.get("version", "")), 40))
