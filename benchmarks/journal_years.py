"""A journal of years: opening it, replaying it, finding a session in it, at 1,000, 100,000 and 1,000,000 events.

Run: python -m benchmarks.journal_years [--events N ...]
Target: open and first query < 1 s at 1,000,000 events, also when the state file was deleted.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engram_runtime.journal import events as e
from engram_runtime.journal.encoding import encode
from engram_runtime.journal.journal import Journal, stamp, utc_now
from engram_runtime.journal.records import Checkpoint, ContextFill, FileChange, Item, Verdict
from engram_runtime.journal.writer import Draft
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.state import snapshots

SIZES = (1_000, 100_000, 1_000_000)
WORDS = (
    "parser token retry cache schema index socket buffer cursor widget branch commit merge config header"
    " timeout session replay journal worker screen resize scroll select filter render layout import export"
).split()

Session = tuple[str, str, list[e.Event]]


def session(number: int, chance: random.Random, first: int) -> Session:
    """An hour of an agent: about 200 events, as a supervised session records them. `first`: their first position."""

    def text(words: int) -> str:
        return " ".join(chance.choices(WORDS, k=words))

    task = first + 2
    told: list[e.Event] = [
        e.SessionStarted(
            agent="claude", argv=("claude",), cwd="/src/app", worktree="/src/app", head="a" * 40
        ),
        e.AgentSpawned(pid=1000 + number, started_at=1.0),
        e.TaskCreated(name=text(6), source="prompt"),
        e.TaskAttached(task=task),
    ]
    for turn in range(6):
        told.append(e.PromptSubmitted(text=text(40)))
        for call in range(13):
            name, path = f"{number}-{turn}-{call}", f"src/{chance.choice(WORDS)}/{chance.choice(WORDS)}.py"
            told.append(e.ToolStarted(tool="Edit", call_id=name, summary=path, paths=(path,)))
            told.append(
                e.ToolFinished(tool="Edit", call_id=name, paths=(path,), output=text(30), duration_ms=120)
            )
            if call % 3 == 0:
                told.append(e.FilesObserved(changes=(FileChange(path=path, change="modified", by="agent"),)))
        told.append(e.ContextMeasured(fill=ContextFill(used=20_000 * (turn + 1), window=200_000)))
        told.append(e.TurnFinished(text=text(60)))
        done = Checkpoint(goal=text(12), completed=(Item(text=text(10)),))
        told.append(e.CheckpointWritten(task=task, reason="TOOL_FINISHED", content=done))
    told += [
        e.MemoryStored(content=text(20), importance=0.6),
        e.AgentExited(code=0),
        e.SessionEnded(verdict=Verdict(kind="finished")),
    ]
    return f"{number:07d}", f"/src/project-{number % 7}", told


def drafts(count: int, prefix: str = "s") -> Iterator[list[Draft]]:
    """About `count` events, ready to be written, session by session; the same ones every time.

    Ids of the sessions begin with `prefix`.
    """
    chance = random.Random(1)
    position, at = 1, stamp(utc_now())
    for number in range(count):
        name, project, told = session(number, chance, position)
        yield [Draft(at, event.kind, event.VERSION, project, prefix + name, encode(event)) for event in told]
        position += len(told)
        if position > count:
            return


def fill(home: Path, count: int, *, seal: bool = True) -> Journal:
    """A home whose journal holds about so many events, sealed as a long-lived process would have."""
    journal = Journal(HomeFiles(home))
    for group in drafts(count):
        journal.append_drafts(tuple(group))
    if seal and count > 200_000:
        journal.seal()
    return journal


def timed(act: Callable[[], object]) -> float:
    """Seconds an act took."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


OPEN = """
import sys, time
from pathlib import Path
began = time.perf_counter()
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
imported = time.perf_counter()
with Runtime.open(Path(sys.argv[1]), project="/src/project-1", settings=Settings()) as runtime:
    runtime.state.tasks(limit=5)
    print(imported - began, time.perf_counter() - imported)
"""


def opened(home: Path) -> float:
    """Seconds a fresh process needs to open the home and answer a first query, imports not counted."""
    done = subprocess.run([sys.executable, "-c", OPEN, str(home)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[1])


def lose_state(home: Path) -> None:
    """Delete the state file."""
    for path in home.glob("state.v*.sqlite*"):
        path.unlink()


def measure(home: Path, count: int) -> Iterator[tuple[str, str]]:
    """Rows of the table for one size: what, figure."""
    journal = fill(home, count)
    head, segments = journal.head(), journal.segments()
    journal.close()
    size = HomeFiles(home).journal.stat().st_size
    archived = sum(segment.bytes for segment in segments)
    each = (size + archived) / head
    yield "size", f"database {size / 1e6:.0f} MB, archive {archived / 1e6:.0f} MB, {each:.0f} bytes an event"
    with Runtime.open(home, project="/src/project-1", settings=Settings()) as runtime:
        seconds = timed(runtime.catch_up)
        yield "replay without a snapshot", f"{seconds:.1f} s ({head / seconds:,.0f} events/s)"
        yield "snapshot taken in", f"{timed(runtime._state.snapshot):.2f} s"
    yield "open + first query, state there", f"{min(opened(home) for _ in range(3)):.3f} s"
    lose_state(home)
    yield "open + first query, state deleted, snapshot at the head", f"{opened(home):.3f} s"
    with Runtime.open(home, project="/src/project-1", settings=Settings()) as runtime:
        runtime._state.snapshot()
        for group in drafts(snapshots.EVERY_EVENTS, "later-"):
            runtime.journal.append_drafts(tuple(group))
    lose_state(home)
    yield f"… and {snapshots.EVERY_EVENTS:,} events behind", f"{opened(home):.3f} s"
    with Runtime.open(home, project="/src/project-1", settings=Settings()) as runtime:
        (oldest, *_) = runtime.state.sessions(limit=10**6)[-1:]
        told = timed(lambda: runtime.events(session=oldest.id, limit=10_000))
        scanned = timed(lambda: runtime.journal.read_after(session=oldest.id, limit=10_000))
        yield (
            "events of the oldest session",
            f"{told * 1e3:.1f} ms (bounds not known: {scanned * 1e3:.0f} ms)",
        )
        yield "full check of the chain", f"{timed(runtime.verify):.1f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    print("| events | what | figure |\n|---|---|---|")
    for count in options.events:
        with tempfile.TemporaryDirectory(prefix="engram-benchmark-") as folder:
            for what, figure in measure(Path(folder) / "home", count):
                print(f"| {count:,} | {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
