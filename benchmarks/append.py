"""Durable appends against bare SQLite commits with synchronous=FULL, alternating in one run on one disk.

The floor is a commit of the same rows (same columns, same bytes) by the bare driver: no hash chain, no guards,
no redaction, no lock between processes. "append" is all of Engram's work; "commit" leaves out redaction and
encoding, which happen in the callers' threads while others commit.

Run: python benchmarks/append.py [--rounds N] [--json]
Target: appending one event ≥ 0.6 × the raw commit rate; committing a group of 100 ≤ 2 × the raw time.
"""

from __future__ import annotations

import argparse
import json
import statistics
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
    raw.execute(
        "CREATE TABLE raw (position INTEGER PRIMARY KEY, at, kind, version, project, session, payload, a, b, c, d)"
    )
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


def main() -> int:
    """Measure, print the table, tell whether the targets are met (exit code 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
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


if __name__ == "__main__":
    sys.exit(main())
