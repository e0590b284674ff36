"""What each event does to the rows of the state: a pure function of (rows, event), in journal order.

Nothing here asks a clock, a file or a random number: replaying the journal gives the same rows. The
dispatch is closed: every kind is either in HANDLERS or said to leave the state alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from engram_runtime.journal import events
from engram_runtime.journal.events import Event, Recorded
from engram_runtime.state import import_rows, lineage_rows, session_rows, task_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

Handler = Callable[["Connection", Recorded, Any], None]

HANDLERS: dict[type[Event], Handler] = {
    events.SessionStarted: session_rows.session_started,
    events.AgentSpawned: session_rows.agent_spawned,
    events.NativeSessionSeen: session_rows.native_session_seen,
    events.PromptSubmitted: session_rows.prompt_submitted,
    events.ToolStarted: session_rows.tool_started,
    events.ToolFinished: session_rows.tool_finished,
    events.TurnFinished: session_rows.turn_finished,
    events.PlanObserved: session_rows.plan_observed,
    events.FilesObserved: session_rows.files_observed,
    events.ContextMeasured: session_rows.context_measured,
    events.ConditionRaised: session_rows.condition_raised,
    events.ConditionCleared: session_rows.condition_cleared,
    events.SignalSent: session_rows.signal_sent,
    events.AgentExited: session_rows.agent_exited,
    events.SessionEnded: session_rows.session_ended,
    events.TaskCreated: task_rows.task_created,
    events.TaskUpdated: task_rows.task_updated,
    events.TaskAttached: task_rows.task_attached,
    events.ExecutionStarted: lineage_rows.execution_started,
    events.ExecutionEnded: lineage_rows.execution_ended,
    events.DriftDetected: lineage_rows.drift_detected,
    events.ContinuityEvaluated: lineage_rows.continuity_evaluated,
    events.CheckpointRestored: lineage_rows.checkpoint_restored,
    events.BriefingInjected: lineage_rows.briefing_injected,
    events.ProgressTracked: task_rows.progress_tracked,
    events.FailureTracked: task_rows.failure_tracked,
    events.HandoffRecorded: task_rows.handoff_recorded,
    events.InterruptionReported: task_rows.interruption_reported,
    events.CheckpointWritten: task_rows.checkpoint_written,
    events.RecordsImported: import_rows.records_imported,
}

COUNTED_ONLY: frozenset[type[Event]] = frozenset(
    {
        events.CompactionStarted,
        events.CompactionFinished,
        events.KnownFailureTold,
        events.MemoryStored,
        events.MemoryUpdated,
        events.MemorySuperseded,
        events.MemoryRecalled,
        events.MemoryCompared,
        events.MemoryReinforced,
        events.MemoryPruned,
        events.MemoryRestored,
        events.OutcomeReported,
        events.MaintenanceDone,
        events.Forgotten,
        events.EventLost,
        events.JournalRecovered,
    }
)
"""Kinds that leave no row here but their count."""

_COUNT = """INSERT INTO counts (kind, events) VALUES (?, ?)
    ON CONFLICT (kind) DO UPDATE SET events = events + excluded.events"""


def project(rows: Connection, recorded: Sequence[Recorded]) -> None:
    """Apply events to the rows. The caller holds the transaction and stores the position in it."""
    for at in recorded:
        if at.event is not None:
            handler = HANDLERS.get(type(at.event))
            if handler is not None:
                handler(rows, at, at.event)
        elif at.payload is not None:
            rows.exec_driver_sql("INSERT INTO skipped VALUES (?, ?, ?)", (at.position, at.kind, at.version))
    # What only adds up is written once for all of them: half of the statements.
    rows.exec_driver_sql(_COUNT, list(Counter(at.kind for at in recorded).items()))
    for at in {at.session: at for at in recorded if at.session is not None}.values():
        session_rows.touch(rows, at)
