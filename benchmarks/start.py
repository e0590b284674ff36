"""Start-up: what `engram run X` adds to X's start, and `engram --help`.

Run: python -m benchmarks start
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.place import Place, Row, median, outer

RUNS = 7
AGENT = ("/bin/sh", "-c", "echo REA''DY; sleep 60")


def rows() -> list[Row]:
    """The rows of the table."""
    bare, headless, shown = [], [], []
    with Place() as place:
        subprocess.run(
            place.argv("tasks"), cwd=place.work, env=place.environ, capture_output=True, check=True
        )
        for _ in range(RUNS):
            for argv, into in (
                (list(AGENT), bare),
                (place.argv("run", "--headless", "--", *AGENT), headless),
                (place.argv("run", "--no-resume", "--", *AGENT), shown),
            ):
                with outer(argv, place) as terminal:
                    began = terminal.started
                    terminal.wait_for(b"READY", 30)
                    into.append(time.perf_counter() - began)
        help_s = [_timed(place.argv("--help")) for _ in range(RUNS)]
        python_s = [_timed([sys.executable, "-c", ""]) for _ in range(RUNS)]
    added, seen = median(headless) - median(bare), median(shown) - median(bare)
    return [
        Row("engram run X adds to X's start (headless)", "≤ 0.3 s", f"{added:.2f} s", added <= 0.3),
        Row("… until X's first line is on the screen in the TUI", "(shown)", f"{seen:.2f} s", None),
        Row(
            "engram --help",
            "≤ 0.15 s",
            f"{median(help_s):.3f} s ({median(help_s) / median(python_s):.1f} × python -c '')",
            median(help_s) <= 0.15,
        ),
    ]


def _timed(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, capture_output=True, check=True)
    return time.perf_counter() - began
