"""What ends the screen's process leaves the agent at work and the terminal as it was."""

from __future__ import annotations

import signal
import termios

import pytest

from tests.agents.pty_agent import PtyAgent
from tests.integration.cli.runs import Bench
from tests.support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G5")]
ECHO = 3
"""Where termios keeps the local modes."""


def echoes(terminal: PtyAgent) -> bool:
    return bool(termios.tcgetattr(terminal._child.fd)[ECHO] & termios.ECHO)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_detaches_and_restores_the_terminal(at: Bench, number: signal.Signals) -> None:
    with at.open("run", "demo", env={"ENGRAM_DEMO_PACE": "0"}) as terminal:
        terminal.wait_screen("/exit ends", 30)
        assert not echoes(terminal)
        terminal.kill(number)
        assert terminal.wait_exit(20) == 0
        wait_until(lambda: b"detached; the agent goes on" in terminal.output, 10)
        for restored in (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?25h"):
            assert restored in terminal.output
        assert echoes(terminal)
    assert at.engram("stop").code == 0


def test_a_signal_leaves_the_browser_with_the_terminal_restored(at: Bench) -> None:
    with at.open() as terminal:
        terminal.wait_screen("No sessions yet", 30)
        terminal.kill(signal.SIGTERM)
        assert terminal.wait_exit(20) == 0
        wait_until(lambda: b"\x1b[?1049l" in terminal.output, 10)
        assert echoes(terminal)


def test_a_closed_window_ends_the_screen_and_not_the_agent(at: Bench) -> None:
    with at.open("run", "demo", env={"ENGRAM_DEMO_PACE": "0"}) as terminal:
        terminal.wait_screen("/exit ends", 30)
        terminal.hang_up()
        terminal.wait_exit(20)
        assert at.engram("stop").code == 0
