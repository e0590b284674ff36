"""What survives when a part of Engram itself is lost: the terminal, the UI, the screen process, the supervisor."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import psutil
import pytest

from tests.agents.supervised import BYPASS, CONTINUE, call_once, desk, forever, kill, missing, shell, track
from tests.fakes.scripted_llm import PlanScript, Reply, Request
from tests.support import wait_until

pytestmark = [pytest.mark.agents, pytest.mark.slow]

GOAL = "Fix the login redirect"
KEEP = "the public names of auth/validator.py"
ROOM = 97
"""Columns of a 140 columns wide screen that show the agent's own terminal."""


def conversation(screen: str) -> list[str]:
    """The agent's part of a screen from its first prompt to the end of its turn."""
    lines = [line[1:ROOM].rstrip() for line in screen.splitlines()[1:]]
    first = next(i for i, line in enumerate(lines) if line.startswith("❯"))
    last = next(i for i, line in enumerate(lines) if " · done " in line)
    return lines[first : last + 1]


def has_ended_its_turn(screen: str) -> bool:
    """The agent's answer, and that it is idle, are on the screen."""
    return "● FIRST-DONE" in screen and " · done " in screen and "● idle" in screen


def test_the_agent_outlives_its_terminal_its_ui_and_its_screen(claude_cli: Path) -> None:
    second = PlanScript(
        shell("second", "echo on > went-on.txt && echo wrote-it", "wrote-it"), finish=Reply.say("SECOND-DONE")
    )

    def answer(request: Request) -> Reply:
        return second(request) if request.told("and go on") else Reply.say("FIRST-DONE")

    with desk(answer, claude_cli) as at:
        with at.open("run", "claude", "--", BYPASS, GOAL) as terminal:
            shown = conversation(terminal.wait_screen(has_ended_its_turn, 30))
            agent = at.agent()
            terminal.hang_up()
            terminal.wait_exit(10)
        (session,) = at.ask("sessions")
        assert (session["standing"], session["agent_pid"]) == ("live", agent.pid)
        with at.open("attach") as terminal:
            assert conversation(terminal.wait_screen(has_ended_its_turn, 15)) == shown
            terminal.kill(signal.SIGKILL)
            terminal.wait_exit(10)
        with at.open("attach", session["id"]) as terminal:
            assert conversation(terminal.wait_screen(has_ended_its_turn, 15)) == shown
            screen = at.process("engram_tui.terminal.screen_process")
            kill(screen, signal.SIGKILL)
            psutil.wait_procs([screen], timeout=5)
            wait_until(lambda: at.running("engram_tui.terminal.screen_process"), 10)
            terminal.submit("and go on")
            after = terminal.wait_screen("● SECOND-DONE", 15)
            assert "\n".join(shown) in "\n".join(line[1:ROOM].rstrip() for line in after.splitlines())
            assert (at.work / "went-on.txt").exists() and agent.is_running()
            terminal.submit("/exit")
            assert terminal.wait_exit(15) == 0
        assert "DETACH" in [c["reason"] for c in at.checkpoints()]
        assert at.session()["standing"] == "user_quit"


def test_a_lost_supervisors_terminal_session_is_found_and_resumed(claude_cli: Path) -> None:
    plan = PlanScript(
        track("reproduce in test", "done"),
        call_once("session_handoff", summary="half way", must_preserve=[KEEP]),
        forever("long.txt"),
    )
    with desk(plan, claude_cli) as at:
        with at.open("run", "claude", "--", BYPASS, GOAL) as terminal:
            at.has("long.txt", terminal)
            kill(at.process("engram_tui.supervisor"), signal.SIGKILL)
            assert terminal.wait_exit(15) == 1
            assert b"the supervisor is gone; `engram resume` continues" in terminal.output
        at.llm.script = lambda request: Reply.say("RESUMED-AND-DONE")
        before = len(at.llm.main_requests)
        with at.open("resume", "--", BYPASS) as terminal:
            terminal.wait_screen("● RESUMED-AND-DONE", 30)
            terminal.submit("/exit")
            assert terminal.wait_exit(15) == 0
        told = (GOAL, "reproduce in test", KEEP, "tail -f /dev/null", "long.txt", "disappeared", CONTINUE)
        assert missing(at.llm.main_requests[before], told) == []
        assert [c["reason"] for c in at.checkpoints()].count("LOST") == 1
        resumed, lost = at.ask("sessions")
        assert (resumed["standing"], lost["standing"]) == ("user_quit", "lost")


def test_a_lost_supervisors_print_run_is_told_from_transcript_and_tree(claude_cli: Path) -> None:
    """The supervisor is frozen before the agent's only command begins, so neither hook nor journal know of it."""
    frozen = threading.Event()
    plan = PlanScript(forever("long.txt"))

    def answer(request: Request) -> Reply:
        reply = plan(request)
        return Reply(calls=reply.calls, text=reply.text, hold=frozen)

    with desk(answer, claude_cli) as at:
        (at.work / "README.md").write_text("# A project, edited before\n")
        run = at.start("run", "--headless", "claude", "--", "-p", GOAL, BYPASS)
        at.llm.wait_for(lambda request: request.is_main, 30)
        agent = at.agent()
        run.send_signal(signal.SIGSTOP)
        frozen.set()
        at.has("long.txt")
        run.kill()
        run.wait(10)
        (at.work / "mine.txt").write_text("the user's own\n")
        told = at.engram("sessions")
        assert "lost" in told.stdout and "is durable: `engram resume" in told.stderr
        assert agent.pid not in [p.pid for p in at.home.processes()]
        content = at.checkpoint()
        assert content["goal"] == GOAL
        assert content["verdict"]["kind"] == "lost"
        assert any(
            line.startswith(f"its agent (pid {agent.pid}) ") for line in content["verdict"]["evidence"]
        )
        assert content["last_tool"]["status"] == "interrupted"
        assert "tail -f /dev/null" in content["last_tool"]["summary"]
        by = {change["path"]: change["by"] for change in content["modified_files"]}
        assert by == {"long.txt": "agent", "mine.txt": "unattributed"}
        at.settled()

        at.llm.script = lambda request: Reply.say("RESUMED-AND-DONE")
        before = len(at.llm.main_requests)
        done = at.engram("resume", "--headless", "--", "-p", BYPASS)
        assert (done.returncode, done.stdout) == (0, "RESUMED-AND-DONE\n")
        told_first = (GOAL, "tail -f /dev/null", "long.txt", "mine.txt", CONTINUE)
        assert missing(at.llm.main_requests[before], told_first) == []
