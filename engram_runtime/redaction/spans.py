"""Where secrets stand in a text: spans, how overlapping ones are joined, and what is written instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MARK = "[redacted:{kind}]"
SHORTEST = 6
"""Nothing shorter is taken for a secret."""


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text are a secret of this kind."""

    start: int
    end: int
    kind: str


def mark(kind: str) -> str:
    """What stands for a secret."""
    return MARK.format(kind=kind)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order of the text, overlapping ones made one (of the kind that begins first)."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if found and span.start < found[-1].end:
            if span.end > found[-1].end:
                found[-1] = found[-1]._replace(end=span.end)
        elif span.end > span.start:
            found.append(span)
    return found


def replaced(text: str, spans: list[Span]) -> str:
    """The text with a mark for each span; `spans` as `joined` gives them."""
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += (text[at : span.start], mark(span.kind))
        at = span.end
    parts.append(text[at:])
    return "".join(parts)
