"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Start as from a terminal: under nohup or in the background HUP, INT and QUIT are ignored, and every program
    that a test starts would inherit that.
    """
    for number, usual in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)
