"""Fits the weights of recall: `python -m benchmarks.fit_weights --locomo FILE --devrecall FILE [--out FILE]`.

Signals come from the product itself (`recall.gather`). For each mode (tokens, sentence, words) a linear score is
fitted by listwise softmax: the memories that answer a question against all its other candidates. Both sets count the
same; weights are kept at 0 or above but for those whose sign is not known beforehand, and small (L2), so that they hold
elsewhere. What is known to be outdated is no counter-example: its order is decided by rules.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from benchmarks.recall_house import House, load_model
from benchmarks.recall_sets import Question, World, devrecall, locomo
from engram_runtime.memory import outdated, recall
from engram_runtime.memory.features import Candidate
from engram_runtime.memory.model import Model
from engram_runtime.memory.ranking import Gathered, Mode, Weights, shipped
from engram_runtime.memory.scope import Scope

SIGNALS: dict[Mode, tuple[str, ...]] = {
    "tokens": tuple(
        "meaning words coverage thread tokens speaker asks length date after stored recency importance company"
        " command".split()
    ),
    "sentence": tuple(
        "meaning words coverage thread speaker asks length date after stored recency importance command".split()
    ),
    "words": tuple(
        "words coverage thread speaker asks length date after stored recency importance command near".split()
    ),
}
SET = {"strength": 0.2}
"""Weights that no set can tell: in none has anything been recalled before."""
LEAST = {"words": 2.0, "coverage": 0.5}
"""What words count at least: the sets are English prose, where meaning nearly does without them; names, error codes
and languages the model does not know are found by words alone."""
SIGNED = frozenset({"asks", "after", "length"})
SMALL = 0.01
STEPS = 160
NEGATIVES = 60
OUTDATED = ("cosine", "shared", "change", "value", "nearest", "near")
RARE = 12.0
"""How many times more all wrong pairs weigh than all right ones: a newer note put first by mistake costs little."""
WHOLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """A question with its candidates, in each mode."""

    question: Question
    modes: dict[Mode, Gathered]
    keys: dict[int, str]
    """The set's own name of each memory."""

    def answers(self, one: Candidate) -> bool:
        """Whether a candidate is part of the answer."""
        return self.keys.get(one.row.id) in self.question.gold

    def is_outdated(self, one: Candidate) -> bool:
        """Whether it once was."""
        return one.row.superseded_by is not None or self.keys.get(one.row.id) in self.question.stale


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of notes of a world: signals [n, 6], and whether the newer outdates the older."""

    signals: numpy.ndarray[Any, Any]
    right: numpy.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Gold:
    """All that is fitted from one world."""

    world: World
    cases: list[Case]
    pairs: Pairs | None


def collect(world: World, model: Model, cache: Path | None = None, *, pairs: bool = False) -> Gold:
    """Stores a world and gathers the candidates of its questions."""
    house = House(world, model, cache=cache).fill()
    try:
        cases = [_case(house, question) for question in world.questions]
        return Gold(world, cases, _pairs(house) if pairs else None)
    finally:
        house.close()


def _case(house: House, question: Question) -> Case:
    house.at(question.at)
    scope = Scope(house.runtime.project, "default")
    assert house.embedder is not None
    index, now, weights = house.memory._index, house.clock.now, shipped()

    def gathered(ask_model: bool) -> Gathered:
        return recall.gather(
            index,
            house.embedder,  # type: ignore[arg-type]
            question.text,
            scope,
            now,
            patiently=(lambda ask: ask(WHOLE_S)) if ask_model else (lambda ask: None),
            weights=weights,
        )

    whole = gathered(True)
    of_sentence = Gathered("sentence", whole.query, [*whole.head, *whole.rest])
    return Case(question, {"tokens": whole, "sentence": of_sentence, "words": gathered(False)}, house.keys)


def _pairs(house: House) -> Pairs:
    rows = list(house.memory.rows(limit=None))
    notes = [outdated.Note.of(row) for row in rows]
    assert house.embedder is not None
    near = house.embedder.compare("all", (), within=WHOLE_S, among=[row.id for row in rows])
    kin = near.kin if near is not None else ()
    older = {note.key: note.supersedes for note in house.world.memories}
    signals, right = [], []
    for i, j, told in outdated.pairs(notes, kin):
        signals.append([told[name] for name in OUTDATED])
        right.append(house.keys.get(rows[i].id) == older.get(house.keys.get(rows[j].id, ""), "?"))
    return Pairs(numpy.array(signals, float), numpy.array(right, bool))


def fit(sets: Sequence[Sequence[Gold]]) -> Weights:
    """Weights from some worlds of each set."""
    modes: dict[str, dict[str, float]] = {mode: _fit_mode(sets, mode) for mode in SIGNALS}
    pairs = [gold.pairs for golds in sets for gold in golds if gold.pairs is not None]
    known = _fit_outdated(pairs) if pairs else dict(shipped().outdated)
    return Weights(modes=modes, outdated=known)


def _fit_mode(sets: Sequence[Sequence[Gold]], mode: Mode) -> dict[str, float]:
    names = SIGNALS[mode]
    lists: list[tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any], float]] = []
    for golds in sets:
        made = [one for gold in golds for case in gold.cases if (one := _list(case, mode, names)) is not None]
        lists += [(signals, right, 1.0 / len(made)) for signals, right in made]
    signals = numpy.concatenate([one[0] for one in lists])
    spread = signals.std(axis=0) + 1e-6
    signals = signals / spread
    sizes = [len(one[0]) for one in lists]
    starts = numpy.concatenate(([0], numpy.cumsum(sizes)[:-1]))
    of = numpy.repeat(numpy.arange(len(lists)), sizes)
    right = numpy.concatenate([one[1] for one in lists]).astype(float)
    counts = numpy.array([one[2] for one in lists])
    target = right / numpy.add.reduceat(right, starts)[of]
    least = numpy.array([-numpy.inf if name in SIGNED else LEAST.get(name, 0.0) for name in names]) * spread
    weights = numpy.zeros(len(names))
    first, second = numpy.zeros(len(names)), numpy.zeros(len(names))
    for step in range(1, STEPS + 1):  # Adam with a falling rate, held within bounds
        scores = signals @ weights
        share = numpy.exp(scores - numpy.maximum.reduceat(scores, starts)[of])
        share /= numpy.add.reduceat(share, starts)[of]
        slope = signals.T @ ((share - target) * counts[of]) / counts.sum() + 2 * SMALL * weights
        first = 0.9 * first + 0.1 * slope
        second = 0.99 * second + 0.01 * slope**2
        rate = 0.06 * (1 + numpy.cos(numpy.pi * step / STEPS))
        move = (first / (1 - 0.9**step)) / (numpy.sqrt(second / (1 - 0.99**step)) + 1e-8)
        weights = numpy.maximum(weights - rate * move, least)
    return dict(zip(names, (weights / spread).round(3).tolist(), strict=True)) | SET


def _list(
    case: Case, mode: Mode, names: Sequence[str]
) -> tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]] | None:
    """Signals and truth of the hardest candidates of a question; None where none or all are right."""
    gathered = case.modes[mode]
    kept = [one for one in gathered.head if case.answers(one) or not case.is_outdated(one)]
    hardest = sorted(kept, key=lambda one: -one.signals.get("meaning", 0.0) - one.signals["words"])
    kept = [one for place, one in enumerate(hardest) if place < NEGATIVES or case.answers(one)]
    right = numpy.array([case.answers(one) for one in kept], bool)
    if not right.any() or right.all():
        return None
    return numpy.array([[one.signals.get(name, 0.0) for name in names] for one in kept]), right


def _fit_outdated(pairs: Sequence[Pairs]) -> dict[str, float]:
    """Logistic regression."""
    signals = numpy.concatenate([one.signals for one in pairs])
    right = numpy.concatenate([one.right for one in pairs])
    spread = signals.std(axis=0) + 1e-9
    scaled = numpy.c_[signals / spread, numpy.ones(len(signals))]
    counts = numpy.where(right, 1 / right.sum(), RARE / (~right).sum())
    weights = numpy.zeros(scaled.shape[1])
    for _ in range(3000):
        share = 1 / (1 + numpy.exp(-numpy.clip(scaled @ weights, -50, 50)))
        slope = scaled.T @ (counts * (share - right)) + 2 * SMALL * numpy.r_[weights[:-1], 0.0]
        weights -= 0.5 * slope
    told = dict(zip(OUTDATED, (weights[:-1] / spread).round(3).tolist(), strict=True))
    return {**told, "bias": round(float(weights[-1]), 3)}


def write(weights: Weights, said: str, file: Path) -> None:
    """Writes weights as recall reads them."""
    told = {"fitted": said, "modes": weights.modes, "outdated": weights.outdated}
    file.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def main() -> None:
    """Fit on all that is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_weights", description=__doc__)
    parser.add_argument("--locomo", type=Path, required=True)
    parser.add_argument("--devrecall", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="keeps model and vectors between runs")
    parser.add_argument("--out", type=Path, default=Path(recall.__file__).with_name("weights.json"))
    options = parser.parse_args()
    model = load_model(options.cache)
    talks = [collect(world, model, options.cache) for world in locomo(options.locomo)]
    notes = [collect(world, model, options.cache, pairs=True) for world in devrecall(options.devrecall)]
    count = sum(len(gold.cases) for gold in (*talks, *notes))
    said = (
        f"benchmarks/fit_weights.py on {count} questions: {len(talks)} conversations of LoCoMo,"
        f" {len(notes)} projects of devrecall"
    )
    write(fit([talks, notes]), said, options.out)
    print(options.out.read_text("utf-8"))


if __name__ == "__main__":
    main()
