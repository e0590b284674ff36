"""The harness itself, proven with bare Claude Code: no Engram in these tests."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.harness import AgentHome
from tests.fakes.scripted_llm import PlanScript, Reply, ScriptedLLM, Step, any_of, tool_said, was_told
from tests.support import wait_until

pytestmark = pytest.mark.agents

MakeHome = Callable[[ScriptedLLM], AgentHome]
BYPASS = "--dangerously-skip-permissions"


def two_steps() -> PlanScript:
    """Appends a word to log.txt in each step, and prints that it did."""

    def step(word: str) -> Step:
        command = f"echo {word} >> log.txt && echo wrote-{word}"
        done = any_of(tool_said("Bash", f"wrote-{word}"), was_told(f"{word}: completed"))
        return Step(word, Reply.call("Bash", command=command, description="append"), done_when=done)

    return PlanScript(step("one"), step("two"), finish=Reply.say("ALL-DONE"))


def test_a_print_run_works_through_the_plan_and_exits_zero(claude_cli: Path, agent_home: MakeHome) -> None:
    with ScriptedLLM(plan := two_steps()) as llm:
        home = agent_home(llm)
        done = home.run([claude_cli, "-p", "write both words", BYPASS])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "ALL-DONE", "")
    assert (home.work / "log.txt").read_text() == "one\ntwo\n"
    assert plan.taken == ("one", "two")
    assert llm.main_requests[0].told("write both words")
    assert [result.text.split("\n")[0] for result in llm.main_requests[-1].tool_results()] == [
        "wrote-one",
        "wrote-two",
    ]


def test_a_step_is_not_repeated_when_the_prompt_says_it_is_done(
    claude_cli: Path, agent_home: MakeHome
) -> None:
    with ScriptedLLM(plan := two_steps()) as llm:
        home = agent_home(llm)
        home.run([claude_cli, "-p", "Go on. one: completed", BYPASS])
    assert (home.work / "log.txt").read_text() == "two\n"
    assert plan.taken == ("two",)


def test_an_interactive_run_shows_the_reply_and_takes_a_second_prompt(
    claude_cli: Path, agent_home: MakeHome
) -> None:
    with ScriptedLLM(lambda request: Reply.say("SECOND" if request.told("and again") else "FIRST")) as llm:
        home = agent_home(llm)
        with home.open_terminal([claude_cli, BYPASS, "hello"]) as terminal:
            terminal.wait_screen("FIRST", 15)
            terminal.submit("and again")
            terminal.wait_screen("SECOND", 10)
            terminal.submit("/exit")
            assert terminal.wait_exit(10) == 0


def test_a_held_model_keeps_claude_busy_until_it_is_released(claude_cli: Path, agent_home: MakeHome) -> None:
    release = threading.Event()
    with ScriptedLLM(lambda request: Reply.say("AFTER-ALL", hold=release)) as llm:
        home = agent_home(llm)
        with home.open_terminal([claude_cli, BYPASS, "think hard"]) as terminal:
            llm.wait_for(lambda request: request.is_main, 15)
            terminal.wait_screen("esc to interrupt", 10)
            assert "AFTER-ALL" not in terminal.screen
            release.set()
            terminal.wait_screen("AFTER-ALL", 10)


@pytest.mark.parametrize("status", [401, 429, 529])
def test_an_api_error_ends_a_print_run_with_exit_one(
    status: int, claude_cli: Path, agent_home: MakeHome
) -> None:
    with ScriptedLLM(lambda request: Reply.fail(status)) as llm:
        done = agent_home(llm).run([claude_cli, "-p", "hello"])
    assert done.returncode == 1


def test_leaving_the_home_ends_what_a_killed_claude_left_behind(claude_cli: Path) -> None:
    command = "touch begun; exec tail -f /dev/null"
    with ScriptedLLM(lambda request: Reply.call("Bash", command=command)) as llm, AgentHome(llm) as home:
        with home.open_terminal([claude_cli, BYPASS, "wait for ever"]) as terminal:
            llm.wait_for(lambda request: request.is_main, 15)
            wait_until((home.work / "begun").exists, 15)
            terminal.kill(signal.SIGKILL)
            assert terminal.wait_exit(5) == -signal.SIGKILL
        assert [process.name() for process in home.processes()] != []
        home.close()
        assert home.processes() == []
        assert not home.root.exists()
