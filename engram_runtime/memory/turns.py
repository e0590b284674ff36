"""Whose turn it is to use the model."""

from __future__ import annotations

import threading


class Busy(Exception):
    """Too many others wait: whoever asked does not wait any more when the turn comes."""


class Turns:
    """Lets one thread encode at a time, urgent ones first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._urgent = 0

    def take(self, *, urgent: bool, within: float | None = None) -> None:
        """Waits for the turn. Raises Busy when it does not come within so many seconds."""
        with self._changed:
            self._urgent += urgent
            came = self._changed.wait_for(lambda: not self._busy and (urgent or not self._urgent), within)
            self._urgent -= urgent
            if not came:
                raise Busy
            self._busy = True

    def give_back(self) -> None:
        """Ends the turn."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
