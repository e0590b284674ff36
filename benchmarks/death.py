"""Agent death → durable checkpoint, in a repository of 50,000 files.

The demo agent is killed with SIGKILL in the middle of a tool; the time is from the kill until another process can read
the checkpoint of that kill in the journal: it is committed, so fsynced, then (looked for every 5 ms). Shown as well:
from the kill to the exit of `engram run`.

Run: python -m benchmarks death [--kills N] [--files N]
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

from benchmarks.place import Place, Row, percentile
from engram_runtime.runtime import Runtime

KILLS = 200
FILES = 50_000
POLL_S = 0.005


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
    if not durable:
        raise RuntimeError("no kill left a checkpoint")
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
            run.terminate()
            run.wait(60)
            return None
        killed = time.perf_counter()
        os.kill(agent, signal.SIGKILL)
        durable = _wait_for_checkpoint(runtime, before)
        run.wait(60)
        ended = time.perf_counter()
    return None if durable is None else (durable - killed, ended - killed)


def _wait_for_checkpoint(runtime: Runtime, before: int) -> float | None:
    """When the checkpoint of the kill could be read from the journal, by this other process: it is committed then."""
    until = time.perf_counter() + 30
    while time.perf_counter() < until:
        for event in runtime.events(after=before, limit=10_000, kinds=("CheckpointWritten",)):
            if event.payload is not None and event.payload["reason"] == "KILLED":
                return time.perf_counter()
        time.sleep(POLL_S)
    return None


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
