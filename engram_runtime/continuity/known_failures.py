"""Whether an error has been seen before: which recorded failure it is, and how sure that is.

Two errors are the same where most of their telling lines are, without what differs from run to run (paths, numbers,
addresses, times) and what a tool says of every failure (counts, "see the log"). An error that any code can raise must
also come from a file that both name. Less sure: a recorded failure whose particular words are nearly all in the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engram_runtime.continuity.inert import inert_line

SURE = 0.95
"""Most telling lines are the same."""
ENOUGH = 0.6
"""Below this nothing is said: a wrong hint costs more than none."""
MOST_CHARACTERS = 400
"""Length of what a model is told."""

_LONGEST_ERROR = 8000
_TELLING = re.compile(
    r"(?i)error|exception|fail|fatal|panic|cannot|can't|could not|unable|not found|no such|denied|refused|undefined|"
    r"unexpected|invalid|missing|unknown|timed? ?out|conflict|mismatch|unresolved|assert|abort|killed|overflow|"
    r"warning:|E\d{3,}|expected"
)
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_PYTEST_MARK = re.compile(r"^E\s+")
_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "#"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:z|[+-]\d\d:?\d\d)?"), "#"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{7,40}\b(?<=\d)"), "#"),
    (re.compile(r"(?:[a-z]:)?(?:[\w.@~+-]*[/\\])+([\w.@+-]+)"), r"\1"),
    (re.compile(r"\b\d+(?:\.\d+)*(?:ms|s|kb|mb|gb|%)?\b"), "#"),
    (re.compile(r"[\s=_*~-]{3,}|\s+"), " "),
)
_SAID_OF_EVERY_FAILURE = re.compile(
    # counts at the end of a run
    r"# (?:failed|passed|failing|failures?|errors?|problems?|tests?)\b.*#|^found # errors?\b|"
    r"(?:coverage|checked) .*#|during collection|^(?:tests?|test suites|test files|snapshots|test result):|"
    # that a part of it failed, without what
    r"could not compile|aborting due to|test failed, to rerun|process didn't exit successfully|"
    r"^(?:make|gmake|ninja)\b.*(?:error #|stopped)|returned # exit status|returned non-zero exit|exit(?:ed with)? "
    r"(?:code|status)\b|build failed|execution failed for task|compilation failed|failed to execute goal|"
    r"failed to push some refs|failed to solve: process|test failed\. see|first_fail|failed at the .* script|"
    r"lifecycle|originates from a subprocess|subprocess-exited|generation failed|"
    # where to read on
    r"complete log of this run|full stack trace|\bre-?run\b|compiler error output|"
    r"for (?:more )?(?:details|information)|"
    # of an agent's own tools, and of time
    r"string to replace not found|has not been read|been modified since|timed? ?out after\b|status code #"
)
_ANY_CODE = re.compile(
    r"\b(?:type|attribute|value|key|index|lookup|syntax|indentation|name|reference|range|assertion|runtime|recursion|"
    r"unboundlocal|zerodivision|unicodedecode|unicodeencode)error\b|nullpointerexception|is not a function|"
    r"cannot read propert|is not defined|panicked|nil pointer|segmentation fault|index out of"
)
"""Errors that mean nothing without the place they come from."""
_SOURCE_FILE = re.compile(
    r"\b[\w-]+\.(?:py|pyx|[cm]?[jt]sx?|vue|svelte|go|rs|java|kt|scala|rb|php|cs|c|cc|cpp|cxx|h|hpp|swift|exs?|sql|sh)\b"
)
_TYPES = frozenset(
    "nonetype str int float dict list tuple set bool bytes object function module undefined null".split()
)
_WORD = re.compile(r"[^\W\d][\w.:]*\w|[^\W\d]")
_QUOTED = re.compile(r"""(?<!\w)['"`‘“]([^'"`’”\n]{2,80})['"`’”]""")
_COMMON = frozenset(
    "the and for with this that from was were not but are has have had its into than then while when after before "
    "error errors exception failed failure failures fail fatal exit code line file test tests traceback recent call "
    "last most make stderr stdout output warning note assert assertionerror assertion none true false expected got "
    "found cannot could unable see run using null undefined".split()
)


@dataclass(frozen=True, slots=True)
class Known:
    """A failure on record. `reported` tells whether an agent said it; else Engram saw it. `at` is an ISO date."""

    memory: int
    error: str
    component: str = ""
    cause: str | None = None
    fix: str | None = None
    at: str = ""
    reported: bool = True


@dataclass(frozen=True, slots=True)
class Match:
    """A known failure that an error is, with the confidence (0..1)."""

    failure: Known
    confidence: float


def best_match(error: str, known: Iterable[Known], *, command: str = "") -> Match | None:
    """The known failure that this error most likely is; None below `ENOUGH` or where it tells neither cause nor fix.

    Of equal ones the newest (highest memory id) wins.
    """
    lines, words = signature(error), particular_words(f"{error[:_LONGEST_ERROR]}\n{command}")
    best: Match | None = None
    for failure in known:
        if not (failure.fix or failure.cause):
            continue
        confidence = _confidence(failure, error.lower(), lines, words)
        if confidence >= ENOUGH and (
            best is None or (confidence, failure.memory) > (best.confidence, best.failure.memory)
        ):
            best = Match(failure, confidence)
    return best


@lru_cache(maxsize=2048)
def signature(error: str) -> frozenset[str]:
    """The telling lines of an error without what differs from run to run; empty where no line tells anything."""
    found = set()
    for line in _ESCAPE.sub("", error[:_LONGEST_ERROR]).splitlines():
        if _TELLING.search(line):
            plain = _plain(_PYTEST_MARK.sub("", line))
            if len(_particular(plain)) >= 2 and not _SAID_OF_EVERY_FAILURE.search(plain):
                found.add(plain)
    return frozenset(found)


@lru_cache(maxsize=2048)
def particular_words(text: str) -> frozenset[str]:
    """Words that not every error has, in lower case; none of lines that every failure of a tool has."""
    lines = map(_plain, _ESCAPE.sub("", text).splitlines())
    return frozenset().union(
        *(_particular(line) for line in lines if not _SAID_OF_EVERY_FAILURE.search(line))
    )


def advice(match: Match) -> str:
    """What the model is told: one paragraph of at most `MOST_CHARACTERS`, named as recorded data."""
    failure = match.failure
    said = "reported" if failure.reported else "observed"
    head = f"Engram: a failure like this is on record ({said} {failure.at[:10]}, memory {failure.memory}). "
    head += "Recorded data: "
    parts = [f"{name}: {text}" for name, text in (("cause", failure.cause), ("fix", failure.fix)) if text]
    return head + inert_line("; ".join(parts), MOST_CHARACTERS - len(head))


def _confidence(failure: Known, error: str, lines: frozenset[str], words: frozenset[str]) -> float:
    if _are_one(failure.error, lines, error):
        return SURE
    own = particular_words(failure.error)
    shared = own & words
    if not all(text in error for text in _QUOTED.findall(failure.error.lower())):
        return 0.0  # another module, key or table is another failure
    if len(shared) < 3 or not any(_is_identifier(word) and not _is_class(word) for word in shared):
        return 0.0
    weight = sum(_weight(word) for word in shared) / sum(_weight(word) for word in own)
    return round(0.85 * weight, 3)


def _are_one(known: str, lines: frozenset[str], error: str) -> bool:
    """Whether most telling lines are the same, of the error that has fewer; `lines` are those of `error`."""
    theirs = signature(known)
    same = lines & theirs
    if 2 * len(same) <= min(len(lines), len(theirs)):
        return False
    if not all(_ANY_CODE.search(line) for line in same):
        return True
    here, there = (frozenset(_SOURCE_FILE.findall(text.lower())) for text in (error, known))
    if here and there:
        return bool(here & there)
    return any(set(_QUOTED.findall(line)) - _TYPES for line in same)


def _plain(text: str) -> str:
    text = text.lower()
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text.strip(" .:>|")


def _particular(plain: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(plain) if len(word) >= 3 and word not in _COMMON)


def _weight(word: str) -> float:
    return 2.0 if _is_identifier(word) else 1.0


def _is_identifier(word: str) -> bool:
    return any(character in "_.:" or character.isdigit() for character in word) or _is_class(word)


def _is_class(word: str) -> bool:
    return word.endswith(("error", "exception", "warning"))


def same_failure(error: str, known: Sequence[Known]) -> Known | None:
    """The known failure that has most telling lines of this error, None where there is none."""
    lines = signature(error)
    return next((failure for failure in known if _are_one(failure.error, lines, error)), None)
