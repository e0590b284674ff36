"""Tools about executions: an intent that outlives attempts, with its retries, subtasks and their lineage."""

from __future__ import annotations

from typing import Literal

from engram_runtime.continuity.lineage import execution_name, execution_number
from engram_runtime.errors import NotFound, UsageError
from engram_runtime.journal.events import Event, ExecutionEnded, ExecutionStarted, TaskCreated, TaskUpdated
from engram_runtime.journal.records import JSONObject
from engram_runtime.mcp.catalogue import Tool
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.schema import Answer, Arguments, Id, Text
from engram_runtime.state.views import ExecutionView, SessionView, TaskView

LONGEST_NAME = 100
HIGHEST_FAMILY = 100
"""Steps from a task up to the first of its family."""
_OPEN = ("planning", "in_progress", "blocked", "review")


class StartExecution(Arguments, frozen=True, kw_only=True):
    """Parameters of start_execution; `origin_checkpoint` is an id, or the agent's own word for where it comes from."""

    goal: Text
    user_id: str = "default"
    origin_checkpoint: str | None = None


class RetryTask(Arguments, frozen=True, kw_only=True):
    """Parameters of retry_task."""

    task_id: Id
    reason: str | None = None
    user_id: str = "default"


class SpawnSubtask(Arguments, frozen=True, kw_only=True):
    """Parameters of spawn_subtask; the goal is the name where it is not given."""

    parent_task_id: Id
    name: Text
    goal: str | None = None
    user_id: str = "default"
    checkpoint_id: str | None = None


class TraceExecution(Arguments, frozen=True, kw_only=True):
    """Parameters of trace_execution."""

    execution_id: Text
    user_id: str = "default"


class EndExecution(Arguments, frozen=True, kw_only=True):
    """Parameters of end_execution."""

    execution_id: Text
    status: Literal["completed", "abandoned", "paused"] = "completed"
    user_id: str = "default"


class Started(Answer, frozen=True, kw_only=True):
    """Answer of start_execution."""

    LISTED = ("execution_id", "task_id")
    ok: bool
    execution_id: str
    task_id: int
    attempt: int
    message: str


class Retried(Answer, frozen=True, kw_only=True):
    """Answer of retry_task."""

    LISTED = ("new_task_id",)
    ok: bool
    execution_id: str
    new_task_id: int
    retry_of_task_id: int
    attempt: int
    message: str


class Spawned(Answer, frozen=True, kw_only=True):
    """Answer of spawn_subtask."""

    LISTED = ("new_task_id",)
    ok: bool
    execution_id: str
    new_task_id: int
    parent_task_id: int
    message: str


class Traced(Answer, frozen=True, kw_only=True):
    """Answer of trace_execution; `total_attempts` counts the sessions that worked on each task, at least one each."""

    LISTED = ("execution", "tasks")
    ok: bool
    execution: JSONObject
    tasks: list[JSONObject]
    total_attempts: int
    current_task_id: int | None


class Ended(Answer, frozen=True, kw_only=True):
    """Answer of end_execution."""

    LISTED = ("status",)
    ok: bool
    execution_id: str
    status: str
    message: str


def start_execution(call: Call, given: StartExecution) -> Started:
    """A task that begins an execution, and is the session's from now on."""
    goal = _text(given.goal, "start_execution", "goal")
    origin = _checkpoint(call, given.origin_checkpoint)
    user = call.user(given.user_id)
    (task,) = call.record(
        TaskCreated(name=_name(goal), goal=goal, status="in_progress", user=user, checkpoint=origin)
    )
    call.record(
        ExecutionStarted(task=task, goal=goal, user=user, origin_checkpoint=given.origin_checkpoint or None)
    )
    call.attach(task)
    view = call.task(task)
    if origin is not None:
        call.first_checkpoint(view, task)
    name = _execution_of(view)
    return Started(
        ok=True,
        execution_id=name,
        task_id=task,
        attempt=view.attempt,
        message=f"Execution {name} begun with task {task}.",
    )


def retry_task(call: Call, given: RetryTask) -> Retried:
    """Another attempt: a task of its own that takes over goal, prohibitions and failures. The earlier one is closed."""
    earlier = call.task(given.task_id)
    _refuse_ended(call, earlier)
    events: list[Event] = _beginning(call, earlier)
    if earlier.status in _OPEN:
        events.append(TaskUpdated(task=earlier.id, status="cancelled"))
    events.append(
        TaskCreated(
            name=earlier.name,
            goal=earlier.goal,
            status="in_progress",
            user=earlier.user if given.user_id == "default" else given.user_id,
            metadata=earlier.metadata,
            parent=earlier.parent,
            retry_of=earlier.id,
            reason=given.reason or "",
        )
    )
    new = call.record(*events)[-1]
    call.attach(new)
    view = call.task(new)
    call.first_checkpoint(view, new)
    name = _execution_of(view)
    return Retried(
        ok=True,
        execution_id=name,
        new_task_id=new,
        retry_of_task_id=earlier.id,
        attempt=view.attempt,
        message=f"Task {new} is attempt {view.attempt} of {name}; restore_checkpoint(task_id={new}) tells what "
        "failed before and must not be redone.",
    )


def spawn_subtask(call: Call, given: SpawnSubtask) -> Spawned:
    """A part of a task as a task of its own, of the same execution."""
    name = _text(given.name, "spawn_subtask", "name")
    parent = call.task(given.parent_task_id)
    _refuse_ended(call, parent)
    origin = _checkpoint(call, given.checkpoint_id)
    child = TaskCreated(
        name=name,
        goal=(given.goal or "").strip() or name,
        user=parent.user if given.user_id == "default" else given.user_id,
        parent=parent.id,
        checkpoint=origin,
    )
    new = call.record(*_beginning(call, parent), child)[-1]
    view = call.task(new)
    if origin is not None:
        call.first_checkpoint(view, new)
    execution = _execution_of(view)
    return Spawned(
        ok=True,
        execution_id=execution,
        new_task_id=new,
        parent_task_id=parent.id,
        message=f'Task {new} is a part of task {parent.id}; update_task(task_id={new}, status="in_progress") when '
        "you begin with it.",
    )


def trace_execution(call: Call, given: TraceExecution) -> Traced:
    """All attempts, retries and subtasks of an execution, with the sessions that worked on them."""
    execution = _execution(call, given.execution_id)
    call.check_user(f"Execution {execution_name(execution.id)}", execution.user, given.user_id)
    tasks = call.runtime.state.tasks_of_execution(execution.id)
    still_open = [task for task in tasks if task.status in _OPEN]
    current = (still_open or tasks)[-1:]
    return Traced(
        ok=True,
        execution={
            "execution_id": execution_name(execution.id),
            "root_goal": execution.goal,
            "status": execution.status,
            "origin_checkpoint": execution.origin_checkpoint,
            "continuity_score": execution.continuity_score,
            "created_at": execution.created_at,
            "last_active_at": execution.last_active_at,
        },
        tasks=[_node(call, task) for task in tasks],
        total_attempts=sum(max(1, task.attempts) for task in tasks),
        current_task_id=current[0].id if current else None,
    )


def end_execution(call: Call, given: EndExecution) -> Ended:
    """Over for good, or laid aside. Its tasks keep their status."""
    execution = _execution(call, given.execution_id)
    call.check_user(f"Execution {execution_name(execution.id)}", execution.user, given.user_id)
    if execution.status != given.status:
        call.record(ExecutionEnded(execution=execution.id, status=given.status))
    name = execution_name(execution.id)
    left = [str(t.id) for t in call.runtime.state.tasks_of_execution(execution.id) if t.status in _OPEN]
    message = f"Execution {name} is {given.status}."
    if left and given.status != "paused":
        message += f' Still open: task {", ".join(left[:10])}; update_task(status="done") closes one.'
    return Ended(ok=True, execution_id=name, status=given.status, message=message)


def _node(call: Call, task: TaskView) -> JSONObject:
    return {
        "task_id": task.id,
        "name": task.name,
        "goal": task.goal,
        "status": task.status,
        "attempt": task.attempt,
        "parent_task_id": task.parent,
        "previous_task_id": task.previous,
        "retry_of_task_id": task.retry_of,
        "checkpoint_id": str(task.checkpoint) if task.checkpoint is not None else None,
        "created_at": task.created_at,
        "interrupted": task.interrupted,
        "checkpoints": task.checkpoints,
        "sessions": [_worked(session) for session in call.runtime.state.sessions_of_task(task.id)],
    }


def _worked(session: SessionView) -> JSONObject:
    return {
        "session": session.id,
        "agent": session.agent,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "verdict": str(session.verdict) if session.verdict else None,
    }


def _execution(call: Call, name: str) -> ExecutionView:
    number = execution_number(name)
    if number is None:  # one that was taken over, by the name it had there
        number = call.runtime.state.imported_id("execution", name, call.context.project)
    found = call.runtime.state.execution(number) if number is not None else None
    if found is None or found.project != call.context.project:
        reason = "does not exist" if found is None else "belongs to another project"
        raise NotFound(
            f"Execution {name[:60]!r} {reason}.",
            hint="Use the execution_id that start_execution, retry_task or spawn_subtask gave.",
        )
    return found


def _execution_of(task: TaskView) -> str:
    assert task.execution is not None, "every task made here belongs to an execution"
    return execution_name(task.execution)


def _refuse_ended(call: Call, task: TaskView) -> None:
    execution = call.runtime.state.execution(task.execution) if task.execution is not None else None
    if execution is not None and execution.status in ("completed", "abandoned"):
        name = execution_name(execution.id)
        raise UsageError(
            f"Execution {name} is {execution.status}: task {task.id} takes no more attempts or subtasks.",
            hint=f'Begin anew with start_execution, or reopen it with end_execution(execution_id="{name}", '
            'status="paused") first.',
        )


def _beginning(call: Call, task: TaskView) -> list[Event]:
    """The event that makes a task's family an execution, where it is none yet."""
    if task.execution is not None:
        return []
    first = task
    for _ in range(HIGHEST_FAMILY):
        above = first.parent if first.parent is not None else first.origin
        view = call.runtime.state.task(above) if above is not None and above != first.id else None
        if view is None or view.project != call.context.project:
            break
        first = view
    return [ExecutionStarted(task=task.id, goal=first.goal or first.name, user=first.user)]


def _checkpoint(call: Call, given: str | None) -> int | None:
    """The checkpoint a text names by its id; None for the agent's own word. Raises NotFound for an unknown id."""
    text = (given or "").strip()
    if not text.isdecimal():
        return None
    number = int(text) if len(text) <= 15 else 0
    found = call.runtime.state.checkpoint(number)
    if found is None:
        raise NotFound(
            f"There is no checkpoint {text[:20]}.",
            hint="list_checkpoints(task_id=…) gives each checkpoint_id.",
        )
    call.task(found.task)
    return found.id


def _text(text: str, tool: str, name: str) -> str:
    if not text.strip():
        raise UsageError(f"{tool}: {name} is empty.", hint="Say in a line what it is about.")
    return text.strip()


def _name(goal: str) -> str:
    line = goal.splitlines()[0]
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1].rstrip() + "…"


EXECUTION_TOOLS: tuple[Tool, ...] = (
    Tool(
        "start_execution",
        "Begin work that may take several attempts; else create_task.",
        StartExecution,
        Started,
        start_execution,
    ),
    Tool(
        "retry_task",
        "Try a task again, knowing what failed; closes the earlier.",
        RetryTask,
        Retried,
        retry_task,
    ),
    Tool("spawn_subtask", "Make a part of a task its own task.", SpawnSubtask, Spawned, spawn_subtask),
    Tool(
        "trace_execution",
        "All attempts and subtasks of an execution.",
        TraceExecution,
        Traced,
        trace_execution,
        reads=True,
    ),
    Tool(
        "end_execution",
        "End or pause an execution.",
        EndExecution,
        Ended,
        end_execution,
        idempotent=True,
    ),
)
