"""A home to be damaged, and what Engram makes of it afterwards."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from engram_runtime.errors import EngramError
from engram_runtime.journal.events import (
    AgentExited,
    CheckpointWritten,
    PromptSubmitted,
    SessionEnded,
    SessionStarted,
    TaskAttached,
    TaskCreated,
    ToolFinished,
)
from engram_runtime.journal.records import Checkpoint, GitFacts, Verdict
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep import doctor
from engram_runtime.upkeep.forget import carry_out
from engram_runtime.upkeep.forget_plan import Plan, plan_text
from engram_runtime.upkeep.needles import Needles
from engram_runtime.upkeep.recover import Recovery, recover
from engram_tui.cli import upkeep

PROJECT = "/project"
SESSION = "20261122-100000-abcd"
REMEMBERED = "The staging database listens on port 5433"
FORGOTTEN = "peregrine-4711"
KEPT_OF_IT = "[redacted:forgotten] opens the garage of the office"
SEALED = 200
EVENTS = 420


def opened(home: Path) -> Runtime:
    """A home, with the settings that are in it."""
    settings, _ = Settings.load(home, home, overrides={"model": "off"}, environ={})
    return Runtime.open(home, project=PROJECT, session=SESSION, settings=settings)


class _Ticking:
    """A clock of its own: the same home, byte for byte, whenever it is made."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 22, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=1234)
        return self._now


def make_home(home: Path) -> dict[int, object]:
    """A home as a killed process leaves it: logs not folded in, events sealed, a blob, a session. Its events."""
    work = home.with_name("work")
    salts = patch("engram_runtime.journal.writer.secrets.token_bytes", random.Random(1).randbytes)
    settings = Settings(model="off")
    with (
        salts,
        Runtime.open(work, project=PROJECT, session=SESSION, settings=settings, clock=_Ticking()) as runtime,
    ):
        _fill(runtime)
        runtime.journal.seal(keep=runtime.journal.head() - SEALED)
        for number in range(20):
            runtime.append(PromptSubmitted(text=f"newest prompt {number} " + "word " * 40))
        runtime.catch_up()
        runtime.memory.catch_up()
        _other_files(work)
        written = events_of(runtime)
        shutil.copytree(work, home)
    shutil.rmtree(work)
    return written


def _fill(runtime: Runtime) -> None:
    runtime.append(SessionStarted(agent="demo", argv=("demo",), cwd=PROJECT, worktree=PROJECT))
    (task,) = runtime.append(TaskCreated(name="first", goal="Fix the login"))
    runtime.append(TaskAttached(task=task))
    runtime.memory.store(REMEMBERED, importance=0.8)
    tools = [
        event
        for number in range(EVENTS // 2)
        for event in (
            PromptSubmitted(text=f"prompt {number} " + "word " * 40),
            ToolFinished(tool="Bash", call_id=str(number), summary="make", output=f"{number} " * 300),
        )
    ]
    for start in range(0, len(tools), 20):
        runtime.append(*tools[start : start + 20])
    diff = runtime.blobs.put("+ a line of a diff\n" * 200)
    content = Checkpoint(goal="Fix the login", summary="half done", git=GitFacts(head="abc", diff=diff))
    runtime.append(CheckpointWritten(task=task, reason="CRASH", content=content))
    runtime.memory.store(f"{FORGOTTEN} opens the garage of the office", importance=0.6)
    runtime.append(AgentExited(code=1), SessionEnded(verdict=Verdict(kind="crashed", code=1)))
    _forget(runtime, FORGOTTEN)


def _forget(runtime: Runtime, text: str) -> None:
    """A memory says the rest from then on."""

    def plan(_: Needles) -> Plan:
        return plan_text(runtime.journal, runtime.blobs, text)

    carry_out(plan(Needles()), plan, runtime.journal, runtime.blobs, PROJECT, live=frozenset)


def _other_files(home: Path) -> None:
    session = home / "sessions" / SESSION
    session.mkdir(parents=True, exist_ok=True)
    (session / "session.json").write_text(
        json.dumps({"id": SESSION, "agent": "demo", "started_at": "2026-11-22T10:00:00Z", "ended": True})
    )
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "token").write_text("x" * 64)
    (home / "config.toml").write_text('theme = "engram-light"\ngrace_seconds = 4\n')
    for folder in (home, *(path for path in home.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
    for file in (path for path in home.rglob("*") if path.is_file()):
        file.chmod(0o600)


def events_of(runtime: Runtime) -> dict[int, object]:
    """Every event that can be read, by position: what it is and says."""
    found: dict[int, object] = {}
    position = 0
    while recorded := runtime.journal.read_after(position, 1000):
        position = recorded[-1].position
        for at in recorded:
            if at.payload is not None:
                found[at.position] = (at.kind, at.project, at.session, at.at, at.payload)
    return found


@dataclass(slots=True, kw_only=True)
class Seen:
    """What became of a damaged home, step by step."""

    at_open: str = ""
    """Why writes are refused right after opening ("" if they are not)."""
    after_reading: str = ""
    """The same, once everything was read."""
    doctor: tuple[str, ...] = ()
    """What `engram doctor` calls a problem or a note."""
    readable: dict[int, object] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    recalled: tuple[str, ...] = ()
    refused: str = ""
    """What an append is answered with."""
    unusable: str = ""
    """Why the home could not be opened at all."""
    recovery: Recovery | None = None
    not_recovered: str = ""
    after: After | None = None


@dataclass(slots=True, kw_only=True)
class After:
    """The home once it was recovered (or needed no recovery)."""

    writable: bool
    flaw: str
    events: dict[int, object]
    tasks: tuple[str, ...]
    recalled: tuple[str, ...]
    problems: tuple[str, ...]


def look(home: Path) -> Seen:
    """Open, read, ask doctor, write, recover, look again: what a user would do, in that order."""
    seen = Seen()
    try:
        with opened(home) as runtime:
            _read(runtime, seen)
            seen.doctor = tuple(_findings(runtime))
            try:
                runtime.append(PromptSubmitted(text="after the damage"))
            except EngramError as error:
                seen.refused = str(error)
    except EngramError as error:
        seen.unusable = str(error)
        return seen
    try:
        seen.recovery = recover(home)
    except EngramError as error:
        seen.not_recovered = str(error)
        return seen
    seen.after = _after(home)
    return seen


def look_without_privileges(home: Path) -> Seen:
    """As `look`, in a process that may write only what its user may (root may write anything otherwise)."""
    words = [sys.executable, "-m", "tests.integration.damage.probe", str(home)]
    root = Path(__file__).parents[3]
    done = subprocess.run(words, cwd=root, stdout=subprocess.PIPE, check=True, preexec_fn=_drop_override)
    seen = pickle.loads(done.stdout)
    assert isinstance(seen, Seen)
    return seen


def _drop_override() -> None:
    """CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH leave the bounding set (Linux; takes effect at exec)."""
    if os.geteuid() == 0 and sys.platform == "linux":
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def _read(runtime: Runtime, seen: Seen) -> None:
    seen.at_open = "" if runtime.journal.writable else str(runtime.journal.trouble)
    seen.readable = events_of(runtime)
    seen.tasks = tuple(task.name for task in runtime.state.tasks(project=PROJECT))
    seen.recalled = tuple(hit.memory.content for hit in runtime.memory.recall("staging database port").hits)
    seen.after_reading = "" if runtime.journal.writable else str(runtime.journal.trouble)


def _findings(runtime: Runtime) -> list[str]:
    files = runtime.journal.files
    found = [*doctor.of_files(files), *doctor.of_journal(runtime.journal)]
    found += [
        *doctor.of_derived(files, runtime.journal.head()),
        doctor.of_blobs(runtime.journal, runtime.blobs),
    ]
    found += upkeep.of_sessions(files.root)
    return [f"{f.about}: {f.said}" for f in found if f.standing != "ok"]


def _after(home: Path) -> After:
    with opened(home) as runtime:
        try:
            runtime.append(PromptSubmitted(text="after the recovery"))
        except EngramError:
            pass
        return After(
            writable=runtime.journal.writable,
            flaw=runtime.verify().flaw,
            events=events_of(runtime),
            tasks=tuple(task.name for task in runtime.state.tasks(project=PROJECT)),
            recalled=tuple(h.memory.content for h in runtime.memory.recall("staging database port").hits),
            problems=tuple(_findings(runtime)),
        )


def copy(template: Path, home: Path) -> Path:
    """A copy of a home (with `cp`'s modes)."""
    shutil.copytree(template, home)
    os.chmod(home, 0o700)
    return home


if __name__ == "__main__":
    # Under the module's own name, so that what is pickled can be read by who asked.
    from tests.integration.damage import probe

    sys.stdout.buffer.write(pickle.dumps(probe.look(Path(sys.argv[1]))))
