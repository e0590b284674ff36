"""From signals to an order: a weighted sum, then what outdates or repeats what."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from engram_runtime.memory import outdated
from engram_runtime.memory.decay import strength
from engram_runtime.memory.features import Candidate, age
from engram_runtime.memory.query import Query
from engram_runtime.memory.results import Hit

Mode = Literal["tokens", "sentence", "words"]
"""What of meaning was compared: the tokens too, the sentence vector, nothing."""

HEAD = 16
"""Of the best so many, outdated and repeated ones are looked for."""
OUTDATED_FROM = 2.0
"""Log-odds from which a newer memory goes before an older one."""
SUPERSEDED = 1.0
"""What a memory that is known to be superseded loses, beside standing below its successor."""
ELSEWHERE = 0.3
"""What a global memory loses: the project's own come first where they answer as well."""
REPEATED_COSINE = 0.95
REPEATED_SHARE = 0.9
USUAL_WORDS = 0.30
USUAL_MEANING = 0.70
"""mcp-engram's shares (ENGRAM_W_BM25, ENGRAM_W_VECTOR): what is set is understood as a multiple of these."""

_OF_WORDS = ("words", "coverage", "thread")
_OF_MEANING = ("meaning", "tokens", "company")


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each signal counts, by mode. Fitted: `benchmarks/fit_weights.py` writes `weights.json`.

    A memory that shares no word with the question must reach `least_similarity` (cosine) to be a hit at all.
    """

    modes: Mapping[str, Mapping[str, float]]
    outdated: Mapping[str, float]
    fitted: str = ""
    """On what."""
    least_similarity: float = 0.15
    words: float = 1.0
    meaning: float = 1.0
    """Multiples of the weights of words and of meaning."""

    def of(self, mode: Mode) -> dict[str, float]:
        """Weights by signal."""
        scaled = dict(self.modes[mode])
        for names, factor in ((_OF_WORDS, self.words), (_OF_MEANING, self.meaning)):
            scaled.update({name: scaled[name] * factor for name in names if name in scaled})
        return scaled


@functools.cache
def shipped() -> Weights:
    """The weights that come with Engram."""
    told = json.loads((Path(__file__).parent / "weights.json").read_text("utf-8"))
    return Weights(modes=told["modes"], outdated=told["outdated"], fitted=told["fitted"])


@dataclass(frozen=True, slots=True)
class Gathered:
    """Candidates with their signals. `head`: those compared by tokens; `kin[i][j]`: cosine of `head[i]`, `head[j]`."""

    mode: Mode
    query: Query
    head: list[Candidate]
    rest: list[Candidate] = field(default_factory=list)
    kin: Sequence[Sequence[float]] = ()


@dataclass(slots=True)
class _Place:
    one: Candidate
    score: float
    why: list[str]


def score(signals: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted sum."""
    total = 0.0
    for name, weight in weights.items():
        if name in signals:
            total += weight * signals[name]
    return total


def rank(
    gathered: Gathered, project: str, now: datetime, weights: Weights, most: int | None = None
) -> list[Hit]:
    """The candidates, or the `most` best of them, as hits, best first. The same candidates and clock give the same
    order."""
    first = _scored(gathered.head, gathered.mode, project, weights)
    if gathered.kin:
        order = sorted(range(len(first)), key=lambda i: _key(first[i]))[:HEAD]
        kin = [[gathered.kin[i][j] for j in order] for i in order]
        head = [first[i] for i in order]
        _lift_newer(head, kin, weights)
        _lower_repeated(head, kin)
    _lower_superseded(first)
    first.sort(key=_key)
    least = min((place.score for place in first), default=0.0)
    # The rest were scored without tokens: their scores do not compare with those of the first.
    rest = _scored(gathered.rest, "sentence" if gathered.mode != "words" else "words", project, weights)
    rest.sort(key=_key)
    top = max((place.score for place in rest), default=0.0)
    for place in rest:
        place.score = min(place.score, least - 0.001 - (top - place.score))
    places = [*first, *rest]
    found = {place.one.row.id for place in places if _answers(place.one, weights)}
    # Whatever superseded something found answers as well, though it may say it in other words.
    found |= {by for place in places if (by := place.one.row.superseded_by) and place.one.row.id in found}
    best = [place for place in places if place.one.row.id in found][:most]
    return [_hit(place, gathered.query, now) for place in best]


def _answers(one: Candidate, weights: Weights) -> bool:
    return bool(one.matched) or one.near is not None or (one.cosine or 0.0) >= weights.least_similarity


def _key(place: _Place) -> tuple[float, int]:
    return -place.score, -place.one.row.id


def _scored(candidates: Sequence[Candidate], mode: Mode, project: str, weights: Weights) -> list[_Place]:
    of_mode = weights.of(mode)
    places = []
    for one in candidates:
        place = _Place(one, score(one.signals, of_mode), [])
        if one.row.project != project:
            place.score -= ELSEWHERE
            place.why.append("global")
        places.append(place)
    return places


def _lift_newer(head: list[_Place], kin: Sequence[Sequence[float]], weights: Weights) -> None:
    """A note that tells a later state of what an older one tells takes its place, and the older one the next."""
    notes = [outdated.Note.of(place.one.row, place.one.line.terms) for place in head]
    likely: list[tuple[float, int, int]] = []
    odds_of = weights.outdated
    rest = sum(max(0.0, odds_of[name]) for name in odds_of if name not in ("cosine", "shared", "bias"))
    least = OUTDATED_FROM - odds_of.get("bias", 0.0) - rest

    def worth(cosine: float, shared: float) -> bool:
        return odds_of.get("cosine", 0.0) * cosine + odds_of.get("shared", 0.0) * shared >= least

    for i, j, signals in outdated.pairs(notes, kin, worth):
        if head[i].one.said.speaker or head[j].one.said.speaker:
            continue  # People repeat and vary what they say; that is no later state.
        odds = score(signals, weights.outdated) + weights.outdated.get("bias", 0.0)
        if odds >= OUTDATED_FROM:
            likely.append((odds, i, j))
    for _, i, j in sorted(likely):
        older, newer = head[i], head[j]
        if older.score >= newer.score:
            newer.score, older.score = older.score, older.score - 0.001
            older.why.append(f"{newer.one.row.id} tells a later state")


def _lower_superseded(places: list[_Place]) -> None:
    """What is known to be superseded stands below its successor, which takes its place."""
    by_id = {place.one.row.id: place for place in places}
    for place in sorted(places, key=lambda place: place.one.row.id):
        by = place.one.row.superseded_by
        if by is None:
            continue
        successor = by_id.get(by)
        if successor is not None and successor.score < place.score:
            successor.score = place.score
        place.score -= SUPERSEDED
        place.why.append(f"superseded by {by}")


def _lower_repeated(head: list[_Place], kin: Sequence[Sequence[float]]) -> None:
    """Of memories that say the same the best stays, the others go below all that say something else."""
    order = sorted(range(len(head)), key=lambda i: _key(head[i]))
    least = min(place.score for place in head) if head else 0.0
    said = [place.one.line.terms for place in head]
    kept: list[int] = []
    for i in order:
        same = next((j for j in kept if kin[i][j] >= REPEATED_COSINE and _same_words(said[i], said[j])), None)
        if same is None:
            kept.append(i)
        else:
            head[i].score = least - 0.001
            least = head[i].score
            head[i].why.append(f"repeats {head[same].one.row.id}")


def _same_words(one: frozenset[str], other: frozenset[str]) -> bool:
    different = one ^ other
    return len(one & other) >= REPEATED_SHARE * len(one | other) and not any(
        any(letter.isdigit() for letter in term) for term in different
    )


def _reasons(one: Candidate, query: Query) -> list[str]:
    reasons = []
    if one.matched:
        reasons.append(f"words: {', '.join(query.spoken(one.matched)[:5])}")
    if one.cosine is not None and one.cosine > 0:
        reasons.append(f"meaning {one.cosine:.2f}")
    if one.near is not None:
        reasons.append(f"near memory {one.near}")
    if one.signals.get("date") or one.signals.get("stored"):
        reasons.append(f"from {one.day.isoformat()}")
    if one.signals.get("command"):
        reasons.append("holds a command")
    return reasons


def _hit(place: _Place, query: Query, now: datetime) -> Hit:
    one = place.one
    return Hit(
        memory=one.row,
        strength=round(strength(one.row, now), 4),
        similarity=round(one.cosine or 0.0, 4),
        lexical=round(min(1.0, one.signals["words"]), 4),
        score=round(place.score, 6),
        why=(*_reasons(one, query), *place.why),
        signals={name: round(value, 4) for name, value in one.signals.items() if value},
        age_days=round(age(one.row, now), 2),
    )
