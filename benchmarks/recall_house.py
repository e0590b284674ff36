"""A home in which recall is measured within this process: the real journal, memory, model and worker's answers."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.recall_sets import World
from engram_runtime.memory import Memory, loading
from engram_runtime.memory.answering import Answers
from engram_runtime.memory.embed_worker import Worker
from engram_runtime.memory.model import Model
from engram_runtime.memory.wire import Reply, Request, WorkerPlace
from engram_runtime.memory.worker_client import WorkerEmbedder
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

USUAL_TIME = datetime(2026, 1, 1, tzinfo=UTC)
INDEXED_S = 900.0
MONTH = timedelta(days=30)


class HereEmbedder(WorkerEmbedder):
    """The worker's answers without a worker's process: slower to import, nothing to wait for."""

    def __init__(self, home: Path, model: Model) -> None:
        super().__init__(home)
        self._answers = Answers(home, model)
        self._here = Worker(home, "", WorkerPlace.of(home, ""))
        self._here._answers = self._answers
        self._state = "ready"

    def ensure(self) -> str:
        """Always ready."""
        return self._state

    def close(self) -> None:
        """Closes the files."""
        self._answers.close()

    def _request(self, message: Request, within: float) -> Reply | type[Exception]:
        return self._here._reply(message)


@dataclass(slots=True)
class Clock:
    """A clock that is set."""

    now: datetime = USUAL_TIME

    def __call__(self) -> datetime:
        return self.now


class House:
    """A home with the memories of a world. `cache`: a folder that keeps models and vectors between runs."""

    def __init__(self, world: World, model: Model | None, *, cache: Path | None = None) -> None:
        self.world = world
        self.clock = Clock()
        self.root = Path(tempfile.mkdtemp(prefix="engram-recall-"))
        self.home = self.root / "home"
        self.home.mkdir(mode=0o700)
        self._cache = cache
        if cache is not None and (cache / "vectors").is_dir():
            shutil.copytree(cache / "vectors", HomeFiles(self.home).vectors)
        self.runtime = Runtime.open(
            self.home, project=f"/{world.name}", settings=Settings(model="off"), clock=self.clock
        )
        self.session: str | None = None
        self.embedder = HereEmbedder(self.home, model) if model is not None else None
        self.memory = Memory(
            journal=self.runtime.journal,
            append=lambda *events: self.runtime.append(*events, session=self.session),
            submit=lambda *events: self.runtime.submit(*events, session=self.session),
            home=self.home,
            project=self.runtime.project,
            settings=self.runtime.settings,
            embedder=self.embedder,
            clock=self.clock,
        )
        self.keys: dict[int, str] = {}

    def fill(self) -> House:
        """Stores the world's memories, each at its time, and waits until all have their vectors."""
        for note in self.world.memories:
            self.clock.now = note.at or self.clock.now
            self.session = note.session
            kept = self.memory.store(
                note.content,
                importance=note.importance,
                category=note.category,  # type: ignore[arg-type]
            )
            self.keys.setdefault(kept.memory, note.key)
        deadline = time.monotonic() + INDEXED_S
        while self.embedder is not None and self.memory.stats().lag and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.embedder is not None:
            # The edges too: recall by words alone goes along them.
            self.memory._lifecycle._finish_backlog(time.monotonic() + INDEXED_S)
        if self._cache is not None:
            shutil.copytree(HomeFiles(self.home).vectors, self._cache / "vectors", dirs_exist_ok=True)
        return self

    def at(self, moment: datetime | None) -> None:
        """Sets the clock: to a month after the last memory where the set does not say."""
        self.clock.now = moment or USUAL_TIME + MONTH

    def close(self) -> None:
        """Closes and removes the home."""
        self.memory.close()
        if self.embedder is not None:
            self.embedder.close()
        self.runtime.close()
        shutil.rmtree(self.root, ignore_errors=True)


def load_model(cache: Path | None) -> Model:
    """The default model, out of the cache folder where it is there."""
    place = cache or Path(tempfile.mkdtemp(prefix="engram-model-"))
    try:
        return loading.load(place, "", lambda said: print(said, file=sys.stderr)).model
    finally:
        if cache is None:
            shutil.rmtree(place, ignore_errors=True)
