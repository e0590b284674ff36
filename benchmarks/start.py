"""Start-up: what `engram run X` adds to X's start, and `engram --help`.

X writes a file first and then a line; its start is the file's time. All ways take turns in one run.

Run: python -m benchmarks start
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.place import OuterTerminal, Place, Row, median, outer

RUNS = 9
CLAUDE_RUNS = 5
STARTED = "x-started"
AGENT = ("/bin/sh", "-c", f": > {STARTED}; echo REA''DY; read x")
ALTERNATE_SCREEN = b"\x1b[?1049h"
WAYS = {
    "bare": (),
    "headless": ("run", "--headless", "--"),
    "fresh": ("run", "--no-resume", "--"),
    "asking": ("run", "--"),
}
"""`fresh` and `asking` show the TUI; `asking` first looks for interrupted work (there is none here)."""


def rows() -> list[Row]:
    """The rows of the table."""
    spawned: dict[str, list[float]] = {way: [] for way in WAYS}
    shown: dict[str, list[float]] = {way: [] for way in WAYS}
    painted: list[float] = []
    with Place() as place:
        place.warm()
        for _ in range(RUNS):
            for way, words in WAYS.items():
                argv = place.argv(*words, *AGENT) if words else list(AGENT)
                (place.work / STARTED).unlink(missing_ok=True)
                with outer(argv, place) as terminal:
                    if way == "fresh":
                        painted.append(_first_paint(terminal))
                    terminal.wait_for(b"READY", 30)
                    shown[way].append(time.perf_counter() - terminal.started)
                    spawned[way].append((place.work / STARTED).stat().st_mtime - terminal.started_at)
                    # Ended well, so that the next run finds nothing interrupted.
                    terminal.finish(b"\r")
        help_s = [_timed(place.argv("--help")) for _ in range(RUNS)]
        python_s = [_timed([sys.executable, "-c", ""]) for _ in range(RUNS)]
    return [
        _row("engram run X adds to X's start, headless", spawned, shown, "headless", whole=True),
        _row("engram run X adds to X's start, TUI, --no-resume", spawned, shown, "fresh"),
        _row("… looking for interrupted work first", spawned, shown, "asking"),
        Row("… until the TUI's first paint", "(shown)", _seconds(painted), None),
        _claude_row(),
        Row(
            "engram --help",
            "≤ 0.15 s",
            f"{_seconds(help_s)}; python -c '': {_seconds(python_s)}",
            median(help_s) <= 0.15,
        ),
    ]


def _claude_row() -> Row:
    """What Engram adds until real Claude Code first asks its model (a scripted one on loopback), turn by turn.

    It is more than the start: the question is held until Claude knows Engram's tools and has the briefing.
    """
    from tests.agents.harness import find_claude
    from tests.agents.supervised import BYPASS, ENGRAM, desk
    from tests.fakes.scripted_llm import Reply

    what, claude = "engram run claude -p adds to Claude's first model request", find_claude()
    if claude is None:
        return Row(what, "≤ 0.3 s", "not measured: `make agents` installs Claude Code", None)
    asked: dict[str, list[float]] = {"bare": [], "engram": []}
    line = {"bare": [claude], "engram": [ENGRAM, "run", "--headless", "claude", "--"]}
    with desk(lambda _: Reply.say("done"), claude) as at:
        at.engram("run", "--headless", "--", "/bin/true")
        for _ in range(CLAUDE_RUNS):
            for way, words in line.items():
                before, began = len(at.llm.main_requests), time.monotonic()
                at.home.run([*words, "-p", "hello", BYPASS])
                asked[way].append(at.llm.main_requests[before].arrived - began)
    added = [ours - bare for ours, bare in zip(asked["engram"], asked["bare"], strict=True)]
    return Row(
        what, "≤ 0.3 s", f"{_seconds(added)}; bare Claude {_seconds(asked['bare'])}", median(added) <= 0.3
    )


def _row(
    what: str,
    spawned: dict[str, list[float]],
    shown: dict[str, list[float]],
    way: str,
    *,
    whole: bool = False,
) -> Row:
    """What a way adds to the bare start, run by run; `whole`: its first line counts too."""
    started = [one - bare for one, bare in zip(spawned[way], spawned["bare"], strict=True)]
    seen = [one - bare for one, bare in zip(shown[way], shown["bare"], strict=True)]
    added = max(median(started), median(seen)) if whole else median(started)
    return Row(what, "≤ 0.3 s", f"{_seconds(started)}; its first line {_seconds(seen)}", added <= 0.3)


def _seconds(values: list[float]) -> str:
    return f"{median(values):.3f} s (best {min(values):.3f})"


def _first_paint(terminal: OuterTerminal) -> float:
    """Seconds until something of Engram's screen is drawn."""
    terminal.wait_for(ALTERNATE_SCREEN, 30)
    already = terminal.total
    while terminal.total < already + 200:  # clearing and modes are less, a painted screen is more
        terminal.read(1.0)
    return time.perf_counter() - terminal.started


def _timed(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, capture_output=True, check=True)
    return time.perf_counter() - began
