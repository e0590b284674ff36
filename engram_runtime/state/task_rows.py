"""Tasks, checkpoints and what is known about the work: what their events do to the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram_runtime.journal import events
from engram_runtime.journal.events import Recorded
from engram_runtime.state import schema
from engram_runtime.state.lineage_rows import active, place_of
from engram_runtime.state.rows import fields_of, insert_into, json_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INSERT_TASK = insert_into(schema.TASKS)
_INSERT_CHECKPOINT = insert_into(schema.CHECKPOINTS)
_INSERT_PROGRESS = insert_into(schema.PROGRESS)
_INSERT_FAILURE = insert_into(schema.FAILURES)
_INSERT_HANDOFF = insert_into(schema.HANDOFFS)
_INSERT_INTERRUPTION = insert_into(schema.INTERRUPTIONS)
_PROGRESS = ("status", "completion", "blockers", "quality_score", "notes")


def task_created(rows: Connection, at: Recorded, event: events.TaskCreated) -> None:
    """A new task; its id is the event's position."""
    names = ("name", "goal", "status", "user", "metadata", "parent", "source", "retry_of", "checkpoint")
    values = fields_of(event, *names) | {
        "id": at.position,
        "project": at.project,
        "created_at": at.at,
        "updated_at": at.at,
        "updated": at.position,
        "last_session": None,
    }
    rows.exec_driver_sql(_INSERT_TASK, values | place_of(rows, at, event))
    active(rows, at, at.position, resume=True)


def task_updated(rows: Connection, at: Recorded, event: events.TaskUpdated) -> None:
    """Name, status, goal, metadata; None leaves what was."""
    rows.exec_driver_sql(
        """UPDATE tasks SET name = coalesce(:name, name), status = coalesce(:status, status),
           goal = coalesce(:goal, goal), metadata = coalesce(:metadata, metadata) WHERE id = :task""",
        fields_of(event, "task", "name", "status", "goal", "metadata"),
    )
    _touch(rows, at, event.task)


def task_attached(rows: Connection, at: Recorded, event: events.TaskAttached) -> None:
    """An attempt: the session works on the task, so earlier interruptions of it are resolved."""
    if at.session is None:
        return
    place = {"task": event.task, "session": at.session, "position": at.position}
    rows.exec_driver_sql(insert_into(schema.ATTEMPTS, or_ignore=True), place)
    rows.exec_driver_sql("UPDATE sessions SET task = :task WHERE id = :session", place)
    rows.exec_driver_sql("UPDATE tasks SET last_session = :session WHERE id = :task", place)
    rows.exec_driver_sql(
        "UPDATE interruptions SET resolved_by = :session WHERE task = :task AND resolved_by IS NULL", place
    )
    _touch(rows, at, event.task)


def checkpoint_written(rows: Connection, at: Recorded, event: events.CheckpointWritten) -> None:
    """The task's next version."""
    latest = rows.exec_driver_sql(
        "SELECT max(version) FROM checkpoints WHERE task = ?", (event.task,)
    ).scalar()
    values = fields_of(event, "task", "reason", "trigger", "trigger_position", "content") | {
        "id": at.position,
        "version": (latest or 0) + 1,
        "parent_version": latest,
        "session": at.session,
        "created_at": at.at,
        "confidence": event.content.confidence.total(),
        "changed_files": len(event.content.modified_files),
    }
    rows.exec_driver_sql(_INSERT_CHECKPOINT, values)
    _touch(rows, at, event.task)


def progress_tracked(rows: Connection, at: Recorded, event: events.ProgressTracked) -> None:
    """One row per user, task and feature (without a task: per project)."""
    key = {"user": event.user, "task": event.task, "feature": event.feature, "project": at.project}
    memory = rows.exec_driver_sql(
        """SELECT memory FROM progress WHERE feature = :feature AND "user" = :user AND task IS :task
           AND (:task IS NOT NULL OR project = :project)""",
        key,
    ).scalar()
    values = fields_of(event, *_PROGRESS) | {"updated_at": at.at, "position": at.position}
    if memory is None:
        values |= key | {"memory": at.position, "created_at": at.at}
        rows.exec_driver_sql(_INSERT_PROGRESS, values)
    else:
        changes = ", ".join(f"{name} = :{name}" for name in values)
        rows.exec_driver_sql(
            f"UPDATE progress SET {changes} WHERE memory = :memory",  # noqa: S608
            values | {"memory": memory},
        )
    _touch(rows, at, event.task)


def failure_tracked(rows: Connection, at: Recorded, event: events.FailureTracked) -> None:
    """A failure."""
    names = (
        "error",
        "component",
        "root_cause",
        "severity",
        "fix",
        "related_test_ids",
        "user",
        "task",
        "source",
    )
    rows.exec_driver_sql(_INSERT_FAILURE, fields_of(event, *names) | _memory(at))
    _touch(rows, at, event.task)


def handoff_recorded(rows: Connection, at: Recorded, event: events.HandoffRecorded) -> None:
    """A handoff."""
    names = (
        "summary", "completed", "in_progress", "blocked", "next_steps", "must_not_redo", "must_preserve",
        "working_set", "user", "task",
    )  # fmt: skip
    rows.exec_driver_sql(_INSERT_HANDOFF, fields_of(event, *names) | _memory(at))
    _touch(rows, at, event.task)


def interruption_reported(rows: Connection, at: Recorded, event: events.InterruptionReported) -> None:
    """An interruption: of the task named, else of the one the session works on."""
    task = event.task
    if task is None and at.session is not None:
        task = rows.exec_driver_sql("SELECT task FROM sessions WHERE id = ?", (at.session,)).scalar()
    values = fields_of(event, "reason", "user", "source") | {
        "context": json_text(event.context),
        "id": at.position,
        "task": task,
        "project": at.project,
        "session": at.session or event.reported_session,
        "created_at": at.at,
        "resolved_by": None,
    }
    rows.exec_driver_sql(_INSERT_INTERRUPTION, values)
    _touch(rows, at, task)


def _memory(at: Recorded) -> dict[str, object]:
    return {"memory": at.position, "project": at.project, "session": at.session, "created_at": at.at}


def _touch(rows: Connection, at: Recorded, task: int | None) -> None:
    if task is not None:
        rows.exec_driver_sql(
            "UPDATE tasks SET updated_at = ?, updated = ? WHERE id = ?", (at.at, at.position, task)
        )
        active(rows, at, task)
