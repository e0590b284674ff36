"""From a text's token vectors to what is kept of it: one vector for the text, and a code for each token.

Pure numpy, for the default model (all-MiniLM-L6-v2) and its tokenizer (bert-base-uncased) alone. A mean over all
tokens, as sentence-transformers makes it, is moved by "the" as much as by a name; weighted by how rare each
token is, the same 384 numbers find far more (docs/recall.md has the figures).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engram_runtime.memory.wording import wording

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Tokens = NDArray[numpy.float32]
    Ids = NDArray[numpy.int32]

VERSION = "p3"
"""Part of the id of stored vectors: changed whenever what this module makes changes, so that all are made anew."""
CODE_SIZE = 128
"""Bytes of one token's code."""
MOST_CODES = 64
"""Tokens of a text that keep a code of their own; the rest count in the sentence vector only."""
LEAST_RARITY = 1.5
"""Signs, single letters and the ten most frequent words keep none: they are not missed, and a third of all tokens."""
PLAIN_WORD = 0.3
"""Weight in a question of a word that tells nothing, and of signs."""
PRIOR = 30
"""Texts that the language counts for beside the memories: in an empty store words are as rare as in English."""

_THE = 1996
"""Id of "the". From here on the vocabulary is ordered by how often a piece occurs in Wikipedia and books."""
_PIECES = 2.5
"""A piece of rank r is in about 1 − exp(−_PIECES / r) of texts of some 25 tokens (Zipf's law)."""
_SIGNS = frozenset((*range(999, 1014), *range(1024, 1037), *range(1063, 1075)))
"""Ids of ASCII punctuation."""


@dataclass(frozen=True, slots=True)
class QueryTokens:
    """A query as the model read it, without [CLS] and [SEP].

    `tokens` float32 [n, 384]: last hidden states; `ids` int32 [n]; `starts` int32 [n]: the character of the query
    where each piece begins, from which recall knows the word it belongs to and how rare that is in this store.
    """

    tokens: Tokens
    ids: Ids
    starts: Ids


def embedded_text(content: str) -> tuple[str, str]:
    """What to encode for a memory's text, and the prefix of it (a speaker) that its vector leaves out."""
    said = wording(content)
    return said.body, f"{said.speaker}:" if said.speaker else ""


Words = Sequence[tuple[int, int, int]]
"""Words of a question: first character, the one after the last, and how many memories hold it (-1: a plain one)."""


def token_weights(pieces: Sequence[int], starts: Sequence[int], words: Words, total: int) -> list[float]:
    """How much each token of a question counts: −ln of the share of the `total` memories that hold its word."""
    weights: list[float] = []
    place = 0
    for piece, start in zip(pieces, starts, strict=True):
        while place < len(words) and words[place][1] <= start:
            place += 1
        held = words[place][2] if place < len(words) and words[place][0] <= start else -1
        expected = PRIOR * (1 - math.exp(-_PIECES / max(1, piece - _THE + 1)))
        weights.append(-math.log((held + expected + 0.5) / (total + PRIOR + 1)) if held >= 0 else PLAIN_WORD)
    return weights


def question_vector(question: QueryTokens, words: Words, total: int) -> Tokens:
    """The unit vector of a question, its tokens weighted by how rare their words are in this store."""
    import numpy

    if not len(question.ids):
        return numpy.zeros(question.tokens.shape[1], numpy.float32)
    weights = token_weights(question.ids.tolist(), question.starts.tolist(), words, total)
    return _unit((_unit(question.tokens) * numpy.array(weights, numpy.float32)[:, None]).sum(axis=0))


@functools.cache
def rarity() -> NDArray[numpy.float32]:
    """Weight of each piece of the vocabulary by its id: −ln of the share of texts it is expected in."""
    import numpy

    rank = numpy.maximum(numpy.arange(30522) - _THE + 1, 1).astype(numpy.float64)
    weights = -numpy.log1p(-numpy.exp(-_PIECES / rank))
    weights[:_THE] = 6.0
    weights[1014:1024] = 3.0
    weights[1037:1063] = 1.0
    weights[sorted(_SIGNS)] = 0.5
    return weights.astype(numpy.float32)


def sentence_vector(tokens: Tokens, ids: Ids, prefix: int = 0) -> Tokens:
    """The unit vector of a text.

    `tokens` are the model's last hidden states [n, 384] without those of [CLS] and [SEP], `ids` the pieces' ids;
    the first `prefix` are left out unless nothing else is there. A text without tokens has a vector of zeros.
    """
    import numpy

    if 0 < prefix < len(ids):
        tokens, ids = tokens[prefix:], ids[prefix:]
    if not len(ids):
        return numpy.zeros(tokens.shape[1], numpy.float32)
    return _unit((_unit(tokens) * rarity()[ids][:, None]).sum(axis=0))


def token_codes(tokens: Tokens, ids: Ids) -> bytes:
    """A code of `CODE_SIZE` bytes for each telling token: 128 principal components as signed bytes."""
    import numpy

    telling = numpy.flatnonzero(rarity()[ids] >= LEAST_RARITY)[:MOST_CODES]
    kept = _unit(_unit(tokens[telling] if len(telling) else tokens[:1]) @ projection())
    scale = 127.0 / numpy.maximum(numpy.abs(kept).max(axis=1, keepdims=True, initial=0.0), 1e-9)
    return bytes(numpy.rint(kept * scale).astype(numpy.int8).tobytes())


def code_rows(codes: bytes) -> Tokens:
    """Codes as vectors [n, 128], in the direction of the tokens: to be compared with `projected` ones of a query."""
    import numpy

    rows: Tokens = numpy.frombuffer(codes, numpy.int8).reshape(-1, CODE_SIZE).astype(numpy.float32)
    return rows


def projected(tokens: Tokens) -> Tokens:
    """Unit vectors [n, 128] of a query's tokens."""
    return _unit(_unit(tokens) @ projection())


@functools.cache
def projection() -> Tokens:
    """Principal components [384, 128] of token vectors of Python's documentation (benchmarks/fit_projection.py)."""
    import numpy

    with (Path(__file__).parent / "projection.npy").open("rb") as stream:
        components: Tokens = numpy.load(stream, allow_pickle=False).astype(numpy.float32)
    return components


def _unit(rows: Tokens) -> Tokens:
    import numpy

    length = numpy.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Tokens = (rows / numpy.maximum(length, 1e-9)).astype(numpy.float32)
    return unit
