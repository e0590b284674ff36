"""The main job with real OpenHands: kill it in the middle of its work, the next session, of whatever agent, goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.agents.harness import AgentHome
from tests.fakes.scripted_llm import (
    PlanScript,
    Reply,
    Request,
    ScriptedLLM,
    Step,
    any_of,
    tool_said,
    was_told,
)
from tests.support import wait_until

pytestmark = [pytest.mark.agents, pytest.mark.slow, pytest.mark.timeout(300)]

MakeHome = Callable[[ScriptedLLM], AgentHome]
ENGRAM = Path(sys.executable).with_name("engram")
OPENHANDS = ("--headless", "--json", "--override-with-envs")
CLAUDE = ("-p", "--dangerously-skip-permissions")
PROMPT = "Fix the login redirect"
TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
)


def shell(request: Request, command: str) -> Reply:
    """A shell command, in the words of the agent that asks."""
    if "Bash" in request.tools:
        return Reply.call("Bash", command=command, description="step")
    return Reply.call("terminal", command=command, security_risk="LOW")


def engram_tool(request: Request, tool: str, **arguments: Any) -> Reply:
    """A call of one of Engram's tools, under the name by which the agent lists it."""
    if "Bash" in request.tools:
        return Reply.call(f"mcp__engram__{tool}", **arguments)
    return Reply.call(tool, **arguments, security_risk="LOW")


def said(text: str) -> Callable[[Request], bool]:
    """A shell tool said it."""
    return any_of(tool_said("Bash", text), tool_said("terminal", text))


def step(name: str, told: str) -> Step:
    """Append a line to a file, unless it is told that this is done."""
    command = f"echo {name} >> {name}.log && echo {name}-is-done"
    done = any_of(said(f"{name}-is-done"), was_told(told))
    return Step(name, lambda request: shell(request, command), done_when=done)


def track(feature: str) -> Step:
    """Tell Engram that a feature is done."""

    def tool_answered(request: Request) -> bool:
        return any(r.name.endswith("track_progress") and feature in r.text for r in request.tool_results())

    def act(request: Request) -> Reply:
        return engram_tool(request, "track_progress", feature=feature, status="done")

    return Step(feature, act, done_when=any_of(tool_answered, was_told(f"] {feature}")))


def hand_off(prohibited: str, summary: str) -> Step:
    """Hand off what must not be done again."""

    def act(request: Request) -> Reply:
        redo = [{"action": prohibited, "reason": "hid the bug"}]
        return engram_tool(request, "session_handoff", summary=summary, must_not_redo=redo)

    def handed(request: Request) -> bool:
        return any(r.name.endswith("session_handoff") for r in request.tool_results())

    return Step(f"hand off {prohibited}", act, done_when=any_of(handed, was_told(prohibited)))


def hang(name: str) -> Step:
    """A command that never ends, in its own file."""
    command = f"echo begun > {name}.txt; tail -f /dev/null"
    return Step(f"hang {name}", lambda request: shell(request, command), done_when=was_told("no such words"))


def finished(request: Request) -> Reply:
    """The end of the work, in the words of the agent that asks."""
    if "Bash" in request.tools:
        return Reply.say("ALL-DONE")
    return Reply.call("finish", message="ALL-DONE", security_risk="LOW")


def engram_json(home: AgentHome, *words: str) -> Any:
    """What a reading command says as JSON."""
    done = home.run([ENGRAM, *words, "--json"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def latest_checkpoint(home: AgentHome) -> Any:
    """Content of the newest checkpoint of the project's only task."""
    (task,) = engram_json(home, "tasks")
    latest = engram_json(home, "checkpoints", str(task["id"]))[0]
    return engram_json(home, "show", str(latest["id"]))["content"]


def killed_in(home: AgentHome, name: str, words: Sequence[str], argument: str) -> subprocess.Popen[bytes]:
    """Start engram, wait for the hanging command, SIGKILL the agent (known by an argument); the ended run."""
    run = home.start([ENGRAM, *words])
    wait_until(lambda: (home.work / f"{name}.txt").exists() or run.poll() is not None, 120)
    assert run.poll() is None, run.communicate()
    agents = [p for p in home.processes() if p.ppid() == run.pid and argument in " ".join(p.cmdline())]
    (agent,) = [p for p in agents if "engram" not in p.name()]
    os.kill(agent.pid, signal.SIGKILL)
    assert run.wait(30) == 137
    return run


def test_an_openhands_killed_in_mid_tool_is_resumed_where_it_was(
    openhands_cli: Path, agent_home: MakeHome
) -> None:
    first_work = PlanScript(
        step("reproduce", "] reproduce in test"),
        track("reproduce in test"),
        hand_off("raising the leeway", "half way"),
        hang("long"),
    )
    with ScriptedLLM(first_work) as llm:
        home = agent_home(llm)
        home.put_on_path(openhands_cli)
        killed_in(
            home, "long", ["run", "--headless", "openhands", "--", *OPENHANDS, "-t", PROMPT], "--resume="
        )
        assert [" ".join(p.cmdline()) for p in home.processes()] == []
        content = latest_checkpoint(home)
        assert content["goal"] == content["first_prompt"] == PROMPT
        assert [item["text"] for item in content["completed"]] == ["reproduce in test"]
        assert [entry["action"] for entry in content["must_not_redo"]] == ["raising the leeway"]
        assert content["last_tool"]["tool"] == "terminal"
        assert content["last_tool"]["status"] == "interrupted"
        assert "tail -f /dev/null" in content["last_tool"]["summary"]
        assert (content["verdict"]["kind"], content["verdict"]["signal"]) == ("killed", 9)
        assert {c["path"]: c["by"] for c in content["modified_files"]} == {
            "reproduce.log": "agent",
            "long.txt": "agent",
        }
        assert Path(content["transcript"]["path"]).is_dir()

        before = len(llm.main_requests)
        llm.script = PlanScript(
            step("reproduce", "] reproduce in test"), step("trace", "no such words"), finish=finished
        )
        resume: list[str | Path] = [ENGRAM, "resume", "--headless", "--agent", "openhands", "--", *OPENHANDS]
        done = home.run(resume, seconds=150)
        assert done.returncode == 0, done.stderr
        told = llm.main_requests[before]
        for words in (
            PROMPT,
            "reproduce in test",
            "raising the leeway",
            "long.txt",
            "Continue the interrupted",
        ):
            assert told.told(words), words
        assert (home.work / "reproduce.log").read_text() == "reproduce\n"
        assert (home.work / "trace.log").exists()
        sessions = engram_json(home, "sessions")
        assert {session["last_prompt"] for session in sessions} == {PROMPT, ""}
        assert [" ".join(p.cmdline()) for p in home.processes()] == []


@pytest.mark.parametrize(
    ("reply", "code", "verdict"),
    [
        (Reply.fail(401, "Incorrect API key provided"), 73, "auth"),
        (Reply.fail(400, TOO_LONG), 71, "overflow"),
    ],
    ids=["401", "overflow"],
)
def test_a_failure_behind_exit_code_0_has_a_code_of_its_own(
    openhands_cli: Path, agent_home: MakeHome, reply: Reply, code: int, verdict: str
) -> None:
    with ScriptedLLM(lambda _: reply) as llm:
        home = agent_home(llm)
        home.put_on_path(openhands_cli)
        run: list[str | Path] = [ENGRAM, "run", "--headless", "openhands", "--", *OPENHANDS, "-t", PROMPT]
        done = home.run(run, seconds=150)
        assert done.returncode == code, done.stderr
        (session,) = engram_json(home, "sessions")
        assert session["verdict"]["kind"] == verdict
        assert session["exit_code"] == 0
        assert engram_json(home, "tasks")[0]["interrupted"]
        assert [" ".join(p.cmdline()) for p in home.processes()] == []


def test_work_goes_from_claude_to_openhands_and_back_without_loss(
    claude_cli: Path, openhands_cli: Path, agent_home: MakeHome
) -> None:
    work = PlanScript(
        step("one", "] feature one"),
        track("feature one"),
        hand_off("raising the leeway", "one is done"),
        hang("first"),
    )
    with ScriptedLLM(work) as llm:
        home = agent_home(llm)
        home.put_on_path(claude_cli)
        home.put_on_path(openhands_cli)
        killed_in(home, "first", ["run", "--headless", "claude", "--", *CLAUDE, PROMPT], "--settings=")

        llm.script = PlanScript(
            step("one", "] feature one"),
            step("two", "] feature two"),
            track("feature two"),
            hand_off("git stash", "two is done"),
            hang("second"),
        )
        to_openhands = ["resume", "--headless", "--agent", "openhands", "--", *OPENHANDS]
        killed_in(home, "second", to_openhands, "--resume=")

        before = len(llm.main_requests)
        llm.script = PlanScript(
            step("one", "] feature one"),
            step("two", "] feature two"),
            step("three", "no such words"),
            finish=finished,
        )
        back = home.run([ENGRAM, "resume", "--headless", "--agent", "claude", "--", *CLAUDE], seconds=120)
        assert (back.returncode, back.stdout.strip()) == (0, "ALL-DONE"), back.stderr
        told = llm.main_requests[before]
        for words in (PROMPT, "feature one", "feature two", "raising the leeway", "git stash"):
            assert told.told(words), words
        files = {name: (home.work / f"{name}.log").read_text() for name in ("one", "two", "three")}
        assert files == {"one": "one\n", "two": "two\n", "three": "three\n"}
        assert {s["agent"] for s in engram_json(home, "sessions")} == {"claude", "openhands"}
        assert [" ".join(p.cmdline()) for p in home.processes()] == []


def test_its_terminal_ui_is_used_as_without_engram(openhands_cli: Path, agent_home: MakeHome) -> None:
    def script(request: Request) -> Reply:
        done = request.tool_results()
        return Reply.say("THAT-IS-ALL") if done else shell(request, "echo hi > hi.txt && echo said-hi")

    with ScriptedLLM(script) as llm:
        home = agent_home(llm)
        home.put_on_path(openhands_cli)
        run: list[str | Path] = [
            ENGRAM,
            "run",
            "--headless",
            "openhands",
            "--",
            "--override-with-envs",
            "-t",
            PROMPT,
        ]
        with home.open_terminal(run) as terminal:
            terminal.wait_screen("Confirm 1 action(s)?", 120)
            terminal.send("\r")
            terminal.wait_screen("THAT-IS-ALL", 60)
            terminal.send("\x03")
            terminal.wait_screen("Yes, proceed", 20)
            terminal.send("\x03")
            assert terminal.wait_exit(40) == 0
        (session,) = engram_json(home, "sessions")
        assert session["verdict"]["kind"] == "user_quit"
        assert latest_checkpoint(home)["goal"] == PROMPT
        assert [" ".join(p.cmdline()) for p in home.processes()] == []
