"""Read models: frozen rows of the projected state, as callers see them. Times are UTC ISO 8601 with `Z`."""

from __future__ import annotations

from typing import Literal

import msgspec

from engram_runtime.journal.events import Category, InterruptionReason, SessionMode, Severity, TaskStatus
from engram_runtime.journal.records import (
    Checkpoint,
    CheckpointReason,
    ConditionKind,
    ContextFill,
    FileChange,
    JSONObject,
    Prohibition,
    ToolFact,
    TranscriptPlace,
    Verdict,
    WorkingSet,
)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of read models."""


class SessionView(View, frozen=True, kw_only=True):
    """One session as the journal tells it. Whether it is live is a lock's matter (`discovery`), not the journal's."""

    id: str
    project: str
    agent: str
    agent_version: str
    argv: tuple[str, ...]
    cwd: str
    worktree: str
    branch: str | None
    head: str | None
    dirty_files: tuple[str, ...]
    mode: SessionMode
    supervisor_pid: int
    agent_pid: int | None
    agent_started_at: float | None
    parent_session: str | None
    task: int | None
    """The task the session works on now."""
    resumed_task: int | None
    native_id: str | None
    transcript_path: str | None
    started_at: str
    last_event_at: str
    ended_at: str | None
    verdict: Verdict | None
    exit_code: int | None
    exit_signal: int | None
    first_prompt: str
    last_prompt: str
    last_said: str
    last_tool: ToolFact | None
    context: ContextFill | None
    conditions: tuple[ConditionKind, ...]
    tools_used: tuple[str, ...]
    plan: tuple[tuple[str, str], ...]
    """The agent's own to-do list as last seen (PlanObserved)."""
    signals: tuple[tuple[int, str, str], ...]
    """(signal, by, why) that Engram sent."""
    position: int
    last_position: int = 0
    """The session's events are between these two positions, both inclusive."""


class TaskView(View, frozen=True, kw_only=True):
    """A unit of work. `interrupted`: its last session ended otherwise than finished, or left something in progress."""

    id: int
    name: str
    goal: str
    status: TaskStatus
    user: str
    project: str
    metadata: JSONObject
    created_at: str
    updated_at: str
    parent: int | None
    source: str
    attempts: int
    """Sessions that worked on it."""
    last_session: str | None
    last_agent: str | None
    last_verdict: Verdict | None
    live: bool
    """Its last session has no SessionEnded yet (it may be lost: see `discovery`)."""
    interrupted: bool
    checkpoints: int
    features_done: int
    features_open: int
    execution: int | None = None
    attempt: int = 1
    """Its place in the chain of retries, from 1."""
    origin: int | None = None
    """The first task of the chain of retries: itself where there is none."""
    retry_of: int | None = None
    previous: int | None = None
    """The attempt before this one."""
    checkpoint: int | None = None
    """The checkpoint it was said to start from."""

    @property
    def shown_status(self) -> str:
        """The status for people: “ended” where it still says open, but its last session finished and none is live."""
        finished = self.last_verdict is not None and self.last_verdict.kind == "finished"
        still_open = self.status in ("planning", "in_progress")
        return "ended" if still_open and finished and not self.live and not self.interrupted else self.status


class ExecutionView(View, frozen=True, kw_only=True):
    """An intent that outlives its attempts. `continuity_score` is the last one evaluated for a task of it."""

    id: int
    goal: str
    status: Literal["active", "completed", "abandoned", "paused"]
    user: str
    project: str
    origin_checkpoint: str | None
    continuity_score: float | None
    created_at: str
    last_active_at: str


class RestoreView(View, frozen=True, kw_only=True):
    """A checkpoint that reached somebody: an agent over MCP, an agent in its first request, a user."""

    id: int
    task: int
    checkpoint: int | None
    to: Literal["agent", "user", "briefing"]
    session: str | None
    created_at: str


class DriftView(View, frozen=True, kw_only=True):
    """Drift as it was found; `composite` 0..1."""

    id: int
    task: int
    composite: float | None
    source: Literal["agent", "observed"]
    session: str | None
    created_at: str


class CheckpointView(View, frozen=True, kw_only=True):
    """A checkpoint's header; `content` is None in listings."""

    id: int
    task: int
    version: int
    parent_version: int | None
    reason: CheckpointReason
    trigger: str
    trigger_position: int | None
    session: str | None
    created_at: str
    confidence: float
    changed_files: int
    content: Checkpoint | None = None


class ProgressView(View, frozen=True, kw_only=True):
    """State of one feature; `memory` is its memory id (position of the feature's first event)."""

    memory: int
    feature: str
    status: Literal["planning", "in_progress", "blocked", "review", "done"]
    completion: float
    blockers: tuple[str, ...]
    quality_score: float | None
    notes: str | None
    user: str
    task: int | None
    project: str
    created_at: str
    updated_at: str
    position: int


class FailureView(View, frozen=True, kw_only=True):
    """A recorded failure."""

    memory: int
    error: str
    component: str
    root_cause: str | None
    severity: Severity
    fix: str | None
    related_test_ids: tuple[str, ...]
    user: str
    task: int | None
    project: str
    session: str | None
    created_at: str
    source: str


class HandoffView(View, frozen=True, kw_only=True):
    """What an agent left for the next."""

    memory: int
    summary: str
    completed: tuple[str, ...]
    in_progress: tuple[str, ...]
    blocked: tuple[str, ...]
    next_steps: tuple[str, ...]
    must_not_redo: tuple[Prohibition, ...]
    must_preserve: tuple[str, ...]
    working_set: WorkingSet | None
    user: str
    task: int | None
    project: str
    session: str | None
    created_at: str


class InterruptionView(View, frozen=True, kw_only=True):
    """Work that was cut off; `resolved_by` is the session that went on with it, None while open."""

    id: int
    reason: InterruptionReason
    context: JSONObject
    user: str
    task: int | None
    project: str
    session: str | None
    created_at: str
    source: str
    resolved_by: str | None


class ToolView(View, frozen=True, kw_only=True):
    """One tool call of a session."""

    session: str
    fact: ToolFact
    paths: tuple[str, ...]
    output: str
    started_at: str
    ended_at: str | None


class SessionFiles(View, frozen=True, kw_only=True):
    """Last known change of each file seen in a session."""

    session: str
    changes: tuple[FileChange, ...]


class ActivityLine(View, frozen=True, kw_only=True):
    """A journal entry as one line for people."""

    position: int
    at: str
    kind: str
    session: str | None
    text: str


class MemoryRow(View, frozen=True, kw_only=True):
    """A stored memory."""

    id: int
    content: str
    category: Category
    importance: float
    user: str
    project: str
    scope: str
    metadata: JSONObject
    memory_type: str
    task: int | None
    session: str | None
    source: str
    created_at: str
    updated_at: str
    recalls: int
    last_recalled_at: str | None
    superseded_by: int | None
    superseded_at: str | None = None
    superseded_why: str = ""
    pruned_at: str | None = None
    """Since when it is not recalled any more."""


class StoreHealth(View, frozen=True, kw_only=True):
    """Whether the home keeps what it is told. `writable` False: reads go on, writes are refused (`problem`, `hint`)."""

    home: str
    writable: bool
    problem: str = ""
    hint: str = ""
    journal_position: int = 0
    state_position: int = 0
    memory_position: int = 0
    unknown_kinds: tuple[str, ...] = ()
    sqlite_version: str = ""
    driver: str = ""
    journal_bytes: int = 0


__all__ = [
    "ActivityLine",
    "CheckpointView",
    "DriftView",
    "ExecutionView",
    "FailureView",
    "HandoffView",
    "InterruptionView",
    "MemoryRow",
    "ProgressView",
    "RestoreView",
    "SessionFiles",
    "SessionView",
    "StoreHealth",
    "TaskView",
    "ToolView",
    "TranscriptPlace",
    "View",
]
