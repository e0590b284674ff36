"""The part of `engram mcp` that needs the SDK and the home: runs in a thread of its own behind the front."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import mcp_types as types
import pydantic
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from engram_runtime.mcp.front import RequestKey, key_of
from engram_runtime.mcp.opened import OpenHome
from engram_runtime.mcp.server import build_server

Inbound = SessionMessage | Exception
STOP_SECONDS = 2.0
"""How long running calls may hold up the end, once it is recorded."""


class Backend:
    """One SDK server over memory streams. `deliver(line, key)` takes each message for the client."""

    def __init__(self, opened: OpenHome, deliver: Callable[[bytes, RequestKey | None], None]) -> None:
        self._opened = opened
        self._server = build_server(opened.runtime, opened.context)
        self._deliver = deliver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbound: MemoryObjectSendStream[Inbound] | None = None
        self._served = threading.Event()

    def serve(self, ready: Callable[[], None]) -> None:
        """Run until `end`; calls `ready` once messages can be taken."""
        try:
            anyio.run(self._serve, ready)
        finally:
            self._served.set()

    def take(self, line: bytes) -> None:
        """A message of the client, from any thread, in order. One the SDK cannot read is refused at once."""
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except pydantic.ValidationError:
            self._refuse(line)
            return
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._put, SessionMessage(message))

    def end(self, signal: int | None) -> None:
        """Record why it ended (None: the client closed its end), then stop and close the home."""
        self._opened.end(signal)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._close)
            self._served.wait(STOP_SECONDS)
        self._opened.runtime.close()

    async def _serve(self, ready: Callable[[], None]) -> None:
        # Unbounded: what the client sent is in memory already, and messages must keep their order.
        inbound, from_client = anyio.create_memory_object_stream[Inbound](math.inf)
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage](100)
        self._loop, self._inbound = asyncio.get_running_loop(), inbound
        async with anyio.create_task_group() as group:
            group.start_soon(
                self._server.run, from_client, to_client, self._server.create_initialization_options()
            )
            ready()
            async with from_server:
                async for message in from_server:
                    await self._send(message)

    async def _send(self, message: SessionMessage) -> None:
        body = message.message
        line = body.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        answers = isinstance(body, (types.JSONRPCResponse, types.JSONRPCError))
        key = key_of(body.id) if answers else None  # type: ignore[union-attr]
        # The pipe may be full: a client that does not read must not stop the event loop.
        await anyio.to_thread.run_sync(self._deliver, line, key)

    def _put(self, message: SessionMessage) -> None:
        if self._inbound is not None:
            self._inbound.send_nowait(message)

    def _close(self) -> None:
        if self._inbound is not None:
            self._inbound.close()
            self._inbound = None

    def _refuse(self, line: bytes) -> None:
        message = json.loads(line)
        if "method" not in message or "id" not in message:
            return
        given = message["id"] if key_of(message["id"]) else None
        error = {"code": -32600, "message": "Not a message of this protocol."}
        body = json.dumps({"jsonrpc": "2.0", "id": given, "error": error})
        self._deliver(body.encode() + b"\n", key_of(given))
