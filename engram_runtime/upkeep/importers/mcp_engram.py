"""`engram import mcp-engram`: the history of an mcp-engram home becomes history here.

Each of its events is taken over once (by a digest of what it says), with its own time. Its ids go on answering: tasks,
memories, checkpoints and executions are found by the number or name they had there (`Queries.imported_id`), and no new
id falls on such a number. What it deleted is kept, and not recalled; what it only measured (drift, snapshots) is
counted and left.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engram_runtime.errors import InvalidEvent
from engram_runtime.ids import session_id
from engram_runtime.journal import events
from engram_runtime.journal.events import TaskStatus
from engram_runtime.journal.records import Verdict, VerdictKind
from engram_runtime.upkeep.importers.batches import Batches, Told
from engram_runtime.upkeep.importers.old_checkpoint import (
    checkpoint_of,
    interruption_of,
    number,
    reason_of,
    text,
)
from engram_runtime.upkeep.importers.old_home import Broken, OldEvent, events_folder, read_events
from engram_runtime.upkeep.importers.old_memories import (
    memory_delete,
    memory_recall,
    memory_store,
    memory_update,
    session_outcome,
)
from engram_runtime.upkeep.importers.old_run import (
    OldTask,
    Report,
    Run,
    Scope,
    add,
    id_of,
    one_of,
    session_of,
)

if TYPE_CHECKING:
    from engram_runtime.journal.journal import Journal
    from engram_runtime.state.queries import Queries

_SPARE_NUMBERS: Final = 20_000
"""There ids count up from 1. One far beyond what a home of that size can have made is damage, and each number that is
kept free costs an event.
"""
_OPEN: Final = ("planning", "in_progress", "blocked", "review")
_VERDICTS: Final[dict[str, VerdictKind]] = {
    "overflow": "overflow",
    "rate_limit": "rate_limit",
    "crash": "crashed",
    "tool_failure": "api_error",
    "user_away": "user_quit",
    "unknown": "lost",
}
_INTERRUPTED_ENDS: Final = ("interrupted", "sigterm", "context_overflow", "crash")


def import_mcp_engram(
    journal: Journal, queries: Queries, named: Path, *, project: str, scope: Scope = "global"
) -> Report:
    """Take over the home `named` into `project`; its memories are recalled everywhere (`scope` "global"), as there.

    Nothing is written there. Raises UsageError (no such home), StoreError.
    """
    folder = events_folder(named)
    report = Report(folder=str(folder))
    read = list(read_events(folder))
    old = [entry for entry in read if isinstance(entry, OldEvent)]
    report.broken = [entry for entry in read if isinstance(entry, Broken)]
    report.read = len(old)
    batches = Batches(journal, queries, "mcp-engram", project)
    run = Run(batches, queries, scope, project, report)
    fresh = [event for event in old if not batches.has(event.key)]
    if fresh:
        numbers = [number(e.payload.get(name)) or 0 for e in fresh for name in ("task_id", "memory_id")]
        report.own_ids = _own(queries, {n for n in numbers if n <= journal.head()})
        likely = _SPARE_NUMBERS + 10 * len(old)
        batches.keep_places(max((n for n in numbers if n <= likely), default=0))
    for event in old:
        _take(run, event)
    _finish(run, old)
    batches.flush()
    report.imported, report.left = dict(run.imported), dict(run.left)
    for task in sorted(run.touched):
        here = batches.here("task", task)
        if isinstance(here, int):
            report.tasks[str(task)] = here
    return report


def _own(queries: Queries, numbers: set[int]) -> list[int]:
    """Those of the numbers that are ids of tasks here."""
    return sorted(n for n in numbers if (task := queries.task(n)) is not None and task.source != "import")


def _take(run: Run, event: OldEvent) -> None:
    """One event: what it says is followed, and taken over unless it was before."""
    handler = _HANDLERS.get(event.kind)
    known = run.batches.has(event.key)
    run.report.known += known
    if handler is None:
        if not known:
            run.left[event.kind] += 1
        return
    try:
        handler(run, event, event.payload, known)
    except (InvalidEvent, msgspec.ValidationError, TypeError, ValueError, KeyError) as error:
        run.report.broken.append(Broken(event.where, f"{event.kind}: {error}"))


# --- tasks and executions -----------------------------------------------------------------------------


def _task_create(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    task = OldTask(
        name=text(p.get("name")) or text(p.get("goal")) or f"task {p['task_id']}",
        goal=text(p.get("goal")),
        user=text(p.get("user_id")) or "default",
        status=one_of(TaskStatus, p.get("status"), "in_progress"),
        execution=text(p.get("execution_id")),
    )
    _new_task(run, event, task, known)
    if not known and task.execution:
        _begin_execution(run, event, task.execution, run.batches.here("task", p["task_id"]))


def _task_retry(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    first = run.tasks.get(int(p["retry_of_task_id"]))
    task = OldTask(
        name=first.name if first else f"task {p['task_id']}",
        goal=first.goal if first else "",
        user=text(p.get("user_id")) or "default",
        status="in_progress",
        execution=text(p.get("execution_id")),
    )
    retry_of = id_of(run, "task", p["retry_of_task_id"])
    _new_task(run, event, task, known, retry_of=retry_of, reason=text(p.get("reason")))


def _task_spawn(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    task = OldTask(
        name=text(p.get("name")) or f"task {p['task_id']}",
        goal=text(p.get("goal")),
        user=text(p.get("user_id")) or "default",
        status="in_progress",
        execution=text(p.get("execution_id")),
    )
    _new_task(run, event, task, known, parent=id_of(run, "task", p["parent_task_id"]))


def _new_task(run: Run, event: OldEvent, task: OldTask, known: bool, **lineage: Any) -> None:
    p = event.payload
    old = int(p["task_id"])
    run.tasks[old] = task
    if known:
        return
    metadata = p.get("metadata")
    created = events.TaskCreated(
        name=task.name,
        goal=task.goal,
        status=one_of(TaskStatus, task.status, "in_progress"),
        user=task.user,
        metadata={**(metadata if isinstance(metadata, dict) else {}), "mcp_engram_task": old},
        source="import",
        **lineage,
    )
    add(run, event, created, kind="task", name=old, made=0)
    run.touched.add(old)


def _task_update(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    old = int(p["task_id"])
    status = one_of(TaskStatus, p["status"], None) if p.get("status") else None
    if old in run.tasks and status:
        run.tasks[old].status = status
    task = None if known else id_of(run, "task", old)
    if task is None:
        return
    metadata = p.get("metadata")
    add(
        run,
        event,
        events.TaskUpdated(
            task=task,
            status=status,
            goal=p.get("goal") if isinstance(p.get("goal"), str) else None,
            metadata={**metadata, "mcp_engram_task": old} if isinstance(metadata, dict) else None,
        ),
    )
    run.touched.add(old)


def _execution_start(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    run.executions[text(p["execution_id"])] = p
    if not known:
        # It begins here with its first task, whose family it is.
        add(run, event)


def _begin_execution(run: Run, event: OldEvent, name: str, task: int | str | None) -> None:
    if not isinstance(task, int) or run.batches.here("execution", name) is not None:
        return
    p = run.executions.get(name, {})
    origin = p.get("origin_checkpoint")
    started = events.ExecutionStarted(
        task=task,
        goal=text(p.get("root_goal")),
        user=text(p.get("user_id")) or "default",
        origin_checkpoint=text(origin) or None,
    )
    told = [Told(event.at, started)]
    run.batches.add(f"{event.key}/execution", told, kind="execution", name=name, made=0)


def _execution_end(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    execution = None if known else id_of(run, "execution", text(p["execution_id"]))
    if execution is not None:
        status: Any = (
            p.get("status") if p.get("status") in ("completed", "abandoned", "paused") else "completed"
        )
        add(run, event, events.ExecutionEnded(execution=execution, status=status))


def _checkpoint_write(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    old = int(p["task_id"])
    interrupted = interruption_of(p)
    if old in run.tasks:
        run.tasks[old].interrupted = (event.at, interrupted) if interrupted else None
    task = None if known else id_of(run, "task", old)
    if task is None:
        return
    written = events.CheckpointWritten(
        task=task, reason=reason_of(p), content=checkpoint_of(p), trigger=text(p.get("triggered_by_event"))
    )
    session = session_of(run, p.get("source_session_id"))
    add(run, event, written, within=session, kind="checkpoint", name=f"{old}/{p.get('version')}", made=0)
    run.touched.add(old)


def _checkpoint_restore(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    task = None if known else id_of(run, "task", p["task_id"])
    checkpoint = id_of(run, "checkpoint", f"{p['task_id']}/{p.get('version')}") if task else None
    if task is not None and checkpoint is not None:
        add(run, event, events.CheckpointRestored(task=task, checkpoint=checkpoint))


# --- sessions -----------------------------------------------------------------------------------------


def _session_start(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    old = text(p["session_id"])
    run.open_sessions[old] = event.at
    if known:
        return
    own = session_id(datetime.fromisoformat(event.at).timestamp())
    started = events.SessionStarted(agent="mcp-engram client", mode="mcp")
    add(run, event, started, within=own, kind="session", name=old, session=own)


def _session_end(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    old = text(p["session_id"])
    run.open_sessions.pop(old, None)
    session = None if known else session_of(run, old)
    if session is None:
        return
    reason, how = text(p.get("interruption_reason")), text(p.get("end_type"))
    kind: VerdictKind = _VERDICTS.get(reason, "lost" if how in _INTERRUPTED_ENDS else "finished")
    evidence = tuple(f"mcp-engram: {part}" for part in (how, reason) if part)
    verdict = Verdict(kind=kind, evidence=evidence)
    add(run, event, events.SessionEnded(verdict=verdict), within=session)


def _finish(run: Run, old: list[OldEvent]) -> None:
    """What never said its end is ended, and work that was cut off is offered again; both only once."""
    for name, began in run.open_sessions.items():
        session, key = session_of(run, name), f"end/{name}"[:64]
        if session is not None and not run.batches.has(key):
            verdict = Verdict(kind="lost", evidence=("mcp-engram recorded no end of it",))
            at = max([began, *(e.at for e in old if e.payload.get("session_id") == name)])
            run.batches.add(key, [Told(at, events.SessionEnded(verdict=verdict), session)])
    for number_there, task in run.tasks.items():
        key = f"interruption/{number_there}/{task.interrupted[0]}" if task.interrupted else ""
        here = id_of(run, "task", number_there) if key and task.status in _OPEN else None
        if here is None or task.interrupted is None or run.batches.has(key):
            continue
        at, reason = task.interrupted
        reported = events.InterruptionReported(
            reason=reason,
            context={"told_by": "mcp-engram"},
            user=task.user,
            task=here,
            source="observed",
        )
        run.batches.add(key, [Told(at, reported)])


_HANDLERS: Final[dict[str, Callable[[Run, OldEvent, dict[str, Any], bool], None]]] = {
    "task.create": _task_create,
    "task.retry": _task_retry,
    "task.spawn": _task_spawn,
    "task.update": _task_update,
    "execution.start": _execution_start,
    "execution.end": _execution_end,
    "checkpoint.write": _checkpoint_write,
    "checkpoint.restore": _checkpoint_restore,
    "memory.store": memory_store,
    "memory.update": memory_update,
    "memory.delete": memory_delete,
    "session.memory_recall": memory_recall,
    "session.start": _session_start,
    "session.end": _session_end,
    "session.outcome": session_outcome,
}
