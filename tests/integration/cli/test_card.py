"""The recovery card before `engram run`, on a real terminal."""

from __future__ import annotations

import pytest

from tests.integration.cli.runs import Bench
from tests.support import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.guarantee("G3")
def test_the_card_says_who_changed_what_and_enter_starts_what_was_typed(at: Bench) -> None:
    assert at.engram("run", "--headless", "--", "false").code == 1
    with at.open("run", "demo", env={"ENGRAM_DEMO_PACE": "60"}) as terminal:
        terminal.wait_screen("Enter continue with demo", 30)
        terminal.send("\r")
        # Only a session that left something open is offered again.
        wait_until(lambda: at.ask("tasks")[0]["features_open"], 30)
        wait_until(lambda: at.engram("stop").code == 0, 30)
        terminal.wait_exit(30)
    (at.work / "later.txt").touch()
    command = 'cat "$ENGRAM_BRIEFING" > told; echo "$0" > ran'
    with at.open("run", "--", "sh", "-c", command, "as typed") as terminal:
        screen = terminal.wait_screen("Enter continue with sh", 30)
        (changed,) = [line for line in screen.splitlines() if "later.txt" in line]
        assert "Changed since" in changed and "author unseen" in changed
        terminal.send("\r")
        terminal.wait_exit(30)
    assert (at.work / "ran").read_text() == "as typed\n"
    assert (at.work / "told").read_text()
    assert len(at.ask("tasks")) == 1
