"""The tools over streamable HTTP: an ASGI app to mount in a supervisor, and `engram mcp --http PORT` on its own."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from engram_runtime.errors import StoreUnavailable, UsageError
from engram_runtime.ids import session_id, token
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.server import MCPServer, build_server
from engram_runtime.mcp.unsupervised import UnsupervisedSession, lost_sessions
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder, prepare_home
from engram_runtime.runtime import Runtime

PATH = "/mcp"
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of one request: more than any text that is kept, so that a too long one gets a tool's own answer."""
STOP_SECONDS = 2
"""How long running requests may hold up the end."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def build_http_app(server: MCPServer, port: int, extra_hosts: Sequence[str] = ()) -> Starlette:
    """The server's streamable HTTP app. Host must be loopback with this port, or one of `extra_hosts`; an Origin,
    where a browser sends one, must be loopback with this port. The bearer token is the caller's to check.

    It serves the path /mcp while its lifespan is entered (`app.router.lifespan_context(app)`, in one task). Stateless:
    no session of the protocol is kept, so a client never meets a forgotten one, and none piles up.
    """
    security = TransportSecuritySettings(
        allowed_hosts=[*(f"{host}:{port}" for host in _LOOPBACK), *extra_hosts],
        allowed_origins=[f"http://{host}:{port}" for host in _LOOPBACK],
    )
    return server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=LARGEST_BODY,
        transport_security=security,
    )


def serve_http(home: Path, project: str, port: int) -> int:
    """Serve clients on 127.0.0.1 until a signal comes; the exit code (128 + signal). Port 0: any free one.

    Address and token file (`<home>/run/mcp-token`, 0600) are said on stderr. Raises UsageError where the port is
    taken, StoreUnavailable.
    """
    try:
        listening = _listen(port)
    except OSError as error:
        raise UsageError(f"Port {port}: {error.strerror}.", hint="Choose another one.") from error
    name = session_id()
    with listening, Runtime.open(home, project=project, session=name) as runtime:
        file, secret = access_token(home)
        bound = int(listening.getsockname()[1])
        session = UnsupervisedSession(runtime, name, Path.cwd())
        lost_sessions(runtime)
        app = build_http_app(build_server(runtime, session.context()), bound)
        said = f"engram mcp: http://127.0.0.1:{bound}{PATH}, bearer token in {file}\n"
        got = asyncio.run(_serve_until_signal(_Guarded(app, secret), app, listening, said))
        session.end(Verdict(kind="killed", signal=got, evidence=(f"signal {got} to the MCP server",)))
    return 128 + got


def access_token(home: Path) -> tuple[Path, str]:
    """The token file of this home's HTTP server and the token in it; made when there is none."""
    prepare_home(home)
    file = HomeFiles(home).run / "mcp-token"
    try:
        make_private_folder(file.parent)
        draft = file.with_name(f"mcp-token.{os.getpid()}")
        if not file.exists() and make_private_file(draft):
            draft.write_text(token(), "utf-8")
            # A link fails where another process was first: its token stands.
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
            draft.unlink()
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
        return file, file.read_text("utf-8").strip()
    except OSError as error:
        raise StoreUnavailable(
            f"{file}: {error.strerror}.", hint="Set ENGRAM_HOME to a folder that can be written."
        ) from error


class _Uvicorn(uvicorn.Server):
    """Uvicorn that leaves the signals to us: it would re-raise them after its shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Guarded:
    """The app behind its bearer token."""

    def __init__(self, app: Starlette, secret: str) -> None:
        self._app = app
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; 404 elsewhere than at the tools' path, 401 without the token."""
        if scope["type"] != "http":
            return
        answer: Response | None = None
        given = dict(scope["headers"]).get(b"authorization", b"")
        if scope["path"] != PATH:
            answer = JSONResponse({"error": f"Nothing here: the tools are at {PATH}."}, 404)
        elif not hmac.compare_digest(given, self._expected):
            answer = JSONResponse(
                {"error": "Wrong or missing bearer token."}, 401, {"WWW-Authenticate": "Bearer"}
            )
        await (answer or self._app)(scope, receive, send)


async def _serve_until_signal(guarded: _Guarded, app: Starlette, listening: socket.socket, said: str) -> int:
    loop = asyncio.get_running_loop()
    received: list[int] = []
    config = uvicorn.Config(
        guarded, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=STOP_SECONDS
    )
    server = _Uvicorn(config)

    def stop(got: int) -> None:
        received.append(got)
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    async with app.router.lifespan_context(app):
        sys.stderr.write(said)
        sys.stderr.flush()
        await server.serve(sockets=[listening])
    return received[0] if received else signal.SIGTERM


def _listen(port: int) -> socket.socket:
    # The protocol is named, since asyncio sets TCP_NODELAY only where it is: without it an answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
