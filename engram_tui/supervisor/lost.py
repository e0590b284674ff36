"""Sessions whose supervisor died: found by their lock, closed with a checkpoint from journal, transcript and tree.

Idempotent, one winner: whoever can take the session's lock does it, others leave it alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec

from engram_runtime.continuity.checkpoint import closed, compose, gather, same_state
from engram_runtime.errors import EngramError
from engram_runtime.journal import events as ev
from engram_runtime.journal.records import FileChange, Verdict
from engram_runtime.mcp.unsupervised import record_the_dead
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import SessionView
from engram_tui.agents.registry import adapter
from engram_tui.supervisor.aftermath import changes_left, end_agent
from engram_tui.supervisor.intake import Intake, Live
from engram_tui.supervisor.spec import CONTINUE, SessionFile, SessionFolder
from engram_tui.supervisor.states import SessionState
from engram_tui.supervisor.tasks import task_name
from engram_tui.watch import git_watch
from engram_tui.watch.observations import Observation, Prompted
from engram_tui.watch.process_table import identify

logger = logging.getLogger(__name__)

TOLD_TWICE = ("PromptSubmitted", "ToolStarted", "ToolFinished")
"""Kinds that hooks and transcript both tell."""


def recover_lost(runtime: Runtime) -> list[str]:
    """Close every lost session of the home; one line for people on each. A read-only home is left as it is."""
    if not runtime.health().writable:
        return []
    record_the_dead(runtime)
    lines = []
    for session, info in _unfinished(runtime):
        try:
            session.create()
            session.lock(patience=0)
        except (OSError, EngramError):
            continue  # its supervisor lives
        try:
            lines.append(_close(runtime, session, info))
        except EngramError as error:
            lines.append(f"session {info.id} was lost, and its checkpoint could not be written: {error}")
        except Exception:
            # The boundary to what another process left behind: one odd session must not stop every command.
            logger.exception("the lost session %s could not be closed", info.id)
            lines.append(f"session {info.id} was lost, and could not be closed; see the log")
        finally:
            session.unlock()
    return [line for line in lines if line]


def _unfinished(runtime: Runtime) -> Iterator[tuple[SessionFolder, SessionFile]]:
    """Sessions that have said no end: by their files, and those that the journal knows of but whose file is gone."""
    folder = runtime.home / "sessions"
    told: set[str] = set()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        session = SessionFolder(runtime.home, path.name)
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            info = session.read_info()
            told.add(info.id)
            if not info.ended and info.mode != "mcp":
                yield session, info
    for view in runtime.state.sessions(ended=False, limit=1000):
        if view.id in told or view.mode == "mcp" or identify(view.supervisor_pid) is not None:
            continue
        info = SessionFile(
            id=view.id,
            agent=view.agent,
            project=view.project,
            cwd=view.cwd,
            mode=view.mode,
            pid=view.supervisor_pid,
            socket="",
            started_at=view.started_at,
            task=view.task,
        )
        yield SessionFolder(runtime.home, view.id), info


def _close(runtime: Runtime, folder: SessionFolder, info: SessionFile) -> str:
    view = runtime.state.session(info.id)
    if view is None or view.ended_at is not None:
        folder.write_info(msgspec.structs.replace(info, ended=True))
        return "" if view else f"session {info.id} was lost before anything was recorded"
    agent_line = end_agent(view)
    told = _told_by_transcript(view)
    task = _read_rest(runtime, view, told)
    verdict = Verdict(kind="lost", evidence=_evidence(view, info, agent_line))
    if (files := _files_left(runtime, view, told)) and task is not None:
        runtime.append(ev.FilesObserved(changes=files), session=view.id, project=view.project)
    checkpoint = (
        _write_checkpoint(runtime, view.id, task, Path(view.cwd), verdict) if task is not None else ""
    )
    runtime.append(ev.SessionEnded(verdict=verdict), session=view.id, project=view.project)
    with contextlib.suppress(OSError):
        if info.socket:
            Path(info.socket).unlink()
    folder.write_info(msgspec.structs.replace(info, ended=True, verdict="lost"))
    with contextlib.suppress(OSError):
        folder.tidy()
    return f"session {info.id} ({info.agent}) was lost with its supervisor{checkpoint}"


def _evidence(view: SessionView, info: SessionFile, agent_line: str) -> tuple[str, ...]:
    return (
        f"the lock of supervisor {info.pid} was free, and it had recorded no end",
        agent_line,
        f"last event at {view.last_event_at}",
    )


def _told_by_transcript(view: SessionView) -> list[Observation]:
    """What the transcript tells of this session (one that was continued natively also holds older ones)."""
    if not view.transcript_path:
        return []
    reader = adapter(view.agent, "x").reopen_transcript(Path(view.transcript_path))
    if reader is None:
        return []
    began = _seconds(view.started_at)
    return [o for o in reader.read() if not 0 < o.at < began]


def _read_rest(runtime: Runtime, view: SessionView, told: list[Observation]) -> int | None:
    """Record what the transcript tells beyond the journal; the task the session was on (made from its first prompt)."""
    task = view.task
    events: list[ev.Event] = []
    own = CONTINUE if view.resumed_task is not None else ""
    intake = Intake(Live(SessionState(0.0, 0.0)), lambda *new: events.extend(new), lambda _o: None, own)
    recorded = [e.event for e in runtime.events(session=view.id, kinds=TOLD_TWICE, limit=100_000)]
    intake.known(
        prompts=[e.text for e in recorded if isinstance(e, ev.PromptSubmitted)],
        began=[e.call_id for e in recorded if isinstance(e, ev.ToolStarted)],
        ended=[e.call_id for e in recorded if isinstance(e, ev.ToolFinished)],
    )
    intake.take(told)
    new = [
        e
        for e in events
        if isinstance(e, ev.PromptSubmitted | ev.ToolStarted | ev.ToolFinished | ev.ContextMeasured)
    ]
    if new:
        runtime.append(*new, session=view.id, project=view.project)
    first = next((o.text for o in told if isinstance(o, Prompted)), view.first_prompt)
    if task is None and first:
        created = ev.TaskCreated(name=task_name(first), goal=first, status="in_progress", source="prompt")
        (task,) = runtime.append(created, session=view.id, project=view.project)
        runtime.append(ev.TaskAttached(task=task), session=view.id, project=view.project)
    return task


def _files_left(runtime: Runtime, view: SessionView, told: list[Observation]) -> tuple[FileChange, ...]:
    if not Path(view.worktree).is_dir():
        return ()
    known = {c.path for c in runtime.state.files(view.id).changes}
    last_sign = max((o.at for o in told), default=0.0)
    last_sign = max(last_sign, _seconds(view.last_event_at))
    return changes_left(view, told, known, last_sign, sees_tools=adapter(view.agent, "x").tells_tools)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _write_checkpoint(runtime: Runtime, session: str, task: int, cwd: Path, verdict: Verdict) -> str:
    facts = gather(runtime.state, task, session)
    git = git_watch.git_facts(str(cwd)) if cwd.is_dir() else None
    checkpoint = compose(closed(replace(facts, verdict=verdict, git=git)))
    if facts.previous is None or not same_state(facts.previous, checkpoint):
        event = ev.CheckpointWritten(
            task=task, reason="LOST", content=checkpoint, trigger="found lost", last_tool=checkpoint.last_tool
        )
        runtime.append(event, session=session)
    latest = runtime.state.checkpoint_version(task)
    version = f"v{latest.version}" if latest else "none"
    return f"; checkpoint {version} of task #{task} is durable: `engram resume {task}` continues"
