"""Telling an agent that has stalled from one that works, waits, was stopped, or slept with the machine.

Stalled: its turn runs, and for so many seconds there was no output, no hook and no transcript line, while none of its
processes was stopped (job control, a debugger) or used the CPU. Times are monotonic seconds, which stand still while
the machine is suspended; a gap between two looks (the supervisor itself was stopped) does not count either.
"""

from __future__ import annotations

from collections.abc import Sequence

from engram_tui.watch.process_table import ProcessRow

CPU_SHARE = 0.02
"""Of one core, over a window: an idle agent with timers and a collector uses less, a working one more."""
LONGEST_WINDOW_S = 30.0
GAP_S = 10.0
"""Looks come about once a second; after a longer gap nobody was awake to be heard."""


class Stall:
    """Watches one agent for `seconds` without a sign of life."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._window = min(LONGEST_WINDOW_S, seconds / 4)
        self._alive = self._looked = self._window_began = now
        self._cpu = 0.0

    def look(self, now: float, *, busy: bool, last_sign: float, rows: Sequence[ProcessRow]) -> float | None:
        """Seconds without a sign of life where they are too many, else None.

        `last_sign`: time of the last output, hook or transcript line. `rows`: the agent's processes now.
        """
        gap = now - self._looked
        self._looked = now
        if gap > GAP_S:
            self._alive += gap
            self._window_began += gap
        if not busy or any(row.stopped for row in rows) or self._works(now, rows):
            self._alive = now
        self._alive = max(self._alive, last_sign)
        quiet = now - self._alive
        return quiet if quiet >= self._seconds else None

    def _works(self, now: float, rows: Sequence[ProcessRow]) -> bool:
        """Whether the processes used the CPU in the window that has just ended (False within a window)."""
        passed = now - self._window_began
        if passed < self._window:
            return False
        cpu = sum(row.cpu_seconds for row in rows)
        used, self._cpu, self._window_began = cpu - self._cpu, cpu, now
        return used / passed > CPU_SHARE
