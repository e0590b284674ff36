"""Does recall bring back the right thing? `python -m benchmarks.recall_quality --data FILE [FILE …]`.

FILE is LoCoMo's (mcp-engram's protocol: Hit@5 on raw evidence ids, one home a conversation) or devrecall's (clock set
to each memory's and question's time; a table for the question's own project and one for all projects together). Its
shape tells which. By default the weights that come with Engram are measured; with `--cv` they are fitted anew for each
conversation or project without it, from all else that is given (give both sets, as the shipped weights have seen both).
`--mcp` asks through the MCP tools of `engram mcp` instead of within this process (LoCoMo alone: no clock there).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fit_weights import Gold, collect, fit
from benchmarks.recall_house import MONTH, USUAL_TIME, House, load_model
from benchmarks.recall_mcp import answers
from benchmarks.recall_sets import Question, Score, World, devrecall, is_devrecall, locomo, mean, score
from engram_runtime.memory.model import Model
from engram_runtime.memory.ranking import Mode, Weights, rank, shipped

DEEP = 50
"""Memories asked for of devrecall; of LoCoMo five, as its users do."""
MODES: tuple[Mode, ...] = ("tokens", "sentence", "words")


@dataclass(slots=True)
class Outcome:
    """Rankings of one set, and their scores by world and kind."""

    title: str
    worlds: dict[str, list[Score]] = field(default_factory=lambda: defaultdict(list))
    kinds: dict[str, list[Score]] = field(default_factory=lambda: defaultdict(list))
    ranked: dict[str, list[str]] = field(default_factory=dict)

    def add(self, world: str, question: Question, ranked: Sequence[str]) -> None:
        """Books the answer to a question."""
        made = score(question, ranked)
        self.worlds[world].append(made)
        self.kinds[question.kind].append(made)
        self.ranked[question.key] = list(ranked)

    def lines(self) -> Iterator[str]:
        """A table: all, by world, by kind."""
        yield f"\n## {self.title}\n"
        yield "| | questions | H@1 | H@5 | MRR | stale |\n|---|---|---|---|---|---|"
        every = [one for scores in self.worlds.values() for one in scores]
        for name, scores in {"all": every, **self.worlds, **self.kinds}.items():
            hit1, hit5, reciprocal, stale = mean(scores)
            old = "" if stale is None else f"{stale:.1f}"
            yield f"| {name} | {len(scores)} | {hit1:.1f} | {hit5:.1f} | {reciprocal:.3f} | {old} |"


def asked(title: str, worlds: Sequence[World], model: Model, cache: Path | None, k: int) -> Outcome:
    """Stores and recalls within this process, as the MCP tools do."""
    outcome = Outcome(title)
    for world in worlds:
        house = House(world, model, cache=cache).fill()
        try:
            for question in world.questions:
                house.at(question.at)
                hits = house.memory.recall(question.text, k=k).hits
                outcome.add(world.name, question, [house.keys.get(hit.memory.id, "?") for hit in hits])
        finally:
            house.close()
    return outcome


def asked_through_mcp(title: str, worlds: Sequence[World]) -> Outcome:
    """Stores and recalls through the tools of `engram mcp`."""
    outcome = Outcome(title)
    for world in worlds:
        for question, ranked in asyncio.run(answers(world)):
            outcome.add(world.name, question, ranked)
    return outcome


def ranked(title: str, golds: Sequence[Gold], weights: dict[str, Weights], mode: Mode) -> Outcome:
    """Ranks candidates gathered before with the weights of their world."""
    outcome = Outcome(title)
    for gold in golds:
        for case in gold.cases:
            now = case.question.at or USUAL_TIME + MONTH
            hits = rank(case.modes[mode], f"/{gold.world.name}", now, weights[gold.world.name])
            keys = [case.keys.get(hit.memory.id, "?") for hit in hits]
            outcome.add(gold.world.name, case.question, keys)
    return outcome


def cross_validated(files: Sequence[Path], model: Model, cache: Path | None) -> Iterator[Outcome]:
    """Every world ranked with weights that never saw it."""
    sets: dict[str, list[Gold]] = {}
    for file in files:
        worlds = devrecall(file) if is_devrecall(file) else locomo(file)
        sets[file.name] = [collect(world, model, cache, pairs=is_devrecall(file)) for world in worlds]
    for file in files:
        weights = {
            gold.world.name: fit([[one for one in golds if one is not gold] for golds in sets.values()])
            for gold in sets[file.name]
        }
        for mode in MODES:
            yield ranked(f"{file.name}, left out in turn, {mode}", sets[file.name], weights, mode)
        if is_devrecall(file):
            every = [collect(world, model, cache) for world in devrecall(file, "all")]
            yield ranked(f"{file.name}, left out in turn, scope all", every, weights, "tokens")


def measured(files: Sequence[Path], model: Model, cache: Path | None) -> Iterator[Outcome]:
    """Every set with the weights that come with Engram."""
    for file in files:
        if is_devrecall(file):
            yield asked(f"{file.name}, scope project", devrecall(file), model, cache, DEEP)
            yield asked(f"{file.name}, scope all", devrecall(file, "all"), model, cache, DEEP)
        else:
            yield asked(f"{file.name}, in process", locomo(file), model, cache, 5)


def main() -> None:
    """Print tables; with `--out` also write rankings as devrecall's `score.py` reads them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall_quality", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--cv", action="store_true", help="fit weights without the world they are measured on")
    how.add_argument("--shipped", action="store_true", help="the weights of the package (default)")
    how.add_argument("--mcp", action="store_true", help="through the MCP tools (LoCoMo)")
    parser.add_argument("--cache", type=Path, help="keeps model and vectors between runs")
    parser.add_argument("--out", type=Path, help="folder for a run-*.jsonl of each table")
    options = parser.parse_args()
    outcomes: Iterator[Outcome]
    if options.mcp:
        files = [file for file in options.data if not is_devrecall(file)]
        outcomes = (asked_through_mcp(f"{file.name}, MCP tools", locomo(file)) for file in files)
    elif options.cv:
        outcomes = cross_validated(options.data, load_model(options.cache), options.cache)
    else:
        print(f"weights: {shipped().fitted}")
        outcomes = measured(options.data, load_model(options.cache), options.cache)
    for outcome in outcomes:
        print("\n".join(outcome.lines()), flush=True)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            name = "-".join(outcome.title.replace(",", "").split())
            told = (json.dumps({"query_id": key, "ranked": keys}) for key, keys in outcome.ranked.items())
            (options.out / f"run-{name}.jsonl").write_text("\n".join(told) + "\n", "utf-8")


if __name__ == "__main__":
    main()
