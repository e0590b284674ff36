"""When a frame is due (at most 60 a second, the first change at once, none in the middle of a synchronized repaint),
and how fast output is taken from the agent.
"""

from __future__ import annotations

from typing import Final

FRAME_SECONDS: Final = 1 / 60
HOLD_SECONDS: Final = 0.15
"""Longest wait for the end of a synchronized repaint (mode 2026)."""


FLOOD_RATE: Final = 8 << 20
"""Bytes of output a second in the long run, some 200,000 lines: with more, a flood costs more than half a core."""
FLOOD_BURST: Final = 8 << 20
"""Bytes taken at once before that counts."""
PAUSE_SECONDS: Final = 0.005
"""Pause after each read once three quarters of the burst are used up: a pty gives 4 KB a read, and each is work."""


class FramePacer:
    """Times frames by whatever clock its caller passes in (seconds)."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._held_since: float | None = None
        self._changed = False

    @property
    def pending(self) -> bool:
        """Whether something has changed since the last frame."""
        return self._changed

    def changed(self) -> None:
        """Something a frame would show has changed."""
        self._changed = True

    def hurry(self) -> None:
        """A frame is wanted now, whatever was sent last."""
        self._changed = True
        self._last = float("-inf")

    def wait(self, now: float, synchronized: bool) -> float | None:
        """Seconds until a frame is due, 0 or less if it is; None while there is nothing to show."""
        if not self._changed:
            return None
        due = self._last + FRAME_SECONDS
        if not synchronized:
            self._held_since = None
        else:
            if self._held_since is None:
                self._held_since = now
            due = max(due, self._held_since + HOLD_SECONDS)
        return max(due - now, 0.0)

    def sent(self, now: float) -> None:
        """A frame went out."""
        self._last, self._held_since, self._changed = now, None, False


class Throttle:
    """Lets a burst through and then a steady rate: a flood must not take the cores from the agents that work."""

    def __init__(self, rate: int = FLOOD_RATE, burst: int = FLOOD_BURST) -> None:
        """`rate` in bytes a second, `burst` in bytes."""
        self._rate, self._burst = rate, burst
        self._left = float(burst)
        self._at: float | None = None

    def taken(self, now: float, size: int) -> float:
        """Seconds in which nothing more should be read, after `size` bytes were; `now` in seconds of any clock."""
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= size
        return max(PAUSE_SECONDS, -self._left / self._rate) if self._left < self._burst / 4 else 0.0
