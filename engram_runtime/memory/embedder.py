"""What turns texts into vectors and compares them, elsewhere: the seam between memory and the worker.

The worker holds the model, the vectors of the home as one matrix, and the codes of tokens. So a process that only
recalls needs neither numpy nor the vectors in its own memory: it asks which memories are near (`consult`), then how
near each word of the query comes to them (`compare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engram_runtime.memory.scope import Scope

NO_MODEL = frozenset({"off", "none"})
"""Model names that mean: words only."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors, one per text: float32 little-endian, `dim` numbers each. `model` names what made them."""

    model: str
    dim: int
    rows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near memories are to a text in meaning.

    `cosine` by memory id, of the nearest in scope (best first) and of those asked for. `pieces` and `starts`:
    vocabulary id of each token of the text and the character it begins at, [CLS] and [SEP] left out; empty for a
    model without token codes. `share` of all memories have a vector of this model (0..1).
    """

    model: str
    cosine: dict[int, float]
    share: float = 1.0
    pieces: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Near:
    """Cosines of memories to their nearest older ones, by the ids of both. `model` names what made the vectors."""

    model: str
    cosine: dict[int, dict[int, float]]


@dataclass(frozen=True, slots=True)
class Nearness:
    """For each memory that has token codes: how near each token of the text (`pieces`, `starts`) comes to any of
    its tokens, as a cosine."""

    best: dict[int, tuple[float, ...]] = field(default_factory=dict)
    pieces: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    kin: tuple[tuple[float, ...], ...] = ()
    """Cosines to each other of the memories asked for with `among`, a row for each."""


class Embedder(Protocol):
    """Turns texts into vectors, and compares them, elsewhere."""

    @property
    def state(self) -> str:
        """Last known: "off", "starting", "warming", "ready" or "failed(reason)"."""
        ...

    @property
    def note(self) -> str:
        """For people: what the worker is busy with or does without; "" where there is nothing to say."""
        ...

    @property
    def worker(self) -> int | None:
        """Pid of the process that makes the vectors, as far as known; None where there is none."""
        ...

    def ensure(self) -> str:
        """Starts what must be started and looks how it is (milliseconds). Returns the state."""
        ...

    def embed(self, texts: Sequence[str], *, within: float, urgent: bool = False) -> Vectors | None:
        """Vectors of memories' texts, None when they cannot be had `within` so many seconds."""
        ...

    def consult(
        self,
        text: str,
        scope: Scope,
        *,
        k: int,
        ids: Sequence[int] = (),
        within: float,
        passage: bool = False,
        before: int = 0,
        words: Sequence[tuple[int, int, int]] = (),
        total: int = 0,
    ) -> Likeness | None:
        """The `k` memories in scope nearest to a text, and the cosines of `ids` whatever their scope.

        `passage`: the text is a memory's, not a question. `before`: of the nearest, only older memories than this
        one (0: all). None when it cannot be had in time.
        """
        ...

    def compare(
        self,
        text: str,
        ids: Sequence[int],
        *,
        within: float,
        passage: bool = False,
        among: Sequence[int] = (),
    ) -> Nearness | None:
        """How near each token of the text comes to each of these memories; None when it cannot be had in time."""
        ...

    def neighbours(self, ids: Sequence[int], *, k: int, within: float) -> Near | None:
        """For each of these memories that has a vector, the `k` nearest older ones of its project and user."""
        ...

    def close(self) -> None:
        """Lets go; the worker lives on for others."""
        ...


class NoEmbedder:
    """No model: recall goes by words alone."""

    state = "off"
    note = ""
    worker: int | None = None

    def ensure(self) -> str:
        """Always off."""
        return self.state

    def embed(self, texts: Sequence[str], *, within: float, urgent: bool = False) -> Vectors | None:
        """None."""
        return None

    def consult(
        self,
        text: str,
        scope: Scope,
        *,
        k: int,
        ids: Sequence[int] = (),
        within: float,
        passage: bool = False,
        before: int = 0,
        words: Sequence[tuple[int, int, int]] = (),
        total: int = 0,
    ) -> Likeness | None:
        """None."""
        return None

    def compare(
        self,
        text: str,
        ids: Sequence[int],
        *,
        within: float,
        passage: bool = False,
        among: Sequence[int] = (),
    ) -> Nearness | None:
        """None."""
        return None

    def neighbours(self, ids: Sequence[int], *, k: int, within: float) -> Near | None:
        """None."""
        return None

    def close(self) -> None:
        """Nothing to let go."""


def embedder_for(home: Path, model: str) -> Embedder:
    """The embedder for a model setting: a name, a path, "" for the default, "off" for none."""
    if model.strip().lower() in NO_MODEL:
        return NoEmbedder()
    from engram_runtime.memory.worker_client import WorkerEmbedder

    return WorkerEmbedder(home, model.strip())
