from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from engram_runtime.memory.decay import strength
from engram_runtime.memory.ranking import Evidence, rank
from engram_runtime.state.views import MemoryRow

NOW = datetime(2026, 3, 11, tzinfo=UTC)


def a_row(memory: int, **fields: Any) -> MemoryRow:
    usual: dict[str, Any] = {
        "content": f"memory {memory}",
        "category": "fact",
        "importance": 0.5,
        "user": "default",
        "project": "one",
        "scope": "project",
        "metadata": {},
        "memory_type": "memory",
        "task": None,
        "session": None,
        "source": "agent",
        "created_at": "2026-03-01T00:00:00.000000Z",
        "updated_at": "2026-03-01T00:00:00.000000Z",
        "recalls": 0,
        "last_recalled_at": None,
        "superseded_by": None,
    }
    return MemoryRow(id=memory, **(usual | fields))


def order(rows: list[MemoryRow], found: Evidence) -> list[int]:
    return [hit.memory.id for hit in rank(rows, found, "one", NOW)]


def test_strength_follows_the_forgetting_curve() -> None:
    assert strength(a_row(1), NOW) == pytest.approx(0.5 * math.exp(-0.16 * 0.6 * 10))
    assert strength(a_row(1, category="failure"), NOW) == pytest.approx(0.5 * math.exp(-0.35 * 0.6 * 10))
    assert strength(a_row(1, recalls=3), NOW) == pytest.approx(0.5 * math.exp(-0.16 * 0.6 * 10) * 1.6)


def test_a_recall_starts_forgetting_anew_and_strength_stays_within_one() -> None:
    now = "2026-03-11T00:00:00.000000Z"
    assert strength(a_row(1, recalls=1, last_recalled_at=now), NOW) == pytest.approx(0.6)
    assert strength(a_row(1, recalls=50, last_recalled_at=now), NOW) == 1.0
    assert (
        strength(a_row(1, created_at="2027-01-01T00:00:00Z", updated_at="2027-01-01T00:00:00Z"), NOW) == 0.5
    )


def test_likeness_in_meaning_and_in_words_both_count() -> None:
    found = Evidence(bm25={1: 9.0, 2: 3.0}, cosine={1: 0.5, 2: 0.5, 3: 0.9}, terms=("x", "y"), total=50)
    assert order([a_row(3), a_row(2), a_row(1)], found) == [3, 1, 2]


def test_one_chance_word_does_not_beat_a_match_in_meaning() -> None:
    terms = ("deploy", "production", "branch", "release", "main", "pipeline")
    found = Evidence(bm25={1: 2.0}, cosine={1: 0.45, 2: 0.6}, terms=terms, total=1000)
    assert order([a_row(1), a_row(2)], found) == [2, 1]


def test_rows_without_a_shared_word_must_be_like_enough() -> None:
    assert order([a_row(1), a_row(2)], Evidence(bm25={}, cosine={1: 0.05, 2: 0.4})) == [2]


def test_the_stronger_and_the_more_important_come_first_among_equals() -> None:
    found = Evidence(bm25={}, cosine={1: 0.5, 2: 0.5, 3: 0.5})
    rows = [a_row(1), a_row(2, importance=0.9), a_row(3, recalls=4)]
    assert order(rows, found) == [2, 3, 1]


def test_the_projects_own_memory_comes_before_a_global_one_as_alike() -> None:
    found = Evidence(bm25={}, cosine={1: 0.5, 2: 0.5})
    rows = [a_row(1), a_row(2, project="two", scope="global")]
    hits = rank(rows, found, "one", NOW)
    assert [hit.memory.id for hit in hits] == [1, 2]
    assert "global" in hits[1].why


def test_a_superseded_memory_ranks_below_its_successor_whatever_it_scores() -> None:
    found = Evidence(bm25={1: 20.0}, cosine={1: 0.99, 2: 0.3, 3: 0.25}, terms=("x",), total=10)
    rows = [a_row(1, superseded_by=2), a_row(2), a_row(3)]
    assert order(rows, found) == [2, 1, 3]
    chain = [a_row(1, superseded_by=2), a_row(2, superseded_by=3), a_row(3)]
    assert order(chain, found) == [3, 2, 1]


def test_the_same_evidence_gives_the_same_order_whatever_order_the_rows_come_in() -> None:
    rows = [a_row(number) for number in range(1, 30)]
    found = Evidence(bm25={}, cosine={row.id: 0.5 for row in rows})
    assert order(rows, found) == order(rows[::-1], found) == list(range(29, 0, -1))


def test_a_hit_says_why() -> None:
    row = a_row(1, content="Redis runs on port 6380", superseded_by=9)
    found = Evidence(bm25={1: 4.0}, cosine={1: 0.61}, terms=("redis", "port", "nothing"), total=10)
    (hit,) = rank([row], found, "one", NOW)
    assert hit.why == ("words: redis, port", "meaning 0.61", "superseded by 9")
