"""`engram mcp` as a process: the official client over pipes and HTTP, and every way to end."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.contract.servers import HTTP, PROJECT, STDIO, Server, environment, http_server, server, status
from tests.support import wait_until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pins(home: Path) -> list[dict[str, Any]]:
    with server(home, "successor") as running:
        told = running.call("recall_memory", query="login")
        assert running.close() == 0
        return list(told["pinned"])


def work(running: Server) -> int:
    task = running.call("create_task", name="login", goal="fix the login", status="in_progress")["task_id"]
    running.call("track_progress", feature="form", status="in_progress")
    return int(task)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code", "verdict"),
    [
        ("eof", 0, "user_quit"),
        (signal.SIGTERM, 143, "killed(15)"),
        (signal.SIGINT, 130, "killed(2)"),
        (signal.SIGKILL, -9, "lost"),
    ],
)
def test_every_end_leaves_an_interruption_that_the_next_session_is_told(
    home: Path, end: Any, code: int, verdict: str
) -> None:
    with server(home) as running:
        task = work(running)
        if end == "eof":
            assert running.close() == code
        else:
            running.process.send_signal(end)
            assert running.process.wait(20) == code
    (pin,) = pins(home)
    assert (pin["kind"], pin["task_id"]) == ("interruption", task)
    assert "cursor ended with" in pin["text"] and verdict in pin["text"]
    assert "form" in pin["text"]
    assert pin["what_to_do"].startswith(
        "If this session continues that work, call restore_checkpoint(task_id="
    )


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_call_keeps_what_it_acknowledged(home: Path) -> None:
    with server(home) as running:
        task = work(running)
        for number in range(200):
            arguments = {"content": f"fact {number}", "importance": 0.5}
            running.send(
                {"jsonrpc": "2.0", "id": 1000 + number, "method": "tools/call",
                 "params": {"name": "store_memory", "arguments": arguments}}
            )  # fmt: skip
        assert running.process.stdout is not None
        acknowledged = json.loads(running.process.stdout.readline())["result"]["structuredContent"][
            "memory_id"
        ]
        running.process.kill()
        running.process.wait(20)
    assert [pin["task_id"] for pin in pins(home)] == [task]
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        row = runtime.memory.row(acknowledged)
        assert row is not None and row.content.startswith("fact ")
        assert runtime.health().writable


@pytest.mark.slow
def test_requests_before_the_end_of_input_are_all_answered(home: Path) -> None:
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "script", "version": "1"}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "store_memory", "arguments": {"content": "kept", "importance": 1}}},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {
            "name": "store_memory", "arguments": {"content": "x" * 5_000_000, "importance": 1}}},
        {"jsonrpc": "2.0", "id": 4, "method": "no/such"},
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", STDIO, str(home)],
        input="\n".join(json.dumps(message) for message in messages).encode(),
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stderr
    assert set(answers) == {1, 2, 3, 4}
    assert answers[2]["result"]["structuredContent"]["memory_id"] > 0
    assert answers[3]["result"]["isError"] is True
    assert "5,000,000 characters" in answers[3]["result"]["content"][0]["text"]
    assert answers[4]["error"]["code"] == -32601
    assert done.stderr == b""


def test_the_handshake_and_the_list_need_nothing_heavy(home: Path) -> None:
    probe = (
        "import sys; from engram_runtime.mcp import stdio, catalogue; catalogue.listing(); catalogue.card();"
        "print([m for m in ('mcp', 'mcp_types', 'pydantic', 'sqlalchemy', 'starlette', 'anyio', 'asyncio', 'numpy')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_handshake_comes_at_once(home: Path) -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        with server(home) as running:
            took.append(time.perf_counter() - began)
            assert running.greeting["protocolVersion"] == "2025-06-18"
    # The target is 0.3 s (benchmarks judge); here the best of five, on a machine that may be busy.
    assert min(took) < 1.0


@pytest.mark.slow
def test_a_home_that_cannot_be_opened_is_said_in_every_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    with server(tmp_path / "file") as running:
        told = running.ask("tools/call", name="list_tasks", arguments={})
        assert told["isError"]
        assert "Nothing is being kept" in told["content"][0]["text"]
        assert running.close() == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_works_over_pipes(home: Path, mode: Any) -> None:
    launch = StdioServerParameters(
        command=sys.executable, args=["-c", STDIO, str(home)], env=environment(), cwd=str(home.parent)
    )
    async with Client(launch, mode=mode) as client:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        assert len((await client.list_tools()).tools) >= 15
        created = await client.call_tool("create_task", {"name": "login"})
        assert not created.is_error
        assert (await client.call_tool("get_task", {"task_id": "one"})).is_error
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        wait_until(lambda: runtime.state.sessions(ended=True), 10)
        (session,) = runtime.state.sessions()
        assert session.verdict is not None and session.mode == "mcp"


@pytest.mark.slow
async def test_http_serves_those_with_the_token_and_records_its_end(home: Path) -> None:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    with http_server(home) as (process, url, file):
        secret = file.read_text("utf-8").strip()
        assert file.stat().st_mode & 0o777 == 0o600
        bearer = {"Authorization": f"Bearer {secret}"}
        port = url.rsplit(":", 1)[1].split("/")[0]
        assert status(url) == 401
        assert status(url, Authorization="Bearer wrong") == 401
        assert status(url.replace("/mcp", "/"), **bearer) == 404
        assert status(url, **bearer, Host=f"evil.example:{port}") == 421
        assert status(url, **bearer, Host="127.0.0.1:1") == 421
        assert status(url, **bearer, Origin="http://evil.example") == 403
        assert status(url, **bearer) == 200
        async with (
            httpx2.AsyncClient(headers=bearer) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            told = await client.call_tool("create_task", {"name": "login", "status": "in_progress"})
            assert not told.is_error
            large = await client.call_tool("store_memory", {"content": "x" * 5_000_000, "importance": 1})
            assert "5,000,000 characters" in large.content[0].text
        with contextlib.closing(socket.create_connection(("127.0.0.1", int(port)), 5)):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 143
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    (pin,) = pins(home)
    assert "killed(15)" in pin["text"]


@pytest.mark.slow
def test_a_taken_port_is_one_clear_error(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = HTTP.replace(", 0))", f", {taken.getsockname()[1]}))")
        done = subprocess.run(
            [sys.executable, "-c", code, str(home)], capture_output=True, text=True, env=environment(), timeout=60,
            check=False,
        )  # fmt: skip
    assert "UsageError: Port" in done.stderr
    assert not home.exists()
