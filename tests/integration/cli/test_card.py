"""The recovery card before `engram run`, on a real terminal: Enter goes on with what was typed."""

from __future__ import annotations

import pytest

from tests.integration.cli.runs import Bench
from tests.support import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.guarantee("G3")
def test_enter_on_the_card_starts_what_was_typed_whoever_worked_before(at: Bench) -> None:
    assert at.engram("run", "--headless", "--", "false").code == 1
    with at.open("run", "demo", env={"ENGRAM_DEMO_PACE": "60"}) as terminal:
        terminal.wait_screen("Enter continue with demo", 30)
        terminal.send("\r")
        wait_until(lambda: at.engram("stop").code == 0, 30)
        terminal.wait_exit(30)
    command = 'cat "$ENGRAM_BRIEFING" > told; echo "$0" > ran'
    with at.open("run", "--", "sh", "-c", command, "as typed") as terminal:
        terminal.wait_screen("Enter continue with sh", 30)
        terminal.send("\r")
        terminal.wait_exit(30)
    assert (at.work / "ran").read_text() == "as typed\n"
    assert (at.work / "told").read_text()
    assert len(at.ask("tasks")) == 1
