"""How well an agent found its way back into a task, and what is best done about one that was cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engram_runtime.continuity.continuation import confidence_at, constraints_of, hours_between
from engram_runtime.continuity.drift import tool_drift
from engram_runtime.continuity.interruptions import Intelligence, intelligence, reason_of
from engram_runtime.continuity.likeness import SAME_FROM, Alike, best_match, likeness, share_found
from engram_runtime.continuity.lineage import failures_of_all_attempts
from engram_runtime.errors import UsageError
from engram_runtime.journal.events import InterruptionReason
from engram_runtime.journal.records import Checkpoint, Verdict
from engram_runtime.state.views import CheckpointView, FailureView, SessionView, TaskView

if TYPE_CHECKING:
    from engram_runtime.state.queries import Queries

Action = Literal["restore_checkpoint", "start_fresh", "abandon", "show_summary"]
WEIGHTS = {
    "goal_alignment": 0.30,
    "constraint_retention": 0.30,
    "task_position_alignment": 0.20,
    "tool_behavior_stability": 0.20,
}
KEPT_PER_TRY = 0.8
"""Each try that did not end well leaves this share of the trust in the next one."""
TOO_MANY_TRIES = 3
SAME_FAILURE = 3
_FINE = ("finished", "user_quit")
_CLOSED = ("done", "cancelled")
_NEEDED = {
    "goal_alignment": "a goal in the checkpoint",
    "constraint_retention": "must_not_redo or active_constraints from you, and such in the checkpoint",
    "task_position_alignment": "completed or in_progress from you, and such in the checkpoint",
    "tool_behavior_stability": "tools_used from you or a supervised session, and tools in the checkpoint",
}


class NothingToScore(UsageError):
    """No data to score with: said instead of a number."""

    def __init__(self, message: str, *, hint: str, structured: dict[str, Any]) -> None:
        super().__init__(message, hint=hint)
        self.structured = structured


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the agent says of its recovery; None: it did not say."""

    goal: str
    completed: tuple[str, ...] | None = None
    in_progress: tuple[str, ...] | None = None
    must_not_redo: tuple[str, ...] | None = None
    active_constraints: tuple[str, ...] | None = None
    tools_used: tuple[str, ...] | None = None


class RecoveryScore(msgspec.Struct, frozen=True, kw_only=True):
    """Each 0..1, 1 the best (but `retry_degradation`: 0 the best); None where nothing tells, see `details`.

    recovery_confidence = mean of the known parts (.30 goal, .30 constraints, .20 position, .20 tools)
    × (1 − retry_degradation / 2), and None unless constraints or position are known.
    """

    goal_alignment: float | None
    constraint_retention: float | None
    task_position_alignment: float | None
    tool_behavior_stability: float | None
    retry_degradation: float
    recovery_confidence: float | None
    confidence_level: Literal["high", "medium", "low", "unknown"]
    recommendation: str
    details: dict[str, Any]


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about a task that was cut off, and what was observed that says so."""

    action: Action
    reason: str
    confidence: float
    memory_restore_mode: Literal["FULL", "SELECTIVE", "NONE"]
    severity: str
    recoverability: str
    observed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    task: TaskView
    checkpoint: CheckpointView | None
    session: SessionView | None
    reason: InterruptionReason
    tries: int
    failures: Sequence[FailureView]
    repeated: str
    drift: float | None


def score_recovery(
    state: Queries, task: TaskView, stated: Stated, session: str | None = None, alike: Alike | None = None
) -> RecoveryScore:
    """Compare what an agent says with the task's latest checkpoint. Raises NothingToScore without one."""
    checkpoint = state.checkpoint_version(task.id)
    if checkpoint is None or checkpoint.content is None:
        raise NothingToScore(
            f"Task {task.id} has no checkpoint: a recovery cannot be scored.",
            hint=f"Call get_task(task_id={task.id}) for what is known; session_handoff writes a checkpoint.",
            structured={"task_id": task.id, "score": None, "details": {"no_checkpoint": True}},
        )
    content = checkpoint.content
    tools = stated.tools_used
    if tools is None and session is not None:
        view = state.session(session)
        tools = view.tools_used if view is not None and view.tools_used else None
    drifted = tool_drift(content.working_set.tools, tools or ())
    parts = {
        "goal_alignment": likeness(content.goal, stated.goal, alike) if content.goal else None,
        "constraint_retention": _constraints(content, stated, alike),
        "task_position_alignment": _position(content, stated, alike),
        "tool_behavior_stability": None if drifted is None else 1 - drifted,
    }
    degradation = round(1 - KEPT_PER_TRY ** _tries(state, task), 3)
    confidence = _confidence(parts, degradation)
    level = _level(confidence)
    return RecoveryScore(
        **{name: None if value is None else round(value, 3) for name, value in parts.items()},
        retry_degradation=degradation,
        recovery_confidence=confidence,
        confidence_level=level,
        recommendation=_advice(level, parts, task),
        details={
            "no_checkpoint": False,
            "checkpoint_version": checkpoint.version,
            "missing": {name: f"needs {_NEEDED[name]}" for name, value in parts.items() if value is None},
        },
    )


def recommend(
    state: Queries,
    task: TaskView,
    *,
    now: datetime,
    reason: InterruptionReason | None = None,
    retry_count: int = 0,
    session: str | None = None,
) -> Recommendation:
    """What to do, from what was observed: verdict, conditions, failures, tries, the checkpoint and its age."""
    seen = _look(state, task, reason, retry_count)
    means = intelligence(seen.reason)
    action, why, confidence = _decide(seen, means, now, session)
    mode = means.memory_restore_mode if action == "restore_checkpoint" else "NONE"
    verdict = seen.session.verdict if seen.session else None
    return Recommendation(
        action=action,
        reason=why,
        confidence=round(confidence, 3),
        memory_restore_mode=mode,
        severity=means.severity,
        recoverability="low" if action == "abandon" else means.recoverability,
        observed={
            "interruption_reason": seen.reason,
            "verdict": str(verdict) if verdict else None,
            "evidence": list(verdict.evidence[:3]) if verdict else [],
            "conditions": list(seen.session.conditions) if seen.session else [],
            "unsuccessful_tries": seen.tries,
            "failures": len(seen.failures),
            "repeated_failure": seen.repeated or None,
            "drift": seen.drift,
            "checkpoint_version": seen.checkpoint.version if seen.checkpoint else None,
            "checkpoint_age_hours": round(hours_between(seen.checkpoint.created_at, now), 2)
            if seen.checkpoint
            else None,
        },
    )


def _look(state: Queries, task: TaskView, reason: InterruptionReason | None, retry_count: int) -> _Seen:
    session = state.session(task.last_session) if task.last_session else None
    failures = failures_of_all_attempts(state, task.id)
    groups = Counter(_group(failure, failures) for failure in failures)
    most = groups.most_common(1)
    drifts = state.drifts(task.id, limit=1)
    return _Seen(
        task=task,
        checkpoint=state.checkpoint_version(task.id),
        session=session,
        reason=reason or _observed_reason(state, task, session),
        tries=max(retry_count, _tries(state, task)),
        failures=failures,
        repeated=most[0][0] if most and most[0][1] >= SAME_FAILURE else "",
        drift=drifts[0].composite if drifts and drifts[0].session == task.last_session else None,
    )


def _decide(
    seen: _Seen, means: Intelligence, now: datetime, session: str | None
) -> tuple[Action, str, float]:
    task = seen.task
    if task.status in _CLOSED:
        return "show_summary", f"Task {task.id} is {task.status}: there is nothing to recover.", 0.95
    if task.live and task.last_session != session:
        return (
            "show_summary",
            f"Session {task.last_session} works on task {task.id} now: two must not do it at once.",
            0.9,
        )
    if seen.tries >= TOO_MANY_TRIES and seen.repeated:
        why = f"{seen.tries} tries, and the same failure came back: {seen.repeated[:160]}."
        return "abandon", f"{why} Ask the user, or do it another way.", 0.8
    if seen.checkpoint is None:
        return "start_fresh", f"Task {task.id} has no checkpoint; get_task tells what was said of it.", 0.8
    content = seen.checkpoint.content or Checkpoint()
    if seen.reason == "user_away" and not (content.in_progress or content.preferred_next):
        return "show_summary", "The user ended it with nothing in progress.", 0.7
    why = means.recommended_action
    if seen.repeated:
        why = f"The same failure came back {SAME_FAILURE} times ({seen.repeated[:120]}): restore, then another way."
    elif seen.drift is not None and seen.drift >= 0.7:
        why = (
            "The last session had drifted from the goal: restore and compare what it did with the goal first."
        )
    elif seen.tries >= TOO_MANY_TRIES:
        why += f" {seen.tries} tries did not end well: work in smaller steps."
    trust: float = confidence_at(seen.checkpoint, now=now).total() * 0.9**seen.tries
    return "restore_checkpoint", why, trust


def _observed_reason(state: Queries, task: TaskView, session: SessionView | None) -> InterruptionReason:
    reported = [i for i in state.interruptions(project=task.project, limit=50) if i.task == task.id]
    if reported:
        return reported[0].reason
    verdict = session.verdict if session else None
    return (reason_of(verdict) if verdict else None) or "unknown"


def _tries(state: Queries, task: TaskView) -> int:
    """Tries before this one: earlier attempts of the chain, and sessions of this one that did not end well."""
    ended = [s.verdict for s in state.sessions_of_task(task.id) if s.verdict is not None]
    return len(state.earlier_attempts(task.id)) + sum(not _ended_well(verdict) for verdict in ended)


def _ended_well(verdict: Verdict) -> bool:
    return verdict.kind in _FINE


def _group(failure: FailureView, among: Sequence[FailureView]) -> str:
    """The oldest failure that says the same of the same component."""
    same = [f for f in among if f.component == failure.component and likeness(f.error, failure.error) >= 0.6]
    return f"{failure.component}: {same[-1].error if same else failure.error}"


def _constraints(content: Checkpoint, stated: Stated, alike: Alike | None) -> float | None:
    if stated.must_not_redo is None and stated.active_constraints is None:
        return None
    wanted = (
        *(item.action for item in content.must_not_redo),
        *(item.text for item in content.must_preserve),
        *constraints_of(content),
    )
    return share_found(wanted, (*(stated.must_not_redo or ()), *(stated.active_constraints or ())), alike)


def _position(content: Checkpoint, stated: Stated, alike: Alike | None) -> float | None:
    done = tuple(item.text for item in content.completed)
    doing = tuple(item.text for item in (*content.in_progress, *content.preferred_next))
    shares = []
    if stated.completed is not None and done:
        shares.append(share_found(done, stated.completed, alike))
    if stated.in_progress and doing:
        shares.append(share_found(stated.in_progress, doing, alike))
    known = [share for share in shares if share is not None]
    if not known:
        return None
    again = [
        text for text in stated.in_progress or () if best_match(text, done, alike) >= max(SAME_FROM, 0.9)
    ]
    penalty = 0.5 * len(again) / len(done) if done else 0.0
    return max(0.0, sum(known) / len(known) - penalty)


def _confidence(parts: dict[str, float | None], degradation: float) -> float | None:
    known = {name: value for name, value in parts.items() if value is not None}
    if not known.keys() & {"constraint_retention", "task_position_alignment"}:
        return None
    mean = sum(WEIGHTS[name] * value for name, value in known.items()) / sum(WEIGHTS[name] for name in known)
    return round(mean * (1 - degradation / 2), 3)


def _level(confidence: float | None) -> Literal["high", "medium", "low", "unknown"]:
    if confidence is None:
        return "unknown"
    return "high" if confidence >= 0.8 else "medium" if confidence >= 0.5 else "low"


def _advice(level: str, parts: dict[str, float | None], task: TaskView) -> str:
    if level == "unknown":
        return "Not enough to judge: say completed, in_progress and must_not_redo as you understand them."
    if level == "high":
        return "The recovery is sound: go on."
    weakest = min((value, name) for name, value in parts.items() if value is not None)[1].replace("_", " ")
    again = "read it again with" if level == "medium" else "start again from"
    return f"Weakest is {weakest}: {again} restore_checkpoint(task_id={task.id})."
