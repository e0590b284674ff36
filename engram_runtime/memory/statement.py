"""A text as the parts by which two statements can be compared: words, values, names, negations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from engram_runtime.memory.vocabulary import (
    ASSIGNING,
    AVOIDING,
    COMPOUNDING,
    LIGHT,
    NEGATIONS,
    NUMBERS,
    STATUS_WORDS,
    SYNONYMS,
    UNITS,
)

Kind = Literal["word", "name", "identifier", "value"]

_EPISODE = re.compile(r"\s*\[[^\]]*\d[^\]]*\]\s*\S")
_EXCLAIMED = re.compile(r"\w[?!]+(?=\s|$)")
_CHUNK = re.compile(r"`[^`]*`[,.:]?|[^\s,;()\"“”‘’`]+,?|[;]")
_EDGE = ".,:!?'*…[]{}<>"
_NUMBER = re.compile(r"[~≤≥<>]*[-+]?(\d[\d,_]*(?:\.\d+)?)([a-zA-Zµ%]{0,7})$")
_VERSION = re.compile(r"v?\d+(?:\.\d+)+(?:[-.]?(?:rc|a|b|beta|alpha|post|dev)\.?\d*)?$|v\d+$", re.IGNORECASE)
_STATUS = re.compile(r"[1-5]\d\d$")
_DATE = re.compile(r"\d{4}-\d\d(?:-\d\d)?$|\d{1,2}[./]\d{1,2}[./]\d{2,4}$")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?$")
_PORT = re.compile(r":\d{2,5}$")
_ASSIGNED = re.compile(r"([A-Za-z_][\w.\-]*)=(\S+)$")
_CODE = re.compile(r"[_/\\@#=$]|::|\w\.\w|\w:\w|\w-\d|[a-z][A-Z]|[A-Za-z]\d|\d[A-Za-z]")
_BRAND = re.compile(r"[A-Z][a-z]+(?:[A-Z]+[a-z]*)+$")
_PARTS = re.compile(r"[A-Za-z0-9_\-]+")
_ENDINGS = (
    *(
        "ations",
        "ation",
        "ments",
        "ment",
        "ings",
        "ing",
        "edly",
        "ied",
        "ed",
        "ies",
        "es",
        "s",
        "ly",
        "al",
        "e",
        "y",
    ),
)
LONG = 22
"""Content words; a text with more is a note of several statements."""


@dataclass(frozen=True, slots=True)
class Token:
    """One part of a text. `key` is what is compared: a stem, an identifier, a value's amount in its base unit."""

    key: str
    kind: Kind
    raw: str
    at: int
    dimension: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """A text, taken apart. `tokens` are all words in order, `content` those that carry meaning of their own.

    `negated` holds the places of tokens that something negates; -1 where nothing follows the negation.
    """

    tokens: tuple[Token, ...]
    content: tuple[Token, ...]
    negated: tuple[int, ...]
    sentences: int
    lead: int
    """How many of the tokens stand in the first clause."""
    is_episode: bool
    """A record of one occasion, which no other repeats or outdates: dated in brackets, or a question or exclamation
    (something said, not something stated)."""

    @property
    def is_long(self) -> bool:
        """Whether this is a note of several statements rather than one."""
        return len(self.content) > LONG or self.sentences > 3

    def assigned(self) -> dict[str, str]:
        """Values that follow a name or identifier at once: versions ("FastAPI 0.110") and settings ("LIMIT is 5")."""
        found: dict[str, str] = {}
        name: Token | None = None
        for token in self.tokens:
            if token.kind == "value":
                if name is not None:
                    found.setdefault(name.key, token.key)
                name = None
            elif token.kind != "word" or token.at == 0:
                name = token
            elif name is not None and token.raw.lower() not in ASSIGNING:
                name = None
        return found


@lru_cache(maxsize=4096)
def parse(text: str) -> Statement:
    """Takes a text apart; of a long one its first 2,000 characters."""
    text = text[:2000].replace("’", "'")
    tokens: list[Token] = []
    sentences, lead = 1, 0
    first = True
    for chunk in _CHUNK.findall(text):
        if chunk == ";":
            lead = lead or len(tokens)
            continue
        code = chunk.startswith("`")
        parts = chunk.strip("`,.:").split() if code else [chunk]
        for part in parts:
            for word in _split(part):
                tokens.append(
                    _token(word, len(tokens), first, code, tokens[-1].raw.lower() if tokens else "")
                )
            first = False
        if not lead and chunk[-1:] in ".,:!?":
            lead = len(tokens)
        if chunk[-1:] in ".!?" and len(chunk.strip(_EDGE)) > 1:
            sentences += 1
            first = True
    joined = _with_units([token for token in tokens if token.key])
    content = tuple(token for token in joined if _carries(token))
    return Statement(
        tokens=tuple(joined),
        content=content,
        negated=_negated(joined, content),
        sentences=sentences - (1 if first and sentences > 1 else 0),
        lead=min(lead, len(joined)) or len(joined),
        is_episode=bool(_EPISODE.match(text) or _EXCLAIMED.search(text)),
    )


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A lower-case word without its endings, or the word it stands for."""
    word = SYNONYMS.get(word, word)
    for ending in _ENDINGS:
        left = len(word) - len(ending)
        if word.endswith(ending) and left >= (3 if ending != "al" else 5):
            word = word[:left] + ("y" if ending in ("ies", "ied") else "")
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
                word = word[:-1]
            return stem(word) if ending == "s" else word.rstrip("e") if len(word) > 4 else word
    return word


@lru_cache(maxsize=8192)
def _split(chunk: str) -> tuple[str, ...]:
    """NAME=5000 is a name and a value; "and/or" is two words."""
    chunk = chunk.strip(_EDGE[1:]).rstrip(".")
    given = _ASSIGNED.match(chunk)
    if given:
        return given[1], given[2].strip(_EDGE)
    if re.fullmatch(r"[a-z]+/[a-z]+", chunk):
        return tuple(chunk.split("/"))
    return (chunk,)


def _token(word: str, at: int, first: bool, code: bool, before: str) -> Token:
    key, kind, dimension = _meaning(word, first, code, before in STATUS_WORDS)
    return Token(key, kind, word, at, dimension)


@lru_cache(maxsize=8192)
def _meaning(word: str, first: bool, code: bool, is_status: bool) -> tuple[str, Kind, str]:
    """Key, kind and dimension of a word; kept, since most words of a store are few."""
    plain = word.strip(".")
    low = plain.lower()
    if _DATE.match(plain):
        return plain, "value", "date"
    if _CLOCK.match(plain):
        return plain.lstrip("0"), "value", "clock"
    if _PORT.match(plain):
        return plain[1:], "value", ""
    number = _NUMBER.match(plain)
    if _STATUS.match(plain) and is_status:
        return plain, "value", "status"
    if number and (not number[2] or number[2].lower() in UNITS):
        return _amount(number[1], number[2].lower(), word)
    if _VERSION.match(plain):
        return low.lstrip("v"), "value", ""
    if low in NUMBERS:
        return NUMBERS[low], "value", ""
    if _BRAND.match(plain):
        return stem(low), "name", ""
    if code or _CODE.search(plain) or _is_compound_name(low):
        return plain, "identifier", ""
    apart = low.replace("'s", "") if low.endswith("'s") else low.replace("'", "")
    if plain[:1].isupper() and not first and low not in LIGHT and apart not in NEGATIONS:
        return stem(apart), "name", ""
    return (stem(apart) if apart not in LIGHT and apart not in NEGATIONS else apart), "word", ""


def _is_compound_name(low: str) -> bool:
    """Whether a hyphenated word is a name (svc-deploy) rather than English (read-only)."""
    first, hyphen, rest = low.partition("-")
    return bool(hyphen and first and rest) and not ({first, *rest.split("-")} & COMPOUNDING)


def _amount(number: str, unit: str, word: str) -> tuple[str, Kind, str]:
    amount = ("-" if "-" in word[:2] else "") + number.replace(",", "").replace("_", "")
    dimension, factor = UNITS.get(unit, ("", 1.0))
    key = amount if factor == 1.0 and "." in amount and not unit else f"{float(amount) * factor:.10g}"
    return key, "value", dimension


def _with_units(tokens: list[Token]) -> list[Token]:
    """Numbers joined with the unit that follows; places counted anew."""
    found: list[Token] = []
    for token in tokens:
        last = found[-1] if found else None
        unit = token.raw.lower().strip(_EDGE)
        bare = last is not None and last.kind == "value" and not last.dimension
        if last is not None and bare and token.kind == "word" and unit in UNITS:
            number = _NUMBER.match(last.key)
            if number:
                key, kind, dimension = _amount(number[1], unit, last.raw)
                found[-1] = Token(key, kind, last.raw, last.at, dimension)
                continue
        found.append(Token(token.key, token.kind, token.raw, len(found), token.dimension))
    return found


def _carries(token: Token) -> bool:
    low = token.raw.lower().strip(_EDGE)
    return token.kind != "word" or not (low in LIGHT or token.key in NEGATIONS or low in AVOIDING)


def _negated(tokens: list[Token], content: tuple[Token, ...]) -> tuple[int, ...]:
    """Places of what negations govern: the next word that means something."""
    return tuple(
        next((other.at for other in content if other.at > token.at), -1)
        for token in tokens
        if token.kind == "word" and (token.key in NEGATIONS or token.raw.lower() in AVOIDING)
    )


def parts_of(identifier: str) -> frozenset[str]:
    """The words of an identifier: the last part of a dotted or slashed one names the same thing."""
    return frozenset(part.lower() for part in _PARTS.findall(identifier) if len(part) > 2)
