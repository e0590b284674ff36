"""What a worker with a loaded model answers: vectors of texts, the nearest memories, how near their tokens are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engram_runtime.memory import pooling
from engram_runtime.memory.matrix import Matrix
from engram_runtime.memory.model import Model, Question
from engram_runtime.memory.scope import Scope
from engram_runtime.memory.turns import Turns
from engram_runtime.memory.vector_cache import Kept, VectorCache, digest_of, restored, rounded
from engram_runtime.memory.wire import Ask, Compare, Consult, Neighbours
from engram_runtime.paths import HomeFiles

if TYPE_CHECKING:
    from engram_runtime.memory.model import Floats

MOST_QUESTIONS = 64
"""Queries whose tokens are remembered: `Compare` follows `Consult`, and people ask again."""
MOST_CODES = 16 * 1024 * 1024
"""Bytes of token codes held in memory."""
TOGETHER = 16
"""Texts written to the cache in one transaction."""


class Answers:
    """The model of a home, with its vectors, cache and codes. Thread-safe."""

    def __init__(self, home: Path, model: Model, turns: Turns | None = None) -> None:
        self.model = model
        self._turns = turns or Turns()
        self._cache = VectorCache(home, model.id)
        self._matrix = Matrix(HomeFiles(home).memory, model.id, model.dim)
        self._guard = threading.Lock()
        self._questions: OrderedDict[str, Question] = OrderedDict()
        self._codes: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._codes_size = 0

    def warm(self) -> None:
        """Reads the vectors there are, so that the first recall does not."""
        self._matrix.refresh()

    def forget_stale(self) -> None:
        """Lets go of what came from a memory file that is gone: it may have been forgotten there."""
        if self._matrix.is_stale():
            self._matrix.refresh()
            with self._guard:
                self._codes.clear()
                self._questions.clear()
                self._codes_size = 0

    def close(self) -> None:
        """Closes the files."""
        self._matrix.close()
        self._cache.close()

    def vectors(self, asked: Ask) -> bytes:
        """Vectors of memories' texts, one after the other."""
        rows = self._passages(list(asked.texts), urgent=asked.urgent)
        return b"".join(restored(vector) for vector, _ in rows)

    def consult(self, asked: Consult) -> tuple[dict[int, float], float, Question]:
        """Cosines of the nearest in scope and of those asked for; the share of memories compared; the question."""
        import numpy

        if asked.passage:
            ((kept, _),) = self._passages([asked.text], urgent=True, within=asked.within)
            question = Question(numpy.frombuffer(restored(kept), "<f4").astype(numpy.float32), None)
        else:
            question = self._question(asked.text, asked.within)
            if asked.words and question.tokens is not None:
                question = Question(
                    pooling.question_vector(question.tokens, asked.words, asked.total), question.tokens
                )
        self._matrix.refresh()
        scope = Scope(asked.project, asked.user, asked.memory_type)
        cosines = self._matrix.nearest(question.vector, scope, asked.k, asked.ids, asked.before)
        return cosines, self._matrix.share(), question

    def compare(self, asked: Compare) -> tuple[list[int], bytes, Question]:
        """Ids that have codes, and for each the cosine of every token of the text with the nearest of its own."""
        text = pooling.embedded_text(asked.text)[0] if asked.passage else asked.text
        question = self._question(text, asked.within)
        if question.tokens is None or not len(question.tokens.ids):
            return [], b"", question
        self._matrix.refresh()
        codes = self._codes_of(asked.ids)
        ids = [memory for memory in dict.fromkeys(asked.ids) if memory in codes]
        nearness = _nearness(question.tokens.tokens, [codes[memory] for memory in ids])
        return ids, nearness.astype("<f4").tobytes(), question

    def neighbours(self, asked: Neighbours) -> list[dict[int, float] | None]:
        """For each memory its nearest older ones. One at a time, so that a recall does not wait for all of them."""
        self._matrix.refresh()
        return [self._matrix.neighbours(memory, asked.k) for memory in asked.ids]

    def kin(self, among: Sequence[int]) -> bytes:
        """Cosines of these memories to each other, 0 where one has no vector: float32, a row for each."""
        rows = self._matrix.vectors(among)
        return (rows @ rows.T).astype("<f4").tobytes()

    def _question(self, text: str, within: float) -> Question:
        with self._guard:
            known = self._questions.get(text)
            if known is not None:
                self._questions.move_to_end(text)
                return known
        self._turns.take(urgent=True, within=within)
        try:
            question = self.model.question(text)
        finally:
            self._turns.give_back()
        with self._guard:
            self._questions[text] = question
            while len(self._questions) > MOST_QUESTIONS:
                self._questions.popitem(last=False)
        return question

    def _passages(self, texts: list[str], *, urgent: bool, within: float | None = None) -> list[Kept]:
        """What is kept of each text, from the cache where it is known."""
        digests = [digest_of(text) for text in texts]
        known = self._cache.find(digests)
        fresh: list[tuple[int, Kept]] = []
        for digest, text in zip(digests, texts, strict=True):
            if digest in known:
                continue
            self._turns.take(urgent=urgent, within=within)
            try:
                made = self.model.passage(text)
            finally:
                self._turns.give_back()
            known[digest] = (rounded(made.vector), made.codes)
            fresh.append((digest, known[digest]))
            if len(fresh) >= TOGETHER:
                self._cache.keep(fresh)
                fresh = []
        if fresh:
            self._cache.keep(fresh)
        return [known[digest] for digest in digests]

    def _codes_of(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Codes of the memories that have a vector, as far as they are kept and not empty."""
        changes = self._matrix.changes(ids)
        found: dict[int, bytes] = {}
        with self._guard:
            for memory, change in changes.items():
                held = self._codes.get(memory)
                if held is not None and held[0] == change:
                    self._codes.move_to_end(memory)
                    found[memory] = held[1]
        unknown = [memory for memory in changes if memory not in found]
        digests = {memory: digest_of(text) for memory, text in self._matrix.texts(unknown).items()}
        kept = self._cache.find(list(digests.values()))
        read = {m: kept[digest][1] for m, digest in digests.items() if digest in kept and kept[digest][1]}
        self._hold(read, changes)
        return found | read

    def _hold(self, read: Mapping[int, bytes], changes: Mapping[int, int]) -> None:
        with self._guard:
            for memory, codes in read.items():
                _, old = self._codes.pop(memory, (0, b""))
                self._codes[memory] = (changes[memory], codes)
                self._codes_size += len(codes) - len(old)
            while self._codes_size > MOST_CODES:
                _, (_, dropped) = self._codes.popitem(last=False)
                self._codes_size -= len(dropped)


def _nearness(tokens: Floats, codes: list[bytes]) -> Floats:
    """For each memory and each token of the text, the largest cosine with a token of the memory: [n, tokens]."""
    import numpy

    if not codes:
        return numpy.empty((0, len(tokens)), numpy.float32)
    rows = pooling.code_rows(b"".join(codes))
    # Divided by their lengths after the product, which is a tenth of the size: this is most of what a recall costs.
    cosines = rows @ pooling.projected(tokens).T
    cosines /= numpy.sqrt(numpy.einsum("ij,ij->i", rows, rows)).clip(min=1e-9)[:, None]
    ends = numpy.array([len(code) // pooling.CODE_SIZE for code in codes]).cumsum()
    nearest: Floats = numpy.maximum.reduceat(cosines, numpy.concatenate(([0], ends[:-1])), axis=0)
    return nearest
