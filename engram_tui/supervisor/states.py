"""The states of a session and the moves between them (standard library only).

starting → running (idle | busy | waiting | stalled | limited) → stopping → ended
any → lost, seen from outside only (a dead supervisor's lock can be taken)
"""

from __future__ import annotations

from typing import Literal, get_args

State = Literal["starting", "idle", "busy", "waiting", "stalled", "limited", "stopping", "ended"]
RUNNING: frozenset[str] = frozenset(("idle", "busy", "waiting", "stalled", "limited"))
MOVES: dict[str, frozenset[str]] = {
    "starting": RUNNING | {"stopping", "ended"},
    **{state: (RUNNING - {state}) | {"stopping", "ended"} for state in RUNNING},
    "stopping": frozenset(("ended",)),
    "ended": frozenset(),
}


class SessionState:
    """Where a session is, and since when (a monotonic and a wall clock time, seconds)."""

    def __init__(self, now: float, wall: float) -> None:
        self.state: State = "starting"
        self.since = now
        self.since_wall = wall

    @property
    def running(self) -> bool:
        """The adapter has seen readiness, and the end is not near."""
        return self.state in RUNNING

    def move(self, to: State, now: float, wall: float) -> bool:
        """Go to a state; False where it is already there or the move is not one (an end is never undone)."""
        if to not in get_args(State):
            raise ValueError(f"no such state: {to}")
        if to not in MOVES[self.state]:
            return False
        self.state, self.since, self.since_wall = to, now, wall
        return True
