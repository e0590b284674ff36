"""The main job with real Claude Code: kill it in the middle of its work, the next session goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents.harness import AgentHome
from tests.fakes.scripted_llm import PlanScript, Reply, ScriptedLLM, Step, any_of, tool_said, was_told
from tests.support import wait_until

pytestmark = [pytest.mark.agents, pytest.mark.slow]

MakeHome = Callable[[ScriptedLLM], AgentHome]
BYPASS = "--dangerously-skip-permissions"
ENGRAM = Path(sys.executable).with_name("engram")
PROMPT = "Fix the login redirect"


def track(feature: str, status: str) -> Step:
    """The model tells Engram of a feature."""
    tool = "mcp__engram__track_progress"
    done = any_of(tool_said(tool, feature), was_told(f"[claimed] {feature}"), was_told(f"[seen] {feature}"))
    return Step(f"{feature} {status}", Reply.call(tool, feature=feature, status=status), done_when=done)


def shell(name: str, command: str, said: str, told: str) -> Step:
    """The model runs a command until it sees its output, or is told that it is done."""
    call = Reply.call("Bash", command=command, description=name)
    return Step(name, call, done_when=any_of(tool_said("Bash", said), was_told(told)))


def plan() -> PlanScript:
    """Reproduce (and say so), note a failure, edit a file, then hang in a long command."""
    failure = Reply.call(
        "mcp__engram__track_failure",
        error="raising the leeway hid the bug",
        component="auth",
        root_cause="clock skew",
        fix="compare issuer",
    )
    return PlanScript(
        shell(
            "reproduce", "echo red > repro.log && echo reproduced-it", "reproduced-it", "reproduce in test"
        ),
        track("reproduce in test", "done"),
        Step(
            "failure",
            failure,
            done_when=any_of(tool_said("mcp__engram__track_failure"), was_told("raising the leeway")),
        ),
        track("trace validation", "in_progress"),
        shell("long", "echo begun > long.txt; tail -f /dev/null", "no-such-words", "tail -f /dev/null"),
        finish=Reply.say("ALL-DONE"),
    )


def engram(home: AgentHome, *words: str, **options: Any) -> Any:
    """Run engram to its end."""
    return home.run([ENGRAM, *words], **options)


def engram_json(home: AgentHome, *words: str) -> Any:
    """What a reading command says as JSON."""
    done = engram(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def claude_pid(home: AgentHome) -> int:
    """The supervised Claude's pid."""
    (found,) = [
        p.pid for p in home.processes() if "/claude" in p.exe() and "--settings" in " ".join(p.cmdline())
    ]
    return found


def test_a_claude_killed_in_mid_tool_is_resumed_where_it_was(claude_cli: Path, agent_home: MakeHome) -> None:
    with ScriptedLLM(plan()) as llm:
        home = agent_home(llm)
        home.put_on_path(claude_cli)
        run = home.start([ENGRAM, "run", "claude", "--headless", "--", "-p", PROMPT, BYPASS])
        wait_until((home.work / "long.txt").exists, 60)
        (home.work / "mine.txt").write_text("the user's own\n")
        os.kill(claude_pid(home), signal.SIGKILL)
        assert run.wait(20) == 137
        (task,) = engram_json(home, "tasks")
        assert task["interrupted"]
        latest = engram_json(home, "checkpoints", str(task["id"]))[0]
        content = engram_json(home, "show", str(latest["id"]))["content"]
        assert content["goal"] == PROMPT
        assert [i["text"] for i in content["completed"]] == ["reproduce in test"]
        assert "trace validation" in [i["text"] for i in content["in_progress"]]
        assert content["last_tool"]["tool"] == "Bash"
        assert "tail -f /dev/null" in content["last_tool"]["summary"]
        assert content["last_tool"]["status"] == "interrupted"
        assert content["last_failure"]["text"] == "raising the leeway hid the bug"
        assert content["verdict"]["kind"] == "killed" and content["verdict"]["signal"] == 9
        assert content["verdict"]["evidence"]
        assert content["context"]["used"] > 0
        assert content["git"]["head"]
        by_agent = {c["path"] for c in content["modified_files"] if c["by"] == "agent"}
        assert by_agent == {"repro.log", "long.txt"}
        assert not [p for p in home.processes() if "tail" in p.name()]

        llm.script = PlanScript(
            shell(
                "reproduce",
                "echo again >> repro.log && echo reproduced-it",
                "reproduced-it",
                "reproduce in test",
            ),
            shell("trace", "echo traced > traced.txt && echo traced-it", "traced-it", "no-such-words"),
            finish=Reply.say("RESUMED-AND-DONE"),
        )
        before = len(llm.main_requests)
        done = engram(home, "resume", "--headless", "--", "-p", BYPASS, seconds=60)
        assert (done.returncode, done.stdout.strip()) == (0, "RESUMED-AND-DONE"), done.stderr
        first = llm.main_requests[before]
        for said in (PROMPT, "reproduce in test", "trace validation", "raising the leeway", "long.txt"):
            assert first.told(said), said
        assert first.told("Continue the interrupted task")
        assert (home.work / "repro.log").read_text() == "red\n"
        assert (home.work / "traced.txt").exists()
