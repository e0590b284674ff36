"""When a frame is due: at most 60 a second, the first change at once, none in the middle of a synchronized repaint."""

from __future__ import annotations

from typing import Final

FRAME_SECONDS: Final = 1 / 60
HOLD_SECONDS: Final = 0.15
"""Longest wait for the end of a synchronized repaint (mode 2026)."""


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
