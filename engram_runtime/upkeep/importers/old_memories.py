"""Memories of an mcp-engram home: facts stay facts, and failures, hand-offs and progress become what they are."""

from __future__ import annotations

from typing import Any

from engram_runtime.journal import events
from engram_runtime.journal.events import Category, Severity
from engram_runtime.upkeep.importers.old_checkpoint import number, text, texts
from engram_runtime.upkeep.importers.old_home import OldEvent
from engram_runtime.upkeep.importers.old_run import Run, add, id_of, one_of, session_of, share

_STATUSES = ("planning", "in_progress", "blocked", "review", "done")


def memory_store(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    """A memory."""
    old = int(p["memory_id"])
    content = text(p.get("content"))
    run.memories[old] = content
    metadata = p.get("metadata") if isinstance(p.get("metadata"), dict) else {}
    assert isinstance(metadata, dict)
    task = id_of(run, "task", metadata["task_id"]) if number(metadata.get("task_id")) else None
    kind = metadata.get("type")
    user = text(p.get("user_id")) or "default"
    feature = (user, task, text(metadata.get("feature")))
    if known:
        if kind == "progress" and (here := id_of(run, "memory", old)) is not None:
            run.features.setdefault(feature, here)
        return
    told = _as_told(kind, metadata, user, task)
    if isinstance(told, events.ProgressTracked):
        # One row a feature, whose id is that of its first event.
        first = run.features.get(feature)
        if first is not None:
            add(run, event, told, kind="memory", name=old, id=first)
            return
        add(run, event, told, kind="memory", name=old, made=0)
        made = run.batches.here("memory", old)
        if isinstance(made, int):
            run.features[feature] = made
        return
    if told is None:
        told = events.MemoryStored(
            content=content or "(empty)",
            importance=share(p.get("importance"), 0.5),
            category=one_of(Category, p.get("category"), "fact"),
            user=user,
            metadata={**metadata, "mcp_engram_memory": old},
            scope=run.scope,
            task=task,
            source="import",
        )
    add(run, event, told, kind="memory", name=old, made=0)


def _as_told(kind: Any, m: dict[str, Any], user: str, task: int | None) -> events.Event | None:
    """A memory that is a failure, a hand-off or progress as the event that says so; None for any other."""
    if kind == "failure" and text(m.get("error")) and text(m.get("component")):
        return events.FailureTracked(
            error=text(m["error"]),
            component=text(m["component"]),
            root_cause=text(m.get("root_cause")) or None,
            severity=one_of(Severity, m.get("severity"), "major"),
            fix=text(m.get("fix")) or None,
            related_test_ids=texts(m.get("related_test_ids")),
            user=user,
            task=task,
        )
    if kind == "handoff" and text(m.get("summary")):
        return events.HandoffRecorded(
            summary=text(m["summary"]),
            completed=texts(m.get("completed")),
            in_progress=texts(m.get("in_progress")),
            blocked=texts(m.get("blocked")),
            next_steps=texts(m.get("next_steps")),
            user=user,
            task=task,
        )
    if kind == "progress" and text(m.get("feature")):
        status: Any = m.get("status") if m.get("status") in _STATUSES else "in_progress"
        return events.ProgressTracked(
            feature=text(m["feature"]),
            status=status,
            completion=share(m.get("completion"), 0.0),
            blockers=texts(m.get("blockers")),
            quality_score=share(m.get("quality_score"), None),
            notes=text(m.get("notes")) or None,
            user=user,
            task=task,
        )
    return None


def memory_update(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    """A memory was reworded."""
    old = int(p["memory_id"])
    run.memories[old] = text(p.get("content")) or run.memories.get(old, "")
    memory = None if known else id_of(run, "memory", old)
    if memory is not None and run.memories[old]:
        importance = share(p.get("importance"), None)
        add(run, event, events.MemoryUpdated(memory=memory, content=run.memories[old], importance=importance))


def memory_delete(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    """A memory was deleted there: here it is only not recalled any more."""
    memory = None if known else id_of(run, "memory", p["memory_id"])
    if memory is None or memory in run.features.values():
        return  # an earlier word on a feature is gone already: the row is the feature's
    run.report.deleted_there += 1
    add(run, event, events.MemoryPruned(memories=(memory,), why="deleted in mcp-engram"))


def memory_recall(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    """Memories were recalled in a session."""
    wanted = p.get("memory_ids")
    found = [id_of(run, "memory", old) for old in wanted] if isinstance(wanted, list) else []
    memories = tuple(memory for memory in found if memory is not None)
    if (session := session_of(run, p.get("session_id"))) is not None:
        run.recalled.setdefault(session, set()).update(memories)
    if known:
        return
    told = [events.MemoryRecalled(memories=memories)] if memories else []
    add(run, event, *told, within=session)


def session_outcome(run: Run, event: OldEvent, p: dict[str, Any], known: bool) -> None:
    """How a session went: the memories it had recalled gain or lose weight."""
    session = session_of(run, p.get("session_id"))
    outcome: Any = p.get("outcome")
    if known or session is None:
        return
    if outcome not in ("success", "failure"):
        run.left["session.outcome"] += 1
        return
    told = events.OutcomeReported(
        reported_session=session,
        outcome=outcome,
        memories=tuple(sorted(run.recalled.get(session, ()))),
        user=text(p.get("user_id")) or "default",
    )
    add(run, event, told, within=session)
