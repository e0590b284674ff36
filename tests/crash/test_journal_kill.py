"""SIGKILL at random moments: nothing that was acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engram_runtime.journal.events import TaskCreated
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.support import rounds, rows_of, wait_until

pytestmark = pytest.mark.guarantee("G1")

WRITER = """
import sys, threading
from pathlib import Path
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.journal.events import PromptSubmitted, TaskCreated, TaskUpdated

home, name = Path(sys.argv[1]), sys.argv[2]
runtime = Runtime.open(home, project="/p", session=name, settings=Settings())
guard = threading.Lock()

def work(thread):
    for number in range(100_000):
        word = f"{name}-{thread}-{number}"
        if number % 3 == 0:
            positions = runtime.append(TaskCreated(name=word), PromptSubmitted(text=word))
        else:
            positions = runtime.submit(PromptSubmitted(text=word)).result()
        with guard:
            print(word, positions[0], flush=True)
        if number % 7 == 0:
            runtime.state.tasks(limit=3)

threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def start_writer(home: Path, name: str, output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen([sys.executable, "-c", WRITER, str(home), name], stdout=file)


def acknowledged(output: Path) -> dict[str, int]:
    """What a writer was told is durable; a line cut by the kill does not count."""
    lines = [line for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def kill_loop(tmp_path: Path, count: int, writers: int, seed: int) -> None:
    chance = random.Random(seed)
    home = tmp_path / "home"
    Runtime.open(home, project="/p", settings=Settings()).close()
    told: dict[str, int] = {}
    for number in range(count):
        outputs = [tmp_path / f"out-{number}-{writer}" for writer in range(writers)]
        running = [start_writer(home, f"w{number}x{writer}", output) for writer, output in enumerate(outputs)]
        try:
            wait_until(lambda outputs=outputs: all(output.stat().st_size for output in outputs), 30)  # type: ignore[misc]
            deadline = time.monotonic() + chance.uniform(0, 0.3)
            wait_until(lambda deadline=deadline: time.monotonic() >= deadline, 5)  # type: ignore[misc]
        finally:
            for process in running:
                process.send_signal(signal.SIGKILL)
                process.wait()
        for output in outputs:
            told |= acknowledged(output)
        check_home(home, told)


def check_home(home: Path, told: dict[str, int]) -> None:
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.health().writable
        assert runtime.verify().flaw == ""
        found: dict[str, int] = {}
        position = 0
        while events := runtime.events(position):
            for at in events:
                assert at.payload is not None
                position = at.position
                if at.kind == "PromptSubmitted":
                    assert at.payload["text"] not in found, "written twice"
                    found[at.payload["text"]] = position
        for word, first in told.items():
            assert found[word] in (first, first + 1), "acknowledged, but not there"
        assert len(runtime.state.tasks(limit=10**6)) == runtime.state.counts()["tasks"]
        runtime.append(TaskCreated(name="still writable"))
        runtime.catch_up()
        projected = rows_of(HomeFiles(home).state)
        runtime.rebuild_state()
        assert rows_of(HomeFiles(home).state) == projected


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    kill_loop(tmp_path, count=rounds(6, 500), writers=1, seed=1)


@pytest.mark.slow
def test_killed_writers_on_one_home_lose_nothing_and_do_not_block_others(tmp_path: Path) -> None:
    kill_loop(tmp_path, count=rounds(3, 300), writers=3, seed=2)
