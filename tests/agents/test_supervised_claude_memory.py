"""The same bug twice, with real Claude Code: yesterday's fix, stored by observation alone, reaches today's model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.supervised import BYPASS, desk, missing
from tests.fakes.scripted_llm import PlanScript, Reply, Request, Step, tool_said

pytestmark = [pytest.mark.agents, pytest.mark.slow]

CHECK = (
    "cat settings.ini; grep -q issuer settings.ini || "
    "{ echo 'ConfigError: claim issuer is missing in verify_token' >&2; exit 3; }"
)
ERROR = "claim issuer is missing"
KNOWN = "Engram: a failure like this is on record"


def run(name: str, command: str) -> Reply:
    """The model runs a command."""
    return Reply.call("Bash", command=command, description=name)


def said(text: str) -> Callable[[Request], bool]:
    """The result of a tool, an error or not, holds the text."""
    return lambda request: any(text in result.text for result in request.tool_results())


def times(text: str, count: int) -> Callable[[Request], bool]:
    """So many results hold the text."""
    return lambda request: sum(text in result.text for result in request.tool_results()) >= count


def test_yesterdays_fix_reaches_todays_model_when_the_same_command_fails(claude_cli: Path) -> None:
    yesterday = PlanScript(
        Step("fails", run("check", CHECK), done_when=said(ERROR)),
        Step("looks", Reply.call("Read", file_path="settings.ini"), done_when=tool_said("Read", "audience")),
        Step(
            "mends",
            Reply.call("Edit", file_path="settings.ini", old_string="audience", new_string="issuer=accounts"),
            done_when=tool_said("Edit"),
        ),
        Step("passes", run("check again", CHECK), done_when=tool_said("Bash", "issuer=accounts")),
        finish=Reply.say("MENDED"),
    )
    with desk(yesterday, claude_cli) as at:
        settings = at.work / "settings.ini"
        settings.write_text("audience\n")
        done = at.engram("run", "claude", "--headless", "--", "-p", "Mend the check", BYPASS)
        assert (done.returncode, done.stdout) == (0, "MENDED\n"), done.stderr
        assert not any(request.told(KNOWN) for request in at.llm.main_requests)
        at.settled()

        settings.write_text("audience\n")
        at.llm.script = PlanScript(
            Step("other", run("other", "ls no-such-folder-here"), done_when=said("no-such-folder")),
            Step("fails", run("check", CHECK), done_when=said(ERROR)),
            Step("again", run("once more", f"true; {CHECK}"), done_when=times(ERROR, 2)),
            finish=Reply.say("TOLD"),
        )
        before = len(at.llm.main_requests)
        again = at.engram("run", "claude", "--headless", "--", "-p", "Run the check", BYPASS)
        assert again.stdout == "TOLD\n", again.stderr
        first, after_other, after_check, after_second = at.llm.main_requests[before:]
        assert not first.told(KNOWN) and not after_other.told(KNOWN), "another failure gets nothing"
        assert missing(after_check, (KNOWN, "observed", "settings.ini", "issuer=accounts")) == []
        assert str(after_second.body).count(KNOWN) == 1, "said once a session"
