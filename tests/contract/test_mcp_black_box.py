"""The whole contract against real processes: the official client over pipes and HTTP, both generations."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx2
import jsonschema
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.contract.calls import CONTRACT, ERRORS, Conversation, every_tool, missing
from tests.contract.servers import PROJECT, ROOT, STDIO, environment, http_server

Connect = Callable[[], AbstractAsyncContextManager[Client]]
INSPECTOR = os.environ.get("ENGRAM_TEST_INSPECTOR", "")
"""Path of an installed `@modelcontextprotocol/inspector` command; looked for on PATH otherwise."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["stdio-auto", "stdio-legacy", "http-auto", "http-legacy"])
def connect(request: pytest.FixtureRequest, home: Path) -> Connect:
    transport, mode = request.param.split("-")

    @asynccontextmanager
    async def over_pipes() -> AsyncIterator[Client]:
        launch = StdioServerParameters(
            command=sys.executable, args=["-c", STDIO, str(home)], env=environment(), cwd=str(home.parent)
        )
        async with Client(launch, mode=mode) as client:
            yield client

    @asynccontextmanager
    async def over_http() -> AsyncIterator[Client]:
        with http_server(home) as (_, url, file):
            bearer = {"Authorization": f"Bearer {file.read_text('utf-8').strip()}"}
            async with (
                httpx2.AsyncClient(headers=bearer) as http,
                Client(streamable_http_client(url, http_client=http), mode=mode) as client,
            ):
                yield client

    return over_pipes if transport == "stdio" else over_http


@pytest.mark.slow
async def test_every_tool_parameter_and_error_is_as_in_the_contract(connect: Connect, home: Path) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == set(CONTRACT)
        said = await every_tool(client)
        assert set(said.answers) == set(CONTRACT)
        for name, parts in CONTRACT.items():
            assert list(missing(parts["answer"], said.answers[name], name)) == []
            assert set(parts["parameters"]) <= set(tools[name].input_schema.get("properties", {}))
            assert said.given.get(name, set()) >= set(parts["parameters"])
            jsonschema.validate(said.answers[name], tools[name].output_schema or {})
        say = Conversation(client)
        for tool, given, named in ERRORS:
            line, told = await say.refused(tool, **given)
            assert named in line and told["error"] == line
        assert len((await client.list_resources()).resources) >= 3
        assert len((await client.list_prompts()).prompts) == 2
        (content,) = (await client.read_resource("engram://briefing")).contents
        assert content.text
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        assert runtime.verify().flaw == ""
        assert runtime.health().writable


@pytest.mark.slow
def test_the_inspector_lists_and_calls_the_tools(home: Path) -> None:
    command = INSPECTOR or shutil.which("mcp-inspector")
    if not command:
        pytest.skip("the MCP inspector is not installed (npm install -g @modelcontextprotocol/inspector)")

    def inspect(*more: str) -> str:
        done = subprocess.run(
            [str(command), "--cli", sys.executable, "-c", STDIO, str(home), *more],
            capture_output=True,
            text=True,
            timeout=100,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    assert '"start_execution"' in inspect("--method", "tools/list")
    made = inspect("--method", "tools/call", "--tool-name", "create_task", "--tool-arg", "name=inspected")
    assert "inspected" in made
    assert "inspected" in inspect("--method", "resources/list")
    assert "resume" in inspect("--method", "prompts/list")
