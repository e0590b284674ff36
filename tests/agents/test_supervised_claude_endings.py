"""How Claude Code sessions end, in both modes: the verdict, the exit code, and the checkpoint's reason."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.agents.harness import PtyAgent
from tests.agents.supervised import BYPASS, Desk, desk, forever, kill
from tests.fakes.scripted_llm import PlanScript, Reply, Request
from tests.support import wait_until

pytestmark = [pytest.mark.agents, pytest.mark.slow]

AT_ONCE: Final = {"CLAUDE_CODE_MAX_RETRIES": "0"}
TOO_LONG: Final = "prompt is too long: 1300000 tokens > 1000000 maximum"


@dataclass(frozen=True, slots=True)
class End:
    """What a session's end must look like."""

    verdict: str
    code: int
    reason: str
    interrupted: bool = True


INT = End("killed(2)", 0, "KILLED")
TERM = End("killed(15)", 143, "KILLED")
HUP = End("killed(1)", 129, "KILLED")
SIGNALS = pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGINT, INT), (signal.SIGTERM, TERM), (signal.SIGHUP, HUP)]
)


def judge(at: Desk, code: int, end: End, evidence: str = "") -> None:
    """Compare what Engram says of the only session with what it must say."""
    session, task, latest = at.session(), at.task(), at.checkpoints()[0]
    assert (session["standing"], code) == (end.verdict, end.code)
    assert (latest["reason"], task["interrupted"]) == (end.reason, end.interrupted)
    said = session["verdict"]["evidence"]
    assert said and any(evidence in line for line in said), said


def hanging() -> PlanScript:
    """Hangs in a command."""
    return PlanScript(forever("begun.txt"))


def was_cut_off(at: Desk) -> None:
    """The command the agent hung in was interrupted, not finished, and nothing of it lives."""
    content = at.checkpoint()
    assert content["last_tool"]["status"] == "interrupted"
    assert [i["text"] for i in content["in_progress"]] == [f"Bash: {content['last_tool']['summary']}"]
    assert content["last_failure"] is None
    at.settled()


@SIGNALS
def test_a_signal_ends_a_print_run_in_mid_tool(number: signal.Signals, end: End, claude_cli: Path) -> None:
    with desk(hanging(), claude_cli) as at:
        run = at.start("run", "--headless", "claude", "--", "-p", "Do the job", BYPASS)
        at.has("begun.txt")
        kill(at.agent(), number)
        judge(at, run.wait(20), end, f"{number.name} did not come from Engram")
        was_cut_off(at)


def test_sigterm_to_engram_itself_reaches_the_agent_of_a_print_run(claude_cli: Path) -> None:
    with desk(hanging(), claude_cli) as at:
        run = at.start("run", "--headless", "claude", "--", "-p", "Do the job", BYPASS)
        at.has("begun.txt")
        run.terminate()
        judge(at, run.wait(20), TERM, "SIGTERM was sent by Engram")


@pytest.mark.parametrize(
    ("act", "end"),
    [(lambda terminal: terminal.send("\x03"), INT), (PtyAgent.hang_up, HUP)],
    ids=["ctrl-c", "closed"],
)
def test_a_print_run_ends_with_its_terminal(
    act: Callable[[PtyAgent], None], end: End, claude_cli: Path
) -> None:
    words = ("run", "--headless", "claude", "--", "-p", "Do the job", BYPASS)
    with desk(hanging(), claude_cli) as at, at.open(*words) as terminal:
        at.has("begun.txt", terminal)
        act(terminal)
        judge(at, terminal.wait_exit(20), end)
        was_cut_off(at)


@pytest.mark.parametrize(
    ("reply", "end"),
    [
        (Reply.say("ALL-DONE"), End("finished", 0, "EXIT", interrupted=False)),
        (Reply.fail(401), End("auth", 1, "AUTH")),
        (Reply.fail(429), End("rate_limit", 1, "RATE_LIMIT")),
        (Reply.fail(529), End("overloaded", 1, "API_ERROR")),
        (Reply.fail(400, TOO_LONG), End("overflow", 1, "OVERFLOW")),
    ],
    ids=["normal", "401", "429", "529", "too long"],
)
def test_a_print_run_ends_as_the_api_answers(reply: Reply, end: End, claude_cli: Path) -> None:
    with desk(lambda request: reply, claude_cli, env=AT_ONCE) as at:
        done = at.engram("run", "--headless", "claude", "--", "-p", "Do the job", BYPASS)
        judge(at, done.returncode, end, "last turn failed" if end.code else "exit code 0")


@SIGNALS
def test_a_signal_ends_a_terminal_session_in_mid_tool(
    number: signal.Signals, end: End, claude_cli: Path
) -> None:
    with desk(hanging(), claude_cli) as at, at.open("run", "claude", "--", BYPASS, "Do the job") as terminal:
        at.has("begun.txt", terminal)
        kill(at.agent(), number)
        judge(at, terminal.wait_exit(20), end, f"{number.name} did not come from Engram")
        was_cut_off(at)


def leave_by_exit(terminal: PtyAgent) -> None:
    """`/exit`."""
    terminal.submit("/exit")


def leave_by_ctrl_c(terminal: PtyAgent) -> None:
    """Ctrl-C twice."""
    terminal.send("\x03")
    terminal.wait_screen("again to exit", 5)
    terminal.send("\x03")


@pytest.mark.parametrize("leave", [leave_by_exit, leave_by_ctrl_c])
def test_leaving_a_terminal_session_is_the_users_own_doing(
    leave: Callable[[PtyAgent], None], claude_cli: Path
) -> None:
    answer = Reply.say("ALL-DONE")
    end = End("user_quit", 0, "EXIT", interrupted=False)
    with (
        desk(lambda request: answer, claude_cli) as at,
        at.open("run", "claude", "--", BYPASS, "Do the job") as terminal,
    ):
        # While its Stop hooks run, Ctrl-C would interrupt those.
        terminal.wait_screen(lambda screen: "ALL-DONE" in screen and " · done " in screen, 30)
        leave(terminal)
        judge(at, terminal.wait_exit(15), end, "SessionEnd(prompt_input_exit)")


def test_ctrl_z_leaves_no_dead_session(claude_cli: Path) -> None:
    """Claude suspends itself and waits for a shell's `fg`, which nobody could type."""
    with (
        desk(lambda request: Reply.say("ALL-DONE"), claude_cli) as at,
        at.open("run", "claude", "--", BYPASS, "Do the job") as terminal,
    ):
        terminal.wait_screen(lambda screen: "ALL-DONE" in screen and " · done " in screen, 30)
        terminal.send("\x1a")
        terminal.wait_screen("there is no shell to return to", 10)
        leave_by_exit(terminal)
        judge(at, terminal.wait_exit(15), End("user_quit", 0, "EXIT", interrupted=False))


CONDITIONS: Final = (
    (Reply.fail(400, TOO_LONG), "context overflow since", "OVERFLOW"),
    (Reply.fail(429), "rate limit since", "RATE_LIMIT"),
    (Reply.fail(529), "overloaded since", "API_ERROR"),
    (Reply.fail(401), "not logged in since", "AUTH"),
)


def alarmed(words: str) -> Callable[[str], bool]:
    """Whether the frame's top line says so."""
    return lambda screen: f"▲ {words}" in screen


def calm(words: str) -> Callable[[str], bool]:
    """Whether the agent answered with these words, and no condition holds any more."""
    return lambda screen: f"● {words}" in screen and "▲" not in screen


def test_conditions_of_a_terminal_session_are_shown_kept_and_cleared(claude_cli: Path) -> None:
    """One session through all of them; the last one still holds when the user leaves, so it is the verdict."""
    replies: dict[str, Reply] = {}

    def answer(request: Request) -> Reply:
        asked = [word for word in replies if f"try {word}" in request.last_user_text]
        return replies[asked[-1]] if asked else Reply.say("Done.")

    with desk(answer, claude_cli, env=AT_ONCE) as at, at.open("run", "claude", "--", BYPASS) as terminal:
        terminal.wait_screen("● idle", 20)
        for number, (failure, shown, reason) in enumerate(CONDITIONS):
            replies[f"bad{number}"], replies[f"good{number}"] = failure, Reply.say(f"FINE-{number}")
            terminal.submit(f"try bad{number}")
            terminal.wait_screen(alarmed(shown), 10)
            terminal.wait_screen(reason.lower().replace("_", " "), 10)
            if failure is not CONDITIONS[-1][0]:
                terminal.submit(f"try good{number}")
                terminal.wait_screen(calm(f"FINE-{number}"), 10)
        reasons = {c["reason"] for c in at.checkpoints()}
        assert {reason for _, _, reason in CONDITIONS} <= reasons
        wait_until(lambda: list(at.session()["conditions"]) == ["auth"], 5)
        terminal.submit("/exit")
        judge(at, terminal.wait_exit(15), End("auth", 0, "AUTH"), "last turn failed")
