"""Values that events carry: what a checkpoint holds, and the parts it is made of.

They are part of the journal's format: a field may be added with a default, never renamed or removed
(see `upcast.py` for older payloads).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Standing = Literal["claimed", "verified", "contradicted"]
Source = Literal["agent", "transcript", "supervisor", "previous", "user"]
ChangeAuthor = Literal["agent", "user", "unattributed"]
ChangeKind = Literal["added", "modified", "deleted"]
CheckpointReason = Literal[
    "MANUAL_HANDOFF",
    "PLAN_UPDATE",
    "FAILURE",
    "WORKING_SET_SHIFT",
    "TOOL_FINISHED",
    "AUTO_SAVE",
    "EXIT",
    "CRASH",
    "KILLED",
    "OVERFLOW",
    "COMPACTION",
    "RATE_LIMIT",
    "API_ERROR",
    "AUTH",
    "HANG",
    "OOM",
    "LOST",
    "DETACH",
    "MANUAL",
]
VerdictKind = Literal[
    "finished",
    "user_quit",
    "killed",
    "crashed",
    "overflow",
    "rate_limit",
    "overloaded",
    "auth",
    "api_error",
    "hang",
    "oom",
    "lost",
]
ConditionKind = Literal["rate_limit", "overloaded", "overflow", "auth", "api_error", "waiting", "stalled"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all values inside events: immutable, fields by keyword."""


class Item(Record, frozen=True, kw_only=True):
    """One line of a checkpoint: what is said, by whom, and whether it was seen to be so."""

    text: str
    source: Source = "agent"
    standing: Standing = "claimed"
    evidence: str = ""
    positions: tuple[int, ...] = ()
    """Journal positions of the events that show it."""


class Prohibition(Record, frozen=True, kw_only=True):
    """Something the next agent must not do again.

    `reason` is one of mcp-engram's words (already_completed, side_effect_emitted, user_forbidden,
    tool_unsafe, superseded, failed_dont_retry) or free text.
    """

    action: str
    reason: str = ""
    scope: str = ""
    expires_at: str | None = None
    source: Source = "agent"
    positions: tuple[int, ...] = ()


class FileChange(Record, frozen=True, kw_only=True):
    """A changed file of the working tree; `path` is relative to the worktree's top folder."""

    path: str
    change: ChangeKind = "modified"
    by: ChangeAuthor = "unattributed"
    tracked: bool = True
    evidence: str = ""
    lines_added: int | None = None
    lines_removed: int | None = None


class GitFacts(Record, frozen=True, kw_only=True):
    """What git said of the worktree; `diff` names a blob with the full diff, None where it was not taken yet."""

    top: str = ""
    head: str | None = None
    branch: str | None = None
    dirty: bool = False
    diff: str | None = None
    commits_since_start: tuple[str, ...] = ()


class ToolFact(Record, frozen=True, kw_only=True):
    """One tool call of the agent. `summary` is a line a person can read (the command, the path)."""

    tool: str
    summary: str = ""
    status: Literal["running", "succeeded", "failed", "interrupted"] = "running"
    error: str = ""
    duration_ms: int | None = None
    position: int | None = None


class ContextFill(Record, frozen=True, kw_only=True):
    """Tokens in the model's context at the last answer; `window` is None where the agent does not tell."""

    used: int = 0
    window: int | None = None


class Verdict(Record, frozen=True, kw_only=True):
    """Why a session ended, with the lines that led to it. `signal` for killed, `code` for crashed."""

    kind: VerdictKind
    signal: int | None = None
    code: int | None = None
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As shown to people: `killed(9)`, `crashed(1)`, `finished`."""
        detail = self.signal if self.kind == "killed" else self.code if self.kind == "crashed" else None
        return self.kind if detail is None else f"{self.kind}({detail})"


class WorkingSet(Record, frozen=True, kw_only=True):
    """What the work is being done with and on."""

    files: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()


class Retold(Record, frozen=True, kw_only=True):
    """What an erased event said, without the words that had to be forgotten."""

    position: int
    payload: dict[str, Any]


class TranscriptPlace(Record, frozen=True, kw_only=True):
    """Where the agent's own record of the session is, and how far (bytes) it had been read."""

    path: str | None = None
    native_id: str | None = None
    offset: int = 0


class Confidence(Record, frozen=True, kw_only=True):
    """Parts of continuation_confidence, each 0..1 (weights .25, .25, .30, .20: mcp-engram's)."""

    state_completeness: float = 0.0
    recency: float = 0.0
    verification_history: float = 0.0
    drift_signals: float = 0.0

    def total(self) -> float:
        """Weighted sum, 0..1, rounded to 3 places."""
        return round(
            0.25 * self.state_completeness
            + 0.25 * self.recency
            + 0.30 * self.verification_history
            + 0.20 * self.drift_signals,
            3,
        )


class Checkpoint(Record, frozen=True, kw_only=True):
    """Durable summary of a task's working state: what the continuation package is made from."""

    goal: str = ""
    completed: tuple[Item, ...] = ()
    in_progress: tuple[Item, ...] = ()
    blocked: tuple[Item, ...] = ()
    preferred_next: tuple[Item, ...] = ()
    must_not_redo: tuple[Prohibition, ...] = ()
    must_preserve: tuple[Item, ...] = ()
    working_set: WorkingSet = WorkingSet()
    modified_files: tuple[FileChange, ...] = ()
    dirty_before: tuple[str, ...] = ()
    """Paths that differed from HEAD before the session began."""
    git: GitFacts | None = None
    last_tool: ToolFact | None = None
    last_failure: Item | None = None
    first_prompt: str = ""
    last_prompt: str = ""
    last_said: str = ""
    context: ContextFill | None = None
    verdict: Verdict | None = None
    transcript: TranscriptPlace | None = None
    screen_tail: str = ""
    summary: str = ""
    note: str = ""
    confidence: Confidence = Confidence()


class ImportedRecord(Record, frozen=True, kw_only=True):
    """One record of another program that was taken over.

    `digest` (of what it says there) tells it again, so that no record is taken over twice; `kind` and `name` are what
    it was and what it was called there ("" where nothing asks for it by name). It lives on as `id` here, or as the
    event `offset` positions after the one that tells of it, or as `session`; as nothing, where all are None.
    """

    digest: str
    kind: str = ""
    name: str = ""
    id: int | None = None
    offset: int | None = None
    session: str | None = None


JSONObject = dict[str, Any]
