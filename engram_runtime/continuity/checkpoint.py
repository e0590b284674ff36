"""Composing a checkpoint from four sources: what the agent said, its transcript, what was seen, the one before.

`gather` reads the projected state; `compose` is a pure function of what was gathered. Nothing the agent said is
dropped because a later event did not repeat it: items of the previous checkpoint stay until they are done,
contradicted, or expire.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from engram_runtime.continuity.lineage import failures_of_all_attempts, inherited
from engram_runtime.continuity.prohibitions import in_force
from engram_runtime.continuity.standing import Sights
from engram_runtime.journal.records import (
    Checkpoint,
    Confidence,
    ContextFill,
    FileChange,
    GitFacts,
    Item,
    Prohibition,
    Source,
    ToolFact,
    TranscriptPlace,
    Verdict,
    WorkingSet,
)
from engram_runtime.state.queries import Queries
from engram_runtime.state.views import FailureView, HandoffView, ProgressView, SessionView, TaskView, ToolView

MOST_ITEMS = 1000
"""Nothing done may be forgotten: it would be done again. The briefing shortens, not the checkpoint."""
MOST_FILES = 200
HALF_LIFE_H = 24.0
TOGETHER_S = 3.0
"""Parallel calls of one answer begin within this time."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All a checkpoint is made of. Sequences are newest first where they come from queries."""

    task: TaskView | None = None
    session: SessionView | None = None
    previous: Checkpoint | None = None
    previous_at: str | None = None
    inherited: Checkpoint | None = None
    """Of a retry: what the attempts before it leave to it."""
    drift: float | None = None
    """Drift from the task as last found in this session, 0..1."""
    progress: tuple[ProgressView, ...] = ()
    failures: tuple[FailureView, ...] = ()
    handoffs: tuple[HandoffView, ...] = ()
    tools: tuple[ToolView, ...] = ()
    files: tuple[FileChange, ...] = ()
    git: GitFacts | None = None
    screen_tail: str = ""
    verdict: Verdict | None = None
    context: ContextFill | None = None
    transcript: TranscriptPlace | None = None
    earlier_files: tuple[FileChange, ...] = ()
    """Changes of the task's other sessions, oldest first."""
    note: str = ""
    now: str = ""


def gather(state: Queries, task: int | None, session: str | None) -> Facts:
    """Facts from the projected state alone; what only the supervisor sees is added with `dataclasses.replace`."""
    session_view = state.session(session) if session else None
    task_view = state.task(task) if task is not None else None
    latest = state.checkpoint_version(task) if task is not None else None
    return Facts(
        task=task_view,
        session=session_view,
        previous=latest.content if latest else None,
        previous_at=latest.created_at if latest else None,
        inherited=inherited(state, task) if task is not None and latest is None else None,
        drift=_drift(state, task, session),
        progress=tuple(state.progress(task=task)) if task is not None else (),
        failures=tuple(failures_of_all_attempts(state, task)) if task is not None else (),
        handoffs=tuple(state.handoffs(task=task)) if task is not None else (),
        tools=tuple(state.tools(session)) if session else (),
        files=state.files(session).changes if session else (),
        earlier_files=_earlier_files(state, task, session),
        verdict=session_view.verdict if session_view else None,
        context=session_view.context if session_view else None,
        transcript=TranscriptPlace(path=session_view.transcript_path, native_id=session_view.native_id)
        if session_view
        else None,
        now=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    )


def _earlier_files(state: Queries, task: int | None, session: str | None) -> tuple[FileChange, ...]:
    if task is None:
        return ()
    attempts = (*reversed(state.earlier_attempts(task)), task)
    others = dict.fromkeys(s.id for one in attempts for s in state.sessions_of_task(one) if s.id != session)
    return tuple(change for other in others for change in state.files(other).changes)


def _drift(state: Queries, task: int | None, session: str | None) -> float | None:
    found = state.drifts(task, limit=1) if task is not None else []
    return found[0].composite if found and found[0].session == session else None


def compose(facts: Facts) -> Checkpoint:
    """The checkpoint these facts make."""
    before = facts.previous or facts.inherited or Checkpoint()
    completed = _completed(facts, before)
    in_progress = _in_progress(facts, before, completed)
    session, task = facts.session, facts.task
    last_tool = facts.tools[0].fact if facts.tools else before.last_tool
    checkpoint = Checkpoint(
        goal=(task.goal or task.name) if task else before.goal or (session.first_prompt if session else ""),
        completed=completed,
        in_progress=in_progress,
        blocked=_blocked(facts, before, completed),
        preferred_next=_next(facts, before, completed),
        must_not_redo=_must_not_redo(facts, before),
        must_preserve=_must_preserve(facts, before),
        working_set=_working_set(facts, before),
        modified_files=_files(facts, before),
        dirty_before=session.dirty_files if session else before.dirty_before,
        git=facts.git or before.git,
        last_tool=last_tool,
        last_failure=_last_failure(facts, before),
        first_prompt=before.first_prompt or (session.first_prompt if session else ""),
        last_prompt=(session.last_prompt if session else "") or before.last_prompt,
        last_said=(session.last_said if session else "") or before.last_said,
        context=facts.context or before.context,
        verdict=facts.verdict,
        transcript=facts.transcript,
        screen_tail=facts.screen_tail,
        summary=facts.handoffs[0].summary if facts.handoffs else before.summary,
        note=facts.note,
    )
    return msgspec.structs.replace(checkpoint, confidence=confidence(checkpoint, facts))


def confidence(checkpoint: Checkpoint, facts: Facts) -> Confidence:
    """Parts of continuation_confidence (facts: mcp-engram's weights): completeness of the fields a successor needs,
    age of the last word of the agent (24 h half-life), share of verified items, and what is left after signs of drift
    (claims that were contradicted, drift as it was found in this session).
    """
    present = [
        bool(checkpoint.goal),
        bool(checkpoint.completed or checkpoint.in_progress),
        bool(checkpoint.in_progress or checkpoint.preferred_next),
        bool(checkpoint.modified_files or checkpoint.git),
        bool(checkpoint.last_tool or checkpoint.working_set.files),
    ]
    items = (*checkpoint.completed, *checkpoint.in_progress)
    seen = [1.0 if i.standing == "verified" else 0.0 if i.standing == "contradicted" else 0.5 for i in items]
    age_h = _hours_between(facts.session.last_event_at if facts.session else facts.previous_at, facts.now)
    contradicted = sum(1 for i in items if i.standing == "contradicted")
    return Confidence(
        state_completeness=round(sum(present) / len(present), 3),
        recency=round(0.5 ** (age_h / HALF_LIFE_H), 3),
        verification_history=round(sum(seen) / len(seen), 3) if seen else 0.5,
        drift_signals=round(max(0.0, min(1.0 - 0.25 * contradicted, 1.0 - (facts.drift or 0.0))), 3),
    )


def same_state(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two checkpoints say the same of the work: unchanged state makes no new version."""

    def core(c: Checkpoint) -> Checkpoint:
        return msgspec.structs.replace(c, confidence=Confidence(), screen_tail="", note="", transcript=None)

    return core(one) == core(other)


# --- what is done, and what is not ----------------------------------------------------------------------


def _key(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!…")


def _unique(items: Iterable[Item]) -> tuple[Item, ...]:
    """First of each text wins; verified beats claimed."""
    found: dict[str, Item] = {}
    for item in items:
        key = _key(item.text)
        if key and (key not in found or (item.standing == "verified" and found[key].standing == "claimed")):
            found[key] = item
    return tuple(found.values())[:MOST_ITEMS]


def _claim(text: str, position: int, sights: Sights) -> Item:
    found, evidence = sights.standing(text)
    return Item(text=text, standing=found, evidence=evidence, positions=(position,))


def _completed(facts: Facts, before: Checkpoint) -> tuple[Item, ...]:
    sights = Sights(facts.tools, facts.files)
    said = [_claim(p.feature, p.position, sights) for p in facts.progress if p.status == "done"]
    said += [_claim(text, h.memory, sights) for h in facts.handoffs for text in h.completed]
    plan = facts.session.plan if facts.session else ()
    planned = [Item(text=t, source="transcript") for t, status in plan if status == "completed"]
    open_now = {_key(t) for t, status in plan if status != "completed"}
    kept = [i for i in before.completed if i.source != "transcript" or _key(i.text) not in open_now]
    reopened = _reopened(facts)
    items = _unique((*said, *planned, *kept))
    return tuple(i for i in items if reopened.get(_key(i.text), -1) < max(i.positions, default=0))


def _reopened(facts: Facts) -> dict[str, int]:
    """What the agent took up again: key → the position at which it said so."""
    found = {_key(p.feature): p.position for p in facts.progress if p.status != "done"}
    for handoff in reversed(facts.handoffs):
        found.update({_key(text): handoff.memory for text in handoff.in_progress})
    return found


def _in_progress(facts: Facts, before: Checkpoint, completed: tuple[Item, ...]) -> tuple[Item, ...]:
    done = {_key(i.text) for i in completed}
    said = [_open_feature(p) for p in facts.progress if p.status in ("in_progress", "planning", "review")]
    if facts.handoffs:
        latest = facts.handoffs[0]
        said += [Item(text=text, positions=(latest.memory,)) for text in latest.in_progress]
    plan = facts.session.plan if facts.session else ()
    said += [Item(text=t, source="transcript") for t, status in plan if status == "in_progress"]
    running = [_running(c) for c in _cut_off(facts.tools)]
    tracked = {_key(p.feature) for p in facts.progress}
    kept = [i for i in before.in_progress if i.source == "agent" and _key(i.text) not in tracked]
    return tuple(i for i in _unique((*said, *running, *kept)) if _key(i.text) not in done)


def _open_feature(progress: ProgressView) -> Item:
    share = f" ({progress.completion:.0%} by its own count)" if progress.completion else ""
    notes = f": {progress.notes}" if progress.notes else ""
    return Item(
        text=progress.feature, evidence=f"{progress.status}{share}{notes}", positions=(progress.position,)
    )


def _cut_off(tools: tuple[ToolView, ...]) -> list[ToolView]:
    """Calls that ran at the end: those after which no other was begun (but for ones begun together with them).

    A call that was broken off earlier, by the user's Esc for instance, is not work in progress.
    """
    newest = tools[0].started_at if tools else ""

    def together(call: ToolView) -> bool:
        return _hours_between(call.started_at, newest) * 3600 <= TOGETHER_S

    return [
        call
        for call in tools
        if call.fact.status == "running" or (call.fact.status == "interrupted" and together(call))
    ]


def _running(call: ToolView) -> Item:
    text = f"{call.fact.tool}: {call.fact.summary}"
    positions = (call.fact.position,) if call.fact.position is not None else ()
    return Item(
        text=text,
        source="supervisor",
        standing="verified",
        evidence="it had begun and was not seen to end",
        positions=positions,
    )


def _blocked(facts: Facts, before: Checkpoint, completed: tuple[Item, ...]) -> tuple[Item, ...]:
    done = {_key(i.text) for i in completed}
    said = [
        Item(text=p.feature, evidence="; ".join(p.blockers), positions=(p.position,))
        for p in facts.progress
        if p.status == "blocked"
    ]
    if facts.handoffs:
        said += [Item(text=t, positions=(facts.handoffs[0].memory,)) for t in facts.handoffs[0].blocked]
    tracked = {_key(p.feature) for p in facts.progress}
    kept = [i for i in before.blocked if _key(i.text) not in tracked]
    return tuple(i for i in _unique((*said, *kept)) if _key(i.text) not in done)


def _next(facts: Facts, before: Checkpoint, completed: tuple[Item, ...]) -> tuple[Item, ...]:
    done = {_key(i.text) for i in completed}
    said = [Item(text=t, positions=(h.memory,)) for h in facts.handoffs[:1] for t in h.next_steps]
    plan = facts.session.plan if facts.session else ()
    said += [Item(text=t, source="transcript") for t, status in plan if status == "pending"]
    return tuple(i for i in _unique((*said, *before.preferred_next)) if _key(i.text) not in done)


# --- what must not be done again, and what must stay ------------------------------------------------------


def _must_not_redo(facts: Facts, before: Checkpoint) -> tuple[Prohibition, ...]:
    """The agent's own prohibitions (until they expire), and tracked failures without a fix as candidates."""
    said = [p for h in facts.handoffs for p in h.must_not_redo]
    failed = [
        Prohibition(
            action=f.error,
            reason=_failure_reason(f),
            scope=f.component,
            source="agent" if f.source == "agent" else "supervisor",
            positions=(f.memory,),
        )
        for f in facts.failures
    ]
    found: dict[str, Prohibition] = {}
    for item in in_force((*said, *failed, *before.must_not_redo), datetime.fromisoformat(facts.now)):
        if _key(item.action):
            found.setdefault(_key(item.action), item)
    return tuple(found.values())[:MOST_ITEMS]


def _failure_reason(failure: FailureView) -> str:
    parts = ["tried before and failed"]
    if failure.root_cause:
        parts.append(f"cause: {failure.root_cause}")
    if failure.fix:
        parts.append(f"fix: {failure.fix}")
    return "; ".join(parts)


def _must_preserve(facts: Facts, before: Checkpoint) -> tuple[Item, ...]:
    said = [Item(text=t, positions=(h.memory,)) for h in facts.handoffs for t in h.must_preserve]
    return _unique((*said, *before.must_preserve))


def _last_failure(facts: Facts, before: Checkpoint) -> Item | None:
    """A failure the agent tracked in this session, else the newest failed call, else an earlier tracked one."""
    failure = facts.failures[0] if facts.failures else None
    if failure is not None and (facts.session is None or failure.session == facts.session.id):
        return _tracked(failure)
    for call in facts.tools:
        if call.fact.status == "failed":
            text = f"{call.fact.tool} `{call.fact.summary}`: {call.fact.error}"[:500]
            return Item(text=text, source="supervisor", standing="verified")
    return _tracked(failure) if failure is not None else before.last_failure


def _tracked(failure: FailureView) -> Item:
    detail = "; ".join(
        f"{label}: {value}" for label, value in (("cause", failure.root_cause), ("fix", failure.fix)) if value
    )
    source: Source = "agent" if failure.source == "agent" else "supervisor"
    return Item(text=failure.error, source=source, evidence=detail, positions=(failure.memory,))


# --- files and tools ----------------------------------------------------------------------------------------


def _files(facts: Facts, before: Checkpoint) -> tuple[FileChange, ...]:
    """This session's changes over those of the task's other sessions; without a session what was known before."""
    earlier = facts.earlier_files if facts.session else before.modified_files
    found = {c.path: c for c in (*earlier, *facts.files)}
    order = {"agent": 0, "unattributed": 1, "user": 2}
    return tuple(sorted(found.values(), key=lambda c: (order[c.by], c.path)))[:MOST_FILES]


def _working_set(facts: Facts, before: Checkpoint) -> WorkingSet:
    said = next((h.working_set for h in facts.handoffs if h.working_set), None)
    files = dict.fromkeys([p for call in facts.tools for p in call.paths])
    tools = dict.fromkeys(call.fact.tool for call in facts.tools if call.fact.tool)
    if said is None and not files and not tools:
        return before.working_set
    base = said or WorkingSet()
    return WorkingSet(
        files=tuple(dict.fromkeys((*base.files, *files)))[:MOST_ITEMS],
        tools=tuple(dict.fromkeys((*base.tools, *tools)))[:MOST_ITEMS],
        artifacts=base.artifacts or before.working_set.artifacts,
    )


def _hours_between(earlier: str | None, later: str) -> float:
    """Hours between two UTC stamps; 0 where one is missing or the clock went back."""
    try:
        gap = datetime.fromisoformat(later) - datetime.fromisoformat(earlier or "")
    except ValueError:
        return 0.0
    return max(0.0, gap.total_seconds() / 3600)


def interrupted(tool: ToolFact) -> ToolFact:
    """A running call of a session that is over."""
    return msgspec.structs.replace(tool, status="interrupted") if tool.status == "running" else tool


def closed(facts: Facts) -> Facts:
    """The facts of a session that is over: calls still running were interrupted."""
    tools = tuple(msgspec.structs.replace(call, fact=interrupted(call.fact)) for call in facts.tools)
    return replace(facts, tools=tools)
