"""`engram mcp` as processes: on pipes, spoken to in plain JSON, and over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT = "/projects/shop"
STDIO = (
    "import sys; from pathlib import Path; from engram_runtime.mcp.stdio import serve_stdio;"
    f"sys.exit(serve_stdio(Path(sys.argv[1]), {PROJECT!r}))"
)
HTTP = (
    "import sys; from pathlib import Path; from engram_runtime.mcp.http import serve_http;"
    f"sys.exit(serve_http(Path(sys.argv[1]), {PROJECT!r}, 0))"
)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
    return {**kept, "ENGRAM_MODEL": "off", "PYTHONPATH": str(ROOT)}


class Server:
    """One `engram mcp` on pipes, spoken to in plain JSON."""

    def __init__(
        self, home: Path, client: str = "cursor", *, begin: bool = True, version: str = "2025-06-18"
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", STDIO, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self._id = 0
        params = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": client, "version": "1"},
        }
        self.greeting = self.ask("initialize", **params) if begin else None

    def ask(self, method: str, **params: Any) -> Any:
        self._id += 1
        self.send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        answer = self.next()
        assert answer["id"] == self._id
        return answer["result"]

    def next(self) -> Any:
        """The next message."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def call(self, tool: str, /, **given: Any) -> Any:
        result = self.ask("tools/call", name=tool, arguments=given)
        assert not result["isError"], result
        return result["structuredContent"]

    def close(self) -> int:
        """Close the input; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@contextlib.contextmanager
def server(home: Path, client: str = "cursor", **how: Any) -> Iterator[Server]:
    running = Server(home, client, **how)
    try:
        yield running
    finally:
        end(running.process)


def end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(20)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@contextlib.contextmanager
def http_server(home: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HTTP, str(home)], stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        yield process, said.split()[2].rstrip(","), Path(said.rsplit(" ", 1)[1].strip())
    finally:
        end(process)


def status(url: str, **headers: str) -> int:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    fixed = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(url, body, {**fixed, **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
