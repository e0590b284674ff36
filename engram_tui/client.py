"""The face's end of the wire: a connection that comes back by itself, and plain requests for commands."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from engram_runtime.errors import EngramError
from engram_tui.discovery import SessionState
from engram_tui.messages import Ended, Message, Resize, pack, unpack

Link = Literal["connecting", "connected", "reconnecting", "closed"]
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds before the first new try, and the most between two."""
ATTACH = "ws://localhost/attach"


class Unreachable(EngramError):
    """No supervisor answers on the session's socket."""


class WireClient:
    """Attaches to a session and stays attached, over supervisor hiccups, until it ends or is left.

    Callbacks run in the event loop. `on_message(kind, value)` gets every wire message with its kind byte;
    `on_link(state, seconds)` hears of the connection, with the seconds until the next try.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        on_message: Callable[[bytes, Any], None],
        on_link: Callable[[Link, float], None],
        state: Callable[[], SessionState] | None = None,
    ) -> None:
        """`state` tells whether the session still lives; without it the client tries as long as the socket exists."""
        self._path = socket_path
        self._on_message = on_message
        self._on_link = on_link
        self._state = state or (lambda: "live" if socket_path.exists() else "ended")
        self._outgoing: asyncio.Queue[bytes] | None = None
        self._size: Resize | None = None
        self._closing = False
        self._ended: Ended | None = None

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._outgoing is not None

    def send(self, message: Message) -> bool:
        """Queue a message in order. False while there is no connection: what was typed into the void is not
        kept, it would be carried out later, unseen. The size is remembered and told on the next connection."""
        if isinstance(message, Resize):
            self._size = message
        if self._outgoing is None:
            return False
        self._outgoing.put_nowait(pack(message))
        return True

    async def run(self) -> tuple[SessionState, Ended | None]:
        """Stay attached. Returns how the session stands: live (it was left), ended or lost."""
        wait = FIRST_WAIT
        self._on_link("connecting", 0.0)
        while True:
            if await self._attached_once():
                wait = FIRST_WAIT
            if self._ended is not None:
                return "ended", self._ended
            if self._closing:
                return "live", None
            # A file lock is asked: on a stuck file system that may take its time.
            state = await asyncio.to_thread(self._state)
            if state != "live":
                return state, None
            self._on_link("reconnecting", wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _attached_once(self) -> bool:
        """One connection, from open to close. False if there was none."""
        try:
            # No pings: they drop a UI that was suspended with Ctrl-Z; on a Unix socket the kernel reports death.
            connection = await unix_connect(
                str(self._path), ATTACH, compression=None, max_size=None, ping_interval=None
            )
        except (OSError, InvalidHandshake, TimeoutError):
            return False
        async with connection:
            self._outgoing = asyncio.Queue()
            if self._size is not None:
                self.send(self._size)
            self._on_link("connected", 0.0)
            writer = asyncio.create_task(self._write(connection, self._outgoing))
            try:
                await self._read(connection)
            finally:
                self._outgoing = None
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
        return True

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for data in connection:
                if not isinstance(data, bytes):
                    continue
                try:
                    value = unpack(data)
                except ValueError:
                    # Said by a newer supervisor; what this client knows goes on working.
                    continue
                if isinstance(value, Ended):
                    self._ended = value
                    return
                self._on_message(data[:1], value)
        except WebSocketException:
            return

    async def _write(self, connection: ClientConnection, outgoing: asyncio.Queue[bytes]) -> None:
        try:
            while True:
                await connection.send(await outgoing.get())
        except WebSocketException:
            return

    def leave(self) -> None:
        """Do not come back when the connection closes."""
        self._closing = True


def request(
    socket_path: Path, method: str, path: str, body: object = None, *, timeout: float = 10.0
) -> dict[str, Any]:
    """One HTTP request to a session's supervisor; its JSON answer. For commands, without an event loop.

    Raises Unreachable if nobody answers in `timeout` seconds, EngramError if the supervisor refuses.
    """
    import http.client  # only commands need it, the UI does not

    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    payload = None if body is None else json.dumps(body)
    headers = {} if payload is None else {"Content-Type": "application/json"}
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(str(socket_path))
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        status, data = response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        hint = "`engram sessions` lists the live ones."
        raise Unreachable(f"The session does not answer ({error}).", hint=hint) from error
    finally:
        connection.close()
    return _answer(status, data, f"{method} {path}")


def _answer(status: int, data: bytes, asked: str) -> dict[str, Any]:
    try:
        answer = json.loads(data) if data else {}
    except ValueError as error:
        raise EngramError(f"{asked}: the session answered {status} and no JSON.") from error
    if not isinstance(answer, dict):
        raise EngramError(f"{asked}: the session answered {status} and no JSON object.")
    if status >= 400:
        raise EngramError(str(answer.get("error") or f"{asked}: the session answered {status}."))
    return answer
