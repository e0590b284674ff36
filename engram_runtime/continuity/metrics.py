"""How much of the work's state survived an interruption: mcp-engram's six measures, each 0..1, 1 the best.

goal retention .20, action consistency .20, failure recall .20, working-set stability .15, replanning .10, redundant
exploration .15. A measure that nothing tells of is None and counts for nothing; where less than half of the weight
is known there is no composite.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from engram_runtime.continuity.drift import acts, forbids
from engram_runtime.continuity.likeness import SAME_FROM, Alike, best_match, likeness, share_found
from engram_runtime.errors import NotFound, UsageError
from engram_runtime.journal.records import Checkpoint, Item
from engram_runtime.state.views import CheckpointView, ToolView

if TYPE_CHECKING:
    from engram_runtime.state.queries import Queries

WEIGHTS = {
    "goal_retention": 0.20,
    "action_consistency": 0.20,
    "failure_recall": 0.20,
    "working_set_stability": 0.15,
    "replanning_rate": 0.10,
    "redundant_exploration": 0.15,
}
LEAST_KNOWN = 0.5
MOST_CALLS = 500
SURELY_SAME = 0.9
"""Likeness from which an action counts as one that was done before."""
_NEEDED = {
    "goal_retention": "a goal in both versions",
    "action_consistency": "work in progress or next steps in the earlier version",
    "failure_recall": "a failure or must_not_redo in the earlier version",
    "working_set_stability": "files in both versions",
    "replanning_rate": "open work in both versions",
    "redundant_exploration": "actions_taken_after_restore, or a supervised session",
}


class ContinuityScore(msgspec.Struct, frozen=True, kw_only=True):
    """Each 0..1, 1: nothing was lost. None: nothing tells (see `missing`).

    `replanning_rate` is 1 where no open work was replaced, `redundant_exploration` where nothing was explored twice.
    """

    goal_retention: float | None = None
    action_consistency: float | None = None
    failure_recall: float | None = None
    working_set_stability: float | None = None
    replanning_rate: float | None = None
    redundant_exploration: float | None = None
    composite: float | None = None
    missing: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Afterwards:
    """What was done after the restore (`said` by the agent, `calls` seen), and seen `before` it."""

    said: tuple[str, ...] = ()
    calls: tuple[ToolView, ...] = ()
    before: tuple[ToolView, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A score with the versions that were compared."""

    before: CheckpointView
    after: CheckpointView
    score: ContinuityScore


def evaluate(
    state: Queries,
    task: int,
    before: int | None = None,
    after: int | None = None,
    actions: Sequence[str] = (),
    alike: Alike | None = None,
) -> Evaluated:
    """Compare two versions of a task's checkpoint: by default the one last handed to an agent, and the latest.

    Raises NotFound for a version that does not exist, UsageError where there is nothing to compare.
    """
    later = _version(state, task, after)
    earlier = _earlier(state, task, later, before)
    # What was done counts from the moment the earlier version reached an agent.
    boundary = next((r.id for r in state.restores(task=task) if r.checkpoint == earlier.id), earlier.id)
    calls = [
        call for session in state.sessions_of_task(task) for call in state.tools(session.id, limit=MOST_CALLS)
    ]
    afterwards = Afterwards(
        said=tuple(actions),
        calls=tuple(call for call in calls if boundary < (call.fact.position or 0) <= later.id),
        before=tuple(call for call in calls if (call.fact.position or 0) <= boundary),
    )
    then, now = earlier.content or Checkpoint(), later.content or Checkpoint()
    return Evaluated(earlier, later, score(then, now, afterwards, alike))


def score(
    then: Checkpoint, now: Checkpoint, afterwards: Afterwards | None = None, alike: Alike | None = None
) -> ContinuityScore:
    """What of `then` is still there `now`, and whether what was done in between built on it."""
    done = afterwards or Afterwards()
    parts = {
        "goal_retention": likeness(then.goal, now.goal, alike) if then.goal and now.goal else None,
        "action_consistency": _consistency(then, now, done, alike),
        "failure_recall": _failure_recall(then, now, done),
        "working_set_stability": _stability(then, now),
        "replanning_rate": _replanning(then, now, alike),
        "redundant_exploration": _exploration(then, now, done),
    }
    known = {name: value for name, value in parts.items() if value is not None}
    weight = sum(WEIGHTS[name] for name in known)
    missing = {name: f"needs {_NEEDED[name]}" for name in parts if name not in known}
    composite = None
    if weight >= LEAST_KNOWN - 1e-9:
        composite = round(sum(WEIGHTS[name] * value for name, value in known.items()) / weight, 3)
    else:
        missing["composite"] = f"needs at least half of the measures by weight; {weight:.2f} is known"
    return ContinuityScore(
        **{name: round(value, 3) for name, value in known.items()}, composite=composite, missing=missing
    )


def _version(state: Queries, task: int, version: int | None) -> CheckpointView:
    found = state.checkpoint_version(task, version)
    if found is None:
        wanted = f"checkpoint version {version}" if version is not None else "checkpoint: nothing to evaluate"
        raise NotFound(
            f"Task {task} has no {wanted}.",
            hint=f"Call list_checkpoints(task_id={task}); session_handoff writes a checkpoint.",
        )
    return found


def _earlier(state: Queries, task: int, later: CheckpointView, before: int | None) -> CheckpointView:
    if before is not None:
        found = _version(state, task, before)
        if found.version >= later.version:
            raise UsageError(
                f"before_version {found.version} is not before version {later.version}.",
                hint="Name an earlier one (list_checkpoints).",
            )
        return found
    given = [r.checkpoint for r in state.restores(task=task) if r.to != "user" and r.checkpoint is not None]
    restored = state.checkpoint(given[0]) if given else None
    if restored is not None and restored.task == task and restored.version < later.version:
        return restored
    if later.parent_version is None:
        raise UsageError(
            f"Task {task} has one checkpoint version so far: nothing to compare it with.",
            hint="Go on working; session_handoff or track_progress writes the next version.",
        )
    return _version(state, task, later.parent_version)


def _consistency(then: Checkpoint, now: Checkpoint, done: Afterwards, alike: Alike | None) -> float | None:
    """Share of the open work that was taken up or is still known."""
    known = (*now.completed, *now.in_progress, *now.blocked, *now.preferred_next)
    return share_found(_texts((*then.in_progress, *then.preferred_next)), (*_texts(known), *done.said), alike)


def _failure_recall(then: Checkpoint, now: Checkpoint, done: Afterwards) -> float | None:
    """Share of what had failed or was forbidden that is still known and was not done again."""
    if not then.must_not_redo:
        if then.last_failure is None:
            return None
        return 1.0 if now.last_failure is not None or now.must_not_redo else 0.0
    actions = (*done.said, *(c.fact.summary for c in done.calls if acts(c.fact.tool, c.fact.summary)))
    still = [item.action for item in now.must_not_redo]
    kept = [
        item
        for item in then.must_not_redo
        if best_match(item.action, still) >= SAME_FROM
        and not any(forbids(item, action) for action in actions)
    ]
    return len(kept) / len(then.must_not_redo)


def _stability(then: Checkpoint, now: Checkpoint) -> float | None:
    """How much of the smaller set of files belongs to the other one too."""
    before, after = _files(then), _files(now)
    return len(before & after) / min(len(before), len(after)) if before and after else None


def _replanning(then: Checkpoint, now: Checkpoint, alike: Alike | None) -> float | None:
    """Share of the open work now that was known before."""
    before = _texts((*then.in_progress, *then.blocked, *then.preferred_next))
    after = _texts((*now.in_progress, *now.preferred_next))
    return share_found(after, (*before, *_texts(then.completed)), alike) if before and after else None


def _exploration(then: Checkpoint, now: Checkpoint, done: Afterwards) -> float | None:
    """Share of what was looked at, taken up or said to be done that had not been looked at or done before."""
    seen = {(call.fact.tool, call.fact.summary) for call in done.before if call.fact.summary}
    looked = [
        (c.fact.tool, c.fact.summary)
        for c in done.calls
        if c.fact.summary and not acts(c.fact.tool, c.fact.summary)
    ]
    finished = _texts(then.completed)
    acted = (*done.said, *(_texts(now.in_progress) if finished else ()))
    judged = len(acted) + (len(looked) if seen else 0)
    if judged == 0:
        return None
    again = sum(
        any(forbids(item, action) for item in then.must_not_redo)
        or best_match(action, finished) >= SURELY_SAME
        for action in acted
    )
    again += sum(look in seen for look in looked) if seen else 0
    return 1 - again / judged


def _texts(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.text for item in items)


def _files(checkpoint: Checkpoint) -> set[str]:
    changed = {change.path for change in checkpoint.modified_files if change.by != "user"}
    return changed | set(checkpoint.working_set.files)
