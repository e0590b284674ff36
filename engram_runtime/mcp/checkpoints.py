"""Checkpoints without a supervisor: composed from the journal's state alone, written when something changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engram_runtime.continuity.checkpoint import closed, compose, gather, same_state
from engram_runtime.continuity.continuation import hours_between
from engram_runtime.journal.events import CheckpointWritten
from engram_runtime.journal.records import CheckpointReason, Verdict
from engram_runtime.state.views import CheckpointView

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

DEBOUNCE_SECONDS = 60
"""A second checkpoint for the same reason waits this long; restore_checkpoint makes up for what was left out."""
DEBOUNCED: frozenset[CheckpointReason] = frozenset(
    {"PLAN_UPDATE", "WORKING_SET_SHIFT", "TOOL_FINISHED", "AUTO_SAVE"}
)


def composed(
    runtime: Runtime,
    task: int,
    reason: CheckpointReason,
    *,
    trigger: str,
    position: int | None = None,
    session: str | None = None,
    verdict: Verdict | None = None,
) -> CheckpointWritten | None:
    """The event that would write a checkpoint of a task; None if its state is that of the latest version.

    With a `verdict` the session is over: calls still running count as interrupted.
    """
    facts = gather(runtime.state, task, session)
    if verdict is not None:
        facts = closed(replace(facts, verdict=verdict))
    content = compose(facts)
    if facts.previous is not None and same_state(content, facts.previous):
        return None
    return CheckpointWritten(
        task=task,
        reason=reason,
        content=content,
        trigger=trigger,
        trigger_position=position,
        last_tool=content.last_tool,
    )


def write_checkpoint(
    runtime: Runtime,
    task: int,
    reason: CheckpointReason,
    *,
    trigger: str,
    position: int | None = None,
    facts_of: str | None = None,
    session: str | None = None,
    project: str | None = None,
    debounce: bool = True,
) -> CheckpointView | None:
    """Write a checkpoint of a task; None where nothing changed, or the same reason wrote one a moment ago.

    `facts_of` is the session that worked on it, `session` the one that writes.
    """
    latest = runtime.state.checkpoint_version(task)
    if debounce and latest is not None and latest.reason == reason and reason in DEBOUNCED:
        seconds = hours_between(latest.created_at, datetime.now(UTC)) * 3600
        if seconds < DEBOUNCE_SECONDS:
            return None
    event = composed(runtime, task, reason, trigger=trigger, position=position, session=facts_of)
    if event is None:
        return None
    (written,) = runtime.append(event, session=session, project=project)
    return runtime.state.checkpoint(written)
