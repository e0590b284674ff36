"""Many processes and threads on one home, with every command that looks after it running meanwhile."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engram_runtime import database
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.crash.nursery import nursery
from tests.crash.stream import PROJECT, read_logs
from tests.crash.whole import check_whole
from tests.support import rounds, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G1", "G8", "G10")]

ENGRAM = str(Path(sys.executable).with_name("engram"))


class Upkeep:
    """Commands that look after a home, run one after the other."""

    def __init__(self, home: Path, work: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
        self._environ = {**kept, "ENGRAM_HOME": str(home), "ENGRAM_MODEL": "off"}
        self._work = work
        self.failures: list[str] = []
        self.longest: dict[str, float] = {}

    def engram(self, *words: str) -> Any:
        """The JSON a command prints; a failure is noted."""
        began = time.monotonic()
        done = subprocess.run(
            [ENGRAM, *words, "--json"],
            cwd=self._work,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.longest[words[0]] = max(self.longest.get(words[0], 0.0), time.monotonic() - began)
        if done.returncode:
            self.failures.append(f"{words}: {done.returncode}: {done.stdout[-600:]} {done.stderr[-600:]}")
        return json.loads(done.stdout) if done.stdout else None

    def once(self, number: int) -> None:
        """Each command once."""
        assert self.engram("doctor")["ok"]
        self.engram("seal", "--keep", "200")
        kept = self.engram("remember", f"this leaked {number}: correct horse {number} battery")
        self.engram("forget", str(kept["memory"]), "--yes")
        self.engram("export", str(self._work / "home.tar.gz"), "--force")
        self.engram("rebuild-cache")
        assert self.engram("recover")["whole"]


@pytest.mark.timeout(1800)
def test_many_share_a_home_without_lock_errors_or_starvation_whatever_runs_meanwhile(tmp_path: Path) -> None:
    home, logs, work = tmp_path / "home", tmp_path / "logs", tmp_path / "work"
    work.mkdir()
    Runtime.open(home, project=PROJECT, settings=Settings(model="off")).close()
    processes, threads, seconds = rounds(4, 8), rounds(2, 4), rounds(4, 60)
    upkeep = Upkeep(home, work)
    began = time.monotonic()

    def look_after() -> None:
        try:
            number = 0
            while number == 0 or time.monotonic() < began + seconds:
                upkeep.once(number)
                number += 1
        except Exception as error:  # a thread's boundary: told below
            upkeep.failures.append(repr(error))

    with nursery(home, logs) as hands:
        pids = [hands.start("runtime", f"w{number}", threads=threads) for number in range(processes)]
        pids.append(hands.start("rebuild", "wr"))
        meanwhile = threading.Thread(target=look_after)
        meanwhile.start()
        meanwhile.join()
        took = time.monotonic() - began
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
        assert [hands.wait(pid, 60) for pid in pids] == [0] * len(pids)
    told = read_logs(logs)
    figures = {
        worker: figure
        for path in logs.glob("*.figures")
        for worker, figure in json.loads(path.read_text("utf-8")).items()
    }
    counts = [count for count, _ in figures.values()]
    events = check_whole(home, told.words)
    slowest = min(counts) / statistics.median(counts)
    print(
        f"{processes} x {threads} for {took:.0f} s: {sum(counts)} operations, {len(told.words)} acknowledged,"
        f" {events} events;"
        f" slowest worker {slowest:.0%} of the median, longest operation {max(x for _, x in figures.values()):.2f} s;"
        f" commands {upkeep.longest}"
    )
    assert told.errors == []
    assert upkeep.failures == []
    assert len(counts) == processes * threads
    assert slowest >= 0.3, sorted(counts)


@pytest.mark.timeout(600)
def test_what_is_derived_can_be_thrown_away_under_each_other(tmp_path: Path) -> None:
    home, logs = tmp_path / "home", tmp_path / "logs"
    Runtime.open(home, project=PROJECT, settings=Settings(model="off")).close()
    with nursery(home, logs) as hands:
        pids = [hands.start("rebuild", f"w{number}") for number in range(4)]
        time.sleep(rounds(6, 120))  # how long is the test
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
        assert [hands.wait(pid, 60) for pid in pids] == [0] * len(pids)
    told = read_logs(logs)
    assert told.errors == []
    print(f"{len(told.words)} acknowledged, {check_whole(home, told.words)} events")


def test_a_memory_file_is_opened_in_line_with_those_who_remove_it(tmp_path: Path) -> None:
    """Opened between another's removal of the file and of its log, the new file would lose its own log."""
    home = tmp_path / "home"
    files = HomeFiles(home)
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        opening = threading.Thread(target=lambda: runtime.memory.catch_up())
        with database.exclusive(files.memory_lock):
            opening.start()
            with pytest.raises(AssertionError, match="not within"):
                wait_until(files.memory.exists, 0.3)
        opening.join(30)
        assert files.memory.exists()
