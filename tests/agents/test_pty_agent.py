"""The pty that agent tests use, proven with small shell programs."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.agents.pty_agent import PtyAgent
from tests.support import wait_until


def shell(code: str, folder: Path) -> PtyAgent:
    """A shell program on a pty."""
    environment = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color"}
    return PtyAgent(["sh", "-c", code], cwd=folder, env=environment, columns=60, rows=10)


def test_the_screen_is_rendered_and_the_exit_code_is_the_programs(tmp_path: Path) -> None:
    with shell(r"printf 'wrong\rRIGHT'; exit 3", tmp_path) as terminal:
        assert terminal.wait_screen("RIGHT", 5) == "RIGHT"
        assert terminal.output == b"wrong\rRIGHT"
        assert terminal.wait_exit(5) == 3


def test_a_line_is_typed_and_entered(tmp_path: Path) -> None:
    with shell("read line; echo got:$line", tmp_path) as terminal:
        terminal.submit("hello")
        terminal.wait_screen("got:hello", 5)


def test_terminal_queries_are_answered(tmp_path: Path) -> None:
    code = r"stty -icanon -echo min 1; printf '\033[6n'; head -c 6 | od -c | head -1; exit 0"
    with shell(code, tmp_path) as terminal:
        terminal.wait_screen("[   1   ;   1   R", 5)


def test_a_resize_reaches_the_program_and_the_screen(tmp_path: Path) -> None:
    with shell("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done", tmp_path) as terminal:
        terminal.wait_screen("ready", 5)
        terminal.resize(70, 20)
        terminal.wait_screen("20 70", 5)


def test_a_hang_up_is_a_closed_terminal(tmp_path: Path) -> None:
    with shell("echo ready; exec tail -f /dev/null", tmp_path) as terminal:
        terminal.wait_screen("ready", 5)
        terminal.hang_up()
        assert terminal.wait_exit(5) == -signal.SIGHUP


def test_text_that_does_not_come_fails_with_the_screen_shown(tmp_path: Path) -> None:
    with (
        shell("echo something else", tmp_path) as ended,
        pytest.raises(AssertionError, match=r"the program ended\):\nsomething else"),
    ):
        ended.wait_screen("this", 5)
    with (
        shell("echo waiting; exec tail -f /dev/null", tmp_path) as silent,
        pytest.raises(AssertionError, match=r"not within 0\.2 s"),
    ):
        silent.wait_screen("this", 0.2)


def test_closing_ends_the_program_and_its_children(tmp_path: Path) -> None:
    with shell("nohup tail -f /dev/null >/dev/null 2>&1 & echo ready; wait", tmp_path) as terminal:
        terminal.wait_screen("ready", 5)
        wait_until(lambda: [child.name() for child in terminal.children()] == ["tail"], 5)
        (child,) = terminal.children()
    assert not terminal.is_alive()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)
