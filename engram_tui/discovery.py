"""Sessions of a home, found by their locks: live ones hold theirs, lost ones left it, ended ones said so.

Liveness is a lock, not a pid: a supervisor holds an exclusive flock on its session's lock file all its life.
Nothing heavy is imported here: the command line asks this before anything else.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from engram_runtime.errors import NotFound, UsageError

SessionState = Literal["live", "lost", "ended"]
FOLDER = "sessions"
FACTS = "session.json"
LOCK = "lock"
MCP = "mcp"
"""Mode of a session of `engram mcp`: an agent that somebody else runs asks Engram's tools."""
_ORDER: dict[SessionState, int] = {"live": 0, "lost": 1, "ended": 2}


class SessionFacts(msgspec.Struct, frozen=True):
    """`session.json`, as the supervisor writes it."""

    id: str
    agent: str = ""
    project: str = ""
    cwd: str = ""
    mode: str = "interactive"
    pid: int = 0
    socket: str = ""
    started_at: str = ""
    task: int | None = None
    ended: bool = False
    on_pipes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """A session as the browser and `engram sessions` list it.

    The fields after `directory` are not on disk here: the caller fills in what the journal or the live session
    says, and leaves the rest empty. What is empty is not shown.
    """

    id: str
    state: SessionState
    agent: str
    project: str
    cwd: str
    mode: str
    pid: int
    socket: Path
    started_at: str
    task: int | None
    directory: Path
    activity: str = ""
    """State of a live session's agent: `busy`, `waiting`, …"""
    task_name: str = ""
    goal: str = ""
    last_said: str = ""
    last_at: str = ""
    """When something was last heard of it (UTC ISO 8601)."""
    context_used: int | None = None
    context_window: int | None = None
    verdict: str = ""
    interrupted: bool = False
    preview: tuple[str, ...] = ()
    """Lines of its last screen, or of its checkpoint."""
    on_pipes: bool = False
    """Whether its agent writes to pipes: it has no terminal."""

    @property
    def supervised(self) -> bool:
        """Whether Engram runs its agent, rather than answering one that somebody else started."""
        return self.mode != MCP

    @property
    def why_unseen(self) -> str:
        """Why it cannot be shown in a terminal; empty if it can."""
        if not self.supervised:
            return "its agent runs elsewhere and only uses Engram's MCP tools"
        return (
            "it runs on pipes and has no screen; its output goes to its own stdout" if self.on_pipes else ""
        )


def is_locked(lock: Path) -> bool:
    """Whether some process holds the exclusive lock on this file.

    A shared lock is tried, so that two processes asking at once do not take each other for a supervisor.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def facts_of(directory: Path) -> SessionFacts | None:
    """The facts of a session directory, None while there are none that can be read."""
    try:
        return msgspec.json.decode((directory / FACTS).read_bytes(), type=SessionFacts)
    except (OSError, msgspec.MsgspecError):
        return None


def state_of(directory: Path) -> SessionState:
    """Whether the session of this directory is live, ended, or lost (its supervisor died without a word)."""
    if is_locked(directory / LOCK):
        return "live"
    facts = facts_of(directory)
    return "ended" if facts is not None and facts.ended else "lost"


def sessions(home: Path) -> list[SessionEntry]:
    """All sessions of a home, live ones first, then lost, then ended; newest first among each."""
    folder = home / FOLDER
    if not folder.is_dir():
        return []
    found = [entry for path in folder.iterdir() if (entry := _entry(path)) is not None]
    found.sort(key=lambda e: e.started_at, reverse=True)
    found.sort(key=lambda e: _ORDER[e.state])
    return found


def _entry(directory: Path) -> SessionEntry | None:
    facts = facts_of(directory)
    if facts is None:
        return None
    return SessionEntry(
        id=facts.id,
        state=state_of(directory),
        agent=facts.agent,
        project=facts.project,
        cwd=facts.cwd,
        mode=facts.mode,
        pid=facts.pid,
        socket=Path(facts.socket),
        started_at=facts.started_at,
        task=facts.task,
        directory=directory,
        on_pipes=facts.on_pipes,
    )


def live_session(home: Path, wanted: str = "", *, project: str = "", sole: bool = False) -> SessionEntry:
    """The live session whose id begins with `wanted`. Without it the newest one, of the project if it has one.

    `sole`: without `wanted`, only the one live session of the project will do. Sessions of `engram mcp` do not
    count: there is no agent of ours to show or to end. Raises UsageError where more than one would do, NotFound
    where none does; both say which there are.
    """
    live = [e for e in sessions(home) if e.state == "live"]
    ours = [e for e in live if e.supervised]
    if wanted:
        return _named(live, ours, wanted)
    here = [e for e in ours if e.project == project]
    if sole and len(here) != 1:
        raise _not_one(ours, here)
    return one_session(here or ours)


def _named(live: Sequence[SessionEntry], ours: Sequence[SessionEntry], wanted: str) -> SessionEntry:
    """The session of that name, of an own agent. Raises UsageError for one that only uses the tools."""
    try:
        return one_session(ours, wanted)
    except NotFound:
        other = [e for e in live if not e.supervised and e.id.startswith(wanted)]
        if len(other) != 1 or any(e.id.startswith(wanted) for e in ours):
            raise
        raise UsageError(
            f"Session {other[0].id} is not Engram's to show or to end: {other[0].why_unseen}.",
            hint=f"End {other[0].agent or 'it'} where it was started.",
        ) from None


def _not_one(ours: Sequence[SessionEntry], here: Sequence[SessionEntry]) -> UsageError:
    """Why it is not clear which session is meant."""
    if here:
        names = ", ".join(e.id for e in here)
        return UsageError("More than one session of this project is live.", hint=f"Name one: {names}.")
    elsewhere = ", ".join(e.id for e in ours)
    hint = f"Of other projects, to be named: {elsewhere}." if elsewhere else "`engram run AGENT` starts one."
    return NotFound("No live session in this project.", hint=hint)


def one_session(entries: Sequence[SessionEntry], wanted: str = "") -> SessionEntry:
    """The entry whose id begins with `wanted`; the first one without it. Raises NotFound as `live_session`."""
    fitting = [e for e in entries if e.id.startswith(wanted)]
    exact = [e for e in fitting if e.id == wanted]
    if exact or (fitting and not wanted) or len(fitting) == 1:
        return (exact or fitting)[0]
    names = ", ".join(e.id for e in entries)
    hint = f"Live sessions: {names}." if names else "`engram run AGENT` starts one."
    if not fitting:
        raise NotFound(f"No live session {wanted!r}." if wanted else "No live session.", hint=hint)
    raise NotFound(f"More than one live session begins with {wanted!r}.", hint=hint)
