"""Once a home is recovered, every tool of the MCP server works on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_runtime.mcp.catalogue import tools
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import run_tool
from engram_runtime.upkeep.recover import recover
from tests.integration.damage.probe import PROJECT, SESSION, make_home, opened

pytestmark = pytest.mark.guarantee("G1", "G9")

GIVEN: dict[str, object] = {
    "query": "staging port",
    "content": "The backup runs at three",
    "importance": 0.5,
    "name": "again",
    "goal": "Fix the login again",
    "task_id": 2,
    "feature": "form",
    "status": "in_progress",
    "error": "boom",
    "component": "db",
    "summary": "half way",
    "memory_id": 4,
    "reason": "crash",
    "reason_for_interruption": "crash",
    "outcome": "success",
    "session_id": SESSION,
    "agent": "demo",
    "subtask_name": "part",
    "description": "part of it",
    "title": "again",
}


@pytest.mark.slow
def test_every_tool_answers_on_a_recovered_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_home(home)
    content = bytearray((home / "journal.sqlite").read_bytes())
    content[40960 : 40960 + 8192] = bytes(8192)
    (home / "journal.sqlite").write_bytes(content)
    assert recover(home) is not None
    with opened(home) as runtime:
        context = ToolContext(project=PROJECT, session=SESSION)
        for tool in tools().values():
            required = tool.listing()["inputSchema"].get("required", [])
            given = {name: GIVEN[name] for name in required if name in GIVEN}
            result = run_tool(runtime, context, ("test", "1"), tool.name, given)
            said = result.content[0].text if result.content else ""
            # An answer, or one clear line of a tool that has nothing to go by; never the store's refusal.
            assert "engram recover" not in said and "journal" not in said.split(":")[0].lower(), (
                tool.name,
                said,
            )
            if not result.is_error:
                assert isinstance(result.structured_content, dict), tool.name
        assert runtime.journal.writable and not runtime.verify().flaw
