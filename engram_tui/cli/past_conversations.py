"""`engram import claude`: past conversations become sessions and tasks of their projects, with their own times."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram_runtime import paths
from engram_runtime.errors import InvalidEvent
from engram_runtime.ids import session_id
from engram_runtime.journal import events as ev
from engram_runtime.journal.journal import stamp
from engram_runtime.journal.records import FileChange, Verdict
from engram_runtime.redaction import redact
from engram_runtime.upkeep.importers.batches import Batches, Told
from engram_tui.agents.claude_history import Place, place_of, read, transcripts
from engram_tui.supervisor.intake import PROMPT_LENGTH, Intake, Live
from engram_tui.supervisor.states import SessionState
from engram_tui.supervisor.tasks import task_name
from engram_tui.watch.observations import Observation, Prompted, ToolEnded, TurnEnded

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

CONVERSATION, OFFSET = "claude conversation", "claude offset"


@dataclass(slots=True)
class Taken:
    """What became of the transcripts. `skipped`: files, and why."""

    transcripts: int = 0
    conversations: int = 0
    continued: int = 0
    known: int = 0
    events: int = 0
    unreadable_lines: int = 0
    projects: set[str] = field(default_factory=set)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def import_claude(runtime: Runtime, named: Path) -> Taken:
    """Take over the transcripts in `named`; what was taken over, or seen by a supervisor, is not taken again.

    Raises UsageError (no transcripts there), StoreError.
    """
    taken = Taken()
    batches = Batches(runtime.journal, runtime.state, "claude", runtime.project)
    supervised = _supervised(runtime, batches)
    for path in transcripts(named):
        taken.transcripts += 1
        place = place_of(path)
        if place is None or place.sidechain:
            why = "a sub-agent's own record" if place else "no transcript of a conversation"
            taken.skipped.append((str(path), why))
        elif place.native_id in supervised:
            taken.known += 1
        else:
            try:
                _take(batches, path, place, taken)
            except (InvalidEvent, OSError) as error:
                taken.skipped.append((str(path), str(error)))
    batches.flush()
    return taken


def _supervised(runtime: Runtime, batches: Batches) -> set[str]:
    """Conversations the journal knows otherwise than from an import."""
    found: set[str] = set()
    position = 0
    while seen := runtime.journal.read_after(position, 1000, kinds=("NativeSessionSeen",)):
        position = seen[-1].position
        found.update(event.native_id for at in seen if isinstance(event := at.event, ev.NativeSessionSeen))
    return {native_id for native_id in found if batches.here(CONVERSATION, native_id) is None}


def _take(batches: Batches, path: Path, place: Place, taken: Taken) -> None:
    told = batches.here(OFFSET, place.native_id)
    offset = told if isinstance(told, int) else 0
    said = read(path, offset)
    taken.unreadable_lines += said.malformed
    known = batches.here(CONVERSATION, place.native_id)
    if not said.observations:
        taken.known += known is not None
        if known is None:
            taken.skipped.append((str(path), "nothing was said in it"))
        return
    project = paths.project_of(Path(place.cwd)) if Path(place.cwd).is_dir() else place.cwd
    times = _times(said.observations, path)
    session = batches.here(f"{CONVERSATION} session", place.native_id)
    if not isinstance(known, int) or not isinstance(session, str):
        session = session_id(times[0])
        known = _begin(batches, path, place, said.observations, session, project, times[0])
        taken.conversations += 1
    else:
        taken.continued += 1
    events = [Told(_stamp(times[0]), ev.TaskAttached(task=known), session, project)]
    events += _events(said.observations, times, session, project, place.cwd)
    at_rest = isinstance(said.observations[-1], TurnEnded)
    evidence = "its transcript ends after a turn" if at_rest else "its transcript ends within a turn"
    verdict = Verdict(kind="finished", evidence=(f"taken over from a transcript: {evidence}",))
    events.append(Told(_stamp(times[-1]), ev.SessionEnded(verdict=verdict), session, project))
    batches.add(f"{place.native_id}@{said.offset}", events, kind=OFFSET, name=place.native_id, id=said.offset)
    taken.events += len(events)
    taken.projects.add(project)


def _begin(
    batches: Batches,
    path: Path,
    place: Place,
    said: tuple[Observation, ...],
    session: str,
    project: str,
    began: float,
) -> int:
    """The session and its task; the task's id."""
    prompt = next((o.text for o in said if isinstance(o, Prompted) and o.text.strip()), "")
    # Before anything is cut off: half a secret is not recognised as one.
    goal = redact(prompt)[:PROMPT_LENGTH]
    started = ev.SessionStarted(
        agent="claude",
        agent_version=place.version,
        cwd=place.cwd,
        worktree=place.cwd,
        branch=place.branch or None,
    )
    native = ev.NativeSessionSeen(native_id=place.native_id, transcript_path=str(path), source="import")
    task = ev.TaskCreated(name=task_name(goal), goal=goal, status="in_progress", source="import")
    at = _stamp(began)
    told = [Told(at, event, session, project) for event in (started, native, task)]
    name = place.native_id
    batches.add(f"{name}/session", kind=f"{CONVERSATION} session", name=name, session=session)
    batches.add(name, told, kind=CONVERSATION, name=name, made=2)
    made = batches.here(CONVERSATION, name)
    assert isinstance(made, int), "what was just written is found"
    return made


def _events(
    said: tuple[Observation, ...], times: list[float], session: str, project: str, cwd: str
) -> list[Told]:
    """The observations as a supervisor would have recorded them."""
    found: list[Told] = []
    now = 0.0

    def post(event: ev.Event, **_: Any) -> None:
        found.append(Told(_stamp(now), event, session, project))

    live = Live(SessionState(time.monotonic(), time.time()))
    intake = Intake(live, post, lambda _: None)
    for observation, at in zip(said, times, strict=True):
        now = at
        intake.take((observation,))
        if isinstance(observation, ToolEnded) and observation.ok and observation.paths:
            changes = tuple(_change(path, cwd) for path in observation.paths)
            post(ev.FilesObserved(changes=changes))
    return found


def _change(path: str, cwd: str) -> FileChange:
    whole = Path(cwd, path)
    name = whole.relative_to(cwd).as_posix() if whole.is_relative_to(cwd) else str(whole)
    return FileChange(path=name, by="agent", evidence="a tool call named it, as the transcript says")


def _times(said: tuple[Observation, ...], path: Path) -> list[float]:
    """Seconds of each observation; one without a time has that of the one before."""
    last = next((o.at for o in said if o.at), path.stat().st_mtime)
    times = []
    for observation in said:
        last = observation.at or last
        times.append(last)
    return times


def _stamp(seconds: float) -> str:
    return stamp(datetime.fromtimestamp(seconds, UTC))
