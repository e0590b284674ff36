"""Durable appends against bare SQLite commits with synchronous=FULL, alternating in one run on one disk.

The floor is a commit of the same rows (same columns, same bytes) by the bare driver: no hash chain, no guards,
no redaction, no lock between processes. "append" is all of Engram's work; "commit" leaves out redaction and
encoding, which happen in the callers' threads while others commit.

With --writers: events a second with 1 to 8 processes at once, in turns with as many raw writers, which wait as
SQLite does (busy handler); and how the slowest of them fared against the median.

Run: python benchmarks/append.py [--rounds N] [--writers] [--json]
Target: appending one event ≥ 0.6 × the raw commit rate; committing a group of 100 ≤ 2 × the raw time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engram_runtime.database import connect_bare, driver_name, sqlite_version
from engram_runtime.journal.encoding import encode
from engram_runtime.journal.events import ToolFinished
from engram_runtime.journal.journal import stamp, utc_now
from engram_runtime.journal.writer import Draft
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

SIZES = (1, 10, 100)
RAW_TABLE = "CREATE TABLE raw (position INTEGER PRIMARY KEY, at, kind, version, project, session, payload, a, b, c, d)"


def event(number: int) -> ToolFinished:
    """An event of usual size: about 330 bytes as JSON."""
    return ToolFinished(
        tool="Bash",
        call_id=f"call-{number}",
        summary="pytest tests/unit -x -q",
        paths=("src/auth/validator.py",),
        output="........................................................................ 72 passed in 1.31s",
        duration_ms=1310,
    )


def raw_commit(connection: Any, row: tuple[Any, ...]) -> Callable[[int], None]:
    """The floor."""
    insert = f"INSERT INTO raw VALUES (NULL, {', '.join('?' * len(row))})"

    def commit(count: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, [row] * count)
        connection.execute("COMMIT")

    return commit


def timed(act: Callable[[], object]) -> float:
    """Seconds an act took."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def measure(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Median milliseconds of each way, for each group size."""
    raw = connect_bare(folder / "raw.sqlite", synchronous="FULL")
    raw.execute(RAW_TABLE)
    results = []
    with Runtime.open(folder / "home", project="/benchmark", session="s1", settings=Settings()) as runtime:
        runtime.append(event(0))
        at, payload = stamp(utc_now()), encode(event(0))
        draft = Draft(at, "ToolFinished", 1, "/benchmark", "s1", payload)
        commit_raw = raw_commit(raw, (*draft, bytearray(16), bytearray(32), bytearray(32), bytearray(32)))
        journal = runtime.journal
        for size in SIZES:
            events, drafts = [event(number) for number in range(size)], (draft,) * size
            times: dict[str, list[float]] = {"raw": [], "append": [], "commit": []}
            for _ in range(rounds):
                times["raw"].append(timed(lambda size=size: commit_raw(size)))  # type: ignore[misc]
                times["append"].append(timed(lambda events=events: runtime.append(*events)))  # type: ignore[misc]
                times["commit"].append(timed(lambda drafts=drafts: journal.append_drafts(drafts)))  # type: ignore[misc]
            medians = {f"{way}_ms": statistics.median(seconds) * 1e3 for way, seconds in times.items()}
            results.append({"events": size, **medians})
    raw.close()
    return results


WRITERS = (1, 2, 4, 8)
SECONDS = 1.5


def work(way: str, folder: Path, size: int) -> int:
    """One writer, in a process of its own: commits of `size` events for SECONDS; how many it did."""
    if way == "raw":
        raw = connect_bare(folder / "raw.sqlite", synchronous="FULL")
        payload, blobs = encode(event(0)), map(bytearray, (16, 32, 32, 32))
        commit = raw_commit(raw, (stamp(utc_now()), "ToolFinished", 1, "/benchmark", "s1", payload, *blobs))
        done = repeat(lambda: commit(size))
        raw.close()
        return done
    with Runtime.open(folder / "home", project="/benchmark", session="s1", settings=Settings()) as runtime:
        events = [event(number) for number in range(size)]
        return repeat(lambda: runtime.append(*events))


def repeat(act: Callable[[], object]) -> int:
    """How often an act was done in SECONDS, from the moment on that stdin tells."""
    print("ready", flush=True)
    start, done = float(sys.stdin.readline()), 0
    time.sleep(max(0.0, start - time.time()))
    while time.time() < start + SECONDS:
        act()
        done += 1
    return done


def contend(folder: Path, way: str, size: int, writers: int) -> dict[str, float]:
    """Events a second of so many writers at once, and the slowest one's share of the median."""
    command = [sys.executable, __file__, "--work", way, str(folder), str(size)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(writers)]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    start = f"{time.time() + 0.2}\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write(start)
        process.stdin.flush()
    counts = [int(process.communicate()[0]) for process in running]
    fair = min(counts) / (statistics.median(counts) or 1)
    return {"rate": sum(counts) * size / SECONDS, "fair": fair}


def matrix(folder: Path) -> list[dict[str, Any]]:
    """Each number of writers with each number of events a commit, raw and Engram in turns."""
    raw = connect_bare(folder / "raw.sqlite", synchronous="FULL")
    raw.execute(RAW_TABLE)
    Runtime.open(folder / "home", project="/benchmark", settings=Settings()).close()
    found = []
    for size in SIZES:
        for writers in WRITERS:
            ways = {way: contend(folder, way, size, writers) for way in ("raw", "append")}
            found.append({"events": size, "writers": writers, **ways})
    raw.close()
    return found


def main() -> int:
    """Measure, print the table, tell whether the targets are met (exit code 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--writers", action="store_true")
    parser.add_argument("--work", nargs=3, metavar=("WAY", "FOLDER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        way, where, size = options.work
        print(work(way, Path(where), int(size)))
        return 0
    if options.writers:
        return show_matrix(as_json=options.json)
    with tempfile.TemporaryDirectory(prefix="engram-benchmark-") as folder:
        results = measure(Path(folder), options.rounds)
    single, group = results[0], results[-1]
    met = single["raw_ms"] / single["append_ms"] >= 0.6 and group["commit_ms"] / group["raw_ms"] <= 2
    if options.json:
        print(json.dumps({"benchmark": "append", "results": results, "met": met}))
        return 0 if met else 1
    print(
        f"durable append, {driver_name()} {sqlite_version()}, medians of {options.rounds} alternating rounds, ms"
    )
    print("events/commit      raw   append   commit   rate of append (raw = 1)   time of commit (raw = 1)")
    for row in results:
        print(
            f"{row['events']:>13} {row['raw_ms']:8.3f} {row['append_ms']:8.3f} {row['commit_ms']:8.3f}"
            f" {row['raw_ms'] / row['append_ms']:26.2f} {row['commit_ms'] / row['raw_ms']:26.2f}"
        )
    print(
        "target: append of 1 >= 0.6 x the raw rate, commit of 100 <= 2 x the raw time:",
        "met" if met else "MISSED",
    )
    return 0 if met else 1


def show_matrix(*, as_json: bool) -> int:
    """Print the matrix of writers."""
    with tempfile.TemporaryDirectory(prefix="engram-benchmark-") as folder:
        found = matrix(Path(folder))
    if as_json:
        print(json.dumps({"benchmark": "append, many writers", "results": found}))
        return 0
    print("events/commit  writers   raw events/s   engram events/s   ratio   slowest/median: raw   engram")
    for row in found:
        raw, own = row["raw"], row["append"]
        print(
            f"{row['events']:>13} {row['writers']:>8} {raw['rate']:>14,.0f} {own['rate']:>17,.0f}"
            f" {own['rate'] / (raw['rate'] or 1):>7.2f} {raw['fair']:>21.2f} {own['fair']:>8.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
