"""When two texts say the same. Only what is beyond doubt: a contradiction must never pass for a repetition."""

from __future__ import annotations

import re

SAME_COSINE = 0.88
"""Texts less alike are never taken for the same; those more alike only if `says_the_same`, which is the stricter
test: MiniLM gives .90 for an article that moved, and .94 (median) for a contradiction."""

_SPACE = re.compile(r"\s+")
_TOKEN = re.compile(r"(?:(?<!\S)[-_]+)?[^\W_]+(?:[._/:@+#'’-]+[^\W_]+)*|[^\w\s.,;()\"'`’-]+")
_MARK = re.compile(r"[.,;:!?]+(?=\s|$)")
_FILLER = frozenset(
    "a an the is are was were be been being our we us it its this that please also just very really currently to"
    " of for".split()
)
_ENDINGS = ("ing", "ed", "es", "s")


def normalised(text: str) -> str:
    """The text with single spaces, without marks at its end, its first letter small: equal ones say the same."""
    plain = _SPACE.sub(" ", text).strip().rstrip(".!;, ")
    # An acronym or identifier at the start keeps its case.
    return plain[:1].lower() + plain[1:] if plain[1:2].islower() or plain[1:2] == " " else plain


def says_the_same(one: str, other: str) -> bool:
    """Whether two texts are the same words in the same order, but for articles, endings and punctuation.

    Numbers, negations, identifiers and operators are words here: any difference in them is a difference.
    """
    return _words(one) == _words(other)


def _words(text: str) -> list[str]:
    return [_stem(token) for token in _TOKEN.findall(_MARK.sub("", text)) if token.lower() not in _FILLER]


def _stem(token: str) -> str:
    if not token.isalpha() or token != token.lower():
        # Identifiers, numbers, names: as they are, but for a capital at the start of a plain word.
        if not (token.isalpha() and token[:1].isupper() and token[1:].islower()):
            return token
        token = token.lower()
    for ending in _ENDINGS:
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token
