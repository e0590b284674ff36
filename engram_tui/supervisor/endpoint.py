"""The supervisor's one ASGI app on two listeners: a Unix socket for UIs and scripts, loopback TCP for the agent.

TCP serves only `/mcp` and `/hooks`, and only to who has the session's token, names the right Host and no Origin. Both
sockets are bound before the agent is spawned, so that its early connections queue instead of failing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from engram_runtime.errors import EngramError
from engram_tui.messages import AskFull, Notice, Resize, Snapshot, pack, unpack
from engram_tui.supervisor.attached import UI, Attached
from engram_tui.supervisor.imports import heavy
from engram_tui.supervisor.listeners import Listeners

if TYPE_CHECKING:
    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_HOOK_BYTES = 32 << 20
MCP_START_S = 30.0


class Host(Protocol):
    """What the endpoint asks of the supervisor."""

    async def hook(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """An agent's hook call; its answer."""

    async def snapshot(self) -> Snapshot:
        """All that panes show."""

    async def control(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """checkpoint | stop | detach | screen."""

    def ui_joined(self, ui: UI) -> None:
        """A UI connected."""

    def ui_left(self, ui: UI) -> None:
        """A UI is gone."""

    async def ui_said(self, ui: UI, message: Any) -> None:
        """A message of a UI."""


class Endpoint:
    """Serves one session. `mcp` is mounted once it is built; requests for it wait until then."""

    def __init__(self, host: Host, attached: Attached, listeners: Listeners, token: str) -> None:
        self._host = host
        self._attached = attached
        self._listeners = listeners
        self._bearer = b"Bearer " + token.encode()
        self._hosts = (f"127.0.0.1:{listeners.port}".encode(), f"localhost:{listeners.port}".encode())
        self._app: ASGIApp | None = None
        self._mcp: ASGIApp | None = None
        self._mcp_ready = asyncio.Event()
        self.mcp_refused = False
        """There will be no tools: nobody need wait for the agent to list them."""
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.mcp_asked = asyncio.Event()
        """The agent's MCP client spoke."""
        self.tools_listed: float | None = None
        """Monotonic time at which tools/list was last answered."""

    def mount_mcp(self, app: ASGIApp) -> None:
        """From now on `/mcp` is served."""
        self._mcp = app
        self._mcp_ready.set()

    def refuse_mcp(self) -> None:
        """There will be no tools in this session: nobody need wait until they are listed."""
        self.mcp_refused = True

    async def start(self) -> None:
        """Import the web stack in a thread and serve."""
        server, self._app = await asyncio.to_thread(self._build)
        self._server = server
        self._serving = asyncio.create_task(
            server.serve(sockets=[self._listeners.unix, self._listeners.tcp]), name="endpoint"
        )
        while not server.started and not self._serving.done():
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Stop serving. The agent must have ended before: it keeps a streaming request open."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=5)
        self._listeners.close()

    @heavy()
    def _build(self) -> tuple[uvicorn.Server, ASGIApp]:
        import uvicorn
        from starlette.applications import Starlette
        from starlette.routing import Route, WebSocketRoute

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # the supervisor owns the signals

        app = Starlette(
            routes=[
                Route("/hooks/{event}", self._hook, methods=["POST"]),
                Route("/session", self._session, methods=["GET"]),
                Route("/{action:str}", self._control, methods=["POST"]),
                WebSocketRoute("/attach", self._attach),
            ]
        )
        config = uvicorn.Config(
            self._guarded,
            interface="asgi3",
            lifespan="off",
            loop="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_ping_interval=None,  # a suspended UI must not be dropped; the kernel reports dead ones
            timeout_graceful_shutdown=1,
        )
        config.load()
        return Server(config), app

    # --- who may ask for what -------------------------------------------------------------------------

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        on_unix = scope.get("server") is not None and scope["server"][1] is None
        if not on_unix and (refusal := self._refusal(scope, path)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await _plain(send, refusal, b"refused\n")
            return
        if path == "/mcp" or path.startswith("/mcp/"):
            await self._to_mcp(scope, receive, send)
            return
        assert self._app is not None
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, path: str) -> int:
        headers = dict(scope.get("headers") or ())
        if headers.get(b"host") not in self._hosts:
            return 421
        if b"origin" in headers:
            return 403
        if scope["type"] != "http" or not (path == "/mcp" or path.startswith(("/mcp/", "/hooks/"))):
            return 404
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._bearer):
            return 401
        return 0

    async def _to_mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.mcp_asked.set()
        try:
            async with asyncio.timeout(MCP_START_S):
                await self._mcp_ready.wait()
        except TimeoutError:
            await _plain(send, 503, b"Engram's MCP server did not start; see the supervisor's log\n")
            return
        assert self._mcp is not None
        await self._mcp(scope, receive, send)

    def note_listed(self) -> None:
        """The agent's MCP client was given the tools."""
        self.tools_listed = time.monotonic()

    @property
    def port(self) -> int:
        """The loopback TCP port."""
        return self._listeners.port

    # --- routes -------------------------------------------------------------------------------------------

    async def _hook(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_HOOK_BYTES:
                return JSONResponse({"error": "too large"}, 413)
        try:
            payload = _read_json(body or b"{}")
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(await self._host.hook(str(request.path_params["event"]), payload))

    async def _session(self, request: Request) -> Response:
        from starlette.responses import Response

        data = msgspec.json.encode(await self._host.snapshot())
        return Response(data, media_type="application/json")

    async def _control(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        try:
            body = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return JSONResponse({"error": str(error)}, 400)
        try:
            answer = await self._host.control(str(request.path_params["action"]), body)
        except EngramError as error:
            return JSONResponse({"error": str(error)}, 503)
        return JSONResponse(answer, 404 if answer.get("error") == "unknown action" else 200)

    async def _attach(self, socket: WebSocket) -> None:
        await socket.accept()
        ui = UI()
        self._host.ui_joined(ui)
        sender = asyncio.create_task(self._send_all(ui, socket))
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                data = message.get("bytes") or (message.get("text") or "").encode()
                with contextlib.suppress(ValueError):  # a UI of another version may say what we do not know
                    said = unpack(data)
                    if isinstance(said, Resize):
                        ui.cols, ui.rows = max(2, said.cols), max(2, said.rows)
                    if isinstance(said, AskFull | Resize):
                        ui.wants_full = True
                    try:
                        await self._host.ui_said(ui, said)
                    except EngramError as error:
                        ui.send(pack(Notice(text=str(error), severity="error")))
        except (RuntimeError, OSError):
            pass  # the UI vanished between two messages
        finally:
            sender.cancel()
            self._host.ui_left(ui)

    async def _send_all(self, ui: UI, socket: WebSocket) -> None:
        """Send what is queued until the UI is gone; a closing UI is sent the rest and hung up on."""
        try:
            while True:
                for data in await ui.next_batch():
                    await socket.send_bytes(data)
                if ui.wants_full and not ui.closing:
                    await self._host.ui_said(ui, AskFull())
                if ui.closing and ui.drained:
                    await socket.close(1000)
                    return
        except (RuntimeError, OSError):
            return  # the UI vanished while being sent to


def _read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError (msgspec's errors are such).

    JavaScript writes half of an emoji, cut in its middle, as an escape that UTF-8 has no bytes for: it becomes "?".
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        whole = json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(whole, type=dict[str, Any])


async def _plain(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
