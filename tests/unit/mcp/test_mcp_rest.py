"""The tools as REST: mcp-engram's routes and answers, errors with their HTTP status, and the door in front of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message

from engram_runtime.mcp import catalogue
from engram_runtime.mcp.http import _Guarded, _own_hosts, build_http_app
from engram_runtime.mcp.rest import PATHS, build_rest_app, listed_tools
from engram_runtime.mcp.server import build_server
from tests.unit.mcp.conftest import Agent

KNOWN = {"Authorization": "Bearer s3cret"}
HEALTH_KEYS = {
    "status", "version", "db", "db_readonly", "graph", "fts", "embedding_degraded", "embedding_stale",
    "residue_files", "engram_meta", "transports",
}  # fmt: skip
"""Of mcp-engram 0.19."""


@dataclass
class Answer:
    """Status and body of one answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks to the app without a socket, as uvicorn would."""

    app: _Guarded
    headers: dict[str, str] = field(default_factory=lambda: {"Host": "127.0.0.1:8900", **KNOWN})

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        given = {**self.headers, **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 8900),
        }
        parts = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        content = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
        return Answer(sent[0]["status"], content)

    async def post(self, path: str, given: Any, headers: dict[str, str] | None = None) -> Answer:
        return await self.request("POST", path, json.dumps(given).encode(), headers)

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return await self.request("GET", path, headers=headers)


def client(agent: Agent, *, secret: str | None = "s3cret") -> Client:
    app = build_http_app(build_server(agent.runtime, agent.context), 8900)
    rest = build_rest_app(agent.runtime, agent.context)
    return Client(_Guarded(app, rest, secret, frozenset(_own_hosts(8900))))


async def ask(agent: Agent, path: str, **given: Any) -> tuple[int, dict[str, Any]]:
    answer = await client(agent).post(path, given)
    return answer.status, answer.json()


async def test_a_day_of_work_over_the_old_routes(agent: Agent) -> None:
    status, made = await ask(agent, "/v1/tasks", name="Cart", goal="Build the cart")
    assert status == 200
    task = made["task_id"]
    assert (await ask(agent, "/v1/progress", feature="add", status="in_progress", task_id=task))[0] == 200
    assert (await ask(agent, "/v1/failure", error="boom", component="cart", task_id=task))[0] == 200
    assert (await ask(agent, "/v1/handoff", summary="half way", in_progress=["add"], task_id=task))[0] == 200
    assert (await ask(agent, "/v1/tasks/update", task_id=task, status="blocked"))[0] == 200
    _, told = await ask(agent, "/v1/tasks/get", task_id=task)
    assert told["task"]["status"] == "blocked" and len(told["failures"]) == 1
    _, package = await ask(agent, "/v1/checkpoints/restore", task_id=task)
    assert package["continuation"]["in_progress"] == ["add"]
    _, listed = await ask(agent, "/v1/tasks/list")
    assert listed["total"] == 1
    assert (await ask(agent, "/v1/store", content="The cart is in Redis", importance=0.6))[1]["memory_id"]
    assert (await ask(agent, "/v1/recall", query="where is the cart"))[1]["memoriesFound"] >= 1
    assert (await ask(agent, "/v1/runtime-health"))[0] == 200


async def test_every_tool_answers_under_its_name_and_its_old_route(shared_agent: Agent) -> None:
    listed = {tool["name"]: tool for tool in listed_tools()}
    assert set(listed) == set(catalogue.tools())
    http = client(shared_agent)
    for name, tool in listed.items():
        assert tool["path"] == PATHS.get(name, f"/v1/{name}")
        for path in (tool["path"], f"/v1/{name}"):
            answer = await http.post(path, {"no such parameter": 1})
            assert (answer.status, answer.json()["code"]) == (400, "bad_arguments"), path
    tools = (await http.get("/v1/tools")).json()["tools"]
    assert {tool["method"] for tool in tools} == {"POST"}
    assert listed["store_memory"]["params"]["content"] == "string (required)"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/tasks/get", b'{"task_id": 99}', 404, "not_found"),
        ("POST", "/v1/tasks/get", b'{"task_id": "x"}', 400, "bad_arguments"),
        ("POST", "/v1/tasks/get", b"{", 400, "bad_arguments"),
        ("POST", "/v1/tasks/get", b"[1]", 400, "bad_arguments"),
        ("POST", "/v1/tasks/get", b"", 400, "bad_arguments"),
        ("POST", "/v1/tasks/get", b"[" * 100_000, 400, "bad_arguments"),
        ("POST", "/v1/nothing", b"{}", 404, "not_found"),
        ("GET", "/v1/recall", b"", 405, "bad_method"),
        ("GET", "/elsewhere", b"", 404, "not_found"),
    ],
)
async def test_an_error_is_json_with_its_status(
    shared_agent: Agent, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    http = client(shared_agent)
    answer = await http.request(method, path, body)
    said = answer.json()
    assert (answer.status, said["ok"], said["code"]) == (status, False, code), said
    assert said["error"] and "\n" not in said["error"] and "Traceback" not in said["error"]


async def test_a_home_that_refuses_writes_answers_503_with_the_command_to_run(agent: Agent) -> None:
    from engram_runtime.errors import StoreDamaged

    agent.runtime.journal.degrade(StoreDamaged("The journal was altered.", hint="Run `engram recover`."))
    status, said = await ask(agent, "/v1/store", content="x", importance=0.5)
    assert (status, said["code"], said["recover_command"]) == (503, "degraded_mode", "engram recover")
    http = client(agent)
    health = (await http.get("/v1/health")).json()
    assert (health["status"], health["db_readonly"]) == ("degraded", True)


async def test_health_has_the_old_keys_and_tells_strangers_little(shared_agent: Agent) -> None:
    http = client(shared_agent)
    for path in ("/v1/health", "/health"):
        assert set((await http.get(path)).json()) >= HEALTH_KEYS
        http.headers.pop("Authorization", None)
        assert set((await http.get(path)).json()) == {"status", "version"}
        http.headers.update(KNOWN)


@pytest.mark.guarantee("G7")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "s3cret"}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1:8900"}, 200),
        ({}, 200),
    ],
)
async def test_strangers_stay_outside(shared_agent: Agent, headers: dict[str, str], status: int) -> None:
    http = client(shared_agent)
    answer = await http.get("/v1/tools", headers=headers)
    assert answer.status == status, answer.body
    tool = await http.post("/v1/tasks/list", {}, headers=headers)
    assert tool.status == status


async def test_without_a_token_pages_of_other_origins_still_stay_outside(shared_agent: Agent) -> None:
    http = client(shared_agent, secret=None)
    http.headers.pop("Authorization")
    assert (await http.post("/v1/tasks/list", {})).status == 200
    foreign = await http.post("/v1/tasks/list", {}, headers={"Origin": "http://evil.example"})
    assert foreign.status == 403
    rebound = await http.post("/v1/tasks/list", {}, headers={"Host": "evil.example:8900"})
    assert rebound.status == 421


async def test_a_body_without_end_is_refused(shared_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engram_runtime.mcp.rest.LARGEST_BODY", 1000)
    http = client(shared_agent)
    answer = await http.post("/v1/store", {"content": "x" * 2000})
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
