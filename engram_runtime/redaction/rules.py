"""Redaction of texts, payloads and terminal output."""

from __future__ import annotations

import bisect
import re
from typing import Any

from engram_runtime.redaction import hints
from engram_runtime.redaction.assigned import assigned, kind_of, named
from engram_runtime.redaction.forms import formed, may_be_formed
from engram_runtime.redaction.library import known
from engram_runtime.redaction.spans import SHORTEST, Span, joined, mark, replaced
from engram_runtime.redaction.tokens import hinted, runs, tokens

FORGOTTEN = "forgotten"
"""Kind of what the user had forgotten."""
_FORBIDDEN: dict[str, re.Pattern[str]] = {}
_MARK = re.compile(r"\[redacted:[\w-]{1,48}\]")
_ESCAPE = re.compile(
    # CSI, OSC and other strings up to their end, two-character escapes; other control characters but line ends, tab.
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def redact(text: str) -> str:
    """A text without secrets, NUL characters and lone surrogates (which no file can hold)."""
    return _redacted(_clean(text))


def secrets_in(text: str) -> list[Span]:
    """Where the secrets of a text are, in order, without overlaps."""
    found: list[Span] = [
        Span(*one.span(), FORGOTTEN)
        for pattern in _FORBIDDEN.values()
        for one in pattern.finditer(text)
        if one[0]
    ]
    if len(text) < SHORTEST + 2:
        return joined(_outside_marks(text, found)) if found else []
    low = _lower(text)
    said = runs(text)
    names = hints.names_a_secret(low)
    if names:
        found += assigned(text, low)
    if said:
        found += tokens(text, low, said)
    if names or said or hints.places_a_secret(low):
        found += formed(text, low)
        found += known(text, low, said)
    return joined(_outside_marks(text, found)) if found else []


def _outside_marks(text: str, found: list[Span]) -> list[Span]:
    """Without those that touch what was redacted before: redacting twice is redacting once."""
    marks = [(one.start(), one.end()) for one in _MARK.finditer(text)]
    return [span for span in found if not _touches(marks, span)] if marks else found


def _touches(marks: list[tuple[int, int]], span: Span) -> bool:
    place = bisect.bisect_left(marks, (span.start, 0))
    if place < len(marks) and marks[place][0] < span.end:
        return True
    return place > 0 and marks[place - 1][1] > span.start


def forbid(pattern: str) -> None:
    """From now on this process takes whatever the regular expression matches for a secret.

    For what a user had forgotten while the process held it in memory: it must not write it again.
    """
    _FORBIDDEN[pattern] = re.compile(pattern)


def is_plain(text: str) -> bool:
    """Whether no rule can match anywhere in a text: a quick look, True for most."""
    if any(pattern.search(text) for pattern in _FORBIDDEN.values()):
        return False
    low = _lower(text)
    if "\0" in text or hints.names_a_secret(low) or hints.places_a_secret(low):
        return False
    said = runs(text)
    return not said or not (may_be_formed(low) or any(True for _ in hinted(said, low)))


def redact_event(payload: Any) -> Any:
    """A payload of plain values with every text redacted; a text under a key such as `api_key` is judged by it."""
    if isinstance(payload, str):
        return redact(payload)
    if isinstance(payload, dict):
        return {redact(key): _under(key, value) for key, value in payload.items()}
    if isinstance(payload, list | tuple):
        return [redact_event(part) for part in payload]
    return payload


def redact_output(output: bytes) -> bytes:
    """Terminal output without secrets, also where colours or cursor moves stand between their characters.

    The sequences stay, so that the rest of the screen looks as it did. A secret that the program itself wrapped
    over two lines of the screen is not seen as one.
    """
    text = output.decode("utf-8", "surrogateescape")
    while (redacted := _without_secrets(text)) != text:
        text = redacted
    return text.encode("utf-8", "surrogateescape")


def _without_secrets(text: str) -> str:
    if "\x1b" not in text:
        return _redacted(text)
    places: list[int] = []
    plain: list[str] = []
    at = 0
    for sequence in _ESCAPE.finditer(text):
        places += range(at, sequence.start())
        plain.append(text[at : sequence.start()])
        at = sequence.end()
    places += range(at, len(text))
    plain.append(text[at:])
    parts: list[str] = []
    at = 0
    for span in secrets_in("".join(plain)):
        start, end = places[span.start], places[span.end - 1] + 1
        sequences = "".join(found[0] for found in _ESCAPE.finditer(text, start, end))
        parts += (text[at:start], mark(span.kind), sequences)
        at = end
    return "".join((*parts, text[at:]))


def _redacted(text: str) -> str:
    # What stands beside a secret may only be recognised without it. Ends: text outside of marks grows shorter.
    while spans := secrets_in(text):
        text = replaced(text, spans)
    return text


def _under(key: str, value: Any) -> Any:
    if isinstance(value, str) and len(value) >= SHORTEST and hints.names_a_secret(key.lower()):
        return mark(kind_of(key)) if named(key, value) else redact(value)
    return redact_event(value)


def _lower(text: str) -> str:
    """The text in lower case, character by character: positions stay."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(one if len(one) == 1 else char for char, one in ((char, char.lower()) for char in text))


def _clean(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
