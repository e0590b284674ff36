"""Tools that judge: drift, continuity, recovery. What nothing tells of is null or refused, never a good mark."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from engram_runtime.continuity import recovery
from engram_runtime.continuity.drift import Doing, Reference, acts, measure, reference_of
from engram_runtime.continuity.metrics import evaluate
from engram_runtime.journal.events import ContinuityEvaluated, InterruptionReason
from engram_runtime.journal.records import JSONObject
from engram_runtime.mcp.catalogue import Tool
from engram_runtime.mcp.context import Call, Meaning
from engram_runtime.mcp.nudge import drift_event
from engram_runtime.mcp.schema import Answer, Arguments, Id, Text
from engram_runtime.state.views import CheckpointView, SessionView, TaskView, ToolView

Texts = tuple[str, ...]


class DetectDrift(Arguments, frozen=True, kw_only=True):
    """Parameters of detect_drift; what is not said is taken from what was seen."""

    task_id: Id
    current_goal: Text
    tools_used: Texts = ()
    actions_taken: Texts = ()
    in_progress: Texts = ()
    violated_constraints: Texts = ()
    user_id: str = "default"


class EvaluateContinuity(Arguments, frozen=True, kw_only=True):
    """Parameters of evaluate_continuity; versions default to the one last restored and the latest."""

    task_id: Id
    before_version: Id | None = None
    after_version: Id | None = None
    actions_taken_after_restore: Texts = ()
    user_id: str = "default"


class ScoreRecovery(Arguments, frozen=True, kw_only=True):
    """Parameters of score_recovery: what the agent takes to be so; null is not said, empty is none."""

    task_id: Id
    goal: Text
    completed: Texts | None = None
    in_progress: Texts | None = None
    must_not_redo: Texts | None = None
    active_constraints: Texts | None = None
    tools_used: Texts | None = None
    user_id: str = "default"


class RecommendRecovery(Arguments, frozen=True, kw_only=True):
    """Parameters of recommend_recovery; what is not said was observed."""

    task_id: Id
    interruption_reason: InterruptionReason | None = None
    retry_count: Annotated[int, Meta(ge=0, le=1000)] = 0
    user_id: str = "default"


class DriftTold(Answer, frozen=True, kw_only=True):
    """Answer of detect_drift."""

    LISTED = ("drift",)
    ok: bool
    task_id: int
    drift: JSONObject


class Evaluated(Answer, frozen=True, kw_only=True):
    """Answer of evaluate_continuity."""

    LISTED = ("continuity_score",)
    ok: bool
    task_id: int
    before_version: int
    after_version: int
    continuity_score: JSONObject


class Scored(Answer, frozen=True, kw_only=True):
    """Answer of score_recovery."""

    LISTED = ("score",)
    ok: bool
    task_id: int
    score: JSONObject


class Recommended(Answer, frozen=True, kw_only=True):
    """Answer of recommend_recovery."""

    LISTED = ("action",)
    ok: bool
    task_id: int
    action: str
    reason: str
    confidence: float
    memory_restore_mode: str
    severity: str
    recoverability: str
    observed: JSONObject


def detect_drift(call: Call, given: DetectDrift) -> DriftTold:
    """How far the work is from the checkpoint this session was given, else from the task's latest."""
    task = call.task_of(given.task_id, given.user_id)
    session = _session_on(call, task)
    since, checkpoint = _baseline(call, task)
    content = checkpoint.content if checkpoint else None
    reference = reference_of(content) if content else Reference(goal=task.goal or task.name)
    calls = _calls_since(call, session, since)
    seen = tuple(c.fact.summary for c in calls if c.fact.summary and acts(c.fact.tool, c.fact.summary))
    plan = tuple(text for text, status in session.plan if status == "in_progress") if session else ()
    # The earlier checkpoint may be the task's first: then its goal is the task's.
    doing = Doing(
        goal=given.current_goal,
        tools=given.tools_used or tuple(dict.fromkeys(c.fact.tool for c in calls)),
        plan=given.in_progress or plan,
        actions=(*given.actions_taken, *seen) or None,
        violated=given.violated_constraints,
    )
    meaning = Meaning(call.runtime)
    drift = measure(reference, doing, meaning)
    call.note(drift_event(task.id, drift, "agent"))
    told = msgspec.to_builtins(drift)
    told["compared_by"] = meaning.by
    told["compared_with"] = f"checkpoint version {checkpoint.version}" if checkpoint else "the task's goal"
    return DriftTold(ok=True, task_id=task.id, drift=told)


def evaluate_continuity(call: Call, given: EvaluateContinuity) -> Evaluated:
    """What of the state before an interruption survived it."""
    task = call.task_of(given.task_id, given.user_id)
    meaning = Meaning(call.runtime)
    found = evaluate(
        call.runtime.state,
        task.id,
        given.before_version,
        given.after_version,
        given.actions_taken_after_restore,
        meaning,
    )
    call.note(
        ContinuityEvaluated(
            task=task.id,
            before=found.before.version,
            after=found.after.version,
            composite=found.score.composite,
        )
    )
    return Evaluated(
        ok=True,
        task_id=task.id,
        before_version=found.before.version,
        after_version=found.after.version,
        continuity_score={**msgspec.to_builtins(found.score), "compared_by": meaning.by},
    )


def score_recovery(call: Call, given: ScoreRecovery) -> Scored:
    """How well the agent found its way back, by what it says against the checkpoint."""
    task = call.task_of(given.task_id, given.user_id)
    stated = recovery.Stated(
        goal=given.goal,
        completed=given.completed,
        in_progress=given.in_progress,
        must_not_redo=given.must_not_redo,
        active_constraints=given.active_constraints,
        tools_used=given.tools_used,
    )
    session, meaning = _session_on(call, task), Meaning(call.runtime)
    score = recovery.score_recovery(
        call.runtime.state, task, stated, session.id if session else None, meaning
    )
    told = msgspec.to_builtins(score)
    told["details"]["compared_by"] = meaning.by
    return Scored(ok=True, task_id=task.id, score=told)


def recommend_recovery(call: Call, given: RecommendRecovery) -> Recommended:
    """What to do about a task that was cut off."""
    task = call.task_of(given.task_id, given.user_id)
    advice = recovery.recommend(
        call.runtime.state,
        task,
        now=call.now,
        reason=given.interruption_reason,
        retry_count=given.retry_count,
        session=call.context.session,
    )
    return Recommended(ok=True, task_id=task.id, **msgspec.to_builtins(advice))


def _session_on(call: Call, task: TaskView) -> SessionView | None:
    """The calling session, if it works on the task."""
    session = call.runtime.state.session(call.context.session) if call.context.session else None
    return session if session is not None and session.task == task.id else None


def _baseline(call: Call, task: TaskView) -> tuple[int, CheckpointView | None]:
    """The checkpoint to compare with, and the position from which on what was done counts."""
    state = call.runtime.state
    given = (
        state.restores(task=task.id, session=call.context.session, limit=1) if call.context.session else []
    )
    if given and given[0].checkpoint is not None:
        return given[0].id, state.checkpoint(given[0].checkpoint)
    latest = state.checkpoint_version(task.id)
    return (latest.id if latest else 0), latest


def _calls_since(call: Call, session: SessionView | None, since: int) -> list[ToolView]:
    if session is None:
        return []
    return [c for c in call.runtime.state.tools(session.id, limit=200) if (c.fact.position or 0) > since]


RECOVERY_TOOLS: tuple[Tool, ...] = (
    Tool(
        "detect_drift",
        "Whether work has left the task: 0 on track, 1 elsewhere.",
        DetectDrift,
        DriftTold,
        detect_drift,
    ),
    Tool(
        "evaluate_continuity",
        "What survived an interruption; 0..1, 1 best, null unknown.",
        EvaluateContinuity,
        Evaluated,
        evaluate_continuity,
    ),
    Tool(
        "score_recovery",
        "After a restore: say what you understood, learn what you missed.",
        ScoreRecovery,
        Scored,
        score_recovery,
        reads=True,
    ),
    Tool(
        "recommend_recovery",
        "What to do about an interrupted task.",
        RecommendRecovery,
        Recommended,
        recommend_recovery,
        reads=True,
    ),
)
