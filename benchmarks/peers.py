"""Engram against mcp-engram 0.19.0, the system it replaces, in one run: both spoken to in plain JSON over pipes.

mcp-engram gets an environment and a home of its own, and all that its users have after its setup: the same sentence
model, the same torch, its table's dimension known, and the two DuckDB extensions that it would download (taken from
their packages: a start that tries in vain to download them takes seconds more). Near duplicates are kept apart in both
(ENGRAM_DEDUP_THRESHOLD=1), so that 1,000 stored texts are 1,000 memories.

Run: python -m benchmarks peers [--peer FOLDER]   FOLDER: where its environment is, or is to be made (1.5 GB)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.mcp_server import by_meaning
from benchmarks.place import Place, Row, median, session_processes
from benchmarks.recall_speed import _end_worker as end_worker
from benchmarks.recall_speed import memories, questions
from benchmarks.spoken import Moment, Spoken, memory_mb
from engram_runtime.memory.model import bundled_folder

DUCKDB = "1.5.5"
"""The newest whose extensions are packaged."""
PACKAGES = (
    "mcp-engram==0.19.0",
    "mcp<2",
    "torch==2.13.0",
    f"duckdb=={DUCKDB}",
    f"duckdb-extension-fts=={DUCKDB}",
    f"duckdb-extension-vss=={DUCKDB}",
)
INSTALL_S = 1800
VECTOR = 384
"""Numbers in a vector of the model."""
STARTS = 5
AT_START = 100
MEMORIES = 1_000
ASKED = 50
_COMPLETE = "complete"


@dataclass(slots=True)
class Figures:
    """What was measured of one of the two."""

    greeted: list[Moment] = field(default_factory=list)
    recalled: list[Moment] = field(default_factory=list)
    stores: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    listed: int = 0
    handshake_mb: tuple[float, float] = (0.0, 0.0)
    working_mb: tuple[float, float] = (0.0, 0.0)
    kept: int = 0


class Side:
    """One of the two systems, with a home that is set up."""

    def __init__(self, name: str, argv: list[str], environ: dict[str, str], place: Place) -> None:
        self.name = name
        self.place = place
        self.figures = Figures()
        self._argv = argv
        self._environ = environ

    @contextlib.contextmanager
    def server(self) -> Iterator[Spoken]:
        """A server of it, where nothing of it ran."""
        end_worker(self.place)
        with Spoken(self._argv, self._environ, self.place.work) as server:
            yield server

    def processes(self, server: Spoken) -> list[psutil.Process]:
        """The server and what works for it: Engram's model is in a process of its own."""
        worker = session_processes(self.place).get("worker")
        return [server.process] + ([worker] if worker is not None else [])


def rows(peer: Path | None = None, *, install: bool = True) -> list[Row]:
    """The rows of the table; one row that says why where mcp-engram is not there and cannot be installed."""
    folder = peer or cache_folder()
    reason = installed(folder) if install or peer else missing(folder)
    if reason:
        return [Row("mcp-engram 0.19.0", "", f"skipped: {reason}", None)]
    with Place() as own, Place() as theirs:
        sides = [engram(own), mcp_engram(theirs, folder)]
        for _ in range(STARTS):
            for side in sides:
                start(side)
        for side in sides:
            work(side)
        end_worker(own)
        return table(sides[0].figures, sides[1].figures)


def cache_folder() -> Path:
    """Where the environment is kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "engram-benchmarks" / "mcp-engram-0.19.0"


def missing(folder: Path) -> str:
    """Why there is nothing to compare with, or ""."""
    here = (folder / _COMPLETE).exists()
    return "" if here else "it is not installed (1.5 GB); `python -m benchmarks peers` installs it"


def installed(folder: Path) -> str:
    """Install mcp-engram into an environment at `folder`, if it is not there; why it cannot be, or ""."""
    if (folder / _COMPLETE).exists():
        return ""
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.CalledProcessError as error:
        said = str(error.stderr or "").strip().splitlines()
        return f"it cannot be installed: {said[-1] if said else error}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it cannot be installed: {error}"
    (folder / _COMPLETE).touch()
    return ""


def engram(place: Place) -> Side:
    """Engram after `engram setup`, with some memories."""
    environ = {**place.environ, "ENGRAM_DEDUP_THRESHOLD": "1"}
    subprocess.run(
        place.argv("setup"), cwd=place.work, env=environ, capture_output=True, check=True, timeout=300
    )
    side = Side("Engram", place.argv("mcp"), environ, place)
    with side.server() as server:
        fill(server, 0, AT_START)
    return side


def mcp_engram(place: Place, folder: Path) -> Side:
    """mcp-engram with what its users have after its setup, and as many memories."""
    environ = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place.root),
        "HF_HUB_OFFLINE": "1",
        "ENGRAM_MODEL": str(bundled_folder()),
        "ENGRAM_DEDUP_THRESHOLD": "1",
    }
    extensions = place.root / ".duckdb" / "extensions" / f"v{DUCKDB}" / _duckdb_platform(folder)
    extensions.mkdir(parents=True)
    for name in ("fts", "vss"):
        (packaged,) = folder.glob(f"lib/*/site-packages/duckdb_extension_{name}/**/*.duckdb_extension")
        shutil.copy(packaged, extensions)
    side = Side("mcp-engram", [str(folder / "bin" / "engram")], environ, place)
    # Without this its table is made for another model's vectors, and no memory can be stored. Its own way to find
    # out (ENGRAM_EAGER_DIM_DETECT=1) waits for ever: it takes the model's lock twice.
    known = place.root / ".engram" / ".dim_cache"
    known.parent.mkdir()
    known.write_text(f"{bundled_folder()}:{VECTOR}")
    with side.server() as server:
        fill(server, 0, AT_START)
    return side


def _duckdb_platform(folder: Path) -> str:
    ask = "import duckdb; print(duckdb.sql('PRAGMA platform').fetchone()[0])"
    done = subprocess.run(
        [str(folder / "bin" / "python"), "-c", ask], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def fill(server: Spoken, first: int, until: int) -> list[float]:
    """Store texts; the milliseconds of each."""
    texts = list(memories(until))[first:]
    return [server.timed("store_memory", {"content": text, "importance": 0.6}) for text in texts]


def start(side: Side) -> None:
    """A start, to the first recall."""
    with side.server() as server:
        side.figures.greeted.append(server.greeted)
        side.figures.listed = len(server.ask("tools/list", {}))
        side.figures.handshake_mb = memory_mb(server.process)
        server.call("recall_memory", {"query": "why does the payments service fail", "top_k": 5})
        side.figures.recalled.append(server.moment())


def work(side: Side) -> None:
    """Stores until there are 1,000 memories, and as many recalls as are asked."""
    figures = side.figures
    with side.server() as server:
        fill(server, AT_START, MEMORIES - ASKED)
        if side.name == "Engram":
            settle(server)
        figures.stores = fill(server, MEMORIES - ASKED, MEMORIES)
        for question in questions(ASKED):
            figures.recalls.append(server.timed("recall_memory", {"query": question, "top_k": 5}))
        figures.working_mb = memory_mb(*side.processes(server))
        stats = server.call("memory_stats", {})
        figures.kept = int(stats.get("total_memories") or stats.get("total") or 0)


def settle(server: Spoken) -> None:
    """Wait until all memories have vectors: Engram stores first and embeds then."""
    by_meaning(server)
    while server.call("memory_stats", {})["index"]["rows_without_vector"]:
        time.sleep(0.2)


def table(own: Figures, theirs: Figures) -> list[Row]:
    """Engram's figure, mcp-engram's, and how many times as much the latter is."""

    def row(what: str, mine: float, other: float, unit: str, more: str = "") -> Row:
        return Row(
            what, "", f"{mine:,.4g} {unit}; mcp-engram {other:,.4g} {unit}: {other / mine:.1f} ×{more}", None
        )

    def starts(what: str, mine: list[Moment], other: list[Moment]) -> Row:
        cpu = f" (CPU {median([m.cpu for m in mine]):.2f} s; {median([m.cpu for m in other]):.1f} s)"
        walls = (median([m.wall for m in mine]), median([m.wall for m in other]))
        return row(f"{what}, p50 of {STARTS}", walls[0], walls[1], "s", cpu)

    kept = f" ({own.kept:,} kept; {theirs.kept:,})"
    return [
        starts("spawn → `initialize` answered", own.greeted, theirs.greeted),
        starts(f"spawn → first recall answered, {AT_START} memories", own.recalled, theirs.recalled),
        row(f"store at {MEMORIES:,}, p50 of {ASKED}", median(own.stores), median(theirs.stores), "ms", kept),
        row(f"recall at {MEMORIES:,}, p50 of {ASKED}", median(own.recalls), median(theirs.recalls), "ms"),
        row("tools/list", own.listed, theirs.listed, "B"),
        row("RSS after the handshake", own.handshake_mb[0], theirs.handshake_mb[0], "MB"),
        row("RSS at work, Engram's with its embedding worker", own.working_mb[0], theirs.working_mb[0], "MB"),
        row("PSS at work, Engram's with its embedding worker", own.working_mb[1], theirs.working_mb[1], "MB"),
    ]
