"""Journal entries as lines for people: plain words, one line, nothing that could drive a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engram_runtime.journal import events
from engram_runtime.journal.events import Event, Recorded
from engram_runtime.state.views import ActivityLine

WIDTH = 200
"""Longest line, in characters."""

_CONDITIONS = {
    "rate_limit": "rate limit",
    "overloaded": "provider overloaded",
    "overflow": "context overflow",
    "auth": "login refused",
    "api_error": "API error",
    "waiting": "waiting for you",
    "stalled": "stalled",
}


def activity_line(recorded: Recorded, versions: Mapping[int, int]) -> ActivityLine:
    """A line for an event; `versions` gives the version of each checkpoint by its id."""
    return ActivityLine(
        position=recorded.position,
        at=recorded.at,
        kind=recorded.kind,
        session=recorded.session,
        text=one_line(_said(recorded, versions)),
    )


def one_line(text: str, width: int = WIDTH) -> str:
    """Text without control characters and line ends, cut to a width in characters."""
    plain = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * width]).split())
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def checkpoint_ids(recorded: Recorded) -> list[int]:
    """The checkpoints whose versions the event's line needs."""
    event = recorded.event
    if isinstance(event, events.CheckpointWritten):
        return [recorded.position]
    if isinstance(event, events.CheckpointRestored):
        return [event.checkpoint]
    return []


def _said(recorded: Recorded, versions: Mapping[int, int]) -> str:
    event = recorded.event
    if event is None:
        return f"{recorded.kind} (from a newer Engram)" if recorded.payload is not None else "forgotten"
    if isinstance(event, events.CheckpointWritten):
        return f"checkpoint v{versions.get(recorded.position, '?')} durable ({event.reason})"
    if isinstance(event, events.CheckpointRestored):
        return f"checkpoint v{versions.get(event.checkpoint, '?')} restored to the {event.to} ({event.mode})"
    return _WORDS[type(event)](event)


def _duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    return f" ({milliseconds} ms)" if milliseconds < 1000 else f" ({milliseconds / 1000:.0f} s)"


def _tool_finished(event: events.ToolFinished) -> str:
    outcome = "done" if event.ok else event.error.strip().split("\n", 1)[0][:80] or "failed"
    return f"{_call(event)} → {outcome}{_duration(event.duration_ms)}"


def _call(event: events.ToolStarted | events.ToolFinished) -> str:
    what = event.summary or ", ".join(event.paths)
    return f"{event.tool} {one_line(what, 100)}".rstrip()


def _files(event: events.FilesObserved) -> str:
    marks = {"added": "A", "modified": "M", "deleted": "D"}
    names = [f"{marks[change.change]} {change.path}" for change in event.changes[:3]]
    more = len(event.changes) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _fill(event: events.ContextMeasured) -> str:
    used, window = event.fill.used, event.fill.window
    return f"context {100 * used / window:.0f} %" if window else f"context {used:,} tokens"


def _compacted(event: events.CompactionFinished) -> str:
    before, after = event.tokens_before, event.tokens_after
    return "context compacted" + (f" ({before:,} → {after:,} tokens)" if before and after else "")


def _exited(event: events.AgentExited) -> str:
    if event.signal is not None:
        return f"agent ended by signal {event.signal}"
    return "agent ended" if event.code is None else f"agent ended with code {event.code}"


def _started(event: events.SessionStarted) -> str:
    again = f", continues task {event.resumed_task}" if event.resumed_task is not None else ""
    return f"session of {event.agent} {event.agent_version}".rstrip() + f" started{again}"


def _updated(event: events.TaskUpdated) -> str:
    parts = [
        event.status.replace("_", " ") if event.status else "",
        f"goal: {event.goal}" if event.goal else "",
    ]
    return f"task {event.task} " + (", ".join(filter(None, parts)) or "updated")


def _progress(event: events.ProgressTracked) -> str:
    share = f" {event.completion:.0%}" if 0 < event.completion < 1 else ""
    return f"{event.feature}: {event.status.replace('_', ' ')}{share}"


def _drift(event: events.DriftDetected) -> str:
    against = f", against: {event.violations[0]}" if event.violations else ""
    return f"drift from task {event.task} ({event.source}): {_percent(event.composite)}{against}"


def _compared(event: events.MemoryCompared) -> str:
    if event.supersedes:
        return f"memory {event.memory} supersedes {', '.join(map(str, event.supersedes))}: {event.why}"
    below = f"is below memory {event.below}: {event.why}" if event.below is not None else "is new"
    return f"memory {event.memory} {below}"


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{share:.0%}"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


_WORDS: dict[type[Event], Callable[[Any], str]] = {
    events.SessionStarted: _started,
    events.AgentSpawned: lambda e: f"agent runs (pid {e.pid})",
    events.NativeSessionSeen: lambda e: f"agent's own session {e.native_id}",
    events.PromptSubmitted: lambda e: ("prompt: " if e.by == "user" else "prompt by engram: ") + e.text,
    events.ToolStarted: lambda e: f"{_call(e)} …",
    events.ToolFinished: _tool_finished,
    events.TurnFinished: lambda e: f"said: {e.text}" if e.text else "turn finished",
    events.PlanObserved: lambda e: f"plan of {_plural(len(e.items), 'step', 'steps')}",
    events.FilesObserved: _files,
    events.ContextMeasured: _fill,
    events.CompactionStarted: lambda e: (
        "context compaction" + (f" ({e.trigger})" if e.trigger else "") + " …"
    ),
    events.CompactionFinished: _compacted,
    events.ConditionRaised: lambda e: _CONDITIONS[e.condition] + (f": {e.evidence}" if e.evidence else ""),
    events.ConditionCleared: lambda e: f"{_CONDITIONS[e.condition]} is over",
    events.SignalSent: lambda e: f"signal {e.signal} sent for {e.by}" + (f" ({e.why})" if e.why else ""),
    events.AgentExited: _exited,
    events.SessionEnded: lambda e: f"session ended: {e.verdict}",
    events.BriefingInjected: lambda e: f"briefing of {e.tokens} tokens given (task {e.task})",
    events.TaskCreated: lambda e: (
        f"task: {e.name}" + (f" (again, after task {e.retry_of})" if e.retry_of is not None else "")
    ),
    events.TaskUpdated: _updated,
    events.TaskAttached: lambda e: f"works on task {e.task}",
    events.ExecutionStarted: lambda e: f"execution of task {e.task} started: {e.goal}",
    events.ExecutionEnded: lambda e: f"execution {e.execution} {e.status}",
    events.DriftDetected: _drift,
    events.ContinuityEvaluated: lambda e: (
        f"continuity of task {e.task}, v{e.before} to v{e.after}: {_percent(e.composite)}"
    ),
    events.ProgressTracked: _progress,
    events.KnownFailureTold: lambda e: f"told the agent of a known failure (memory {e.memory})",
    events.FailureTracked: lambda e: f"failure in {e.component}: {e.error}",
    events.HandoffRecorded: lambda e: f"handoff: {e.summary}",
    events.InterruptionReported: lambda e: f"interrupted: {e.reason.replace('_', ' ')}",
    events.MemoryStored: lambda e: f"stored a memory ({e.category}): {e.content}",
    events.MemoryUpdated: lambda e: f"reworded memory {e.memory}",
    events.MemorySuperseded: lambda e: f"memory {e.memory} is superseded by {e.by}",
    events.MemoryRecalled: lambda e: f"recalled {_plural(len(e.memories), 'memory', 'memories')}",
    events.MemoryCompared: lambda e: _compared(e),
    events.MemoryReinforced: lambda e: f"memory {e.memory} was stated again",
    events.MemoryPruned: lambda e: f"pruned {_plural(len(e.memories), 'faded memory', 'faded memories')}",
    events.MemoryRestored: lambda e: f"restored {_plural(len(e.memories), 'memory', 'memories')}",
    events.OutcomeReported: lambda e: f"outcome of {e.reported_session}: {e.outcome}",
    events.RecordsImported: lambda e: (
        f"took over {_plural(len(e.records), 'record', 'records')} of {e.source}"
    ),
    events.EventLost: lambda e: "an event that was lost",
    events.JournalRecovered: lambda e: f"journal recovered: {_plural(e.kept, 'event', 'events')} kept",
    events.Forgotten: lambda e: (
        f"forgot a {e.what}: {_plural(sum(last - first + 1 for first, last in e.ranges), 'event', 'events')} erased"
    ),
    events.MaintenanceDone: lambda e: f"maintenance: {e.what}",
}
