"""A model that is nothing but word counts: deterministic, at once there, and switched on and off by tests."""

from __future__ import annotations

import json
import math
import re
import zlib
from array import array
from collections.abc import Sequence

from engram_runtime.memory.embedder import Likeness, Near, Nearness, Vectors
from engram_runtime.memory.index import Index
from engram_runtime.memory.scope import Scope

DIM = 64


def vector(text: str) -> array[float]:
    counts = array("f", [0.0] * DIM)
    for word in re.findall(r"\w+", text.lower()):
        counts[zlib.crc32(word.encode()) % DIM] += 1.0
    length = math.sqrt(sum(value * value for value in counts)) or 1.0
    return array("f", [value / length for value in counts])


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(vector(one), vector(other), strict=True))


class ToyEmbedder:
    """`state` "ready" or "warming"; `index` is set once the memory is open."""

    worker: int | None = None
    note = ""

    def __init__(self, state: str = "ready") -> None:
        self.state = state
        self.index: Index | None = None

    def ensure(self) -> str:
        return self.state

    def embed(self, texts: Sequence[str], *, within: float, urgent: bool = False) -> Vectors | None:
        if self.state != "ready":
            return None
        return Vectors("toy", DIM, tuple(vector(text).tobytes() for text in texts))

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
        **_: object,
    ) -> Likeness | None:
        if self.state != "ready" or self.index is None:
            return None
        rows = self.index.select(
            f"{scope.condition} AND (? = 0 OR m.id < ?)", (*scope.values, before, before)
        )
        with self.index.connection():
            embedded = {row.id: row for row in rows if self.index.vectors.get(row.id)}
        near = sorted(((cosine(text, row.content), -row.id) for row in embedded.values()), reverse=True)
        found = {-number: value for value, number in near[:k]}
        found |= {n: cosine(text, embedded[n].content) for n in ids if n in embedded and n not in found}
        return Likeness("toy", found)

    def compare(
        self, text: str, ids: Sequence[int], *, within: float, passage: bool = False, **_: object
    ) -> Nearness | None:
        return None

    def neighbours(self, ids: Sequence[int], *, k: int, within: float) -> Near | None:
        if self.state != "ready" or self.index is None:
            return None
        found = {}
        for row in self.index.select("m.id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)):
            near = self.consult(
                row.content, Scope(row.project, row.user), k=k, within=within, passage=True, before=row.id
            )
            found[row.id] = near.cosine if near else {}
        return Near("toy", found)

    def close(self) -> None:
        pass
