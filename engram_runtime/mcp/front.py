"""The thin front of `engram mcp`: answers the handshake itself, and hands everything to the SDK once it is loaded.

The SDK takes seconds of CPU to import on a busy machine, and clients wait for the handshake. So plain JSON answers
`initialize`, `server/discover`, `tools/list` and `ping` until the SDK is there, exactly as the SDK would (a test
compares them, for each protocol version). The same requests are then replayed into the SDK, so that its own state
machine sees the whole conversation from the first byte, and its second answers to them are dropped. Anything unusual
is not answered here: it waits for the SDK.

Protocol (MCP specification, and as mcp 2.3 answers): handshake versions are negotiated in `initialize`, an unknown
one gets the newest; 2026-07-28 has no handshake, each request carries `_meta` with the protocol version.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from engram_runtime.mcp import catalogue

HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSION = "2026-07-28"
META_VERSION = "io.modelcontextprotocol/protocolVersion"
META_CLIENT = "io.modelcontextprotocol/clientInfo"
META_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
META_SERVER = "io.modelcontextprotocol/serverInfo"
LONGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes of one line; a longer one is refused without being kept."""

RequestKey = tuple[str, str]
"""A JSON-RPC id as a key: 1 and "1" differ."""


class Front:
    """Splits the client's bytes into messages, answers what it can, forwards all. For one reading thread.

    `write` puts a line on the wire (any thread); `forward` takes each line for the SDK. `outstanding` counts requests
    that were forwarded and have no answer on the wire yet.
    """

    def __init__(self, write: Callable[[bytes], None], forward: Callable[[bytes], None]) -> None:
        self._write = write
        self._forward = forward
        self._buffer = bytearray()
        self._refusing = False
        self._guard = threading.Lock()
        self._answers = True
        self._era: str | None = None
        self._answered: set[RequestKey] = set()
        self._open: dict[RequestKey, dict[str, Any]] = {}
        self._broken = ""

    def feed(self, data: bytes) -> None:
        """Bytes from the client."""
        start = len(self._buffer)
        self._buffer += data
        while (end := self._buffer.find(b"\n", start)) >= 0:
            line = bytes(self._buffer[:end]).strip()
            del self._buffer[: end + 1]
            start = 0
            if self._refusing:
                self._refusing = False
            elif line:
                self._take(line)
        if len(self._buffer) > LONGEST_MESSAGE:
            self._buffer.clear()
            if not self._refusing:
                self._refuse(None, -32600, f"A message is longer than {LONGEST_MESSAGE} bytes.")
            self._refusing = True

    def finish(self) -> None:
        """The client closed its end: a last line without a newline still counts."""
        line = bytes(self._buffer).strip()
        self._buffer.clear()
        if line and not self._refusing:
            self._take(line)

    def loaded(self) -> None:
        """The SDK is there: it answers from now on."""
        with self._guard:
            self._answers = False

    def broken(self, why: str) -> None:
        """There will be no SDK: what waits, and what comes, is answered with `why`, so that no client hangs."""
        with self._guard:
            self._broken = why
            waiting, self._open = list(self._open.values()), {}
        for message in waiting:
            self._write(_line(self._unserved(message)))

    def from_sdk(self, line: bytes, key: RequestKey | None) -> None:
        """A message of the SDK for the client; `key` names the request it answers. A second answer is dropped."""
        with self._guard:
            if key is not None:
                self._open.pop(key, None)
                if key in self._answered:
                    self._answered.discard(key)
                    return
        self._write(line)

    def answered(self, key: RequestKey | None, reply: dict[str, Any]) -> None:
        """The reply to a request that the SDK does not see; nothing if it was cancelled meanwhile."""
        with self._guard:
            if key is None or self._open.pop(key, None) is None:
                return
        self._write(_line(reply))

    def has_answered(self, key: RequestKey) -> bool:
        """Whether the front itself answered a request that the SDK, when it sees it, answers again."""
        with self._guard:
            return key in self._answered

    def forget(self, key: RequestKey) -> None:
        """The SDK will not see a request that the front answered."""
        with self._guard:
            self._answered.discard(key)

    @property
    def era(self) -> str:
        """How the client began: "handshake", "modern" (no handshake), "unusual", "" before it did."""
        return self._era or ""

    @property
    def outstanding(self) -> int:
        """Requests without an answer."""
        with self._guard:
            return len(self._open)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._refuse(None, -32700, "Parse error: a message is one line of JSON.")
            return
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            given = message.get("id") if isinstance(message, dict) else None
            self._refuse(
                given if isinstance(given, (str, int)) else None, -32600, "Not a JSON-RPC 2.0 message."
            )
            return
        key = key_of(message.get("id")) if "method" in message and "id" in message else None
        with self._guard:
            reply = self._reply(message, key) if key is not None else None
            if message.get("method") == "notifications/cancelled":
                self._cancel(message.get("params"))
            broken = bool(self._broken)
        if reply is not None:
            self._write(_line(reply))
        if not broken:
            self._forward(line)

    def _reply(self, message: dict[str, Any], key: RequestKey) -> dict[str, Any] | None:
        """The front's own reply to a request; without one the request is noted as open."""
        answer = self._answer(message) if self._answers else None
        if answer is not None:
            self._answered.add(key)
            return {"jsonrpc": "2.0", "id": message["id"], "result": answer}
        if self._broken:
            return self._unserved(message)
        self._open[key] = message
        return None

    def _unserved(self, message: dict[str, Any]) -> dict[str, Any]:
        head = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] != "tools/call":
            return {**head, "error": {"code": -32603, "message": self._broken}}
        result: dict[str, Any] = {"content": [{"type": "text", "text": self._broken}], "isError": True}
        if self._era == "modern":
            result["resultType"] = "complete"
        return {**head, "result": result}

    def _cancel(self, params: object) -> None:
        # A cancelled request is never answered (JSON-RPC over MCP: MUST NOT).
        if isinstance(params, dict):
            self._open.pop(key_of(params.get("requestId")) or ("", ""), None)

    def _refuse(self, given: str | int | None, code: int, text: str) -> None:
        self._write(_line({"jsonrpc": "2.0", "id": given, "error": {"code": code, "message": text}}))

    def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """What the SDK would answer, None where that takes the SDK. The first request decides the era, as there."""
        method, params = message["method"], message.get("params") or {}
        if not isinstance(params, dict):
            return None
        meta = params.get("_meta")
        modern = isinstance(meta, dict) and META_VERSION in meta
        if self._era is None:
            self._era = "modern" if modern and method != "initialize" else "handshake"
            if self._era == "handshake" and (method != "initialize" or not _is_initialize(params)):
                self._era = "unusual"
        if self._era == "modern":
            return _modern(method, params) if modern and isinstance(meta, dict) and is_modern(meta) else None
        if self._era != "handshake" or modern:
            return None
        if method == "initialize":
            wanted = params.get("protocolVersion")
            known = wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
            return {**catalogue.card(), "protocolVersion": known}
        if method == "tools/list" and not params.get("cursor"):
            return {"tools": list(catalogue.listing())}
        return {} if method == "ping" else None


def key_of(given: object) -> RequestKey | None:
    """A request id as a key; None for what is no id."""
    return (type(given).__name__, str(given)) if type(given) in (str, int) else None


def _is_initialize(params: dict[str, Any]) -> bool:
    client = params.get("clientInfo")
    return (
        isinstance(params.get("protocolVersion"), str)
        and isinstance(params.get("capabilities"), dict)
        and isinstance(client, dict)
        and isinstance(client.get("name"), str)
        and isinstance(client.get("version"), str)
    )


def is_modern(meta: dict[str, Any]) -> bool:
    """Whether a request's `_meta` is that of a client without a handshake, in the version known here."""
    client = meta.get(META_CLIENT)
    named = client is None or (
        isinstance(client, dict)
        and isinstance(client.get("name"), str)
        and isinstance(client.get("version"), str)
    )
    return (
        meta.get(META_VERSION) == MODERN_VERSION and named and isinstance(meta.get(META_CAPABILITIES), dict)
    )


def _modern(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    card = catalogue.card()
    server = card.pop("serverInfo")
    envelope = {
        "cacheScope": "private",
        "resultType": "complete",
        "ttlMs": 0,
        "_meta": {META_SERVER: server},
    }
    if method == "server/discover":
        return {**card, "supportedVersions": [MODERN_VERSION], **envelope}
    if method == "tools/list" and not params.get("cursor"):
        return {"tools": list(catalogue.listing()), **envelope}
    return None


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
