"""Whether work has moved away from what it was to be: goal, tools, plan, prohibitions.

Each part is a share from 0 (as it was) to 1 (wholly different), None where nothing tells. The composite is the mean
of the known parts by mcp-engram's weights (goal .25, tools .15, planning .20, constraints .40), and at least
0.8 × goal drift and at least constraint drift: working at something else, or against a prohibition, is drift
whatever tools are used for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from engram_runtime.continuity.likeness import (
    OTHER_UNTIL,
    SAME_FROM,
    Alike,
    best_match,
    contains,
    likeness,
    share_found,
    stems,
)
from engram_runtime.continuity.standing import READING, READING_TOOLS
from engram_runtime.journal.records import Checkpoint, Prohibition

if TYPE_CHECKING:
    from engram_runtime.state.queries import Queries

Severity = Literal["low", "medium", "high", "critical", "unknown"]
WEIGHTS = {"goal_drift": 0.25, "tool_drift": 0.15, "planning_drift": 0.20, "constraint_drift": 0.40}
GOAL_FLOOR = 0.8
LEFT_BY_A_VIOLATION = 0.3
"""Each violation leaves this much of the trust that prohibitions are kept: one is 0.7, two are 0.91."""
ENOUGH_WORDS = 8
"""Telling words a checkpoint must hold before an unknown word in the plan says anything."""
_LEVELS: tuple[tuple[float, Severity], ...] = (
    (0.7, "critical"),
    (0.4, "high"),
    (0.2, "medium"),
    (0.0, "low"),
)
_KINDS = (
    ("read", re.compile(r"read|view|cat|grep|glob|search_files|list|^ls$|open_file|find", re.IGNORECASE)),
    ("edit", re.compile(r"edit|write|patch|str_replace|create_file|notebook", re.IGNORECASE)),
    ("run", re.compile(r"bash|shell|terminal|exec|run|command", re.IGNORECASE)),
    ("web", re.compile(r"web|browser|fetch|http", re.IGNORECASE)),
    ("plan", re.compile(r"todo|plan|task", re.IGNORECASE)),
)


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured (keys of mcp-engram's detect_drift), what it goes against, and what nothing tells of."""

    goal_drift: float | None
    tool_drift: float | None
    planning_drift: float | None
    constraint_drift: float | None
    composite: float | None
    severity: Severity
    recommendation: str
    violations: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the work was to be."""

    goal: str
    plan: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    """Everything that was said of it."""
    tools: tuple[str, ...] = ()
    prohibitions: tuple[Prohibition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What is being done. `goal` None and `actions` None: nobody said, nobody saw."""

    goal: str | None = None
    tools: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    actions: tuple[str, ...] | None = None
    violated: tuple[str, ...] = ()


def reference_of(content: Checkpoint, *more: str) -> Reference:
    """What a checkpoint says the work was to be; `more` is what else is known to belong to it."""
    plan = tuple(item.text for item in (*content.in_progress, *content.blocked, *content.preferred_next))
    done = tuple(item.text for item in (*content.completed, *content.must_preserve))
    paths = (*(change.path for change in content.modified_files), *content.working_set.files)
    said = (
        content.goal,
        content.summary,
        content.first_prompt,
        content.last_prompt,
        *plan,
        *done,
        *paths,
        *more,
    )
    return Reference(
        goal=content.goal,
        plan=plan,
        known=tuple(text for text in said if text),
        tools=content.working_set.tools,
        prohibitions=content.must_not_redo,
    )


def measure(reference: Reference, doing: Doing, alike: Alike | None = None) -> Drift:
    """Compare what is done with what was to be done."""
    violations = _violations(reference, doing)
    parts = {
        "goal_drift": _goal(reference, doing, alike),
        "tool_drift": tool_drift(reference.tools, doing.tools),
        "planning_drift": _planning(reference, doing, alike),
        "constraint_drift": _constraints(reference, doing, violations),
    }
    composite = _composite(parts)
    severity = severity_of(composite)
    return Drift(
        **{name: None if value is None else round(value, 3) for name, value in parts.items()},
        composite=composite,
        severity=severity,
        recommendation=_recommendation(severity, parts, violations),
        violations=violations,
        unknown=tuple(name for name, value in parts.items() if value is None),
    )


def observed(state: Queries, session: str, task: int) -> Drift | None:
    """What was seen of a session, against the checkpoint it was given; None where it was given none of the task."""
    view, given = state.session(session), state.restores(task=task, session=session, limit=1)
    checkpoint = state.checkpoint(given[0].checkpoint) if given and given[0].checkpoint is not None else None
    if view is None or checkpoint is None or checkpoint.content is None:
        return None
    since = given[0].id
    calls = [call for call in state.tools(session) if (call.fact.position or 0) > since]
    plan = tuple(text for text, status in view.plan if status != "completed") or tuple(
        row.feature
        for row in state.progress(task=task)
        if row.position > since and row.status in ("in_progress", "planning")
    )
    doing = Doing(
        tools=tuple(dict.fromkeys(call.fact.tool for call in calls)),
        plan=plan,
        actions=tuple(
            call.fact.summary
            for call in calls
            if acts(call.fact.tool, call.fact.summary) and call.fact.summary
        ),
    )
    return measure(reference_of(checkpoint.content, view.last_prompt), doing)


def acts(tool: str, summary: str) -> bool:
    """Whether a call does more than look."""
    first = summary.split(maxsplit=1)[0] if summary.strip() else ""
    return tool not in READING_TOOLS and first not in READING


def tool_drift(before: Sequence[str], now: Sequence[str]) -> float | None:
    """Share of the kinds of tools in use that were not in use before; None where one side has none.

    By kind, since every agent has names of its own for reading, editing and running.
    """
    kinds, known = {_kind(tool) for tool in now}, {_kind(tool) for tool in before}
    return len(kinds - known) / len(kinds) if kinds and known else None


def severity_of(composite: float | None) -> Severity:
    """mcp-engram's words: critical from 0.7, high from 0.4, medium from 0.2."""
    if composite is None:
        return "unknown"
    return next(word for least, word in _LEVELS if composite >= least)


def forbids(prohibition: Prohibition, action: str) -> bool:
    """Whether an action is what a prohibition names: the same words, or the command it quotes."""
    quoted = re.findall(r"`([^`]{3,})`", prohibition.action)
    if any(command in action for command in quoted):
        return True
    return likeness(prohibition.action, action) == 1.0 or contains(stems(action), stems(prohibition.action))


def _distance(alike: float) -> float:
    """0 for a goal said in other words (likeness from 0.5), 1 for another one (until 0.15), even between."""
    return min(1.0, max(0.0, (SAME_FROM - alike) / (SAME_FROM - OTHER_UNTIL)))


def _goal(reference: Reference, doing: Doing, alike: Alike | None) -> float | None:
    if doing.goal is not None:
        if not reference.goal:
            return None
        # A step of the plan is a goal of the same work.
        if best_match(doing.goal, reference.plan) >= SAME_FROM:
            return 0.0
        return _distance(likeness(reference.goal, doing.goal, alike))
    known = _telling(reference.known)
    if not doing.plan or len(known) < ENOUGH_WORDS:
        return None
    strange = [text for text in doing.plan if not _telling((text,)) & known]
    return len(strange) / len(doing.plan)


def _planning(reference: Reference, doing: Doing, alike: Alike | None) -> float | None:
    if not doing.plan or not reference.plan:
        return None
    found = share_found(doing.plan, reference.plan, alike)
    return None if found is None else 1 - found


def _constraints(reference: Reference, doing: Doing, violations: Sequence[str]) -> float | None:
    if violations:
        return 1 - LEFT_BY_A_VIOLATION ** len(violations)
    # That a prohibition was kept is known only of somebody who said what they did.
    return 0.0 if reference.prohibitions and doing.goal is not None and doing.actions is not None else None


def _violations(reference: Reference, doing: Doing) -> tuple[str, ...]:
    done = [
        f"{prohibition.action} (done: {action})" if action != prohibition.action else action
        for prohibition in reference.prohibitions
        for action in (doing.actions or ())
        if forbids(prohibition, action)
    ]
    return tuple(dict.fromkeys((*done, *doing.violated)))


def _composite(parts: dict[str, float | None]) -> float | None:
    known = {name: value for name, value in parts.items() if value is not None}
    if not known:
        return None
    mean = sum(WEIGHTS[name] * value for name, value in known.items()) / sum(WEIGHTS[name] for name in known)
    # Other tools alone are no other work.
    if set(known) == {"tool_drift"}:
        mean = min(mean, 0.3)
    goal, constraints = known.get("goal_drift", 0.0), known.get("constraint_drift", 0.0)
    return round(max(mean, GOAL_FLOOR * goal if "goal_drift" in known else 0.0, constraints), 3)


def _recommendation(severity: Severity, parts: dict[str, float | None], violations: Sequence[str]) -> str:
    if severity == "unknown":
        return "Nothing to compare with yet: restore_checkpoint, or say tools_used, actions_taken and in_progress."
    if violations:
        return f"Stop: this was not to be done: {violations[0]}. Call restore_checkpoint and keep to must_not_redo."
    if severity in ("low", "medium"):
        return "On track." if severity == "low" else "Mostly on track; look at what the plan says comes next."
    if (parts["goal_drift"] or 0) >= 0.5:
        return (
            "This is other work than the task's goal: go back to it (restore_checkpoint), or if it is wanted, "
            "create_task for it or update_task the goal."
        )
    return "The plan has moved: call restore_checkpoint and compare, or track_progress what replaced it."


def _telling(texts: Iterable[str]) -> set[str]:
    return {stem for text in texts for stem, weight in stems(text).items() if weight == 1.0 and len(stem) > 2}


def _kind(tool: str) -> str:
    name = tool.rsplit("__", 1)[-1]
    if tool.startswith("mcp__"):
        return tool.casefold()
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), name.casefold())
