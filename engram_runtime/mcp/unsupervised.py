"""A session of an agent that nobody supervises: it begins with its first tool call, and its end is recorded.

A client that closes the connection, a signal and a sudden death all leave an interruption, where work was open; after
a sudden death (SIGKILL) the next Engram process that looks finds the lock free and records it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from engram_runtime.continuity.interruptions import LostSession, reason_of
from engram_runtime.errors import EngramError
from engram_runtime.journal.events import Event, InterruptionReported, SessionEnded, SessionStarted
from engram_runtime.journal.records import CheckpointReason, Verdict, VerdictKind
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.checkpoints import composed
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.presence import Found, Presence, buried, is_dead, sessions
from engram_runtime.runtime import Runtime

logger = logging.getLogger(__name__)

_MOST_EVENTS = 100_000
_TOLD = frozenset({"SessionStarted", "SessionEnded", "TaskAttached", "MemoryRecalled", "CheckpointRestored"})
"""Events of a session that only looked."""
_REASONS: dict[VerdictKind, CheckpointReason] = {"killed": "KILLED", "user_quit": "EXIT", "lost": "LOST"}
_CLOSED = ("done", "cancelled")


class UnsupervisedSession:
    """One run of `engram mcp`. Thread-safe; begins at most once and ends at most once."""

    def __init__(self, runtime: Runtime, session: str, cwd: Path) -> None:
        self._runtime = runtime
        self._cwd = cwd
        self._guard = threading.Lock()
        self._presence: Presence | None = None
        self._begun = self._ended = False
        self.id = session

    def context(self) -> ToolContext:
        """What the tools get of this session."""
        return ToolContext(
            project=self._runtime.project,
            session=self.id,
            before_call=self._before_call,
        )

    def end(self, verdict: Verdict) -> None:
        """Record the end, with a checkpoint and an interruption where work was open. Nothing if it never began."""
        with self._guard:
            if not self._begun or self._ended:
                self._ended = True
                return
            self._ended = True
        try:
            self._runtime.append(
                *ending(self._runtime, self.id, verdict), session=self.id, project=self._runtime.project
            )
        except EngramError as error:
            # The folder stays, so that the next Engram finds the session lost once the home can be written again.
            logger.warning("The end of this session could not be recorded: %s", error)
            return
        if self._presence is not None:
            self._presence.leave()

    def _before_call(self, client: str, version: str) -> None:
        with self._guard:
            if self._begun or self._ended:
                return
            # A home that refuses writes still answers reads; the session then leaves no trace.
            with contextlib.suppress(OSError, EngramError):
                card = {
                    "agent": client or "mcp client",
                    "project": self._runtime.project,
                    "cwd": str(self._cwd),
                    "mode": "mcp",
                    "pid": os.getpid(),
                    "socket": "",
                    "started_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                    "task": None,
                    "ended": False,
                }
                if self._presence is None:  # else the append below was refused last time
                    self._presence = Presence(self._runtime.home, self.id, card)
                self._runtime.append(
                    SessionStarted(
                        agent=client or "mcp client",
                        agent_version=version,
                        cwd=str(self._cwd),
                        mode="mcp",
                        supervisor_pid=os.getpid(),
                        engram_version=catalogue.version(),
                    ),
                    session=self.id,
                    project=self._runtime.project,
                )
                self._begun = True


def ending(runtime: Runtime, session: str, verdict: Verdict) -> list[Event]:
    """The events that end an unsupervised session: checkpoint, interruption, end; the first two where work was open.

    Work is open where the session's task is, or where it tracked a feature or left a hand-off that is not done. One
    that was killed or lost counts as interrupted too, if it did more than look.
    """
    view = runtime.state.session(session)
    task = runtime.state.task(view.task) if view is not None and view.task is not None else None
    is_open = task is not None and task.status not in _CLOSED
    if task is None:
        is_open = _left_something_open(runtime, session)
        if verdict.kind != "user_quit":
            kinds = {event.kind for event in runtime.events(limit=_MOST_EVENTS, session=session)}
            is_open = is_open or bool(kinds - _TOLD)
    events: list[Event] = []
    reason = reason_of(verdict)
    if is_open and reason is not None:
        if task is not None:
            checkpoint = composed(
                runtime,
                task.id,
                _REASONS.get(verdict.kind, "EXIT"),
                trigger="session end",
                session=session,
                verdict=verdict,
            )
            events += [checkpoint] if checkpoint else []
        events.append(
            InterruptionReported(
                reason=reason,
                context={"verdict": str(verdict), "evidence": list(verdict.evidence)},
                reported_session=session,
                user=task.user if task else "default",
                task=task.id if task else None,
                source="observed",
            )
        )
    return [*events, SessionEnded(verdict=verdict)]


def record_the_dead(runtime: Runtime) -> list[str]:
    """Record the ends of unsupervised sessions whose process is gone; their ids. One process wins each."""
    recorded = []
    for found in sessions(runtime.home):
        if found.mode != "mcp" or not is_dead(found):
            continue
        try:
            with buried(found) as mine:
                if mine and _record_loss(runtime, found):
                    recorded.append(found.id)
        except EngramError as error:
            logger.warning("The loss of session %s could not be recorded: %s", found.id, error)
    return recorded


def _record_loss(runtime: Runtime, found: Found) -> bool:
    view = runtime.state.session(found.id)
    if view is None or view.ended_at is not None:
        return False
    verdict = Verdict(kind="lost", evidence=("the MCP server's process is gone and recorded no end",))
    runtime.append(*ending(runtime, found.id, verdict), session=found.id, project=found.project)
    return True


def lost_sessions(runtime: Runtime) -> list[LostSession]:
    """Record the ends of unsupervised sessions found dead; supervised ones of this project, whose ends are for a
    supervisor to record, are named."""
    record_the_dead(runtime)
    return [
        LostSession(found.id, found.agent, found.task)
        for found in sessions(runtime.home)
        if found.mode != "mcp" and not found.ended and found.project == runtime.project and is_dead(found)
    ]


def _left_something_open(runtime: Runtime, session: str) -> bool:
    said = runtime.events(limit=_MOST_EVENTS, session=session, kinds=("HandoffRecorded", "ProgressTracked"))
    for recorded in reversed(said):
        event = recorded.event
        if event is not None and recorded.kind == "HandoffRecorded":
            return bool(getattr(event, "in_progress", ()) or getattr(event, "next_steps", ()))
        if event is not None and getattr(event, "status", "") in ("in_progress", "blocked", "review"):
            return True
    return False
