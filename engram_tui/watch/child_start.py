"""What happens between fork and exec, so that an agent starts as from a shell and not as from a Python program."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

SESSION_VARIABLE = "ENGRAM_SESSION"
"""Environment variable of all that a session's agent starts: the session's id."""
_PR_SET_PDEATHSIG = 1  # prctl(2)
_IGNORED_BY_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
_UNCHANGEABLE = frozenset({signal.SIGKILL, signal.SIGSTOP})


def inherited_ignores() -> frozenset[int]:
    """Signals ignored by whoever started this process (`nohup`: SIGHUP); ask before setting handlers of one's own.

    CPython itself ignores SIGPIPE and SIGXFSZ, so those two are never in the answer.
    """
    return _ignored() - _IGNORED_BY_PYTHON


def child_preparation(
    *, cwd: str | None, keep_ignored: Collection[int] = (), parent_death_signal: int = 0
) -> Callable[[], None]:
    """A function for the child to call before exec: default signals, empty mask, folder, death signal.

    `keep_ignored` stay ignored. `parent_death_signal` (Linux; 0 = none) reaches the child when the thread that
    forked it ends, so fork from the main thread. Everything that allocates or imports is done here, before the fork.
    """
    to_default = sorted(_ignored() - frozenset(keep_ignored))
    prctl = ctypes.CDLL(None).prctl if parent_death_signal and sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        for number in to_default:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, parent_death_signal, 0, 0, 0)
            if os.getppid() != parent:  # It died before prctl could promise anything.
                os.kill(os.getpid(), parent_death_signal)
        if cwd is not None:
            os.chdir(cwd)

    return prepare


def checked_argv(argv: Sequence[str], cwd: str | None) -> list[str]:
    """The command as a list, a relative program path made absolute against `cwd`.

    Raises ValueError for an empty command and NotADirectoryError for a `cwd` that is no folder: found here,
    before the fork, where the caller can say so.
    """
    if not argv or not argv[0]:
        raise ValueError("an agent's command must name a program")
    if cwd is not None and not Path(cwd).is_dir():
        raise NotADirectoryError(f"not a folder: {cwd}")
    program = argv[0]
    if "/" in program:
        program = os.path.abspath(os.path.join(cwd or ".", program))  # noqa: PTH100 - links stay as they are
    return [program, *argv[1:]]


def _ignored() -> frozenset[int]:
    return frozenset(
        int(number)
        for number in signal.valid_signals() - _UNCHANGEABLE
        if signal.getsignal(number) is signal.SIG_IGN
    )
