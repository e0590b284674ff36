"""Executions, retries and subtasks, restores and drift: what their events do to the rows.

A chain of retries is numbered where it is projected, in journal order: two retries at once are two attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engram_runtime.journal import events
from engram_runtime.journal.events import Recorded
from engram_runtime.state import schema
from engram_runtime.state.rows import fields_of, insert_into

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INSERT_EXECUTION = insert_into(schema.EXECUTIONS)
_INSERT_RESTORE = insert_into(schema.RESTORES)
_INSERT_DRIFT = insert_into(schema.DRIFTS)
_RELATED = "SELECT origin, execution FROM tasks WHERE id = ? AND project = ?"
_LATEST = "SELECT id, attempt FROM tasks WHERE origin = ? ORDER BY attempt DESC LIMIT 1"
_FAMILY = """WITH RECURSIVE family (id) AS (
    SELECT :task
    UNION SELECT up.parent FROM tasks up JOIN family ON up.id = family.id WHERE up.parent IS NOT NULL
    UNION SELECT first.origin FROM tasks first JOIN family ON first.id = family.id
    UNION SELECT again.id FROM tasks again JOIN family ON again.origin = family.id
    UNION SELECT down.id FROM tasks down JOIN family ON down.parent = family.id)
    UPDATE tasks SET execution = :execution
    WHERE id IN (SELECT id FROM family) AND execution IS NULL AND project = :project"""


def place_of(rows: Connection, at: Recorded, event: events.TaskCreated) -> dict[str, Any]:
    """Where a new task stands among its family: columns of `tasks`."""
    alone = {"execution": None, "origin": at.position, "attempt": 1, "previous": None}
    related = event.retry_of if event.retry_of is not None else event.parent
    found = rows.exec_driver_sql(_RELATED, (related, at.project)).first() if related is not None else None
    if found is None:
        return alone
    origin, execution = found
    if event.retry_of is None:
        return alone | {"execution": execution}
    previous, attempt = rows.exec_driver_sql(_LATEST, (origin,)).one()
    return {"execution": execution, "origin": origin, "attempt": attempt + 1, "previous": previous}


def active(rows: Connection, at: Recorded, task: int, *, resume: bool = False) -> None:
    """Something was told about a task: its execution is active; a new attempt goes on with one that was paused."""
    status = ", status = CASE status WHEN 'paused' THEN 'active' ELSE status END" if resume else ""
    rows.exec_driver_sql(
        f"UPDATE executions SET last_active_at = ?{status} WHERE id = (SELECT execution FROM tasks WHERE id = ?)",  # noqa: S608
        (at.at, task),
    )


def execution_started(rows: Connection, at: Recorded, event: events.ExecutionStarted) -> None:
    """A new execution for a task and its family; none where the task has one (somebody else was first)."""
    found = rows.exec_driver_sql(_RELATED, (event.task, at.project)).first()
    if found is None or found[1] is not None:
        return
    values = fields_of(event, "goal", "user", "origin_checkpoint") | {
        "id": at.position,
        "status": "active",
        "project": at.project,
        "continuity_score": None,
        "created_at": at.at,
        "last_active_at": at.at,
    }
    rows.exec_driver_sql(_INSERT_EXECUTION, values)
    rows.exec_driver_sql(_FAMILY, {"task": event.task, "execution": at.position, "project": at.project})


def execution_ended(rows: Connection, at: Recorded, event: events.ExecutionEnded) -> None:
    """Completed, abandoned or paused."""
    rows.exec_driver_sql(
        "UPDATE executions SET status = ?, last_active_at = ? WHERE id = ?",
        (event.status, at.at, event.execution),
    )


def checkpoint_restored(rows: Connection, at: Recorded, event: events.CheckpointRestored) -> None:
    """A package was handed out."""
    rows.exec_driver_sql(_INSERT_RESTORE, fields_of(event, "task", "checkpoint", "to") | _seen(at))


def briefing_injected(rows: Connection, at: Recorded, event: events.BriefingInjected) -> None:
    """A briefing reached the agent: it knows the checkpoint from then on."""
    values = fields_of(event, "task", "checkpoint") | {"to": "briefing"}
    rows.exec_driver_sql(_INSERT_RESTORE, values | _seen(at))


def drift_detected(rows: Connection, at: Recorded, event: events.DriftDetected) -> None:
    """Drift, as it was said or seen."""
    rows.exec_driver_sql(_INSERT_DRIFT, fields_of(event, "task", "composite", "source") | _seen(at))


def continuity_evaluated(rows: Connection, at: Recorded, event: events.ContinuityEvaluated) -> None:
    """The last score stands for the execution."""
    if event.composite is not None:
        rows.exec_driver_sql(
            "UPDATE executions SET continuity_score = ? WHERE id = (SELECT execution FROM tasks WHERE id = ?)",
            (event.composite, event.task),
        )


def _seen(at: Recorded) -> dict[str, Any]:
    return {"id": at.position, "session": at.session, "created_at": at.at}
