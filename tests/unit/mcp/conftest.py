"""A real runtime in a temporary home, and an agent that calls tools without a wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.ids import session_id
from engram_runtime.journal.events import SessionStarted
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import run_tool
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

PROJECT = "/projects/shop"


@dataclass
class Agent:
    """Calls tools as one session."""

    runtime: Runtime
    context: ToolContext

    def call(self, tool: str, /, **given: Any) -> dict[str, Any]:
        result = run_tool(self.runtime, self.context, ("test", "1"), tool, given)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    def refused(self, tool: str, /, **given: Any) -> str:
        result = run_tool(self.runtime, self.context, ("test", "1"), tool, given)
        assert result.is_error, result.structured_content
        (content,) = result.content
        assert "\n" not in content.text
        return str(content.text)

    def session(self, **changes: Any) -> Agent:
        """Another session's agent on the same home."""
        name = session_id()
        self.runtime.append(SessionStarted(agent="other"), session=name, project=PROJECT)
        return Agent(self.runtime, replace(self.context, session=name, **changes))


@pytest.fixture(scope="module")
def shared_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One home for tests that write nothing."""
    home = tmp_path_factory.mktemp("shared") / "home"
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        yield Agent(runtime, ToolContext(project=PROJECT)).session()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime.open(tmp_path / "home", project=PROJECT, settings=Settings(model="off")) as runtime:
        yield runtime


@pytest.fixture
def agent(runtime: Runtime) -> Agent:
    return Agent(runtime, ToolContext(project=PROJECT)).session()
