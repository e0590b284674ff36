"""Each client of an HTTP server has a session, and so a current task, of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.clients import IDLE_SECONDS, MOST_CLIENTS, Clients
from engram_runtime.mcp.http import _Guarded, _own_hosts, build_http_app
from engram_runtime.mcp.rest import build_rest_app
from engram_runtime.mcp.server import build_server, run_tool
from tests.unit.mcp.conftest import Agent

URL = "http://127.0.0.1:8900"
STOPPED = Verdict(kind="killed", signal=15)


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def call(clients: Clients, agent: Agent, who: str, tool: str, /, **given: Any) -> Any:
    context = clients.context({"x-engram-client": who}, ("", ""))
    result = run_tool(agent.runtime, context, (who, ""), tool, given)
    assert not result.is_error, result
    return result.structured_content


def open_sessions(agent: Agent) -> set[str]:
    folder = agent.runtime.journal.files.sessions
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_two_clients_at_once_each_work_on_their_own_task(agent: Agent, mode: Any) -> None:
    clients = Clients(agent.runtime, Path.cwd())
    app = build_http_app(build_server(agent.runtime, clients.context), 8900)
    guarded = _Guarded(app, None, None, frozenset(_own_hosts(8900)), clients)

    def web(name: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=guarded), base_url=URL, headers={"User-Agent": name}
        )

    async with (
        app.router.lifespan_context(app),
        web("one") as first,
        web("one" if mode == "legacy" else "two") as second,
        Client(
            streamable_http_client(f"{URL}/mcp", http_client=first), mode=mode, client_info=_info("one")
        ) as one,
        Client(
            streamable_http_client(f"{URL}/mcp", http_client=second), mode=mode, client_info=_info("two")
        ) as two,
    ):
        made = await one.call_tool("create_task", {"name": "login", "status": "in_progress"})
        assert made.structured_content is not None
        said = {"feature": "x", "status": "in_progress"}
        own = await one.call_tool("track_progress", said)
        other = await two.call_tool("track_progress", said)
        assert own.structured_content is not None and other.structured_content is not None
        assert own.structured_content["task_id"] == made.structured_content["task_id"]
        assert other.structured_content["task_id"] is None
    clients.end(STOPPED)
    assert not open_sessions(agent)


def _info(name: str) -> Any:
    from mcp_types import Implementation

    return Implementation(name=name, version="1")


async def test_rest_clients_are_told_apart_by_the_name_they_give(agent: Agent) -> None:
    clients = Clients(agent.runtime, Path.cwd())
    rest = build_rest_app(agent.runtime, clients.context)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=rest), base_url=URL) as http:
        one, two = {"X-Engram-Client": "one"}, {"X-Engram-Client": "two"}
        made = (await http.post("/v1/tasks", json={"name": "login"}, headers=one)).json()
        said = {"feature": "x", "status": "in_progress"}
        own = (await http.post("/v1/progress", json=said, headers=one)).json()
        other = (await http.post("/v1/progress", json=said, headers=two)).json()
    assert own["task_id"] == made["task_id"] and other["task_id"] is None


def test_a_client_silent_for_long_is_ended_and_begins_anew(agent: Agent) -> None:
    clock = Clock()
    clients = Clients(agent.runtime, Path.cwd(), clock)
    task = call(clients, agent, "one", "create_task", name="login", status="in_progress")["task_id"]
    clock.now = IDLE_SECONDS + 1
    call(clients, agent, "two", "list_tasks")
    assert [found.id for found in agent.runtime.state.interrupted_tasks(agent.runtime.project)] == [task]
    said = call(clients, agent, "one", "track_progress", feature="x", status="in_progress")
    assert said["task_id"] is None


def test_there_are_never_more_sessions_than_the_bound(agent: Agent) -> None:
    clock = Clock()
    clients = Clients(agent.runtime, Path.cwd(), clock)
    for number in range(MOST_CLIENTS + 3):
        clock.now += 1
        call(clients, agent, f"client {number}", "list_tasks")
    assert len(open_sessions(agent)) == MOST_CLIENTS
    clients.leave({"x-engram-client": f"client {MOST_CLIENTS}"})
    assert len(open_sessions(agent)) == MOST_CLIENTS - 1
    clients.end(STOPPED)
    assert not open_sessions(agent)
