"""The continuation package: what restore_checkpoint hands to the agent that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from engram_runtime.continuity.prohibitions import in_force
from engram_runtime.journal.records import (
    Checkpoint,
    Confidence,
    FileChange,
    GitFacts,
    Item,
    Prohibition,
    Standing,
    ToolFact,
    WorkingSet,
)
from engram_runtime.state.views import CheckpointView

RECENCY_HALF_LIFE_HOURS = 24.0
"""mcp-engram's: a checkpoint of yesterday counts half."""
_CONSTRAINTS = {
    "overflow": "The last session overflowed its context window: work in smaller steps and hand off earlier.",
    "rate_limit": "The last session ended at a rate limit of its model.",
    "overloaded": "The last session ended because the model's service was overloaded.",
    "auth": "The last session ended because its login or key was refused.",
    "oom": "The last session ran out of memory: avoid running the same load again.",
    "hang": "The last session hung in the call shown as last_tool.",
}


class ExecutionPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the work stopped in the middle of something, and of what."""

    in_execution: bool
    last_tool: str = ""
    last_prompt: str = ""


class Continuation(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of mcp-engram's continuation, and what was observed besides.

    `standings` gives, in the same order as the list of that name, who stands behind each item: "verified" (Engram
    saw it), "claimed" (the agent said so) or "contradicted".
    """

    goal: str
    completed: tuple[str, ...]
    in_progress: tuple[str, ...]
    blocked: tuple[str, ...]
    preferred_next: tuple[str, ...]
    must_not_redo: tuple[Prohibition, ...]
    must_preserve: tuple[str, ...]
    working_set: WorkingSet
    active_constraints: tuple[str, ...]
    blocked_reasons: tuple[str, ...]
    continuation_confidence: float
    confidence_breakdown: Confidence
    execution_position: ExecutionPosition
    standings: dict[str, tuple[Standing, ...]]
    modified_files: tuple[FileChange, ...]
    last_tool: ToolFact | None
    last_failure: str | None
    verdict: str | None
    git: GitFacts | None
    summary: str


def continuation(view: CheckpointView, *, now: datetime) -> Continuation:
    """The package of a checkpoint with content, its confidence weighed with the age it has at `now`."""
    content = view.content or Checkpoint()
    confidence = confidence_at(view, now=now)
    running = content.last_tool is not None and content.last_tool.status in ("running", "interrupted")
    return Continuation(
        goal=content.goal,
        completed=_texts(content.completed),
        in_progress=_texts(content.in_progress),
        blocked=_texts(content.blocked),
        preferred_next=_texts(content.preferred_next),
        must_not_redo=in_force(content.must_not_redo, now),
        must_preserve=_texts(content.must_preserve),
        working_set=content.working_set,
        active_constraints=constraints_of(content),
        blocked_reasons=tuple(f"{item.text}: {item.evidence}" for item in content.blocked if item.evidence),
        continuation_confidence=confidence.total(),
        confidence_breakdown=confidence,
        execution_position=ExecutionPosition(
            in_execution=running or bool(content.in_progress),
            last_tool=_tool_line(content.last_tool),
            last_prompt=content.last_prompt,
        ),
        standings={
            "completed": tuple(item.standing for item in content.completed),
            "in_progress": tuple(item.standing for item in content.in_progress),
        },
        modified_files=content.modified_files,
        last_tool=content.last_tool,
        last_failure=content.last_failure.text if content.last_failure else None,
        verdict=str(content.verdict) if content.verdict else None,
        git=content.git,
        summary=content.summary,
    )


def confidence_at(view: CheckpointView, *, now: datetime) -> Confidence:
    """The confidence a checkpoint was composed with, its recency taken at `now`."""
    confidence = (view.content or Checkpoint()).confidence
    aged = 0.5 ** (hours_between(view.created_at, now) / RECENCY_HALF_LIFE_HOURS)
    return msgspec.structs.replace(confidence, recency=round(min(aged, confidence.recency), 3))


def hours_between(at: str, now: datetime) -> float:
    """Hours from a journal timestamp to `now`, never negative (clocks are set back)."""
    then = datetime.fromisoformat(at)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (now - then).total_seconds() / 3600)


def _texts(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(item.text for item in items)


def _tool_line(tool: ToolFact | None) -> str:
    return f"{tool.tool}: {tool.summary}".rstrip(": ") if tool else ""


def constraints_of(content: Checkpoint) -> tuple[str, ...]:
    """What the end of the last session imposes on the next."""
    said = _CONSTRAINTS.get(content.verdict.kind) if content.verdict else None
    return (said,) if said else ()
