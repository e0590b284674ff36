"""Claude Code on a terminal under Engram: what its model is told first, and what the panes show of its calls."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.agents.supervised import (
    BYPASS,
    ENGRAM_TOOLS,
    MCP,
    WORKER,
    call_once,
    desk,
    forever,
    kill,
    missing,
    shell,
    track,
)
from tests.fakes.scripted_llm import PlanScript, Reply

pytestmark = [pytest.mark.agents, pytest.mark.slow]

GOAL = "Fix the login redirect"
KEEP = "the public names of auth/validator.py"
NEVER = "git stash"
PANES = (
    "claude ─ Fix the login redirect",
    "✓ reproduce in test",
    "▸ trace validation",
    "manual handoff",
    "fact 2 · strategy 1",
    "handoff: half way",
    "tail -f /dev/null",
)
"""What title, tasks, checkpoints, memory health, activity and processes show of the session below."""
WHY = "it lost the fixtures of the day before"


def handing_over() -> PlanScript:
    """Reproduces and says so, hands over what to keep and what not to do, then hangs in a command."""
    return PlanScript(
        shell("reproduce", "echo red > repro.log && echo reproduced-it", "reproduced-it"),
        track("reproduce in test", "done"),
        track("trace validation", "in_progress"),
        call_once(
            "session_handoff",
            summary="half way through the validator",
            must_preserve=[KEEP],
            must_not_redo=[{"action": NEVER, "reason": WHY}],
        ),
        forever("long.txt"),
    )


def test_a_terminal_session_is_served_killed_and_resumed_with_another_prompt(claude_cli: Path) -> None:
    """The only test with the real embedding model: its worker serves the home, and is no part of the agent's tree."""
    with desk(handing_over(), claude_cli, model=None) as at:
        with at.open("run", "claude", "--", BYPASS, GOAL) as terminal:
            at.has("long.txt", terminal)
            first = at.llm.main_requests[0]
            assert first.told(GOAL)
            assert {f"{MCP}{tool}" for tool in ENGRAM_TOOLS} <= set(first.tools)
            assert first.told("# MCP Server Instructions")
            assert "<engram-briefing" not in first.text
            for shown in PANES:
                terminal.wait_screen(shown, 10)
            worker = at.process(WORKER)
            kill(at.agent(), signal.SIGKILL)
            assert terminal.wait_exit(15) == 137
            at.settled()
            assert worker.pid == at.process(WORKER).pid
            assert b"claude killed(9); checkpoint v" in terminal.output
        content = at.checkpoint()
        assert content["must_preserve"][0]["text"] == KEEP
        assert content["must_not_redo"][0]["action"] == NEVER
        assert "bypass permissions on" in content["screen_tail"]

        at.llm.script = lambda request: Reply.say("RESUMED-AND-DONE")
        before = len(at.llm.main_requests)
        with at.open("resume", "--", BYPASS, "Gently, please") as terminal:
            terminal.wait_screen("RESUMED-AND-DONE", 30)
            terminal.submit("/exit")
            assert terminal.wait_exit(15) == 0
        assert worker.pid == at.process(WORKER).pid
        first = at.llm.main_requests[before]
        told = (GOAL, "reproduce in test", "trace validation", KEEP, NEVER, WHY, "long.txt", "Gently, please")
        assert missing(first, told) == []
        assert {f"{MCP}{tool}" for tool in ENGRAM_TOOLS} <= set(first.tools)
        assert not first.told("Continue the interrupted task")
        assert at.session()["verdict"]["kind"] == "user_quit"
