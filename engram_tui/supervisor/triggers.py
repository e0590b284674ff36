"""Which moments call for a checkpoint, and for which reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engram_runtime.journal.events import Recorded
from engram_runtime.journal.records import CheckpointReason
from engram_tui.watch import observations as ob

REASON_OF_CONDITION: dict[str, CheckpointReason] = {
    "rate_limit": "RATE_LIMIT",
    "overloaded": "API_ERROR",
    "overflow": "OVERFLOW",
    "auth": "AUTH",
    "api_error": "API_ERROR",
    "stalled": "HANG",
}


class Triggers:
    """Turns observations into wishes for a checkpoint (the composer debounces and drops unchanged ones)."""

    def __init__(self, wish: Callable[[CheckpointReason, str], None]) -> None:
        self._wish = wish

    def saw(self, observation: ob.Observation) -> None:
        """Look at what was just recorded."""
        if isinstance(observation, ob.TurnFailed | ob.Retrying):
            self._wish(REASON_OF_CONDITION[observation.condition], observation.text[:120])
        elif isinstance(observation, ob.PlanSeen):
            self._wish("PLAN_UPDATE", "the agent's to-do list changed")
        elif isinstance(observation, ob.ToolEnded):
            outcome = "succeeded" if observation.ok else "failed"
            self._wish("TOOL_FINISHED", f"{observation.tool} {outcome}: {observation.summary}"[:160])
        elif isinstance(observation, ob.TurnEnded):
            self._wish("AUTO_SAVE", "the agent ended its turn")
        elif isinstance(observation, ob.CompactionBegan) and observation.channel != "hook":
            self._wish("COMPACTION", f"compaction ({observation.trigger})")


class AutoSave:
    """Says when an AUTO_SAVE is due: so many seconds without a checkpoint, and something was recorded since."""

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.after = 0
        """Journal position up to which events were looked at."""
        self._since = now
        self._written: int | None = None

    def due(self, now: float, written: int | None) -> bool:
        """Whether it is time (monotonic seconds); `written` is the id of the session's last checkpoint."""
        if written != self._written:
            self._written, self._since = written, now
        if now - self._since < self.seconds:
            return False
        self._since = now
        return True

    def worth_it(self, events: Sequence[Recorded]) -> bool:
        """Whether the session's events after `after` tell of work: a checkpoint is none."""
        self.after = max((event.position for event in events), default=self.after)
        newest = self._written or 0
        return any(e.position > newest and e.kind != "CheckpointWritten" for e in events)
