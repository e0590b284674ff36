"""SIGKILL and SIGTERM at random moments of a mixed stream, from Runtimes and `engram mcp` servers on one home."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.crash.nursery import Nursery, nursery
from tests.crash.stream import PROJECT, read_logs
from tests.crash.whole import check_whole
from tests.support import rounds

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G1", "G8", "G10")]

SLOTS = ("runtime", "mcp", "runtime", "mcp", "seal")
CODES = {"runtime": (143, -15), "mcp": (143, -15), "seal": (-15,)}
"""How a process ends by SIGTERM; -15 where it came before the handler was there."""


def kill_some(
    hands: Nursery, running: list[tuple[str, int]], names: list[int], count: int, chance: random.Random
) -> None:
    """Kill so many, one at a time while the others go on, and put another in the place of each."""
    for _ in range(count):
        time.sleep(chance.uniform(0.0, 0.25))  # the random moment is the test
        # A server needs a second to load: killed as often as the others it would never answer.
        slot = chance.choices(range(len(SLOTS)), (3, 1, 3, 1, 1))[0]
        kind, pid = running[slot]
        number = chance.choice((signal.SIGKILL, signal.SIGTERM))
        code = hands.kill(pid, number)
        assert code in ((-9,) if number == signal.SIGKILL else CODES[kind]), (kind, number, code)
        running[slot] = born(hands, kind, names, chance)


def born(hands: Nursery, kind: str, names: list[int], chance: random.Random) -> tuple[str, int]:
    """A new process; the clock of one Runtime in two is wrong by up to a year, so that time jumps back and forth."""
    names[0] += 1
    wrong = {"clock_days": chance.uniform(-365, 365)} if kind == "runtime" and chance.random() < 0.5 else {}
    return kind, hands.start(kind, f"w{names[0]}", **wrong)


@pytest.mark.timeout(3600)
def test_killed_at_any_moment_of_a_mixed_stream_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance, names, home, logs = random.Random(20261122), [0], tmp_path / "home", tmp_path / "logs"
    Runtime.open(home, project=PROJECT, settings=Settings(model="off")).close()
    kills, at_once = rounds(60, 1000), rounds(30, 50)
    with nursery(home, logs) as hands:
        for _ in range(0, kills, at_once):
            running = [born(hands, kind, names, chance) for kind in SLOTS]
            kill_some(hands, running, names, at_once, chance)
            for _, pid in running:
                hands.kill(pid, signal.SIGKILL)
            told = read_logs(logs)
            assert told.errors == []
            events = check_whole(home, told.words)
    print(f"{kills} kills, {len(told.words)} acknowledged, {events} events")
    assert len(told.words) > kills
