"""The power fails, or fsync does: nothing that was acknowledged is missing, whatever the disk made of the rest."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.crash import disk
from tests.support import rounds, rows_of

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G1")]

WRITER = """
import sys
from pathlib import Path
from engram_runtime.errors import StoreUnavailable
from engram_runtime.journal import segments
from engram_runtime.journal.events import PromptSubmitted, TaskCreated
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

root, fail = Path(sys.argv[1]), Path(sys.argv[2])
segments.SEGMENT_EVENTS, segments.BLOCK_EVENTS = 60, 20
told = open(root / "acknowledged", "ab", buffering=0)

def write(runtime, number):
    events = [PromptSubmitted(text=f"{number}-{n} " + "x" * (37 * number % 900)) for n in range(number % 3)]
    (first, *_) = runtime.append(TaskCreated(name=str(number)), *events)
    told.write(f"{number} {first}\\n".encode())

number = 0
for opening in range(3):
    with Runtime.open(root / "home", project="/p", session="s1", settings=Settings()) as runtime:
        for _ in range(40):
            number += 1
            write(runtime, number)
            if number % 16 == 0:
                runtime.catch_up()
            if number % 50 == 0:
                runtime.journal.seal(0)
            if number % 45 == 0:
                runtime.journal.forget([number])
                runtime.rebuild_state()
            if number % 11 == 0 and "failing" in sys.argv:
                fail.touch()
                try:
                    runtime.append(TaskCreated(name="never acknowledged"))
                except StoreUnavailable as error:
                    assert error.hint
                else:
                    raise SystemExit("an append whose fsync failed was acknowledged")
                fail.unlink()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk.shim(tmp_path_factory.mktemp("shim"))


def run(library: Path, tmp_path: Path, *words: str) -> tuple[Path, list[disk.Step]]:
    """Run the writer on a watched disk; the folder it worked in, and the record."""
    root, log, fail = tmp_path / "root", tmp_path / "log", tmp_path / "fail"
    root.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(root), str(fail), *words],
        env=disk.environment(library, root, log, fail),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return root, disk.read(log)


def acknowledged(steps: list[disk.Step]) -> dict[str, int]:
    """What the writer was told is durable within these steps: task name → position."""
    inode = next(
        (step.inode for step in steps if step.kind == "C" and step.name.endswith("/acknowledged")), 0
    )
    lines = b"".join(step.data for step in steps if step.kind == "W" and step.inode == inode).decode()
    return {line.split()[0]: int(line.split()[1]) for line in lines.splitlines()}


def check(home: Path, told: dict[str, int]) -> None:
    """Everything acknowledged is there, the chain is whole, the state is that of a replay, and it can be written on."""
    with Runtime.open(home, project="/p", session="s2", settings=Settings()) as runtime:
        health = runtime.health()
        assert health.writable, health
        assert runtime.verify().flaw == ""
        found = {
            at.position: json.dumps(at.payload)
            for at in runtime.events(limit=10_000)
            if at.kind == "TaskCreated"
        }
        for name, position in told.items():
            assert position in found, f"event {position} was acknowledged"
            assert found[position] == "null" or f'"{name}"' in found[position]
        runtime.catch_up()
        state = runtime.journal.files.state
        stepwise = rows_of(state)
        runtime.rebuild_state()
        # Cut between a forget and the rebuilding it calls for, the rows still know what was forgotten.
        assert rows_of(state) == stepwise or "null" in found.values()


def cut_at(steps: list[disk.Step], end: int, root: Path, target: Path, chance: random.Random) -> None:
    """One disk there may be when the power fails after so many steps, opened and checked."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    disk.Disk(steps[:end]).write(root, target, chance)
    told = acknowledged(steps[:end])
    try:
        check(target / "home", told)
    except Exception as error:
        raise AssertionError(f"power cut after step {end} of {len(steps)}") from error


@pytest.mark.parametrize("way", ["sound", "failing"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(library: Path, tmp_path: Path, way: str) -> None:
    root, steps = run(library, tmp_path, way)
    assert len(acknowledged(steps)) == 120
    chance = random.Random(20261122)
    for _ in range(rounds(40, 2000)):
        cut_at(steps, chance.randrange(len(steps) + 1), root, tmp_path / "after", chance)
    cut_at(steps, len(steps), root, tmp_path / "after", chance)


def test_an_append_whose_fsync_fails_is_not_acknowledged_and_the_next_one_works(
    library: Path, tmp_path: Path
) -> None:
    root, steps = run(library, tmp_path, "failing")
    assert sum(step.kind == "F" for step in steps) >= 10
    check(root / "home", acknowledged(steps))
    with Runtime.open(root / "home", project="/p", settings=Settings()) as runtime:
        assert "never acknowledged" not in str([task.name for task in runtime.state.tasks(limit=1000)])
