"""Views as the objects that tools answer with: mcp-engram's keys, and a few more."""

from __future__ import annotations

from datetime import datetime

import msgspec

from engram_runtime.continuity.continuation import continuation
from engram_runtime.journal.records import CheckpointReason, JSONObject
from engram_runtime.state.views import CheckpointView, MemoryRow, TaskView

_BY_HAND: frozenset[CheckpointReason] = frozenset({"MANUAL", "MANUAL_HANDOFF"})


def brief_task(task: TaskView) -> JSONObject:
    """A task in lists."""
    return {
        "id": task.id,
        "name": task.name,
        "goal": task.goal,
        "status": task.status,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "metadata": task.metadata,
        "interrupted": task.interrupted,
        "live": task.live,
        "attempts": task.attempts,
        "checkpoints": task.checkpoints,
    }


def memory_entry(row: MemoryRow) -> JSONObject:
    """A memory in get_task."""
    return {
        "memory_id": row.id,
        "content": row.content,
        "importance": round(row.importance, 4),
        "created_at": row.created_at,
        "metadata": row.metadata,
    }


def checkpoint_header(view: CheckpointView) -> JSONObject:
    """What is said of a checkpoint wherever its package is given. `failure_signature`: the failure it carries."""
    failure = view.content.last_failure if view.content else None
    return {
        "version": view.version,
        "kind": kind_of(view),
        "checkpoint_reason": view.reason,
        "created_at": view.created_at,
        "failure_signature": failure.text[:200] if failure and view.reason == "FAILURE" else None,
    }


def package(view: CheckpointView, now: datetime) -> JSONObject:
    """A checkpoint's header with its continuation package."""
    return {**checkpoint_header(view), "continuation": msgspec.to_builtins(continuation(view, now=now))}


def kind_of(view: CheckpointView) -> str:
    """ "manual" where somebody asked for it, else "auto"."""
    return "manual" if view.reason in _BY_HAND else "auto"
