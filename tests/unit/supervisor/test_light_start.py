"""What stands between a user and the agent's first line: modules that a start does not wait for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = "import json, sys, {}; print(json.dumps(sorted(m for m in sys.modules if m in {!r})))"


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("engram_tui.cli.main", ("msgspec", "engram_runtime.settings", "asyncio")),
        ("engram_tui.cli.run", ("sqlalchemy", "asyncio", "textual", "engram_tui.agents.claude")),
        ("engram_tui.supervisor.main", ("asyncio", "logging", "starlette", "sqlalchemy", "rich")),
        ("engram_runtime.state.preflight", ("sqlalchemy", "asyncio")),
    ],
)
def test_a_start_does_not_wait_for_what_it_needs_later(imported: str, heavy: tuple[str, ...]) -> None:
    code = LOADED.format(imported, heavy)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
