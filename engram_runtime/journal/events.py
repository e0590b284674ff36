"""The closed vocabulary of the journal: immutable, past-tense facts.

The kind of an event is its class name; `VERSION` counts changes of its payload (older payloads go through
`upcast.py`). Project, session and time are columns of the journal row, not fields: see `Recorded`.
The position of the creating event is the id of what it creates (task, checkpoint, memory, ...), so that
a replay gives the same ids. A session's id is made before its first event, since it names sockets and files.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from engram_runtime.journal.records import (
    Checkpoint,
    CheckpointReason,
    ConditionKind,
    ContextFill,
    FileChange,
    ImportedRecord,
    JSONObject,
    Prohibition,
    Retold,
    ToolFact,
    Verdict,
    WorkingSet,
)

TaskStatus = Literal["planning", "in_progress", "blocked", "review", "done", "cancelled"]
Category = Literal["fact", "assumption", "failure", "strategy"]
Severity = Literal["critical", "major", "minor"]
InterruptionReason = Literal["overflow", "user_away", "tool_failure", "crash", "rate_limit", "unknown"]
SessionMode = Literal["interactive", "headless", "mcp"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events."""

    VERSION: ClassVar[int] = 1

    @property
    def kind(self) -> str:
        """The event's name in the journal."""
        return type(self).__name__


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the journal. `at` is UTC, ISO 8601 with microseconds and `Z`.

    `event` is None where the kind is unknown to this Engram (written by a newer one): kept, skipped by
    projectors; `kind` and `payload` still tell what it is. `payload` is None once it was forgotten.
    """

    position: int
    at: str
    kind: str
    version: int
    project: str
    session: str | None
    event: Event | None
    payload: dict[str, Any] | None


# --- sessions ---------------------------------------------------------------------------------------


class SessionStarted(Event, frozen=True, kw_only=True):
    """A supervised run of an agent began (`mode` "mcp": an unsupervised agent spoke to `engram mcp`)."""

    agent: str
    agent_version: str = ""
    argv: tuple[str, ...] = ()
    cwd: str = ""
    worktree: str = ""
    branch: str | None = None
    head: str | None = None
    dirty_files: tuple[str, ...] = ()
    """Paths that differed from HEAD before the agent began: not booked on it."""
    mode: SessionMode = "interactive"
    supervisor_pid: int = 0
    parent_session: str | None = None
    resumed_task: int | None = None
    engram_version: str = ""


class AgentSpawned(Event, frozen=True, kw_only=True):
    """The agent's process exists. `started_at` is its start time in clock ticks or seconds, to tell pid reuse."""

    pid: int
    started_at: float


class NativeSessionSeen(Event, frozen=True, kw_only=True):
    """The agent told its own session id (again after /clear, fork or compaction) and where its transcript is."""

    native_id: str
    transcript_path: str = ""
    source: str = ""


class PromptSubmitted(Event, frozen=True, kw_only=True):
    """The user (or Engram, on resume) gave the agent a prompt; taken from hooks or transcript, never from keys."""

    text: str
    by: Literal["user", "engram"] = "user"


class ToolStarted(Event, frozen=True, kw_only=True):
    """The agent began a tool call."""

    tool: str
    call_id: str = ""
    summary: str = ""
    paths: tuple[str, ...] = ()


class ToolFinished(Event, frozen=True, kw_only=True):
    """A tool call ended. `error` and `output` are excerpts."""

    tool: str
    call_id: str = ""
    summary: str = ""
    paths: tuple[str, ...] = ()
    ok: bool = True
    error: str = ""
    output: str = ""
    duration_ms: int | None = None


class PlanObserved(Event, frozen=True, kw_only=True):
    """The agent's own to-do list as it stood: (text, pending | in_progress | completed)."""

    items: tuple[tuple[str, str], ...] = ()


class TurnFinished(Event, frozen=True, kw_only=True):
    """The agent ended a turn; `text` is an excerpt of what it said last."""

    text: str = ""


class FilesObserved(Event, frozen=True, kw_only=True):
    """Files of the worktree were seen to change (debounced batch)."""

    changes: tuple[FileChange, ...]


class ContextMeasured(Event, frozen=True, kw_only=True):
    """Context fill after an answer of the model; recorded when it moved by a percent of the window."""

    fill: ContextFill


class CompactionStarted(Event, frozen=True, kw_only=True):
    """The agent is about to compact its context."""

    trigger: str = ""


class CompactionFinished(Event, frozen=True, kw_only=True):
    """The agent compacted its context."""

    trigger: str = ""
    tokens_before: int | None = None
    tokens_after: int | None = None


class ConditionRaised(Event, frozen=True, kw_only=True):
    """Something keeps the agent from working (rate limit, overflow, waiting for permission, ...)."""

    condition: ConditionKind
    evidence: str = ""


class ConditionCleared(Event, frozen=True, kw_only=True):
    """A raised condition is over."""

    condition: ConditionKind


class SignalSent(Event, frozen=True, kw_only=True):
    """Engram sent the agent a signal, on whose behalf: evidence for the verdict."""

    signal: int
    by: Literal["user", "engram", "system"] = "engram"
    why: str = ""


class AgentExited(Event, frozen=True, kw_only=True):
    """The agent's process ended. Exactly one of `code` and `signal` is set, both None where it was not seen."""

    code: int | None = None
    signal: int | None = None


class SessionEnded(Event, frozen=True, kw_only=True):
    """The session is over, with its verdict. `left` lists processes that were left running (daemons)."""

    verdict: Verdict
    ended_processes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class BriefingInjected(Event, frozen=True, kw_only=True):
    """A briefing was handed to the agent. `digest` is the SHA-256 of its text."""

    task: int
    checkpoint: int | None = None
    channel: str = ""
    tokens: int = 0
    digest: str = ""


# --- tasks and continuity -----------------------------------------------------------------------------


class TaskCreated(Event, frozen=True, kw_only=True):
    """A unit of work began; its id is this event's position."""

    name: str
    goal: str = ""
    status: TaskStatus = "planning"
    user: str = "default"
    metadata: JSONObject = {}
    source: Literal["agent", "prompt", "cli", "import"] = "agent"
    parent: int | None = None
    retry_of: int | None = None
    """The task this one tries again."""
    checkpoint: int | None = None
    """The checkpoint it starts from, where one was named."""
    reason: str = ""
    """Why it is tried again."""


class TaskUpdated(Event, frozen=True, kw_only=True):
    """Fields that are None stay; `metadata` replaces the whole of it."""

    task: int
    name: str | None = None
    status: TaskStatus | None = None
    goal: str | None = None
    metadata: JSONObject | None = None


class TaskAttached(Event, frozen=True, kw_only=True):
    """The row's session works on this task from now on (an attempt)."""

    task: int


class ExecutionStarted(Event, frozen=True, kw_only=True):
    """An intent that outlives attempts began; its id is this event's position. The task's whole family joins it."""

    task: int
    goal: str = ""
    user: str = "default"
    origin_checkpoint: str | None = None
    """What the agent named as its origin: a checkpoint's id, or its own word for one."""


class ExecutionEnded(Event, frozen=True, kw_only=True):
    """An execution is over, or (paused) laid aside: a later attempt goes on with it."""

    execution: int
    status: Literal["completed", "abandoned", "paused"] = "completed"


class DriftDetected(Event, frozen=True, kw_only=True):
    """Work on a task was compared with its checkpoint: shares 0..1 of what moved away, None where nothing tells."""

    task: int
    composite: float | None = None
    goal: float | None = None
    tools: float | None = None
    planning: float | None = None
    constraints: float | None = None
    violations: tuple[str, ...] = ()
    source: Literal["agent", "observed"] = "agent"


class ContinuityEvaluated(Event, frozen=True, kw_only=True):
    """Two checkpoint versions of a task were compared; `composite` 0..1, None where too little is known."""

    task: int
    before: int
    after: int
    composite: float | None = None


class ProgressTracked(Event, frozen=True, kw_only=True):
    """State of a feature; one row per (user, task, feature), whose memory id is the first such event's position."""

    feature: str
    status: Literal["planning", "in_progress", "blocked", "review", "done"]
    completion: float = 0.0
    blockers: tuple[str, ...] = ()
    quality_score: float | None = None
    notes: str | None = None
    user: str = "default"
    task: int | None = None


class FailureTracked(Event, frozen=True, kw_only=True):
    """Something failed; also a memory of category failure with this event's position as its id."""

    error: str
    component: str
    root_cause: str | None = None
    severity: Severity = "major"
    fix: str | None = None
    related_test_ids: tuple[str, ...] = ()
    user: str = "default"
    task: int | None = None
    source: Literal["agent", "observed"] = "agent"


class KnownFailureTold(Event, frozen=True, kw_only=True):
    """A command failed as a failure on record did: its cause and fix were handed to the model (`memory`: its id)."""

    memory: int
    confidence: float
    call_id: str = ""


class HandoffRecorded(Event, frozen=True, kw_only=True):
    """What an agent leaves for the next one; also a memory with this event's position as its id."""

    summary: str
    completed: tuple[str, ...] = ()
    in_progress: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    must_not_redo: tuple[Prohibition, ...] = ()
    must_preserve: tuple[str, ...] = ()
    working_set: WorkingSet | None = None
    user: str = "default"
    task: int | None = None


class InterruptionReported(Event, frozen=True, kw_only=True):
    """Work was cut off: said by an agent over MCP, or seen by Engram (`source`)."""

    reason: InterruptionReason
    context: JSONObject = {}
    reported_session: str | None = None
    user: str = "default"
    task: int | None = None
    source: Literal["agent", "observed"] = "agent"


class CheckpointWritten(Event, frozen=True, kw_only=True):
    """A version of a task's working state; versions count from 1 per task in journal order."""

    task: int
    reason: CheckpointReason
    content: Checkpoint
    trigger: str = ""
    trigger_position: int | None = None
    last_tool: ToolFact | None = None
    """Kept beside the content for listings."""


class CheckpointRestored(Event, frozen=True, kw_only=True):
    """A continuation package was handed out."""

    task: int
    checkpoint: int
    mode: Literal["FULL", "SELECTIVE", "NONE"] = "SELECTIVE"
    to: Literal["agent", "user", "briefing"] = "agent"


# --- memory ---------------------------------------------------------------------------------------------


class MemoryStored(Event, frozen=True, kw_only=True):
    """A fact to recall; its id is this event's position. `scope` "project" (default) or "global"."""

    content: str
    importance: float
    category: Category = "fact"
    user: str = "default"
    metadata: JSONObject = {}
    scope: Literal["project", "global"] = "project"
    task: int | None = None
    source: Literal["agent", "user", "observed", "import"] = "agent"
    supersedes: tuple[int, ...] = ()
    """Memories that it outdates, contradicts or says more than: they stay, linked, and rank below."""
    below: int | None = None
    """A memory that says the same and more: this one is linked below it."""
    why: str = ""
    """Why it supersedes, or is below."""
    merged: bool = False
    """What the lower ones say is said by the upper one too: no new value, only other words."""
    pending: bool = False
    """Not compared with what was known (no model was ready): a MemoryCompared follows."""


class MemoryCompared(Event, frozen=True, kw_only=True):
    """A memory stored unseen was compared with the older ones; fields as in MemoryStored."""

    memory: int
    supersedes: tuple[int, ...] = ()
    below: int | None = None
    why: str = ""
    merged: bool = False


class MemoryReinforced(Event, frozen=True, kw_only=True):
    """What a memory states was stated again (`content`: in these words); it is strengthened."""

    memory: int
    content: str = ""
    importance: float | None = None


class MemoryPruned(Event, frozen=True, kw_only=True):
    """Faded memories whose facts others state: no longer recalled, still known, and restorable."""

    memories: tuple[int, ...]
    why: str = ""


class MemoryRestored(Event, frozen=True, kw_only=True):
    """Pruned memories may be recalled again."""

    memories: tuple[int, ...]


class OutcomeReported(Event, frozen=True, kw_only=True):
    """How a session ended, said by its agent: the memories recalled in it gain or lose weight."""

    reported_session: str
    outcome: Literal["success", "failure"]
    memories: tuple[int, ...] = ()
    notes: str = ""
    user: str = "default"


class MemoryUpdated(Event, frozen=True, kw_only=True):
    """New wording (and importance) of a memory; the earlier wording stays in the journal."""

    memory: int
    content: str
    importance: float | None = None


class MemorySuperseded(Event, frozen=True, kw_only=True):
    """`by` states what `memory` stated, newer; the older one stays, linked, and ranks below."""

    memory: int
    by: int
    why: str = ""
    merged: bool = False
    """What `memory` says is said by `by` too."""


class MemoryRecalled(Event, frozen=True, kw_only=True):
    """Memories answered a query: they are strengthened."""

    memories: tuple[int, ...]
    query_digest: str = ""
    reported_session: str | None = None
    """The session the agent named, where it named one."""


class MaintenanceDone(Event, frozen=True, kw_only=True):
    """Housekeeping that is part of the record: what was done and to what."""

    what: str
    detail: JSONObject = {}


class RecordsImported(Event, frozen=True, kw_only=True):
    """Records of another program were taken over, by the events that follow in the same transaction. Those carry the
    time at which the thing happened there; this one the time of the import."""

    source: Literal["mcp-engram", "claude"]
    records: tuple[ImportedRecord, ...]


class EventLost(Event, frozen=True, kw_only=True):
    """What stood at this position could not be recovered; `engram recover` keeps the place, so that ids stay."""


class JournalRecovered(Event, frozen=True, kw_only=True):
    """A damaged journal was made anew from what was intact, by `engram recover`."""

    flaw: str
    kept: int
    """Events that are as they were."""
    losses: tuple[tuple[int, int, str], ...] = ()
    """First and last position of what is not (the first thousand ranges), and why: gone, altered, words, retold."""
    put_aside: str = ""
    """Folder of the home with the damaged originals."""


class Forgotten(Event, frozen=True, kw_only=True):
    """Events were erased for good at the user's wish. Never says what they said.

    `ranges` holds the first and last position of runs of erased events. Of those in `retold` only some words had to
    go: from then on they say that instead.
    """

    what: Literal["memory", "task", "text"]
    subject: int | None = None
    """Id of the memory or task."""
    ranges: tuple[tuple[int, int], ...] = ()
    retold: tuple[Retold, ...] = ()


EVENT_TYPES: dict[str, type[Event]] = {t.__name__: t for t in Event.__subclasses__()}
