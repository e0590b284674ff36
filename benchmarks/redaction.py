"""`python -m benchmarks.redaction`: what redaction finds and changes on the measuring set, and what it costs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engram_runtime.redaction import is_plain, redact
from tests.redaction_cases import cases
from tests.unit.runtime.test_redaction_measured import HOSTILE

ROOT = Path(__file__).parent.parent
HOSTILE_BYTES = 1_000_000


def samples() -> dict[str, str]:
    """Ordinary text of several kinds."""
    return {
        "server log": "\n".join(
            f"2024-11-22 13:{n % 60:02d}:01,123 INFO server.worker: request {n} to /api/v1/{n * 37} took {n * 3} ms"
            for n in range(300)
        ),
        "test output": "\n".join(
            f"tests/unit/test_thing_{n}.py::test_it_works_when_{n} PASSED" for n in range(300)
        ),
        "source code": (ROOT / "engram_runtime" / "state" / "session_rows.py").read_text("utf-8"),
        "prose": (ROOT / "README.md").read_text("utf-8"),
    }


def microseconds(call: Callable[[str], object], text: str) -> float:
    """Per KB, the best of five."""
    best = 1e9
    for _ in range(5):
        began = time.perf_counter()
        call(text)
        best = min(best, time.perf_counter() - began)
    return best * 1e6 / (len(text) / 1024)


def main() -> int:
    """Measure and print; exit code 1 where a target is missed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    true, false = cases()
    met = True
    print("| half | true cases, no byte of the secret left | false cases changed |\n|---|---|---|")
    for half in ("held", "dev"):
        kept = [case for case in true if case.half == half]
        plain = [case for case in false if case.half == half]
        missed = sum(case.leaks(redact(case.text)) for case in kept)
        changed = sum(redact(case.text) != case.text for case in plain)
        met &= missed <= 0.02 * len(kept) and changed <= 0.01 * len(plain)
        print(f"| {half} | {len(kept) - missed} of {len(kept)} | {changed} of {len(plain)} |")
    print("\n| ordinary text | first look, µs/KB | redact, µs/KB |\n|---|---|---|")
    for name, text in samples().items():
        print(f"| {name} | {microseconds(is_plain, text):.1f} | {microseconds(redact, text):.1f} |")
    slowest = max((_seconds(piece), piece) for piece in HOSTILE)
    print(f"\nslowest of {len(HOSTILE)} hostile texts of 1 MB: {slowest[0]:.2f} s ({slowest[1]!r} repeated)")
    return 0 if met else 1


def _seconds(piece: str) -> float:
    text = (piece * (HOSTILE_BYTES // len(piece) + 1))[:HOSTILE_BYTES]
    began = time.process_time()
    redact(text)
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
