from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from engram_runtime.memory.decay import strength
from engram_runtime.memory.features import Setting, candidate, compare, describe, keep_company
from engram_runtime.memory.lexical import Line, rarity
from engram_runtime.memory.query import query
from engram_runtime.memory.ranking import Gathered, Mode, rank, shipped
from engram_runtime.memory.results import Hit
from engram_runtime.memory.words import terms
from engram_runtime.state.views import MemoryRow

NOW = datetime(2026, 3, 11, tzinfo=UTC)


def a_row(memory: int, content: str = "", **fields: Any) -> MemoryRow:
    usual: dict[str, Any] = {
        "content": content or f"note{memory}",
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


def hits_of(
    question: str,
    rows: list[MemoryRow],
    cosine: Mapping[int, float] | None = None,
    near: Mapping[int, tuple[float, ...]] | None = None,
    kin: list[list[float]] | None = None,
) -> list[Hit]:
    """Ranks rows as a recall does, with the cosines a model would have told."""
    asked = query(question, NOW.date())
    lines: dict[int, Line] = {}
    for place, row in enumerate(rows):
        found = terms(row.content)
        beside = [rows[i].id if 0 <= i < len(rows) else None for i in (place - 1, place + 1)]
        held = {term: found.count(term) for term in asked.terms if term in found}

        lines[row.id] = Line("t", beside[0], beside[1], len(found), held, " ".join(found))
    rare = {
        term: rarity(len(rows), sum(term in lines[row.id].counts for row in rows)) for term in asked.terms
    }
    found_rows = [
        candidate(row, lines[row.id], (cosine or {}).get(row.id) if cosine else None, asked) for row in rows
    ]
    describe(found_rows, Setting(asked, NOW, rare, lines))
    mode: Mode = "words" if cosine is None else "sentence"
    if near is not None:
        mode = "tokens"
        compare(found_rows, near, [1.0] * len(next(iter(near.values()))))
        keep_company(found_rows, kin or [[0.0] * len(rows) for _ in rows])
    return rank(Gathered(mode, asked, found_rows, [], kin or ()), "one", NOW, shipped())


def order(*args: Any, **more: Any) -> list[int]:
    return [hit.memory.id for hit in hits_of(*args, **more)]


def test_strength_follows_the_forgetting_curve() -> None:
    assert strength(a_row(1), NOW) == pytest.approx(0.5 * math.exp(-0.16 * 0.6 * 10))
    assert strength(a_row(1, category="failure"), NOW) == pytest.approx(0.5 * math.exp(-0.35 * 0.6 * 10))
    assert strength(a_row(1, recalls=3), NOW) == pytest.approx(0.5 * math.exp(-0.16 * 0.6 * 10) * 1.6)


def test_a_recall_starts_forgetting_anew_and_strength_stays_within_one() -> None:
    now = "2026-03-11T00:00:00.000000Z"
    assert strength(a_row(1, recalls=1, last_recalled_at=now), NOW) == pytest.approx(0.6)
    assert strength(a_row(1, recalls=50, last_recalled_at=now), NOW) == 1.0
    future = "2027-01-01T00:00:00Z"
    assert strength(a_row(1, created_at=future, updated_at=future), NOW) == 0.5


def test_likeness_in_meaning_and_in_words_both_count() -> None:
    rows = [a_row(1, "the redis port"), a_row(2, "the redis host"), a_row(3, "something else")]
    assert order("redis port", rows, {1: 0.5, 2: 0.5, 3: 0.5})[0] == 1
    assert order("redis port", rows, {1: 0.2, 2: 0.2, 3: 0.9})[0] == 3


def test_rows_without_a_shared_word_must_be_like_enough() -> None:
    assert order("where is it", [a_row(1), a_row(2)], {1: 0.05, 2: 0.4}) == [2]


def test_the_more_important_and_the_newer_come_first_among_equals() -> None:
    late = "2026-03-10T00:00:00.000000Z"
    rows = [a_row(1), a_row(2, importance=0.9), a_row(3, updated_at=late)]
    cosine = dict.fromkeys((1, 2, 3), 0.5)
    assert set(order("where", rows, cosine)[:2]) == {2, 3}
    assert order("where", [a_row(1), a_row(2, recalls=9)][::-1], {1: 0.5, 2: 0.5}) == [2, 1]


def test_the_projects_own_memory_comes_before_a_global_one_as_alike() -> None:
    rows = [a_row(1), a_row(2, project="two", scope="global")]
    hits = hits_of("where", rows, {1: 0.5, 2: 0.5})
    assert [hit.memory.id for hit in hits] == [1, 2]
    assert "global" in hits[1].why


def test_a_superseded_memory_ranks_below_its_successor_which_takes_its_place() -> None:
    rows = [a_row(1, superseded_by=2), a_row(2), a_row(3)]
    assert order("where", rows, {1: 0.99, 2: 0.3, 3: 0.6}) == [2, 1, 3]
    chain = [a_row(1, superseded_by=2), a_row(2, superseded_by=3), a_row(3)]
    assert order("where", chain, {1: 0.99, 2: 0.3, 3: 0.6}) == [3, 2, 1]


def test_a_note_that_tells_a_later_state_takes_the_place_of_the_older() -> None:
    rows = [
        a_row(1, "IDLE_TTL_S is 3600 for every pooled child."),
        a_row(2, "IDLE_TTL_S is 86400 for every pooled child now.", updated_at="2026-03-05T00:00:00.000000Z"),
        a_row(3, "The pool is drained at night."),
    ]
    kin = [[1.0, 0.9, 0.2], [0.9, 1.0, 0.2], [0.2, 0.2, 1.0]]
    near = {1: (0.9,), 2: (0.5,), 3: (0.3,)}
    hits = hits_of("idle ttl", rows, {1: 0.9, 2: 0.5, 3: 0.3}, near, kin)
    assert [hit.memory.id for hit in hits][:2] == [2, 1]
    assert "2 tells a later state" in hits[1].why


def test_a_repetition_does_not_fill_the_answer() -> None:
    same = "The queue is drained by the nightly worker"
    rows = [a_row(1, same), a_row(2, same + "."), a_row(3, "The queue has forty places")]
    kin = [[1.0, 0.99, 0.4], [0.99, 1.0, 0.4], [0.4, 0.4, 1.0]]
    near = {1: (0.9,), 2: (0.9,), 3: (0.4,)}
    hits = hits_of("queue drained", rows, {1: 0.8, 2: 0.8, 3: 0.4}, near, kin)
    assert [hit.memory.id for hit in hits] == [2, 3, 1]
    assert "repeats 2" in hits[2].why


def test_notes_that_differ_in_a_number_are_no_repetition() -> None:
    rows = [a_row(1, "The port of the api is 8080"), a_row(2, "The port of the web is 8081"), a_row(3)]
    kin = [[1.0, 0.97, 0.1], [0.97, 1.0, 0.1], [0.1, 0.1, 1.0]]
    near = {1: (0.9,), 2: (0.9,), 3: (0.4,)}
    hits = hits_of("port", rows, {1: 0.8, 2: 0.8, 3: 0.4}, near, kin)
    assert not any("repeats" in reason for hit in hits for reason in hit.why)


def test_what_stands_beside_a_memory_speaks_for_it() -> None:
    rows = [a_row(1, "Which database is it"), a_row(2, "That one, as ever"), a_row(3, "Nothing of the kind")]
    near = {1: (0.9,), 2: (0.1,), 3: (0.1,)}
    hits = {hit.memory.id: hit for hit in hits_of("database", rows, {1: 0.5, 2: 0.3, 3: 0.3}, near)}
    assert hits[2].signals["tokens"] == pytest.approx(0.81)
    assert hits[3].signals["tokens"] == pytest.approx(0.1)


def test_a_day_named_in_the_question_brings_its_memories_first() -> None:
    earlier = "2026-02-04T08:00:00.000000Z"
    rows = [a_row(1), a_row(2, updated_at=earlier, created_at=earlier), a_row(3)]
    hits = hits_of("what happened in early February", rows, dict.fromkeys((1, 2, 3), 0.4))
    assert hits[0].memory.id == 2
    assert "from 2026-02-04" in hits[0].why


def test_turns_of_a_chat_are_told_apart_by_speaker_and_date() -> None:
    rows = [
        a_row(1, "[1:00 pm on 8 May, 2023] Caroline: I went to the museum"),
        a_row(2, "[1:00 pm on 8 May, 2023] Melanie: I went to the museum"),
        a_row(3, "[1:00 pm on 8 July, 2023] Melanie: I went to the museum"),
    ]
    cosine = dict.fromkeys((1, 2, 3), 0.6)
    assert order("Where did Melanie go in May 2023", rows, cosine)[0] == 2
    assert order("Where did Melanie go in July 2023", rows, cosine)[0] == 3
    assert order("Where did Caroline go", rows, cosine)[0] == 1


def test_a_label_at_the_head_of_a_note_is_no_speaker() -> None:
    rows = [a_row(1, "Progress: the museum page is done"), a_row(2, "Decision: the museum page stays")]
    hits = hits_of("what is the progress of the museum page", rows, {1: 0.5, 2: 0.5})
    assert all("speaker" not in hit.signals for hit in hits)


def test_a_question_how_to_do_something_brings_commands_first() -> None:
    rows = [a_row(1, "Snapshots: `pytest -q tests/snap --snapshot-update`"), a_row(2, "Snapshots are kept")]
    assert order("accept the new snapshots", rows, {1: 0.4, 2: 0.45})[0] == 1


def test_the_same_evidence_gives_the_same_order_whatever_order_the_rows_come_in() -> None:
    rows = [a_row(number) for number in range(1, 30)]
    cosine = {row.id: 0.5 for row in rows}
    assert order("where", rows, cosine) == list(range(29, 0, -1))
    assert order("where", rows[::-1], cosine) == list(range(29, 0, -1))


def test_a_hit_says_why() -> None:
    row = a_row(1, "Redis runs on port 6380", superseded_by=9)
    (hit,) = hits_of("redis port nothing", [row], {1: 0.61})
    assert hit.why == ("words: redis, port", "meaning 0.61", "superseded by 9")
    assert hit.age_days == 10.0
    assert hit.signals["meaning"] == 0.61


def test_the_clock_of_a_question_is_the_day_it_is_asked() -> None:
    assert query("yesterday", date(2026, 3, 11)).spans[0].first == date(2026, 3, 10)
