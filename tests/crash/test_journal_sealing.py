"""Killed while sealing or forgetting, at each step and at random: every event is somewhere, and nowhere twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engram_runtime.journal import segments
from engram_runtime.journal.events import PromptSubmitted, TaskCreated
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.crash.test_journal_kill import acknowledged, check_home, start_writer
from tests.support import rounds, rows_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G1", "G10")]

DIES = """
import os, sys
from pathlib import Path
from engram_runtime.journal import maintenance, segments
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

home, module, name, moment, work = Path(sys.argv[1]), *sys.argv[2:6]
segments.SEGMENT_EVENTS, segments.BLOCK_EVENTS = 100, 30
where = {"segments": segments, "maintenance": maintenance, "os": os}[module]
real = getattr(where, name)

def killed(*given, **named):
    if moment == "after":
        real(*given, **named)
    os._exit(9)

setattr(where, name, killed)
with Runtime.open(home, project="/p", settings=Settings()) as runtime:
    if work == "seal":
        runtime.journal.seal(64)
    else:
        runtime.journal.forget([7, 190, 470])
print("not killed")
"""

SEALS = """
import sys
from pathlib import Path
from engram_runtime.journal import segments
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

segments.SEGMENT_EVENTS, segments.BLOCK_EVENTS = 100, 30
with Runtime.open(Path(sys.argv[1]), project="/p", settings=Settings()) as runtime:
    while True:
        runtime.journal.seal(64)
        print(len(runtime.journal.segments()), flush=True)
"""

EVENTS = 500


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with 500 events and its state."""
    monkeypatch.setattr(segments, "SEGMENT_EVENTS", 100)
    with Runtime.open(tmp_path / "home", project="/p", session="s1", settings=Settings()) as runtime:
        for number in range(0, EVENTS, 50):
            runtime.append(
                TaskCreated(name=str(number)), *(PromptSubmitted(text=str(number + n)) for n in range(49))
            )
        runtime.catch_up()
    return tmp_path / "home"


def killed_in(home: Path, module: str, name: str, moment: str, work: str) -> None:
    command = [sys.executable, "-c", DIES, str(home), module, name, moment, work]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "name", "moment"),
    [
        ("segments", "_write_durably", "before"),
        ("os", "fsync", "after"),
        ("segments", "_write_durably", "after"),
        ("segments", "all_rows", "before"),
        ("maintenance", "_seal_rows", "after"),
        ("maintenance", "_give_space_back", "before"),
        ("maintenance", "_give_space_back", "after"),
    ],
)
def test_killed_at_any_step_of_sealing_every_event_is_there_once(
    home: Path, module: str, name: str, moment: str
) -> None:
    killed_in(home, module, name, moment, "seal")
    with Runtime.open(home, project="/p", session="s1", settings=Settings()) as runtime:
        assert runtime.health().writable
        state = runtime.journal.files.state
        before = rows_of(state)
        assert runtime.verify() == (EVENTS, "")
        assert [at.position for at in runtime.events(limit=10_000)] == list(range(1, EVENTS + 1))
        assert runtime.journal.seal(64) is not None
        assert runtime.verify() == (EVENTS, "")
        recorded = {segment.file for segment in runtime.journal.segments()}
        assert {path.name for path in (home / "archive").iterdir()} == recorded
        runtime.rebuild_state()
        assert rows_of(state) == before


@pytest.mark.parametrize(
    ("module", "name", "moment"),
    [
        ("segments", "_write_durably", "after"),
        ("maintenance", "erase_file", "before"),
        ("maintenance", "_forget_rows", "before"),
        ("maintenance", "_forget_rows", "after"),
        ("maintenance", "_empty_log", "before"),
    ],
)
def test_killed_at_any_step_of_forgetting_the_next_forget_finishes(
    home: Path, module: str, name: str, moment: str
) -> None:
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.journal.seal(100) is not None
    killed_in(home, module, name, moment, "forget")
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.verify() == (EVENTS, "")
        runtime.journal.forget([7, 190, 470])
        gone = [at.position for at in runtime.events(limit=10_000) if at.payload is None]
        assert gone == [7, 190, 470]
        assert runtime.verify() == (EVENTS, "")
        recorded = {segment.file for segment in runtime.journal.segments()}
        assert {path.name for path in (home / "archive").iterdir()} == recorded


def test_killed_at_random_while_others_write_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(3)
    home = tmp_path / "home"
    Runtime.open(home, project="/p", settings=Settings()).close()
    told: dict[str, int] = {}
    for number in range(rounds(4, 300)):
        writes, seals = tmp_path / f"writes-{number}", tmp_path / f"seals-{number}"
        running = [start_writer(home, f"w{number}", writes)]
        with seals.open("wb") as file:
            running.append(subprocess.Popen([sys.executable, "-c", SEALS, str(home)], stdout=file))
        try:
            wait_until(lambda writes=writes, seals=seals: writes.stat().st_size and seals.stat().st_size, 30)  # type: ignore[misc]
            deadline = time.monotonic() + chance.uniform(0.1, 0.6)
            wait_until(lambda deadline=deadline: time.monotonic() >= deadline, 5)  # type: ignore[misc]
        finally:
            for process in running:
                process.send_signal(signal.SIGKILL)
                process.wait()
        told |= acknowledged(writes)
        check_home(home, told)
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.journal.segments(), "nothing was sealed"
