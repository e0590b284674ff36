"""The tools over streamable HTTP: an ASGI app to mount in a supervisor, `engram mcp --http PORT` on its own, and
`engram-http`, which serves mcp-engram's REST routes beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engram_runtime.errors import StoreUnavailable, UsageError
from engram_runtime.ids import session_id, token
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.clients import SESSION_HEADER, Clients
from engram_runtime.mcp.rest import HEALTH_PATHS, build_rest_app, failure
from engram_runtime.mcp.server import MCPServer, build_server
from engram_runtime.mcp.unsupervised import lost_sessions
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder, prepare_home
from engram_runtime.runtime import Runtime

PATH = "/mcp"
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of one request: more than any text that is kept, so that a too long one gets a tool's own answer."""
STOP_SECONDS = 2
"""How long running requests may hold up the end."""
_VERSION_HEADER = "mcp-protocol-version"
"""In every request but the handshake."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def build_http_app(
    server: MCPServer, port: int, extra_hosts: Sequence[str] = (), *, any_host: bool = False
) -> Starlette:
    """The server's streamable HTTP app. Host must be loopback with this port, or one of `extra_hosts` (unless
    `any_host`: it is reached under names nobody can know here); an Origin, where a browser sends one, must be loopback
    with this port. The bearer token is the caller's to check.

    It serves the path /mcp while its lifespan is entered (`app.router.lifespan_context(app)`, in one task). Stateless:
    the SDK keeps no session of the protocol, so a client never meets a forgotten one, and none piles up.
    """
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=not any_host,
        allowed_hosts=[*_own_hosts(port), *extra_hosts],
        allowed_origins=[f"http://{host}" for host in _own_hosts(port)],
    )
    return server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=LARGEST_BODY,
        transport_security=security,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is served, and to whom. `name` is the command as people know it; `on_ready(url)` is called once requests
    are taken. Without a token only a loopback address may be served.
    """

    name: str = "engram mcp"
    host: str = "127.0.0.1"
    port: int = 0
    rest: bool = False
    needs_token: bool = True
    on_ready: Callable[[str], None] | None = None


def serve_http(home: Path, project: str, port: int) -> int:
    """The MCP server alone on 127.0.0.1; see `serve`. Port 0: any free one."""
    return serve(home, project, Service(port=port))


def serve(home: Path, project: str, service: Service) -> int:
    """Serve clients until a signal comes; the exit code (128 + signal).

    Address and token file (`<home>/run/mcp-token`, 0600) are said on stderr. Raises UsageError where the port is
    taken, the host is not one of this machine, or other machines would be served without a token; StoreUnavailable.
    """
    if not service.needs_token and not is_loopback(service.host):
        raise UsageError(
            f"{service.host} can be reached from other machines, and --no-token would let anyone in.",
            hint="Leave --no-token or --host out.",
        )
    listening = listen(service.host, service.port)
    with listening, Runtime.open(home, project=project, session=session_id()) as runtime:
        file, secret = access_token(home)
        port = int(listening.getsockname()[1])
        clients = Clients(runtime, Path.cwd())
        lost_sessions(runtime)
        any_host = not is_loopback(service.host)
        shown = f"[{service.host}]" if ":" in service.host else service.host
        app = build_http_app(
            build_server(runtime, clients.context), port, [f"{shown}:{port}"], any_host=any_host
        )
        rest = build_rest_app(runtime, clients.context) if service.rest else None
        hosts = None if any_host else frozenset([*_own_hosts(port), f"{shown}:{port}"])
        guarded = _Guarded(app, rest, secret if service.needs_token else None, hosts, clients)
        url = f"http://{shown}:{port}"

        def ready() -> None:
            sys.stderr.write(_announcement(service, url, file))
            sys.stderr.flush()
            if service.on_ready is not None:
                service.on_ready(url)

        got = asyncio.run(_serve_until_signal(guarded, app, listening, ready))
        clients.end(Verdict(kind="killed", signal=got, evidence=(f"signal {got} to the MCP server",)))
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
    """The apps behind their door: Host, Origin, bearer token."""

    def __init__(
        self,
        app: Starlette,
        rest: Starlette | None,
        secret: str | None,
        hosts: frozenset[str] | None,
        clients: Clients | None = None,
    ) -> None:
        """`secret` None: nobody needs a token; `hosts` None: any Host is taken; `clients`: who is given a session."""
        self._clients = clients
        self._app = app
        self._rest = rest
        self._expected = None if secret is None else f"Bearer {secret}".encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. 421 wrong Host, 403 foreign Origin, 401 without the token, 404 elsewhere."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        known = self._expected is None or hmac.compare_digest(
            headers.get(b"authorization", b""), self._expected
        )
        await (self._refusal(scope["path"], headers, known) or self._app_at(scope, known))(
            scope, receive, send
        )

    def _refusal(self, path: str, headers: dict[bytes, bytes], known: bool) -> Response | None:
        if self._hosts is not None:
            origin = headers.get(b"origin", b"").decode("latin-1")
            if headers.get(b"host", b"").decode("latin-1").lower() not in self._hosts:
                return failure(421, "wrong_host", "This server answers under its loopback address only.")
            if origin and origin.lower().removeprefix("http://") not in self._hosts:
                return failure(403, "foreign_origin", "Pages of other origins are not served.")
        if not known and not (self._rest is not None and path in HEALTH_PATHS):
            line = "Wrong or missing bearer token."
            return failure(401, "no_token", line, {"WWW-Authenticate": "Bearer"})
        return None

    def _app_at(self, scope: Scope, known: bool) -> ASGIApp:
        if scope["path"].rstrip("/") == PATH:
            scope["path"] = PATH
            return self._app if self._clients is None else _OwnSession(self._app, self._clients)
        if self._rest is not None and (scope["path"].startswith("/v1/") or scope["path"] in HEALTH_PATHS):
            scope.setdefault("state", {})["known"] = known
            return self._rest
        where = f"{PATH} and under /v1 (GET /v1/tools)" if self._rest is not None else PATH
        return failure(404, "not_found", f"Nothing here: the tools are at {where}.")


class _OwnSession:
    """Gives each MCP client that shakes hands an id to send along, so that it is known again; ends it on DELETE.

    The protocol's later generation has no handshake and says its client in every request.
    """

    def __init__(self, app: ASGIApp, clients: Clients) -> None:
        self._app = app
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. 405 for GET: nothing is ever sent unasked."""
        headers = Headers(scope=scope)
        if scope["method"] == "DELETE":
            await anyio.to_thread.run_sync(self._clients.leave, headers)
            await Response(status_code=204)(scope, receive, send)
            return
        if scope["method"] != "POST":
            refusal = failure(405, "bad_method", "Requests come by POST.", {"Allow": "POST, DELETE"})
            await refusal(scope, receive, send)
            return
        is_first = SESSION_HEADER not in headers and _VERSION_HEADER not in headers

        async def answer(message: Message) -> None:
            if is_first and message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message)[SESSION_HEADER] = token()
            await send(message)

        await self._app(scope, receive, answer)


async def _serve_until_signal(
    guarded: _Guarded, app: Starlette, listening: socket.socket, ready: Callable[[], None]
) -> int:
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
        ready()
        await server.serve(sockets=[listening])
    return received[0] if received else signal.SIGTERM


def _announcement(service: Service, url: str, file: Path) -> str:
    access = f"bearer token in {file}" if service.needs_token else "no token needed on this machine"
    lines = [f"{service.name}: {url}{PATH}, {access}"]
    if service.rest:
        lines.append(f"{service.name}: REST at {url}/v1 (GET {url}/v1/tools lists it)")
    if not is_loopback(service.host):
        lines.append(f"{service.name}: other machines can reach this, and what they send is not encrypted")
    return "\n".join(lines) + "\n"


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UsageError: the port is taken, the host is not one of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named, since asyncio sets TCP_NODELAY only where it is: without it an answer waits 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise UsageError(
            f"Host {host}: {error.strerror}.", hint="Choose an address of this machine."
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(f"Port {port} at {host}: {error.strerror}.", hint="Choose another one.") from error
    return listening


def _own_hosts(port: int) -> list[str]:
    return [f"{host}:{port}" for host in _LOOPBACK]
