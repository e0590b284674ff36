"""Agent death → durable checkpoint, in a repository of 50,000 files.

The demo agent is killed with SIGKILL in the middle of a tool; the time is from the kill to the `at` of the first
CheckpointWritten after it (the writer's clock, taken just before the commit) plus what the commit takes is inside the
session's own end, which is measured too: from the kill to `engram run`'s exit.

Run: python -m benchmarks death [--kills N] [--files N]
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import datetime

from benchmarks.place import Place, Row, percentile
from engram_runtime.runtime import Runtime

KILLS = 20
FILES = 50_000


def rows(kills: int = KILLS, files: int = FILES) -> list[Row]:
    """The rows of the table."""
    durable, ended, missing = [], [], 0
    with Place(files) as place:
        place.environ["ENGRAM_DEMO_PACE"] = "30"
        for _ in range(kills):
            took = _one(place)
            if took is None:
                missing += 1
            else:
                durable.append(took[0])
                ended.append(took[1])
    figure = f"p50 {percentile(durable, 0.5):.2f} s, p99 {percentile(durable, 0.99):.2f} s, {missing} missing"
    return [
        Row(
            f"agent death → durable checkpoint, {files:,} files, {kills} kills",
            "p99 ≤ 1 s",
            figure,
            percentile(durable, 0.99) <= 1.0 and not missing,
        ),
        Row("… until engram run has ended", "(shown)", f"p50 {percentile(ended, 0.5):.2f} s", None),
    ]


def _one(place: Place) -> tuple[float, float] | None:
    run = subprocess.Popen(
        place.argv("run", "demo", "--headless", "--no-resume"),
        cwd=place.work,
        env=place.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with Runtime.open(place.home, project=_project(place)) as runtime:
        before = runtime.journal.head()
        agent = _wait_for_tool(runtime, before)
        if agent is None:
            run.kill()
            return None
        killed = time.time()
        os.kill(agent, signal.SIGKILL)
        run.wait(60)
        ended = time.time()
        written = [
            e
            for e in runtime.events(after=before, limit=10_000)
            if e.kind == "CheckpointWritten" and _at(e.at) >= killed
        ]
    return (_at(written[0].at) - killed, ended - killed) if written else None


def _project(place: Place) -> str:
    return str(place.work / ".git")


def _wait_for_tool(runtime: Runtime, before: int) -> int | None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        recorded = runtime.events(after=before, limit=1000)
        if any(e.kind == "ToolStarted" for e in recorded):
            spawned = next(e for e in recorded if e.kind == "AgentSpawned")
            assert spawned.payload is not None
            return int(spawned.payload["pid"])
        time.sleep(0.02)
    return None


def _at(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
