"""Tools about tasks, progress and failures."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engram_runtime.errors import UsageError
from engram_runtime.journal.events import (
    FailureTracked,
    ProgressTracked,
    Severity,
    TaskCreated,
    TaskStatus,
    TaskUpdated,
)
from engram_runtime.journal.records import JSONObject
from engram_runtime.mcp.catalogue import Tool
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.described import brief_task, memory_entry, package
from engram_runtime.mcp.schema import Answer, Arguments, Id, Share, Text
from engram_runtime.state.views import CheckpointView, TaskView

MOST_MEMORIES = 50
"""Memories of each kind that get_task lists; total_memories counts them all."""
FeatureStatus = Literal["planning", "in_progress", "blocked", "review", "done"]
NAMED_BY_AGENT = "named_by_agent"
"""Metadata key of a task that began with a prompt and was named by the agent since."""


class CreateTask(Arguments, frozen=True, kw_only=True):
    """Parameters of create_task."""

    name: Text
    goal: str = ""
    status: TaskStatus = "planning"
    user_id: str = "default"
    metadata: JSONObject | None = None


class UpdateTask(Arguments, frozen=True, kw_only=True):
    """Parameters of update_task."""

    task_id: Id
    status: TaskStatus | None = None
    goal: str | None = None
    metadata: JSONObject | None = None


class GetTask(Arguments, frozen=True, kw_only=True):
    """Parameters of get_task."""

    task_id: Id
    user_id: str = "default"


class ListTasks(Arguments, frozen=True, kw_only=True):
    """Parameters of list_tasks."""

    user_id: str = "default"
    status: TaskStatus | None = None


class TrackProgress(Arguments, frozen=True, kw_only=True):
    """Parameters of track_progress; `completion` above 1 is percent."""

    feature: Text
    status: FeatureStatus
    completion: Annotated[float, Meta(ge=0, le=100, description="0..1, or percent")] = 0
    blockers: tuple[str, ...] = ()
    quality_score: Share | None = None
    notes: str | None = None
    user_id: str = "default"
    task_id: Id | None = None


class TrackFailure(Arguments, frozen=True, kw_only=True):
    """Parameters of track_failure."""

    error: Text
    component: Text
    root_cause: str | None = None
    severity: Severity = "major"
    fix: str | None = None
    related_test_ids: tuple[str, ...] = ()
    user_id: str = "default"
    task_id: Id | None = None


class TaskNamed(Answer, frozen=True, kw_only=True):
    """Answer of create_task and update_task."""

    LISTED = ("task_id",)
    result: str
    task_id: int


class Tasks(Answer, frozen=True, kw_only=True):
    """Answer of list_tasks."""

    LISTED = ("tasks",)
    tasks: list[JSONObject]
    total: int


class TaskTold(Answer, frozen=True, kw_only=True):
    """Answer of get_task."""

    LISTED = ("task", "latest_checkpoint")
    task: JSONObject
    handoffs: list[JSONObject]
    failures: list[JSONObject]
    progress: list[JSONObject]
    other_memories: list[JSONObject]
    total_memories: int
    latest_checkpoint: JSONObject | None


class Tracked(Answer, frozen=True, kw_only=True):
    """Answer of track_progress and track_failure; the checkpoint is the latest of the task, if it has one."""

    LISTED = ("memory_id",)
    result: str
    memory_id: int
    task_id: int | None
    checkpoint_version: int | None
    checkpoint_reason: str | None


def create_task(call: Call, given: CreateTask) -> TaskNamed:
    """A new task. The one that began with the session's first prompt is named instead of making a second."""
    current = call.current_task()
    metadata = given.metadata or {}
    if current is not None and current.source == "prompt" and NAMED_BY_AGENT not in current.metadata:
        call.record(
            TaskUpdated(
                task=current.id,
                name=given.name,
                goal=given.goal or None,
                status=given.status,
                metadata={**current.metadata, **metadata, NAMED_BY_AGENT: True},
            )
        )
        return TaskNamed(result=f"Task {current.id} “{given.name}”: this session's task.", task_id=current.id)
    (task,) = call.record(
        TaskCreated(
            name=given.name,
            goal=given.goal,
            status=given.status,
            user=call.user(given.user_id),
            metadata=metadata,
        )
    )
    if current is None or given.status == "in_progress":
        call.attach(task)
    return TaskNamed(result=f"Task {task} “{given.name}” created.", task_id=task)


def update_task(call: Call, given: UpdateTask) -> TaskNamed:
    """Change status, goal or metadata of a task; one that is set in progress becomes the session's."""
    if given.status is None and given.goal is None and given.metadata is None:
        raise UsageError("update_task: nothing to change.", hint="Give status, goal or metadata.")
    task = call.task(given.task_id)
    if given.status == "in_progress":
        call.attach(task.id)
    call.record(
        TaskUpdated(task=task.id, status=given.status, goal=given.goal, metadata=given.metadata),
    )
    changed = [name for name in ("status", "goal", "metadata") if getattr(given, name) is not None]
    return TaskNamed(result=f"Task {task.id} “{task.name}”: {', '.join(changed)} changed.", task_id=task.id)


def list_tasks(call: Call, given: ListTasks) -> Tasks:
    """Tasks of this project, the one updated last first."""
    found = call.runtime.state.tasks(
        project=call.context.project, user=call.user(given.user_id), status=given.status
    )
    return Tasks(tasks=[brief_task(task) for task in found], total=len(found))


def get_task(call: Call, given: GetTask) -> TaskTold:
    """A task with what was said about it and its latest checkpoint."""
    task = call.task_of(given.task_id, given.user_id)
    rows = call.runtime.memory.rows(task=task.id, limit=None)
    kinds: dict[str, list[JSONObject]] = {"handoff": [], "failure": [], "progress": [], "memory": []}
    for row in rows:
        listed = kinds.setdefault(row.memory_type, [])
        if len(listed) < MOST_MEMORIES:
            listed.append(memory_entry(row))
    checkpoint = call.runtime.state.checkpoint_version(task.id)
    return TaskTold(
        task=brief_task(task),
        handoffs=kinds["handoff"],
        failures=kinds["failure"],
        progress=kinds["progress"],
        other_memories=kinds["memory"],
        total_memories=len(rows),
        latest_checkpoint=package(checkpoint, call.now) if checkpoint else None,
    )


def track_progress(call: Call, given: TrackProgress) -> Tracked:
    """Where a feature stands; one row per user, task and feature."""
    task = call.task_or_current(given.task_id)
    completion = given.completion / 100 if given.completion > 1 else given.completion
    if given.status == "done" and completion == 0:
        completion = 1.0
    user = call.user(given.user_id)
    (position,) = call.record(
        ProgressTracked(
            feature=given.feature,
            status=given.status,
            completion=completion,
            blockers=_said(given.blockers),
            quality_score=given.quality_score,
            notes=given.notes,
            user=user,
            task=task.id if task else None,
        )
    )
    share = "" if given.status == "done" else f", {completion:.0%}"
    rows = call.runtime.state.progress(
        task=task.id if task else None, project=call.context.project, user=user
    )
    known = [row.memory for row in rows if row.position == position]
    return _tracked(
        f"“{given.feature}” is {given.status.replace('_', ' ')}{share}.",
        known[0] if known else position,
        task,
        call.checkpoint(task, "PLAN_UPDATE", position) if task else None,
    )


def track_failure(call: Call, given: TrackFailure) -> Tracked:
    """Something failed: a memory, and a checkpoint of the task."""
    task = call.task_or_current(given.task_id)
    (position,) = call.record(
        FailureTracked(
            error=given.error,
            component=given.component,
            root_cause=given.root_cause,
            severity=given.severity,
            fix=given.fix,
            related_test_ids=_said(given.related_test_ids),
            user=call.user(given.user_id),
            task=task.id if task else None,
        )
    )
    return _tracked(
        f"Failure in {given.component} recorded.",
        position,
        task,
        call.checkpoint(task, "FAILURE", position) if task else None,
    )


def _tracked(result: str, memory: int, task: TaskView | None, checkpoint: CheckpointView | None) -> Tracked:
    return Tracked(
        result=result,
        memory_id=memory,
        task_id=task.id if task else None,
        checkpoint_version=checkpoint.version if checkpoint else None,
        checkpoint_reason=checkpoint.reason if checkpoint else None,
    )


def _said(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in texts if text.strip())


TASK_TOOLS: tuple[Tool, ...] = (
    Tool(
        "create_task",
        "Begin a task that progress, failures and hand-offs hang on.",
        CreateTask,
        TaskNamed,
        create_task,
    ),
    Tool(
        "get_task",
        "A task with hand-offs, failures, progress, latest checkpoint.",
        GetTask,
        TaskTold,
        get_task,
        reads=True,
    ),
    Tool(
        "update_task",
        "Change a task; status done when finished.",
        UpdateTask,
        TaskNamed,
        update_task,
        idempotent=True,
    ),
    Tool("list_tasks", "Tasks of this project, newest first.", ListTasks, Tasks, list_tasks, reads=True),
    Tool(
        "track_progress",
        "Where a feature stands: when it starts, moves, blocks, is done.",
        TrackProgress,
        Tracked,
        track_progress,
        idempotent=True,
    ),
    Tool(
        "track_failure",
        "Record an error with cause and fix.",
        TrackFailure,
        Tracked,
        track_failure,
    ),
)
