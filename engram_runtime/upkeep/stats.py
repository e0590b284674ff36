"""Figures of a period, from the journal: what was done, what broke off, what was remembered and used again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engram_runtime.journal import events
from engram_runtime.journal.journal import stamp

if TYPE_CHECKING:
    from engram_runtime.journal.events import Event, Recorded
    from engram_runtime.journal.journal import Journal

CHUNK: Final = 2000
MOST_LISTED: Final = 10
"""Names listed of each kind, the most frequent first."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """`part` of `whole`; None where there is no whole."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """0..1."""
        return self.part / self.whole if self.whole else None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a period. The groups are dictionaries with mcp-engram's keys, and more; None is "nothing to measure".

    Counts by name hold the most frequent ones. Times are UTC, ISO 8601.
    """

    period: dict[str, Any]
    sessions: dict[str, Any]
    tasks: dict[str, Any]
    checkpoints: dict[str, Any]
    memories: dict[str, Any]
    failures: dict[str, Any]
    tools: dict[str, Any]
    files: dict[str, Any]
    context: dict[str, Any]
    drift: dict[str, Any]
    continuity: dict[str, Any]


@dataclass(slots=True)
class _Tally:
    """What is counted on the way."""

    agents: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    ended: dict[str, str] = field(default_factory=dict)
    resumed: int = 0
    created: int = 0
    done: set[int] = field(default_factory=set)
    attempted: set[int] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)
    written: set[int] = field(default_factory=set)
    used: set[int] = field(default_factory=set)
    restored: int = 0
    briefings: int = 0
    briefing_tokens: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    hits: int = 0
    recalled: int = 0
    severities: Counter[str] = field(default_factory=Counter)
    components: Counter[str] = field(default_factory=Counter)
    interruptions: Counter[str] = field(default_factory=Counter)
    conditions: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    fullest: float = 0.0
    compactions: int = 0
    drifts: list[float] = field(default_factory=list)
    drifted: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)


def collect(journal: Journal, *, now: datetime, days: float, project: str | None = None) -> Stats:
    """Figures of the last `days` days, of one project or (None) of all. Raises StoreError."""
    since = now - timedelta(days=days)
    tally = _Tally()
    for recorded in _of_period(journal, stamp(since), stamp(now), project):
        counter = _COUNTERS.get(type(recorded.event))
        if counter is not None:
            counter(tally, recorded, recorded.event)
    return _figures(tally, since, now, days, project)


def _of_period(journal: Journal, since: str, until: str, project: str | None) -> Iterator[Recorded]:
    """Events of a period, newest first. The search ends at a chunk that is older as a whole, unless it was taken over
    from elsewhere with its older times, in the period or after it: then it goes on before that import.
    """
    kinds = tuple(kind.__name__ for kind in _COUNTERS)
    before: int | None = None
    while chunk := journal.read_last(CHUNK, kinds=kinds, until=before):
        for recorded in reversed(chunk):
            if since <= recorded.at <= until and project in (None, recorded.project):
                yield recorded
        before = chunk[0].position - 1
        if all(recorded.at < since for recorded in chunk):
            imports = journal.read_last(1, kinds=("RecordsImported",), until=before)
            if not imports or imports[0].at < since:
                return
            before = imports[0].position - 1


def _session_started(tally: _Tally, at: Recorded, event: events.SessionStarted) -> None:
    tally.agents[event.agent] += 1
    tally.resumed += event.resumed_task is not None


def _session_ended(tally: _Tally, at: Recorded, event: events.SessionEnded) -> None:
    if at.session not in tally.ended:  # newest first: a session that ended twice counts as it ended last
        tally.ended[at.session or ""] = event.verdict.kind
        tally.verdicts[event.verdict.kind] += 1


def _task_created(tally: _Tally, at: Recorded, event: events.TaskCreated) -> None:
    tally.created += 1
    if event.status == "done":
        tally.done.add(at.position)


def _task_updated(tally: _Tally, at: Recorded, event: events.TaskUpdated) -> None:
    if event.status == "done":
        tally.done.add(event.task)


def _task_attached(tally: _Tally, at: Recorded, event: events.TaskAttached) -> None:
    tally.attempted.add(event.task)


def _checkpoint_written(tally: _Tally, at: Recorded, event: events.CheckpointWritten) -> None:
    tally.reasons[event.reason] += 1
    tally.written.add(at.position)


def _checkpoint_restored(tally: _Tally, at: Recorded, event: events.CheckpointRestored) -> None:
    tally.restored += 1
    tally.used.add(event.checkpoint)


def _briefing_injected(tally: _Tally, at: Recorded, event: events.BriefingInjected) -> None:
    tally.briefings += 1
    tally.briefing_tokens += event.tokens
    if event.checkpoint is not None:
        tally.used.add(event.checkpoint)


def _memory_stored(tally: _Tally, at: Recorded, event: events.MemoryStored) -> None:
    tally.stored[event.category] += 1


def _memory_recalled(tally: _Tally, at: Recorded, event: events.MemoryRecalled) -> None:
    tally.recalled += len(event.memories)
    if event.query_digest:
        tally.asked += 1
        tally.hits += bool(event.memories)


def _failure_tracked(tally: _Tally, at: Recorded, event: events.FailureTracked) -> None:
    tally.severities[event.severity] += 1
    tally.components[event.component] += 1


def _interrupted(tally: _Tally, at: Recorded, event: events.InterruptionReported) -> None:
    tally.interruptions[event.reason] += 1


def _condition_raised(tally: _Tally, at: Recorded, event: events.ConditionRaised) -> None:
    tally.conditions[event.condition] += 1


def _tool_finished(tally: _Tally, at: Recorded, event: events.ToolFinished) -> None:
    tally.calls[event.tool] += 1
    tally.failed[event.tool] += not event.ok


def _files_observed(tally: _Tally, at: Recorded, event: events.FilesObserved) -> None:
    tally.paths.update(change.path for change in event.changes)


def _context_measured(tally: _Tally, at: Recorded, event: events.ContextMeasured) -> None:
    tally.peak = max(tally.peak, event.fill.used)
    if event.fill.window:
        tally.fullest = max(tally.fullest, event.fill.used / event.fill.window)


def _compacted(tally: _Tally, at: Recorded, event: events.CompactionFinished) -> None:
    tally.compactions += 1


def _drift(tally: _Tally, at: Recorded, event: events.DriftDetected) -> None:
    tally.drifted += 1
    tally.violations.update(event.violations)
    if event.composite is not None:
        tally.drifts.append(event.composite)


def _continuity(tally: _Tally, at: Recorded, event: events.ContinuityEvaluated) -> None:
    if event.composite is not None:
        tally.scores.append(event.composite)


_COUNTERS: Final[dict[type[Event] | type[None], Callable[[_Tally, Recorded, Any], None]]] = {
    events.SessionStarted: _session_started,
    events.SessionEnded: _session_ended,
    events.TaskCreated: _task_created,
    events.TaskUpdated: _task_updated,
    events.TaskAttached: _task_attached,
    events.CheckpointWritten: _checkpoint_written,
    events.CheckpointRestored: _checkpoint_restored,
    events.BriefingInjected: _briefing_injected,
    events.MemoryStored: _memory_stored,
    events.MemoryRecalled: _memory_recalled,
    events.FailureTracked: _failure_tracked,
    events.InterruptionReported: _interrupted,
    events.ConditionRaised: _condition_raised,
    events.ToolFinished: _tool_finished,
    events.FilesObserved: _files_observed,
    events.ContextMeasured: _context_measured,
    events.CompactionFinished: _compacted,
    events.DriftDetected: _drift,
    events.ContinuityEvaluated: _continuity,
}


def _figures(tally: _Tally, since: datetime, now: datetime, days: float, project: str | None) -> Stats:
    interrupted = sum(
        count for kind, count in tally.verdicts.items() if kind not in ("finished", "user_quit")
    )
    return Stats(
        period={
            "days": days,
            "start": stamp(since)[:10],
            "end": stamp(now)[:10],
            "project": project,
        },
        sessions={
            "total": sum(tally.agents.values()),
            "interrupted": interrupted,
            "recovered": tally.resumed,
            "by_agent": _most(tally.agents),
            "by_verdict": _most(tally.verdicts),
            "interruptions_reported": _most(tally.interruptions),
            "conditions": _most(tally.conditions),
        },
        tasks={"created": tally.created, "worked_on": len(tally.attempted), "done": len(tally.done)},
        checkpoints={
            "created": len(tally.written),
            "restored": tally.restored,
            "briefings": tally.briefings,
            "never_used": len(tally.written - tally.used),
            "by_reason": _most(tally.reasons),
        },
        memories={
            "stored": sum(tally.stored.values()),
            "by_category": _most(tally.stored),
            "recalled": tally.recalled,
            "recalls": tally.asked,
            "hit_rate": _rounded(Share(part=tally.hits, whole=tally.asked).value),
        },
        failures={
            "total": sum(tally.severities.values()),
            "by_severity": _most(tally.severities),
            "by_component": _most(tally.components),
        },
        tools={
            "calls": sum(tally.calls.values()),
            "failed": sum(tally.failed.values()),
            "by_tool": _most(tally.calls),
            "failed_by_tool": _most(+tally.failed),
        },
        files={"changed": len(tally.paths), "most_changed": _most(tally.paths)},
        context={
            "peak_tokens": tally.peak or None,
            "peak_share": _rounded(tally.fullest or None),
            "compactions": tally.compactions,
            "briefing_tokens": tally.briefing_tokens,
        },
        drift={
            "events": tally.drifted,
            "avg_composite": _mean(tally.drifts),
            "top_violations": list(_most(tally.violations)),
        },
        continuity={
            "avg": _mean(tally.scores),
            "p50": _quantile(tally.scores, 0.5),
            "p90": _quantile(tally.scores, 0.9),
            "samples": len(tally.scores),
        },
    )


def _most(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_LISTED])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _quantile(values: list[float], share: float) -> float | None:
    """The smallest value that so large a share of all does not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, max(0, -(-int(share * 100) * len(ordered) // 100) - 1))], 4)
