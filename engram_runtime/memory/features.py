"""What speaks for a memory as the answer to a question: numbers of about 0 to 1, by name.

`docs/recall.md` says what each adds. All are of one memory and one question, so that weights fitted on some stores
hold for others; none depends on how many memories there are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from engram_runtime.memory import times
from engram_runtime.memory.decay import instant, strength
from engram_runtime.memory.lexical import Line
from engram_runtime.memory.query import Query
from engram_runtime.memory.wording import Wording, wording
from engram_runtime.state.views import MemoryRow

SATURATION = 1.2
LENGTH_SHARE = 0.75
"""BM25's k1 and b."""
NEIGHBOUR = 0.5
"""What a word of the memory before or after this one counts."""
PREVIOUS_TOKEN = 0.9
FOLLOWING_TOKEN = 0.8
"""What the nearness of a token of the memory before or after this one counts."""
MONTH = 30.0
"""Days in which `recency` falls to 1/e."""
USUAL_TERMS = 18
AFTERWARDS = 8
"""Days after what it tells of that a chat's turn is usually said."""
NEARBY = (3, 21)
"""Days before and after a named span that still speak for a turn a little."""

_COMMAND = re.compile(
    r"`[^`\n]* [^`\n]*`|(?:^|\s)--?[a-z][\w-]*|\$ \S|\b(?:pnpm|npm|npx|yarn|make|just|pytest|docker|uv|pip|poetry"
    r"|python3? -m|kubectl|helm|terraform|git|cargo|go|dotnet|mvn|gradle|bundle|rake|rails|php|composer) [a-z-]"
)


class Nearby(NamedTuple):
    """How near a memory is to one that the question's words found: their cosine, less for one found less surely."""

    nearness: float
    memory: int


@dataclass(slots=True, eq=False)
class Candidate:
    """A memory that may answer, with what is known of it before it is scored."""

    row: MemoryRow
    line: Line
    cosine: float | None
    """None when the memory has no vector (yet), or meaning was not compared."""
    said: Wording
    day: date
    matched: tuple[str, ...]
    """The question's terms that it holds."""
    signals: dict[str, float] = field(default_factory=dict)
    near: int | None = None
    """The memory it was found through, where neither words nor meaning found it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all candidates of a question share."""

    query: Query
    now: datetime
    rare: Mapping[str, float]
    """Weight of each of the question's terms."""
    lines: Mapping[int, Line]
    """Lines of the candidates and of what stands beside them."""


def candidate(row: MemoryRow, line: Line, cosine: float | None, query: Query) -> Candidate:
    """A candidate without signals."""
    said = wording(row.content)
    day = (times.dated(said.date) if said.date else None) or instant(row.updated_at).date()
    matched = tuple(term for term in query.terms if term in line.counts) if line.counts else ()
    return Candidate(row, line, cosine, said, day, matched)


def describe(candidates: Sequence[Candidate], setting: Setting) -> None:
    """Fills in the signals that need nothing of the model but cosines."""
    total = sum(setting.rare.values()) or 1.0
    of_thread = _threads(candidates, setting)
    lengths = [_field_length(one, setting) for one in candidates]
    usual = max(1.0, sum(lengths) / len(lengths)) if lengths else 1.0
    named = _only_named(candidates, setting.query)
    for one, length in zip(candidates, lengths, strict=True):
        chat = bool(one.said.speaker)
        within, after = _dates(one.day, setting.query.spans)
        one.signals.update(
            meaning=one.cosine or 0.0,
            words=_words(one, setting, length / usual) / total,
            coverage=sum(setting.rare[term] for term in one.matched) / total,
            thread=of_thread[one.line.thread] / total,
            speaker=0.0 if not chat or named is None else (1.0 if one.said.speaker == named else -1.0),
            asks=1.0 if chat and one.said.said.rstrip().endswith("?") else 0.0,
            length=math.log1p(one.line.length if chat else USUAL_TERMS) / 4,
            date=within if chat else 0.0,
            after=after if chat else 0.0,
            stored=0.0 if chat else within,
            recency=math.exp(-max(0.0, _days(one.row, setting.now)) / MONTH),
            importance=one.row.importance,
            strength=strength(one.row, setting.now),
            command=1.0 if setting.query.asks_how and not chat and _COMMAND.search(one.row.content) else 0.0,
        )


def compare(
    candidates: Sequence[Candidate], nearness: Mapping[int, Sequence[float]], weights: Sequence[float]
) -> None:
    """Adds `tokens`: how near the question's tokens come to those of a memory or of what stands beside it.

    `nearness` by memory id, one cosine per token of the question; `weights` one per token. Late interaction
    (ColBERT's MaxSim) over the default model's own token vectors.
    """
    whole = sum(weights) or 1.0
    for one in candidates:
        own = nearness.get(one.row.id)
        if own is None:
            # Not embedded yet: what its cosine, or its words, would lead to on average.
            guess = one.cosine if one.cosine is not None else 0.25 + 0.4 * one.signals["coverage"]
            one.signals["tokens"] = 0.2 + 0.5 * guess
            continue
        before = nearness.get(one.line.previous or 0)
        behind = nearness.get(one.line.following or 0)
        near = list(own)
        if before is not None:
            near = [max(a, PREVIOUS_TOKEN * b) for a, b in zip(near, before, strict=True)]
        if behind is not None:
            near = [max(a, FOLLOWING_TOKEN * b) for a, b in zip(near, behind, strict=True)]
        one.signals["tokens"] = sum(a * w for a, w in zip(near, weights, strict=True)) / whole


def put_near(candidates: Sequence[Candidate], near: Mapping[int, Nearby]) -> None:
    """Adds `near`: how near a memory is to the best of those that words found."""
    for one in candidates:
        found = near.get(one.row.id)
        one.signals["near"] = found.nearness if found else 0.0
        if found and not one.matched:
            one.near = found.memory


def keep_company(candidates: Sequence[Candidate], kin: Sequence[Sequence[float]], leaders: int = 3) -> None:
    """Adds `company`: how like the best candidates a memory is (0 for a turn of a chat, which it would mislead).

    `kin[i][j]` is the cosine of candidates i and j. A question with two parts finds the second through the first.
    """
    first = [one.signals["meaning"] + one.signals["tokens"] for one in candidates]
    order = sorted(range(len(candidates)), key=lambda i: (-first[i], -candidates[i].row.id))[:leaders]
    for i, one in enumerate(candidates):
        one.signals["company"] = 0.0
        if one.said.speaker or not order:
            continue
        shares = [(math.exp(4 * (first[j] - first[order[0]])), kin[i][j]) for j in order if j != i]
        whole = sum(share for share, _ in shares)
        if whole:
            one.signals["company"] = sum(share * cosine for share, cosine in shares) / whole


def age(row: MemoryRow, now: datetime) -> float:
    """Days since the memory was stored or reworded."""
    return max(0.0, _days(row, now))


def _days(row: MemoryRow, now: datetime) -> float:
    return (now - instant(row.updated_at)).total_seconds() / 86400


def _beside(one: Candidate, setting: Setting) -> list[Line]:
    places = (one.line.previous, one.line.following)
    return [setting.lines[place] for place in places if place is not None and place in setting.lines]


def _field_length(one: Candidate, setting: Setting) -> float:
    return one.line.length + NEIGHBOUR * sum(line.length for line in _beside(one, setting))


def _words(one: Candidate, setting: Setting, length: float) -> float:
    """BM25F: the words beside a memory count half."""
    norm = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * length)
    held: dict[str, float] = dict(one.line.counts)
    for line in _beside(one, setting):
        for term, count in line.counts.items():
            held[term] = held.get(term, 0.0) + NEIGHBOUR * count
    # In the question's order: a sum of floats depends on it.
    return sum(
        weight * held[term] / (held[term] + norm) for term, weight in setting.rare.items() if term in held
    )


def _threads(candidates: Sequence[Candidate], setting: Setting) -> dict[str, float]:
    """For each thread, BM25 (without lengths) of its candidates' words together."""
    held: dict[str, dict[str, int]] = {}
    for one in candidates:
        counts = held.setdefault(one.line.thread, {})
        for term, count in one.line.counts.items():
            counts[term] = counts.get(term, 0) + count
    return {
        thread: sum(
            weight * counts[term] / (counts[term] + SATURATION)
            for term, weight in setting.rare.items()
            if term in counts
        )
        for thread, counts in held.items()
    }


def _only_named(candidates: Sequence[Candidate], query: Query) -> str | None:
    """The speaker that the question names, if it names one of them alone."""
    speakers = {one.said.speaker for one in candidates if one.said.speaker}
    asked = query.text.lower()
    named = [s for s in sorted(speakers) if re.search(rf"\b{re.escape(s.split()[0].lower())}\b", asked)]
    return named[0] if len(named) == 1 else None


def _dates(day: date, spans: Sequence[times.Span]) -> tuple[float, float]:
    """Whether the day is in a span the question names, and whether it is soon after (or nearly in) one."""
    within = after = 0.0
    for span in spans:
        distance = span.distance(day)
        if distance == 0:
            within = 1.0
        elif 0 < distance <= AFTERWARDS:
            after = 1.0
        elif -NEARBY[0] <= distance <= NEARBY[1]:
            after = max(after, 0.4)
    return within, after
