"""Whether there is a terminal here that a session can be shown in."""

from __future__ import annotations

import os
import sys

from engram_runtime.errors import UsageError

SMALLEST = (40, 10)


def is_terminal() -> bool:
    """Whether somebody reads and types here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def terminal_size() -> tuple[int, int]:
    """Columns and rows; 80×24 where nobody says (no terminal, or one that does not know)."""
    try:
        size = os.get_terminal_size()
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24


def check_terminal(what: str, hint: str) -> None:
    """Raise UsageError where there is no terminal, or one smaller than 40×10. `what` needs it; `hint`: what to do."""
    if not is_terminal():
        raise UsageError(f"{what} needs a terminal, and there is none here.", hint=hint)
    columns, rows = terminal_size()
    if columns < SMALLEST[0] or rows < SMALLEST[1]:
        raise UsageError(
            f"The terminal is {columns}×{rows}; Engram needs {SMALLEST[0]}×{SMALLEST[1]}.",
            hint=f"Enlarge it. {hint}",
        )
