"""What the user has set up for Claude Code works under Engram as without it, and Engram changes none of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.supervised import BYPASS, ENGRAM, MCP, Desk, call_once, desk, shell
from tests.fakes import users_mcp
from tests.fakes.scripted_llm import PlanScript, Reply, Step, tool_said

pytestmark = [pytest.mark.agents, pytest.mark.slow]

TIPS = ("tip", "plugin")
"""Keys of `.claude.json` that begin so count what was shown by chance."""


def hook(word: str) -> list[dict[str, Any]]:
    """A hook of the user's that writes a word into a file of the home."""
    return [{"hooks": [{"type": "command", "command": f"echo {word} >> $HOME/hooks.txt"}]}]


def set_up(at: Desk) -> dict[Path, bytes]:
    """Settings, hooks, status line, instructions and MCP servers of the user and the project; their contents."""
    server = {"command": sys.executable, "args": [str(Path(users_mcp.__file__).resolve())]}
    settings = {
        "skipDangerousModePermissionPrompt": True,
        "enableAllProjectMcpServers": True,
        "statusLine": {"type": "command", "command": "echo MY-STATUS-LINE"},
        "hooks": {"UserPromptSubmit": hook("users-prompt"), "PostToolUse": hook("users-tool")},
    }
    local = {"hooks": {"Stop": hook("projects-stop")}}
    files = {
        at.home.config / "settings.json": json.dumps(settings, indent=3),
        at.home.config / "CLAUDE.md": "USERS-INSTRUCTION\n",
        at.work / "CLAUDE.md": "PROJECTS-INSTRUCTION\n",
        at.work / ".claude" / "settings.json": json.dumps(local),
        at.work / ".mcp.json": json.dumps({"mcpServers": {"projects": server}}),
        at.work / "flag.mcp.json": json.dumps({"mcpServers": {"flags": server}}),
        at.work / "flag.settings.json": json.dumps({"hooks": {"Stop": hook("flags-stop")}}),
    }
    state = json.loads((at.home.config / ".claude.json").read_text())
    (at.home.config / ".claude.json").write_text(json.dumps(state | {"mcpServers": {"users": server}}))
    for file, text in files.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return {file: file.read_bytes() for file in files}


def working() -> PlanScript:
    """Uses the shell and all of the user's MCP servers, whose tools Claude does not offer with their schemas."""
    return PlanScript(
        shell("look", "echo $FROM_SETTINGS-seen", "seen"),
        *(
            Step(name, Reply.call(f"mcp__{name}__ping"), done_when=tool_said(f"mcp__{name}__ping", "pong"))
            for name in ("users", "projects", "flags")
        ),
        finish=Reply.say("ALL-DONE"),
    )


def keys(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a JSON document by its path."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from keys(value, f"{path}.{key}")
    else:
        yield path, node


def changed_keys(at: Desk, before: str) -> set[str]:
    """Keys of `.claude.json` that were added, removed or changed, without this home's own folder in them."""
    old = dict(keys(json.loads(before)))
    new = dict(keys(json.loads((at.home.config / ".claude.json").read_text())))
    differ = {key for key in old.keys() | new.keys() if old.get(key, KeyError) != new.get(key, KeyError)}
    return {key.replace(str(at.home.root), "HOME") for key in differ}


def work_in_a_terminal(at: Desk, *command: str | Path) -> set[str]:
    """One session, left by /exit; which keys of `.claude.json` it changed."""
    before = (at.home.config / ".claude.json").read_text()
    flags = ("--settings", "flag.settings.json", "--mcp-config", "flag.mcp.json", "--", "Do the job")
    with at.home.open_terminal([*command, BYPASS, *flags], columns=140, rows=40) as terminal:
        terminal.wait_screen(lambda screen: "● ALL-DONE" in screen and " · done " in screen, 40)
        terminal.wait_screen("MY-STATUS-LINE", 10)
        terminal.submit("/exit")
        assert terminal.wait_exit(15) == 0
    return changed_keys(at, before)


def test_a_terminal_session_leaves_the_users_files_and_keeps_them_in_force(claude_cli: Path) -> None:
    with desk(working(), claude_cli) as bare:
        set_up(bare)
        allowed = work_in_a_terminal(bare, claude_cli)
        ran = (bare.home.home / "hooks.txt").read_text()
    with desk(working(), claude_cli) as at:
        files = set_up(at)
        changed = work_in_a_terminal(at, ENGRAM, "run", "claude", "--")
        assert {key for key in changed - allowed if not key.strip(".").startswith(TIPS)} == set()
        assert {file: file.read_bytes() for file in files} == files
        assert sorted((at.home.home / "hooks.txt").read_text().split()) == sorted(ran.split())
        assert {"users-prompt", "users-tool", "projects-stop", "flags-stop"} == set(ran.split())
        first = at.llm.main_requests[0]
        assert first.told("USERS-INSTRUCTION") and first.told("PROJECTS-INSTRUCTION")
        assert f"{MCP}recall_memory" in first.tools
        assert at.home.git("status", "--porcelain", "--untracked-files=all").split()[1::2] == sorted(
            str(file.relative_to(at.work)) for file in files if file.is_relative_to(at.work)
        )


def test_settings_given_inline_stay_in_force_beside_engrams(claude_cli: Path) -> None:
    inline = json.dumps({"env": {"FROM_SETTINGS": "inline"}, "hooks": {"Stop": hook("inline-stop")}})
    plan = PlanScript(
        shell("look", "echo $FROM_SETTINGS-seen", "inline-seen"),
        call_once("track_progress", feature="look", status="done"),
        finish=Reply.say("ALL-DONE"),
    )
    with desk(plan, claude_cli) as at:
        done = at.engram(
            "run", "--headless", "claude", "--", "-p", "Do the job", "--settings", inline, BYPASS
        )
        assert (done.returncode, done.stdout) == (0, "ALL-DONE\n")
        assert (at.home.home / "hooks.txt").read_text() == "inline-stop\n"
        assert [i["text"] for i in at.checkpoint()["completed"]] == ["look"]
