"""Sets of memories and questions to measure recall with: LoCoMo's conversations, devrecall's projects.

Both are given by path; neither is part of Engram. LoCoMo (snap-research/locomo, `locomo10.json`) is read by
mcp-engram's protocol: one memory a turn, `[date] Speaker: text`, and a question is answered when one of its evidence
ids, as written, is among the first five. Adversarial questions (category 5) are left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engram_runtime.memory.decay import instant

ADVERSARIAL = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """A memory to store. `at` None: the time does not matter."""

    key: str
    content: str
    category: str = "fact"
    importance: float = 0.5
    session: str | None = None
    at: datetime | None = None
    supersedes: str | None = None
    """What it outdates, for fitting; never told to what is measured."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `stale` must rank below `gold[0]`."""

    key: str
    text: str
    gold: tuple[str, ...]
    stale: tuple[str, ...] = ()
    kind: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What one agent knows: a conversation, or a project."""

    name: str
    memories: tuple[Stored, ...]
    questions: tuple[Question, ...]


def is_devrecall(path: Path) -> bool:
    """Whether the file has devrecall's shape."""
    return isinstance(json.loads(path.read_text("utf-8")), dict)


def locomo(path: Path) -> list[World]:
    """The conversations of a LoCoMo file."""
    return [_conversation(told) for told in json.loads(path.read_text("utf-8"))]


def devrecall(path: Path, scope: str = "project") -> list[World]:
    """The projects of a devrecall file; with scope "all" each world holds the memories of all projects."""
    told = json.loads(path.read_text("utf-8"))
    memories = sorted((_note(memory) for memory in told["memories"]), key=lambda m: (m[1].at, m[1].key))
    worlds = []
    for name in dict.fromkeys(query["project"] for query in told["queries"]):
        kept = tuple(note for project, note in memories if scope == "all" or project == name)
        asked = tuple(_asked(query) for query in told["queries"] if query["project"] == name)
        worlds.append(World(name, kept, asked))
    return worlds


def _conversation(told: dict[str, Any]) -> World:
    talk = told["conversation"]
    turns: list[Stored] = []
    number = 1
    while f"session_{number}" in talk or f"session_{number}_date_time" in talk:
        date = talk.get(f"session_{number}_date_time", "")
        turns += [
            Stored(turn["dia_id"], f"[{date}] {turn['speaker']}: {turn['text']}")
            for turn in talk.get(f"session_{number}", [])
        ]
        number += 1
    questions = tuple(
        Question(
            f"{told['sample_id']}-{place}",
            qa["question"],
            tuple(qa.get("evidence", ())),
            kind=str(qa["category"]),
        )
        for place, qa in enumerate(told["qa"])
        if qa["category"] != ADVERSARIAL
    )
    return World(str(told["sample_id"]), tuple(turns), questions)


def _note(told: dict[str, Any]) -> tuple[str, Stored]:
    return told["project"], Stored(
        key=told["id"],
        content=told["content"],
        category=told["category"],
        importance=told["importance"],
        session=told["session"],
        at=_time(told["created_at"]),
        supersedes=told.get("supersedes"),
    )


def _asked(told: dict[str, Any]) -> Question:
    return Question(
        told["id"],
        told["query"],
        tuple(told["gold"]),
        tuple(told["stale"]),
        told["kind"],
        _time(told["asked_at"]),
    )


def _time(at: str) -> datetime:
    return instant(at).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Score:
    """How well one question was answered. H@5 of a two-hop question needs all of its gold."""

    hit1: bool
    hit5: bool
    reciprocal: float
    stale: bool | None
    """Whether something outdated stands above the best gold; None where nothing is."""


def score(question: Question, ranked: Sequence[str]) -> Score:
    """Scores a ranking, as devrecall's `score.py` does."""
    place = {key: number for number, key in reversed(list(enumerate(ranked, 1)))}
    never = 10**9
    gold = [place.get(key, never) for key in question.gold] or [never]
    needed = max(gold) if question.kind == "two-hop" else min(gold)
    stale = None
    if question.stale:
        stale = min(place.get(key, never) for key in question.stale) < gold[0]
    best = min(gold)
    return Score(best == 1, needed <= 5, 0.0 if best == never else 1 / best, stale)


def mean(scores: Sequence[Score]) -> tuple[float, float, float, float | None]:
    """H@1, H@5 and stale in percent, MRR in between; stale None where there is no such question."""
    count = len(scores) or 1
    stale = [one.stale for one in scores if one.stale is not None]
    return (
        100 * sum(one.hit1 for one in scores) / count,
        100 * sum(one.hit5 for one in scores) / count,
        sum(one.reciprocal for one in scores) / count,
        100 * sum(stale) / len(stale) if stale else None,
    )
