"""How work was cut off, and the pinned hints that recall_memory puts on top: what happened, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from engram_runtime.continuity.continuation import hours_between
from engram_runtime.continuity.inert import inert_line
from engram_runtime.continuity.prohibitions import in_force
from engram_runtime.journal.events import InterruptionReason
from engram_runtime.journal.records import Verdict, VerdictKind
from engram_runtime.state.views import HandoffView, InterruptionView, SessionView, TaskView

if TYPE_CHECKING:
    from engram_runtime.state.queries import Queries

TASKLESS_KEPT = timedelta(days=7)
"""How long an interruption that belongs to no task is pinned: nothing can resolve it but a later hand-off."""
_LISTED = 3
_CLOSED = ("done", "cancelled")

_REASONS: dict[VerdictKind, InterruptionReason | None] = {
    "finished": None,
    "user_quit": "user_away",
    "killed": "crash",
    "crashed": "crash",
    "overflow": "overflow",
    "rate_limit": "rate_limit",
    "overloaded": "rate_limit",
    "auth": "tool_failure",
    "api_error": "tool_failure",
    "hang": "crash",
    "oom": "crash",
    "lost": "crash",
}


class Intelligence(msgspec.Struct, frozen=True, kw_only=True):
    """What an interruption of a kind means for going on (keys of mcp-engram's report_interruption)."""

    severity: Literal["critical", "major", "minor"]
    recoverability: Literal["high", "medium", "low"]
    data_loss_risk: Literal["high", "medium", "low"]
    recommended_action: str
    memory_restore_mode: Literal["FULL", "SELECTIVE", "NONE"]


_INTELLIGENCE: dict[InterruptionReason, Intelligence] = {
    "overflow": Intelligence(
        severity="major",
        recoverability="high",
        data_loss_risk="low",
        recommended_action="Start a fresh context, call restore_checkpoint, and work in smaller steps.",
        memory_restore_mode="SELECTIVE",
    ),
    "user_away": Intelligence(
        severity="minor",
        recoverability="high",
        data_loss_risk="low",
        recommended_action="Call session_handoff now; the next session calls restore_checkpoint.",
        memory_restore_mode="SELECTIVE",
    ),
    "tool_failure": Intelligence(
        severity="major",
        recoverability="medium",
        data_loss_risk="low",
        recommended_action="Record it with track_failure, then try another way; do not repeat the failing call.",
        memory_restore_mode="SELECTIVE",
    ),
    "crash": Intelligence(
        severity="critical",
        recoverability="medium",
        data_loss_risk="medium",
        recommended_action="Call restore_checkpoint and compare it with the files before changing anything.",
        memory_restore_mode="FULL",
    ),
    "rate_limit": Intelligence(
        severity="minor",
        recoverability="high",
        data_loss_risk="low",
        recommended_action="Wait until the limit resets or hand over to another agent; nothing is lost.",
        memory_restore_mode="SELECTIVE",
    ),
    "unknown": Intelligence(
        severity="major",
        recoverability="medium",
        data_loss_risk="medium",
        recommended_action="Call restore_checkpoint and check what it says against the files.",
        memory_restore_mode="FULL",
    ),
}


@dataclass(frozen=True, slots=True)
class LostSession:
    """A session found dead by its lock that the journal does not know to have ended."""

    id: str
    agent: str
    task: int | None


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A hint on top of a recall: `text` says what there is, `what_to_do` the next call."""

    kind: Literal["interruption", "handoff"]
    text: str
    what_to_do: str
    task_id: int | None
    at: str
    memory_id: int | None = None


def intelligence(reason: InterruptionReason) -> Intelligence:
    """What a reported interruption means."""
    return _INTELLIGENCE[reason]


def reason_of(verdict: Verdict) -> InterruptionReason | None:
    """The word of report_interruption for a verdict; None for a session that finished."""
    return _REASONS[verdict.kind]


def pins(
    queries: Queries,
    *,
    project: str,
    user: str,
    now: datetime,
    session: str | None = None,
    lost: Sequence[LostSession] = (),
) -> tuple[Pin, ...]:
    """Open interruptions (newest first), then the latest hand-off of the project, for the session that asks.

    The task the asking session works on is not an interruption to it. `lost` are supervised sessions found dead
    that nothing recorded yet.
    """
    asking = queries.session(session) if session else None
    own = asking.task if asking else None
    tasks = [t for t in queries.interrupted_tasks(project) if t.user == user and t.id != own]
    found = [_task_pin(queries, task, now) for task in tasks[:_LISTED]]
    listed = {task.id for task in tasks} | {own}
    for dead in lost:
        task = queries.task(dead.task) if dead.task is not None else None
        if task is not None and task.id not in listed and task.status not in _CLOSED:
            listed.add(task.id)
            found.append(
                _task_pin(queries, task, now, how=f"was lost (its supervisor of {dead.agent} is gone)")
            )
    handoffs = queries.handoffs(project=project, user=user, limit=1)
    latest = handoffs[0] if handoffs else None
    for interruption in queries.interruptions(project=project, user=user, limit=_LISTED):
        if _is_open_without_task(interruption, latest, session, now):
            found.append(_taskless_pin(queries, interruption, now))
            break
    if latest is not None:
        found.append(_handoff_pin(queries, latest, now))
    return tuple(found)


def _task_pin(queries: Queries, task: TaskView, now: datetime, how: str = "") -> Pin:
    session = queries.session(task.last_session) if task.last_session else None
    checkpoint = queries.checkpoint_version(task.id)
    at = (session.ended_at or session.last_event_at) if session else task.updated_at
    lines = [
        f"Task {task.id} “{inert_line(task.name, 120)}” was interrupted {age(at, now)}: {how or _end(session)}."
    ]
    content = checkpoint.content if checkpoint else None
    goal = content.goal if content and content.goal else task.goal
    if goal and goal != task.name:
        lines.append(f"Goal: {inert_line(goal)}")
    if content and content.in_progress:
        lines.append(
            "In progress: " + "; ".join(inert_line(item.text, 120) for item in content.in_progress[-_LISTED:])
        )
    if checkpoint:
        lines.append(f"Last checkpoint: version {checkpoint.version}, {age(checkpoint.created_at, now)}.")
        act = (
            f"If this session continues that work, call restore_checkpoint(task_id={task.id}) before anything else;"
            " do not start it over."
        )
    else:
        act = f"If this session continues that work, call get_task(task_id={task.id}) before anything else."
    return Pin(kind="interruption", text="\n".join(lines), what_to_do=act, task_id=task.id, at=at)


def _taskless_pin(queries: Queries, interruption: InterruptionView, now: datetime) -> Pin:
    name = interruption.session
    session = queries.session(name) if name else None
    text = f"A session was interrupted {age(interruption.created_at, now)}: {_end(session, interruption.reason)}."
    unfinished = [
        row.feature
        for row in queries.progress(project=interruption.project, user=interruption.user)
        if row.task is None and row.status not in ("done", "planning")
    ]
    if unfinished:
        text += "\nUnfinished: " + "; ".join(inert_line(feature, 120) for feature in unfinished[:_LISTED])
    return Pin(
        kind="interruption",
        text=text,
        what_to_do="Look at the hand-off and memories below before starting; check what the files show.",
        task_id=None,
        at=interruption.created_at,
    )


def _is_open_without_task(
    interruption: InterruptionView, latest: HandoffView | None, session: str | None, now: datetime
) -> bool:
    if interruption.task is not None or (session is not None and interruption.session == session):
        return False
    if latest is not None and latest.memory > interruption.id and latest.session != interruption.session:
        return False
    return hours_between(interruption.created_at, now) <= TASKLESS_KEPT.total_seconds() / 3600


def _handoff_pin(queries: Queries, handoff: HandoffView, now: datetime) -> Pin:
    lines = [f"Latest hand-off, {age(handoff.created_at, now)}: {inert_line(handoff.summary, 600)}"]
    for label, texts in (
        ("Done", handoff.completed),
        ("In progress", handoff.in_progress),
        ("Blocked", handoff.blocked),
        ("Next", handoff.next_steps),
        ("Must not be redone", tuple(p.action for p in in_force(handoff.must_not_redo, now))),
        ("Must be preserved", handoff.must_preserve),
    ):
        if texts:
            lines.append(f"{label}: " + "; ".join(inert_line(text, 200) for text in texts[:10]))
    task = queries.task(handoff.task) if handoff.task is not None else None
    if task is not None and task.status not in _CLOSED:
        act = f"To continue it, call restore_checkpoint(task_id={task.id})."
    elif task is not None:
        act = f"Its task {task.id} is {task.status}: nothing to continue."
    else:
        act = "To continue it, go on with what is in progress, then with the next steps."
    return Pin(
        kind="handoff",
        text="\n".join(lines),
        what_to_do=act,
        task_id=handoff.task,
        at=handoff.created_at,
        memory_id=handoff.memory,
    )


def _end(session: SessionView | None, reason: str = "") -> str:
    if session is None or session.verdict is None:
        return f"the agent reported {reason}" if reason else "its session did not finish"
    agent = inert_line(session.agent, 60)
    return f"{agent} ended with {_in_words(session.verdict)}"


def _in_words(verdict: Verdict) -> str:
    words: dict[VerdictKind, str] = {
        "user_quit": "its connection closed while work was open",
        "lost": "its process gone without a trace",
        "overflow": "its context window full",
        "rate_limit": "a rate limit",
        "overloaded": "an overloaded model service",
        "auth": "a refused login",
        "api_error": "an error of the model service",
        "hang": "no sign of life",
        "oom": "no memory left",
    }
    return f"{words[verdict.kind]} ({verdict})" if verdict.kind in words else str(verdict)


def age(at: str, now: datetime) -> str:
    """How long ago, in words: "just now", "41 min ago", "3 h ago", "12 days ago"."""
    minutes = int(hours_between(at, now) * 60)
    if minutes < 1:
        return "just now"
    if minutes < 90:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"
