"""Frozen facts the supervisor saw or was told by hooks and transcript, before they are recorded as events."""

from __future__ import annotations

from typing import Literal

import msgspec

from engram_runtime.journal.records import ChangeKind, ConditionKind

Channel = Literal["hook", "transcript", "stdout", "screen", "process", "files"]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all observations. `channel` says where it was seen; `at` is UTC seconds, 0 = now."""

    channel: Channel = "hook"
    at: float = 0.0


class NativeSession(Observation, frozen=True, kw_only=True):
    """The agent's own session id and transcript; `source` startup | resume | clear | compact | fork."""

    native_id: str
    transcript_path: str = ""
    source: str = ""
    model: str = ""


class Prompted(Observation, frozen=True, kw_only=True):
    """A prompt was submitted."""

    text: str


class ToolBegan(Observation, frozen=True, kw_only=True):
    """A tool call began. `paths`: files the call names as its target (absolute); `command`: of a shell tool;
    `change`: of an editing tool, what it puts in place of what (an excerpt)."""

    tool: str
    call_id: str = ""
    summary: str = ""
    paths: tuple[str, ...] = ()
    command: str = ""
    change: str = ""


class ToolEnded(Observation, frozen=True, kw_only=True):
    """A tool call ended."""

    tool: str
    call_id: str = ""
    summary: str = ""
    paths: tuple[str, ...] = ()
    ok: bool = True
    error: str = ""
    output: str = ""
    duration_ms: int | None = None


class PlanSeen(Observation, frozen=True, kw_only=True):
    """The agent's own to-do list as it stands: (text, status pending | in_progress | completed)."""

    items: tuple[tuple[str, str], ...]


class TurnEnded(Observation, frozen=True, kw_only=True):
    """The agent ended its turn and is idle."""

    text: str = ""


class TurnInterrupted(Observation, frozen=True, kw_only=True):
    """The user broke the turn off: what ran was cut off, and the agent is idle."""


class TurnFailed(Observation, frozen=True, kw_only=True):
    """A turn ended in an API error."""

    condition: ConditionKind
    text: str = ""
    status: int | None = None


class Retrying(Observation, frozen=True, kw_only=True):
    """The agent is retrying after an API error."""

    condition: ConditionKind
    text: str = ""


class ContextSeen(Observation, frozen=True, kw_only=True):
    """Tokens in context after an answer; input and output tokens of that answer."""

    used: int
    window: int | None = None
    tokens_out: int = 0


class Waiting(Observation, frozen=True, kw_only=True):
    """The agent waits for the user (permission, question)."""

    text: str = ""


class CompactionBegan(Observation, frozen=True, kw_only=True):
    """The agent is about to compact."""

    trigger: str = ""


class CompactionEnded(Observation, frozen=True, kw_only=True):
    """The agent compacted."""

    trigger: str = ""
    tokens_before: int | None = None
    tokens_after: int | None = None


class NativeEnded(Observation, frozen=True, kw_only=True):
    """The agent said its session ends (a hint only: the end is the process's exit)."""

    reason: str = ""


class FileTouched(Observation, frozen=True, kw_only=True):
    """A file below the working tree changed; absolute path."""

    path: str
    change: ChangeKind


class ProcessSeen(Observation, frozen=True, kw_only=True):
    """A process of the agent's tree."""

    pid: int
    parent: int
    depth: int
    command: str
    started_at: float
    cpu: float
    rss: int


class Exited(Observation, frozen=True, kw_only=True):
    """The agent's process ended; exactly one of code and signal is set."""

    code: int | None = None
    signal: int | None = None
