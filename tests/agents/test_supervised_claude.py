"""The main job with real Claude Code: kill it in the middle of its work, the next session goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.agents.supervised import BYPASS, CONTINUE, MCP, desk, forever, kill, missing, shell, track
from tests.fakes.scripted_llm import PlanScript, Reply, Step, any_of, tool_said, was_told

pytestmark = [pytest.mark.agents, pytest.mark.slow]

PROMPT = "Fix the login redirect"
HINT = "raising the leeway"


def plan() -> PlanScript:
    """Reproduce (and say so), note a failure, then hang in a long command. No step is taken that is told as done."""
    failure = Reply.call(
        f"{MCP}track_failure",
        error=f"{HINT} hid the bug",
        component="auth",
        root_cause="clock skew",
        fix="compare issuer",
    )
    return PlanScript(
        shell(
            "reproduce", "echo red >> repro.log && echo reproduced-it", "reproduced-it", "reproduce in test"
        ),
        track("reproduce in test", "done"),
        Step("failure", failure, done_when=any_of(tool_said(f"{MCP}track_failure"), was_told(HINT))),
        track("trace validation", "in_progress"),
        forever("long.txt"),
    )


def test_a_claude_killed_in_mid_tool_is_resumed_where_it_was(claude_cli: Path) -> None:
    with desk(plan(), claude_cli) as at:
        run = at.start("run", "claude", "--headless", "--", "-p", PROMPT, BYPASS)
        at.has("long.txt")
        (at.work / "mine.txt").write_text("the user's own\n")
        kill(at.agent(), signal.SIGKILL)
        assert run.wait(20) == 137
        at.settled()

        assert at.task()["interrupted"]
        content = at.checkpoint()
        assert content["goal"] == PROMPT
        assert [i["text"] for i in content["completed"]] == ["reproduce in test"]
        assert "trace validation" in [i["text"] for i in content["in_progress"]]
        assert content["last_tool"]["tool"] == "Bash"
        assert "tail -f /dev/null" in content["last_tool"]["summary"]
        assert content["last_tool"]["status"] == "interrupted"
        assert content["last_failure"]["text"] == f"{HINT} hid the bug"
        assert content["verdict"]["kind"] == "killed" and content["verdict"]["signal"] == 9
        assert content["verdict"]["evidence"]
        assert content["context"]["used"] > 0
        assert content["git"]["head"] == at.home.git("rev-parse", "HEAD").strip()
        by_agent = {c["path"] for c in content["modified_files"] if c["by"] == "agent"}
        assert by_agent == {"repro.log", "long.txt"}

        at.llm.script = PlanScript(
            *plan().steps[:4],
            shell("trace", "echo traced > traced.txt && echo traced-it", "traced-it"),
            finish=Reply.say("RESUMED-AND-DONE"),
        )
        before = len(at.llm.main_requests)
        done = at.engram("resume", "--headless", "--", "-p", BYPASS)
        assert (done.returncode, done.stdout) == (0, "RESUMED-AND-DONE\n"), done.stderr
        told = (PROMPT, "reproduce in test", "trace validation", HINT, "long.txt", CONTINUE)
        assert missing(at.llm.main_requests[before], told) == []
        assert at.llm.script.taken == ("trace",)
        assert (at.work / "repro.log").read_text() == "red\n"
        assert not at.task()["interrupted"]
