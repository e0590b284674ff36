"""A conversation that is compacted or cleared: the task goes on, and the model is told of it again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.agents.supervised import BYPASS, Desk, call_once, desk, missing, shell, track
from tests.fakes.plan_script import answer_side_request
from tests.fakes.scripted_llm import PlanScript, Reply, Request, Step, tool_said

pytestmark = [pytest.mark.agents, pytest.mark.slow]

GOAL = "Fix the login redirect"
KEEP = "the public names of auth/validator.py"
NEARLY_FULL = {"input_tokens": 980_000, "output_tokens": 10}
"""Claude compacts a window of a million tokens before the next request."""


class Conversation:
    """Works until its context is nearly full; notes which checkpoints were durable when the summary was asked for."""

    def __init__(self) -> None:
        self.at: Desk | None = None
        self.kept_before_summary: list[str] = []
        self.asked_after: dict[str, Request] = {}
        full = Reply.call("Bash", command="echo last > last.txt && echo wrote-last", description="last")
        self._plan = PlanScript(
            shell("one", "echo one > one.txt && echo wrote-one", "wrote-one"),
            track("reproduce in test", "done"),
            call_once("session_handoff", summary="half way", must_preserve=[KEEP]),
            shell("two", "echo two > two.txt && echo wrote-two", "wrote-two"),
            Step(
                "last", Reply(calls=full.calls, usage=NEARLY_FULL), done_when=tool_said("Bash", "wrote-last")
            ),
            side=self._side,
        )
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        """The plan; after the summary and after `/clear` one sentence each."""
        if request.is_main and self.kept_before_summary:
            cleared = request.told("what now") and not request.told("begin")
            return self._say("CLEARED" if cleared else "COMPACTED", request)
        return self._plan(request)

    def _say(self, word: str, request: Request) -> Reply:
        with self._lock:
            self.asked_after.setdefault(word, request)
        return Reply.say(f"{word}-AND-DONE")

    def _side(self, request: Request) -> Reply:
        if request.is_summary and self.at is not None:
            self.kept_before_summary += [c["reason"] for c in self.at.checkpoints()]
        return answer_side_request(request)


def test_compaction_and_clear_keep_the_task(claude_cli: Path) -> None:
    script = Conversation()
    with desk(script, claude_cli) as at:
        script.at = at
        with at.open("run", "claude", "--", BYPASS, GOAL) as terminal:
            terminal.wait_screen("● COMPACTED-AND-DONE", 40)
            assert "COMPACTION" in script.kept_before_summary
            known = (GOAL, "reproduce in test", KEEP, "<engram-briefing")
            assert missing(script.asked_after["COMPACTED"], known) == []
            compacted = at.session()
            terminal.submit("/clear")
            terminal.wait_screen(lambda screen: "COMPACTED-AND-DONE" not in screen.split("╮ ▾")[0], 10)
            terminal.submit("what now")
            terminal.wait_screen("● CLEARED-AND-DONE", 15)
            assert missing(script.asked_after["CLEARED"], known) == []
            terminal.submit("/exit")
            assert terminal.wait_exit(15) == 0
        ended = at.session()
        assert ended["native_id"] != compacted["native_id"]
        assert ended["native_id"] in ended["transcript_path"]
        assert ended["last_said"] == "CLEARED-AND-DONE"
        task = at.task()
        assert (task["goal"], task["attempts"]) == (GOAL, 1)
