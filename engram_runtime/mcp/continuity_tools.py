"""Tools about checkpoints, hand-offs and interruptions."""

from __future__ import annotations

import contextlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engram_runtime.continuity.interruptions import intelligence
from engram_runtime.continuity.lineage import failures_of_all_attempts
from engram_runtime.continuity.metrics import ContinuityScore, score
from engram_runtime.continuity.prohibitions import end_of
from engram_runtime.errors import NotFound, StoreError, UsageError
from engram_runtime.journal.events import (
    CheckpointRestored,
    HandoffRecorded,
    InterruptionReason,
    InterruptionReported,
)
from engram_runtime.journal.records import CheckpointReason, JSONObject, Prohibition, WorkingSet
from engram_runtime.mcp.catalogue import Tool
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.described import kind_of, package
from engram_runtime.mcp.schema import BRIEF, Answer, Arguments, Id, Text
from engram_runtime.state.views import CheckpointView, FailureView, MemoryRow, TaskView

RestoreMode = Literal["FULL", "SELECTIVE", "NONE"]
MOST_MEMORIES: dict[RestoreMode, int] = {"FULL": 20, "SELECTIVE": 10, "NONE": 0}
"""mcp-engram's caps of related memories."""
IMPORTANT = 0.5
"""Least importance of a memory in SELECTIVE mode; failures always count."""
_CHECKPOINT_REASONS: dict[InterruptionReason, CheckpointReason] = {
    "overflow": "OVERFLOW",
    "rate_limit": "RATE_LIMIT",
}
_OPEN = ("planning", "in_progress", "blocked", "review")


class Forbidden(Arguments, frozen=True, kw_only=True):
    """One entry of must_not_redo (see `records.Prohibition`)."""

    action: Text
    reason: str = ""
    scope: str = ""
    expires_at: str | None = None


class WorkedWith(Arguments, frozen=True, kw_only=True):
    """A working set (see `records.WorkingSet`)."""

    files: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()


class SessionHandoff(Arguments, frozen=True, kw_only=True):
    """Parameters of session_handoff."""

    summary: Text
    completed: tuple[str, ...] = ()
    in_progress: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    must_not_redo: Annotated[
        tuple[str | Forbidden, ...],
        Meta(
            extra_json_schema={
                BRIEF: {
                    "type": "array",
                    "items": {"type": ["string", "object"]},
                    "description": "texts or {action, reason, scope, expires_at}",
                }
            }
        ),
    ] = ()
    must_preserve: tuple[str, ...] = ()
    working_set: Annotated[
        WorkedWith | None,
        Meta(extra_json_schema={BRIEF: {"type": "object", "description": "{files, tools, artifacts}"}}),
    ] = None
    user_id: str = "default"
    task_id: Id | None = None


class RestoreCheckpoint(Arguments, frozen=True, kw_only=True):
    """Parameters of restore_checkpoint."""

    task_id: Id
    version: Id | None = None
    memory_restore_mode: RestoreMode = "SELECTIVE"
    user_id: str = "default"


class ListCheckpoints(Arguments, frozen=True, kw_only=True):
    """Parameters of list_checkpoints."""

    task_id: Id
    limit: Annotated[int, Meta(ge=1, le=200)] = 10
    user_id: str = "default"


class ReportInterruption(Arguments, frozen=True, kw_only=True):
    """Parameters of report_interruption; `session_id` is the session it happened to, if not this one."""

    reason: InterruptionReason
    context: JSONObject | None = None
    session_id: str | None = None
    user_id: str = "default"


class HandedOff(Answer, frozen=True, kw_only=True):
    """Answer of session_handoff."""

    LISTED = ("memory_id",)
    result: str
    memory_id: int
    task_id: int | None
    checkpoint_id: int | None
    checkpoint_version: int | None
    continuation_confidence: float | None


class Restored(Answer, frozen=True, kw_only=True):
    """Answer of restore_checkpoint."""

    LISTED = ("continuation",)
    task_id: int
    version: int
    kind: str
    checkpoint_reason: str
    created_at: str
    source_session_id: str | None
    failure_signature: str | None
    continuation: JSONObject
    memory_restore_mode: str
    related_memories: list[JSONObject]
    related_failures: list[JSONObject]
    memory_filter_applied: str
    continuity_score: JSONObject


class Checkpoints(Answer, frozen=True, kw_only=True):
    """Answer of list_checkpoints."""

    LISTED = ("checkpoints",)
    task_id: int
    checkpoints: list[JSONObject]
    total: int


class Reported(Answer, frozen=True, kw_only=True):
    """Answer of report_interruption."""

    LISTED = ("intelligence",)
    ok: bool
    reason: str
    result: str
    intelligence: JSONObject


class NoCheckpoint(NotFound):
    """A task without a checkpoint (of that version): `fallback` says what there is instead."""

    def __init__(self, message: str, *, hint: str, task: int, fallback: JSONObject) -> None:
        super().__init__(message, hint=hint)
        self.structured: JSONObject = {"task_id": task, "fallback": fallback}


def session_handoff(call: Call, given: SessionHandoff) -> HandedOff:
    """What this session leaves for the next: a memory, and a checkpoint of the task."""
    task = call.task_or_current(given.task_id)
    (position,) = call.record(
        HandoffRecorded(
            summary=given.summary,
            completed=_said(given.completed),
            in_progress=_said(given.in_progress),
            blocked=_said(given.blocked),
            next_steps=_said(given.next_steps),
            must_not_redo=tuple(_prohibition(entry) for entry in given.must_not_redo),
            must_preserve=_said(given.must_preserve),
            working_set=_working_set(given.working_set),
            user=call.user(given.user_id),
            task=task.id if task else None,
        )
    )
    checkpoint = call.checkpoint(task, "MANUAL_HANDOFF", position) if task else None
    kept = f", checkpoint version {checkpoint.version} of task {checkpoint.task}" if checkpoint else ""
    return HandedOff(
        result=f"Hand-off kept{kept}.",
        memory_id=position,
        task_id=task.id if task else None,
        checkpoint_id=checkpoint.id if checkpoint else None,
        checkpoint_version=checkpoint.version if checkpoint else None,
        continuation_confidence=checkpoint.confidence if checkpoint else None,
    )


def restore_checkpoint(call: Call, given: RestoreCheckpoint) -> Restored:
    """The continuation package; the session works on the task from now on, unless it is closed."""
    task = call.task_of(given.task_id, given.user_id)
    if given.version is None:
        # What was said since the last checkpoint (debounced, or the writer died) must not be missing.
        checkpoint = _newest(call, task)
    else:
        checkpoint = call.runtime.state.checkpoint_version(task.id, given.version)
    if checkpoint is None:
        raise _no_checkpoint(call, task, given.version)
    parent = None
    if checkpoint.parent_version is not None:
        parent = call.runtime.state.checkpoint_version(task.id, checkpoint.parent_version)
    if task.status in _OPEN:
        # A home that refuses writes can still be restored from.
        with contextlib.suppress(StoreError):
            call.attach(task.id)
    call.note(
        CheckpointRestored(task=task.id, checkpoint=checkpoint.id, mode=given.memory_restore_mode, to="agent")
    )
    compared = None
    if checkpoint.content is not None and parent is not None and parent.content is not None:
        compared = score(parent.content, checkpoint.content)
    mode = given.memory_restore_mode
    rows = call.runtime.memory.rows(task=task.id, limit=200) if mode != "NONE" else []
    chosen = [
        row for row in rows if mode == "FULL" or row.importance >= IMPORTANT or row.memory_type == "failure"
    ]
    chosen.sort(key=lambda row: (-row.importance, -row.id))
    return Restored(
        task_id=task.id,
        source_session_id=checkpoint.session,
        memory_restore_mode=mode,
        related_memories=[_related(row) for row in chosen[: MOST_MEMORIES[mode]]],
        related_failures=[
            _failure(row) for row in failures_of_all_attempts(call.runtime.state, task.id)[:10]
        ],
        memory_filter_applied=_filter_in_words(mode),
        continuity_score=msgspec.to_builtins(compared or ContinuityScore()),
        **package(checkpoint, call.now),
    )


def _newest(call: Call, task: TaskView) -> CheckpointView | None:
    try:
        return call.checkpoint_of_what_was_said(task)
    except StoreError:
        return call.runtime.state.checkpoint_version(task.id)


def list_checkpoints(call: Call, given: ListCheckpoints) -> Checkpoints:
    """Checkpoints of a task, newest first."""
    task = call.task_of(given.task_id, given.user_id)
    found = call.runtime.state.checkpoints(task.id, limit=given.limit)
    return Checkpoints(task_id=task.id, checkpoints=[_listed(view) for view in found], total=task.checkpoints)


def report_interruption(call: Call, given: ReportInterruption) -> Reported:
    """The agent says that its work is cut off."""
    task = call.current_task()
    call.record(
        InterruptionReported(
            reason=given.reason,
            context=given.context or {},
            reported_session=given.session_id,
            user=call.user(given.user_id),
            task=task.id if task else None,
        )
    )
    if task is not None:
        call.checkpoint(task, _CHECKPOINT_REASONS.get(given.reason, "AUTO_SAVE"), None)
    return Reported(
        ok=True,
        reason=given.reason,
        result="Interruption recorded; the next session's recall_memory shows it first.",
        intelligence=msgspec.to_builtins(intelligence(given.reason)),
    )


def _no_checkpoint(call: Call, task: TaskView, version: int | None) -> NoCheckpoint:
    wanted = f"checkpoint version {version}" if version is not None else "checkpoint"
    fallback = {
        "task": {"id": task.id, "name": task.name, "goal": task.goal, "status": task.status},
        "associated_memories_count": len(call.runtime.memory.rows(task=task.id, limit=None)),
        "hint": f"Call get_task(task_id={task.id}) for what is known of it.",
    }
    hint = f"Call list_checkpoints(task_id={task.id})." if task.checkpoints else str(fallback["hint"])
    return NoCheckpoint(f"Task {task.id} has no {wanted}.", hint=hint, task=task.id, fallback=fallback)


def _prohibition(entry: str | Forbidden) -> Prohibition:
    if isinstance(entry, str):
        return Prohibition(action=entry)
    expires_at = None
    if entry.expires_at:
        try:
            expires_at = end_of(entry.expires_at)
        except ValueError:
            raise UsageError(
                f"session_handoff: expires_at is {entry.expires_at!r}.",
                hint="Give a time as 2026-12-31T18:00:00Z, or leave it out.",
            ) from None
    return Prohibition(action=entry.action, reason=entry.reason, scope=entry.scope, expires_at=expires_at)


def _working_set(given: WorkedWith | None) -> WorkingSet | None:
    if given is None or not (given.files or given.tools or given.artifacts):
        return None
    return WorkingSet(files=_said(given.files), tools=_said(given.tools), artifacts=_said(given.artifacts))


def _listed(view: CheckpointView) -> JSONObject:
    return {
        "checkpoint_id": view.id,
        "version": view.version,
        "parent_version": view.parent_version,
        "kind": kind_of(view),
        "reason": view.reason,
        "triggered_by_event": view.trigger,
        "source_session_id": view.session,
        "source_memory_id": view.trigger_position,
        "continuation_confidence": view.confidence,
        "failure_signature": view.trigger if view.reason == "FAILURE" else None,
        "created_at": view.created_at,
        "changed_files": view.changed_files,
    }


def _related(row: MemoryRow) -> JSONObject:
    return {
        "memory_id": row.id,
        "category": row.category,
        "importance": round(row.importance, 4),
        "content": row.content,
        "metadata_type": row.memory_type,
    }


def _failure(row: FailureView) -> JSONObject:
    return {
        "memory_id": row.memory,
        "error": row.error,
        "component": row.component,
        "severity": row.severity,
        "root_cause": row.root_cause,
        "fix": row.fix,
        "timestamp": row.created_at,
    }


def _filter_in_words(mode: RestoreMode) -> str:
    if mode == "NONE":
        return "no memories"
    if mode == "FULL":
        return f"all memories of the task, at most {MOST_MEMORIES[mode]}"
    return f"importance ≥ {IMPORTANT} or failures, at most {MOST_MEMORIES[mode]}"


def _said(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in texts if text.strip())


CONTINUITY_TOOLS: tuple[Tool, ...] = (
    Tool(
        "session_handoff",
        "What the next session needs; before ending or at low context.",
        SessionHandoff,
        HandedOff,
        session_handoff,
    ),
    Tool(
        "restore_checkpoint",
        "Continue a task: done, open, what must not be redone. Call it first.",
        RestoreCheckpoint,
        Restored,
        restore_checkpoint,
    ),
    Tool(
        "list_checkpoints",
        "Checkpoints of a task, newest first.",
        ListCheckpoints,
        Checkpoints,
        list_checkpoints,
        reads=True,
    ),
    Tool(
        "report_interruption",
        "Say that work is being cut off.",
        ReportInterruption,
        Reported,
        report_interruption,
    ),
)
