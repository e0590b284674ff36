"""What a lost session left: an agent that nobody watches, and changed files whose authors must be told late."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Sequence

from engram_runtime.journal.records import FileChange
from engram_runtime.state.views import SessionView
from engram_tui.watch import git_watch
from engram_tui.watch.attribution import Attribution
from engram_tui.watch.observations import FileTouched, Observation, ToolBegan, ToolEnded
from engram_tui.watch.process_table import ProcessId, identify, is_running, send_signal

LAST_BREATH_S = 2.5
"""How long an agent has that lost its terminal (SIGHUP) or its parent (SIGTERM) with its supervisor: Claude in
mid-tool takes 1.3–1.6 s."""
TERM_S = 3.0
KILL_S = 2.0
POLL_S = 0.02


def end_agent(view: SessionView) -> str:
    """See that the lost session's agent is gone, and say in one line how it went.

    It was told to end when its supervisor died. One that did not is ended here: two agents on one task undo each
    other's work. Takes at most 7.5 s.
    """
    if view.agent_pid is None:
        return "its agent had not started"
    agent = identify(view.agent_pid)
    if agent is None or abs(agent.start - (view.agent_started_at or 0)) >= 1:
        return f"its agent (pid {view.agent_pid}) is gone"
    if _ends_within(agent, LAST_BREATH_S):
        return f"its agent (pid {agent.pid}) ended after it"
    for number, seconds in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
        send_signal(agent, number)
        send_signal(agent, signal.SIGCONT)
        if _ends_within(agent, seconds):
            return f"its agent (pid {agent.pid}) went on without it and was ended by {number.name}"
    return f"its agent (pid {agent.pid}) is still running"


def _ends_within(agent: ProcessId, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while is_running(agent):
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_S)
    return True


def changes_left(
    view: SessionView,
    told: Sequence[Observation],
    known: Collection[str],
    last_sign: float,
    *,
    sees_tools: bool,
) -> tuple[FileChange, ...]:
    """Files that differ from HEAD now, did not before the session, and are not `known` to the journal.

    Authors are told from modification times and the tool calls (`told`, with their times). After `last_sign` (UTC
    seconds) only a file that a call cut off had named is booked on the agent: the user may have worked since.
    """
    changed = git_watch.changed_files(view.worktree)
    if not changed:
        return ()
    attribution = Attribution(view.worktree, sees_tools=sees_tools)
    attribution.baseline([f for f in changed if f.path in view.dirty_files])
    for observation in told:
        if isinstance(observation, ToolBegan):
            attribution.began(observation)
        elif isinstance(observation, ToolEnded):
            attribution.ended(observation)
    new = [f for f in changed if f.path not in view.dirty_files and f.path not in known]
    times = {f.path: _modified_at(os.path.join(attribution.top, f.path)) for f in new}
    attribution.touched(
        [
            FileTouched(channel="files", at=at, path=os.path.join(attribution.top, f.path), change=f.change)
            for f in new
            if (at := times[f.path]) is not None
        ]
    )
    return tuple(_unless_late(c, times.get(c.path), last_sign) for c in attribution.changes(new))


def _unless_late(change: FileChange, at: float | None, last_sign: float) -> FileChange:
    if change.by == "agent" or at is None or at <= last_sign:
        return change
    return FileChange(
        path=change.path,
        change=change.change,
        by="unattributed",
        tracked=change.tracked,
        evidence="changed after the last sign of a session that was lost",
    )


def _modified_at(path: str) -> float | None:
    with contextlib.suppress(OSError):
        return os.lstat(path).st_mtime
    return None
