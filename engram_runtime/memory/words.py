"""The terms of a text: stems of its words, the parts of its identifiers, and pairs of characters where words have no
spaces between them (Chinese, Japanese, Thai)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from engram_runtime.memory.stemming import stem

LONGEST_TERM = 64
"""Characters of a term that count."""

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are aren as at be because been before being below
    between both but by can cannot could couldn d did didn do does doesn doing don down during each else ever few
    for from further get gets got had hadn has hasn have haven having he her here hers herself him himself his how
    i if in into is isn it its itself just ll m me more most must mustn my myself no nor not now o of off on once
    only or other our ours ourselves out over own please re s same shall shan she should shouldn so some such t
    than that the their theirs them themselves then there these they this those through to too under until up us
    ve very was wasn we were weren what when where which while who whom whose why will with won would wouldn you
    your yours yourself yourselves
    """.split()
)

_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e"
    "\u0eb1-\u0ece\u102b-\u109d\u17b4-\u17d3"
)
"""Signs above, below and beside letters, which Python does not count as letters."""
_WORD = re.compile(rf"(?:[^\W_]|[{_MARKS}])+")
_SNAKE = re.compile(r"[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)+")
_PIECE = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
_VOICED = "\u3099\u309a"
"""Marks that make another letter of a Japanese one: not to be dropped as an accent is."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: its first character, the one after the last, and its terms (none for a stop word)."""

    start: int
    end: int
    terms: tuple[str, ...]


def sub_words(word: str) -> list[str]:
    """Parts of a camelCase (or letters-and-digits) word, lower case, of two characters or more; [] for a plain one."""
    pieces = _PIECE.findall(word)
    return [piece.lower() for piece in pieces if len(piece) > 1] if len(pieces) > 1 else []


def words(text: str) -> Iterator[Word]:
    """The words of a text in order; the whole of a snake_case name comes with its last part."""
    whole = {found.end(): found[0] for found in _SNAKE.finditer(text)}
    for found in _WORD.finditer(text):
        terms = _terms(found[0])
        if found.end() in whole:
            terms = (*terms, stem(whole[found.end()].replace("_", "").lower()[:LONGEST_TERM]))
        yield Word(found.start(), found.end(), terms)


def terms(text: str) -> list[str]:
    """All terms of a text in order, with repetitions."""
    return [term for word in words(text) for term in word.terms]


def _terms(word: str) -> tuple[str, ...]:
    if word.isascii():
        parts = (word.lower(), *sub_words(word))
        return tuple(stem(part[:LONGEST_TERM]) for part in parts if part not in STOP_WORDS)
    plain = _folded(word)
    found: list[str] = []
    end = 0
    for run in _UNSPACED.finditer(plain):
        found += [plain[end : run.start()], *_pairs(run[0])]
        end = run.end()
    found.append(plain[end:])
    return tuple(term[:LONGEST_TERM] for term in found if term and term not in STOP_WORDS)


def _pairs(run: str) -> list[str]:
    """Characters that stand side by side, and each Chinese character: it may be a word."""
    single = [letter for letter in run if letter >= "\u3400"] if len(run) > 1 else [run]
    return [*(run[i : i + 2] for i in range(len(run) - 1)), *single]


def _folded(word: str) -> str:
    """Without accents, case and width."""
    apart = unicodedata.normalize("NFKD", word.casefold())
    kept = "".join(c for c in apart if c in _VOICED or not unicodedata.combining(c))
    return stem(unicodedata.normalize("NFC", kept))
