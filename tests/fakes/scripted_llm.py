"""A scripted LLM on loopback for tests with real agent CLIs.

    with ScriptedLLM(lambda request: Reply.say("hello")) as llm:
        run_agent(base_url=llm.url)
        assert "briefing" in llm.main_requests[0].text

It speaks Anthropic Messages (stream and plain, count_tokens, models) and OpenAI Chat Completions (stream
and plain).
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, cast

from tests.fakes import llm_wire
from tests.fakes.llm_dialogue import ApiError, Reply, Request, Script, ToolCall, ToolResult
from tests.fakes.plan_script import PlanScript, Step, any_of, tool_said, was_told

__all__ = [
    "ApiError",
    "PlanScript",
    "Reply",
    "Request",
    "Script",
    "ScriptError",
    "ScriptedLLM",
    "Step",
    "ToolCall",
    "ToolResult",
    "any_of",
    "tool_said",
    "was_told",
]

MODELS: Final = ("claude-opus-5-5", "claude-sonnet-4-5", "claude-haiku-4-5", "scripted-model")


class ScriptError(AssertionError):
    """The test's own script raised; the agent was answered with HTTP 500."""


class ScriptedLLM:
    """The server: listens on a free port of 127.0.0.1 from entering the `with` block to leaving it.

    `script` may be replaced at any time; it counts from the next request on. The last `keep` requests are
    kept. Leaving the block raises ScriptError if the script failed, releases every held reply and closes
    all connections.
    """

    def __init__(self, script: Script, *, keep: int = 500) -> None:
        self.script = script
        self._changed = threading.Condition()
        self._requests: deque[Request] = deque(maxlen=keep)
        self._count = 0
        self._failures: list[BaseException] = []
        self._connections: set[socket.socket] = set()
        self.closing = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ScriptedLLM:
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="scripted-llm")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._failures and error is None:
            raise ScriptError(f"the script failed: {self._failures[0]!r}") from self._failures[0]

    def close(self) -> None:
        """Stops serving; may be called twice."""
        self.closing.set()
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self._changed:
            for connection in self._connections:
                _hang_up(connection)
        self._server = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "the scripted LLM is not running"
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Base URL for Anthropic's API (`ANTHROPIC_BASE_URL`); OpenAI's is this with `/v1` (`openai_url`)."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """Base URL for OpenAI's API (`LLM_BASE_URL`)."""
        return f"{self.url}/v1"

    @property
    def requests(self) -> tuple[Request, ...]:
        """The model requests so far, oldest first (side requests have `is_main` False)."""
        with self._changed:
            return tuple(self._requests)

    @property
    def main_requests(self) -> tuple[Request, ...]:
        """The turns of main conversations so far, oldest first."""
        return tuple(request for request in self.requests if request.is_main)

    def wait_for(self, condition: Callable[[Request], bool], seconds: float) -> Request:
        """The first request, past or coming, that fulfils the condition; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for request in self._requests:
                    if condition(request):
                        return request
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no such request within {seconds} s; {self._count} requests came")
                self._changed.wait(left)

    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[Request, Reply]:
        """Records a request and asks the script; called by the connection threads."""
        with self._changed:
            self._count += 1
            request = Request(self._count, path, headers, body, time.monotonic())
            self._requests.append(request)
            self._changed.notify_all()
        try:
            return request, self.script(request)
        except Exception as error:  # a thread's boundary: the test's own script failed, __exit__ reports it
            self._failures.append(error)
            return request, Reply.fail(500, f"the script failed: {error!r}")

    def connected(self, connection: socket.socket) -> None:
        """Remembers an open connection, so that closing the server ends it."""
        with self._changed:
            self._connections.add(connection)

    def disconnected(self, connection: socket.socket) -> None:
        """Forgets a connection that ended."""
        with self._changed:
            self._connections.discard(connection)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # its client was faster


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], llm: ScriptedLLM) -> None:
        self.llm = llm
        super().__init__(address, _Connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: agents break connections whenever they are interrupted."""


class _ClientGone(Exception):
    """The agent hung up while the model was thinking."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def _llm(self) -> ScriptedLLM:
        return cast(_Server, self.server).llm

    def setup(self) -> None:
        super().setup()
        self._llm.connected(self.connection)

    def finish(self) -> None:
        self._llm.disconnected(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""

    def do_HEAD(self) -> None:
        self._document(200, {})

    def do_GET(self) -> None:
        if not self.path.partition("?")[0].endswith("/models"):
            return self._document(404, llm_wire.anthropic_error(ApiError(404, "not_found_error", self.path)))
        described = [
            {"id": name, "type": "model", "object": "model", "display_name": name} for name in MODELS
        ]
        self._document(200, {"object": "list", "data": described, "has_more": False})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        try:
            if not isinstance(body, dict):
                self._document(
                    400, llm_wire.anthropic_error(ApiError(400, "invalid_request_error", "no JSON object"))
                )
            elif path.endswith("/count_tokens"):
                self._document(200, {"input_tokens": max(1, len(raw) // 4)})
            elif path.endswith(("/messages", "/chat/completions")):
                self._answer(path, body)
            else:
                self._document(404, llm_wire.anthropic_error(ApiError(404, "not_found_error", path)))
        except (_ClientGone, ConnectionError):
            self.close_connection = True

    def _answer(self, path: str, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request, reply = self._llm.received(path, headers, body)
        if reply.delay:
            self._llm.closing.wait(reply.delay)
        anthropic = path.endswith("/messages")
        if reply.error is not None:
            shape = llm_wire.anthropic_error if anthropic else llm_wire.openai_error
            self._document(reply.error.status, shape(reply.error), dict(reply.error.headers))
        elif body.get("stream"):
            self._stream(
                (llm_wire.anthropic_events if anthropic else llm_wire.openai_events)(request, reply), reply
            )
        else:
            self._think(reply)
            self._document(
                200, (llm_wire.anthropic_message if anthropic else llm_wire.openai_message)(request, reply)
            )

    def _think(self, reply: Reply) -> None:
        """Holds until the reply is released; raises _ClientGone when the agent, or `close`, hangs up."""
        while reply.hold is not None and not reply.hold.wait(0.05):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise _ClientGone

    def _stream(self, events: Iterator[llm_wire.Event], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.send_header("request-id", "req_scripted")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            if event.pause and self._llm.closing.wait(event.pause):
                raise _ClientGone
            self._chunk(event.encoded())
            if event.thinking:
                self._think(reply)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _document(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        encoded = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("request-id", "req_scripted")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(encoded)
