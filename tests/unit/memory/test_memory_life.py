from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_runtime.errors import NotFound
from engram_runtime.journal.events import (
    Event,
    MaintenanceDone,
    MemoryCompared,
    MemoryPruned,
    MemoryReinforced,
    MemoryRestored,
    MemoryStored,
    MemorySuperseded,
    OutcomeReported,
)
from engram_runtime.memory import Memory, graph
from engram_runtime.memory.decay import strength_after
from engram_runtime.memory.facade import CROWD
from engram_runtime.memory.projector import MOST_GAIN
from engram_runtime.memory.results import StoreResult
from tests.support import wait_until
from tests.unit.memory.list_journal import ListJournal, memory_over
from tests.unit.memory.toy_embedder import ToyEmbedder

SHARES = st.floats(0, 1)
CATEGORIES = st.sampled_from(["fact", "assumption", "failure", "strategy"])
DAYS = st.floats(0, 4000)


@pytest.fixture
def toy() -> ToyEmbedder:
    return ToyEmbedder()


@pytest.fixture
def lively(journal: ListJournal, home: Path, toy: ToyEmbedder) -> Iterator[Memory]:
    memory = memory_over(journal, home, embedder=toy)
    toy.index = memory._index
    yield memory
    memory.close()


def settled(memory: Memory) -> Memory:
    """The memory, once all is embedded, compared and linked."""

    def done() -> bool:
        stats = memory.stats()
        with memory._index.connection() as connection:
            (unlinked,) = connection.execute("SELECT count(*) FROM unlinked").fetchone()
        return not stats.lag and not stats.waiting and not unlinked

    wait_until(done, 10)
    return memory


# --- strength -------------------------------------------------------------------------------------------


@given(DAYS, DAYS, SHARES, CATEGORIES, st.integers(0, 50))
def test_strength_is_a_share_and_never_grows_with_time(
    days: float, more: float, importance: float, category: str, recalls: int
) -> None:
    now = strength_after(days, importance, category, recalls)
    assert 0 <= strength_after(days + more, importance, category, recalls) <= now <= 1


@given(DAYS, SHARES, CATEGORIES, st.integers(0, 50))
def test_recalls_and_importance_strengthen(
    days: float, importance: float, category: str, recalls: int
) -> None:
    now = strength_after(days, importance, category, recalls)
    assert strength_after(days, importance, category, recalls + 1) >= now
    assert strength_after(days, min(1.0, importance + 0.1), category, recalls) >= now
    assert strength_after(0, importance, category, recalls + 1) >= now


def test_strength_is_that_of_mcp_engram() -> None:
    # 0.5 · e^(−0.16 · 0.6 · 10) · 1.4 and so on: its formula, worked out by hand.
    assert strength_after(10, 0.5, "fact", 2) == pytest.approx(0.26802, abs=1e-5)
    assert strength_after(3, 0.9, "failure", 0) == pytest.approx(0.67075, abs=1e-5)
    assert strength_after(0, 1.0, "strategy", 9) == 1.0


def test_a_recall_makes_a_faded_memory_strong_again(memory: Memory, journal: ListJournal) -> None:
    memory.store("Redis runs on port 6380", importance=0.6)
    journal.now += timedelta(days=30)
    (before,) = memory.recall("redis port").hits
    (after,) = memory.recall("redis port").hits
    assert before.strength < 0.2
    assert after.strength > 0.6


# --- chains ---------------------------------------------------------------------------------------------

IDS = st.integers(1, 8)
LINKS: st.SearchStrategy[Event] = st.one_of(
    st.builds(MemorySuperseded, memory=IDS, by=IDS, merged=st.booleans()),
    st.builds(
        MemoryCompared,
        memory=IDS,
        supersedes=st.lists(IDS, max_size=3).map(tuple),
        below=st.one_of(st.none(), IDS),
    ),
    st.builds(
        MemoryStored,
        content=st.sampled_from(["alpha", "beta"]),
        importance=SHARES,
        user=st.sampled_from(["default", "ann"]),
        scope=st.sampled_from(["project", "global"]),
        supersedes=st.lists(IDS, max_size=3).map(tuple),
        below=st.one_of(st.none(), IDS),
    ),
)
CARE: st.SearchStrategy[Event] = st.one_of(
    LINKS,
    st.builds(MemoryPruned, memories=st.lists(IDS, max_size=2).map(tuple)),
    st.builds(MemoryRestored, memories=st.lists(IDS, max_size=2).map(tuple)),
    st.builds(MemoryReinforced, memory=IDS, importance=st.one_of(st.none(), SHARES)),
    st.builds(
        OutcomeReported,
        reported_session=st.sampled_from(["s1", "s2"]),
        outcome=st.sampled_from(["success", "failure"]),
        memories=st.lists(IDS, max_size=3).map(tuple),
    ),
    st.just(MaintenanceDone(what="memories", detail={"pruned": 1})),
)


def told(story: list[tuple[Event, str]]) -> ListJournal:
    journal = ListJournal()
    for number in range(4):
        journal.append(MemoryStored(content=f"fact {number}", importance=0.5, pending=number == 3))
    for event, project in story:
        journal.append(event, project=project)
    return journal


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LINKS, st.sampled_from(["one", "two"])), max_size=14))
def test_chains_have_no_cycles_and_stay_with_their_user_and_project(story: list[tuple[Event, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory = memory_over(told(story), Path(folder))
        rows = {row.id: row for row in memory.rows(limit=None)}
        memory.close()
    for row in rows.values():
        seen = set()
        at = row
        while at.superseded_by is not None:
            assert at.id not in seen
            seen.add(at.id)
            above = rows[at.superseded_by]
            assert above.user == at.user
            assert above.scope == "global" or (above.project, at.scope) == (at.project, "project")
            at = above


def test_superseding_what_is_superseded_links_to_the_ends_of_both_chains(
    memory: Memory, journal: ListJournal
) -> None:
    journal.append(*(MemoryStored(content=f"fact {n}", importance=0.5) for n in range(4)))
    journal.append(MemorySuperseded(memory=1, by=2), MemorySuperseded(memory=3, by=4))
    journal.append(MemorySuperseded(memory=1, by=3, why="newer"), MemorySuperseded(memory=4, by=1))
    assert [row.superseded_by for row in reversed(memory.rows())] == [2, 4, 4, None]
    assert memory.row(2).superseded_why == "newer"  # type: ignore[union-attr]


def test_what_took_the_place_of_a_repetition_does_not_go_below_the_older_original(
    memory: Memory, journal: ListJournal
) -> None:
    journal.append(*(MemoryStored(content=f"fact {n}", importance=0.5) for n in range(3)))
    journal.append(MemorySuperseded(memory=2, by=3, why="60 became 90"))
    # Decided before, when 2 was current: it repeats 1.
    journal.append(MemoryCompared(memory=2, below=1, merged=True))
    assert [row.superseded_by for row in reversed(memory.rows())] == [None, 3, None]


def test_what_is_linked_to_a_change_of_its_original_does_not_count_as_said_by_it(
    memory: Memory, journal: ListJournal
) -> None:
    journal.append(*(MemoryStored(content=f"fact {n}", importance=0.5) for n in range(3)))
    journal.append(MemorySuperseded(memory=1, by=3, why="60 became 90"))
    journal.append(MemoryCompared(memory=2, below=1, merged=True))
    assert [row.superseded_by for row in reversed(memory.rows())] == [3, 3, None]
    with memory._index.connection() as connection:
        assert connection.execute("SELECT merged FROM memories WHERE id = 2").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.guarantee("G8")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(CARE, st.sampled_from(["one", "two"])), max_size=14))
def test_a_replay_of_decisions_gives_the_same_rows(story: list[tuple[Event, str]]) -> None:
    def rows(memory: Memory) -> list[bytes]:
        with memory._index.connection() as connection:
            tables = [
                connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
                for table in ("memories", "recalled_in", "outcomes", "maintained")
            ]
        return [msgspec.json.encode(table) for table in tables]

    journal = told(story)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        grown = memory_over(ListJournal(), Path(one))
        grown._index._journal = growing = ListJournal()
        for at in journal.rows:
            growing.rows.append(at)
            grown.catch_up()
        replayed = memory_over(journal, Path(other))
        replayed.catch_up()
        assert rows(grown) == rows(replayed)
        grown.close()
        replayed.close()


# --- late comparison ------------------------------------------------------------------------------------


def test_what_was_stored_while_the_model_was_cold_is_compared_once_it_is_there(
    lively: Memory, journal: ListJournal, toy: ToyEmbedder, home: Path
) -> None:
    toy.state = "warming"
    old = lively.store("The API server listens on port 8080 by default.", importance=0.6)
    new = lively.store("The API server listens on port 9090 by default.", importance=0.6)
    assert (old.outcome, new.outcome, new.pending) == ("stored", "stored", True)
    assert lively.stats().waiting == 2
    toy.state = "ready"
    lively.store("Colours come from tokens.json.", importance=0.3)
    settled(lively)
    assert lively.row(old.memory).superseded_by == new.memory  # type: ignore[union-attr]
    assert [at.kind for at in journal.rows].count("MemoryCompared") == 2
    replayed = memory_over(journal, home / "other")
    assert replayed.rows() == lively.rows()
    replayed.close()


def test_a_repetition_found_late_goes_below_its_original(lively: Memory, toy: ToyEmbedder) -> None:
    old = lively.store("Deploys run from the release branch on Tuesdays.", importance=0.6).memory
    toy.state = "warming"
    new = lively.store("On Tuesdays, deploys run from the release branch.", importance=0.6).memory
    toy.state = "ready"
    lively.store("Colours come from tokens.json.", importance=0.3)
    settled(lively)
    assert lively.row(new).superseded_by == old  # type: ignore[union-attr]


def test_two_stores_in_a_row_see_each_other_before_either_has_a_vector(lively: Memory) -> None:
    old = lively.store("The cache keeps entries for 90 seconds.", importance=0.6)
    new = lively.store("The cache keeps entries for 300 seconds.", importance=0.6)
    assert (new.outcome, new.superseded, new.pending) == ("superseded", (old.memory,), False)


def test_the_thirtieth_value_of_one_thing_still_takes_the_place_of_the_one_before(lively: Memory) -> None:
    last = lively.store("The cache keeps entries for 1000 seconds.", importance=0.6).memory
    for number in range(1001, 1030):
        new = lively.store(f"The cache keeps entries for {number} seconds.", importance=0.6)
        assert (new.outcome, new.superseded) == ("superseded", (last,)), number
        last = new.memory


def test_many_stores_at_once_are_kept_first_and_compared_afterwards(lively: Memory) -> None:
    texts = [f"The cache keeps entries for {number} seconds." for number in range(1, 25)]
    at_once = threading.Barrier(len(texts))

    def store(text: str) -> StoreResult:
        at_once.wait(10)
        return lively.store(text, importance=0.6)

    with ThreadPoolExecutor(len(texts)) as threads:
        results = list(threads.map(store, texts))
    # The last of them had nobody behind them any more.
    assert sum(result.pending for result in results) >= len(texts) - CROWD - 1
    settled(lively)
    rows = {row.id: row for row in lively.rows()}
    assert {rows[result.memory].content for result in results} == set(texts)
    # A comparison lowers four of the older ones at most, so that some may stand beside the last.
    assert sum(row.superseded_by is None for row in rows.values()) < len(texts) / 2


# --- graph ----------------------------------------------------------------------------------------------


def test_a_memory_is_linked_to_its_nearest_older_ones_and_a_rebuild_links_the_same(
    lively: Memory, journal: ListJournal, home: Path
) -> None:
    for number in range(8):
        lively.store(f"redis cluster node {'abcdefgh'[number]} holds shard {number * 7}", importance=0.5)
    lively.store("Completely unrelated sentence.", importance=0.5)
    first = edges(settled(lively))
    assert first
    assert max(sum(newer == n for newer, _, _ in first) for n in range(1, 10)) <= graph.MAX_EDGES
    assert all(newer > older and cosine >= graph.EDGE_THRESHOLD for newer, older, cosine in first)
    lively.rebuild()
    lively._lifecycle.wake()
    assert edges(settled(lively)) == first
    with lively._index.connection() as connection:
        near = graph.neighbours(connection, [1])[1]
    assert list(near.values()) == sorted(near.values(), reverse=True)


def edges(memory: Memory) -> list[tuple[int, int, float]]:
    with memory._index.connection() as connection:
        rows = connection.execute("SELECT newer, older, cosine FROM edges ORDER BY 1, 2").fetchall()
    return [(int(row[0]), int(row[1]), float(row[2])) for row in rows]


def test_a_reworded_memory_gets_other_edges(lively: Memory) -> None:
    lively.store("alpha beta gamma delta", importance=0.5)
    second = lively.store("alpha beta gamma epsilon zeta", importance=0.5).memory
    assert edges(settled(lively))
    lively.update(second, "wholly different words here")
    lively._lifecycle.wake()
    assert not edges(settled(lively))


# --- consolidation --------------------------------------------------------------------------------------


def stored_apart(journal: ListJournal, *texts: str) -> tuple[int, ...]:
    """Memories that were never compared when they were stored, as of an import."""
    return journal.append(*(MemoryStored(content=text, importance=0.5) for text in texts))


def test_consolidation_links_repetitions_and_nothing_else(lively: Memory, journal: ListJournal) -> None:
    old, new, other, negated = stored_apart(
        journal,
        "The nightly job writes its report to the audit bucket.",
        "The nightly job writes its report to the audit bucket every time.",
        "The weekly job writes its report to the audit bucket.",
        "The nightly job never writes its report to the audit bucket.",
    )
    lively.catch_up()
    lively._lifecycle.wake()
    done = settled(lively).consolidate()
    assert [pair[:2] for pair in done.linked] in ([(old, new)], [(new, old)])
    assert {row.id for row in lively.rows() if row.superseded_by is None} >= {other, negated}
    assert len(lively.rows()) == 4
    assert lively.stats(project="one").last_maintenance is not None
    assert settled(lively).consolidate().linked == ()


def test_a_faded_repetition_is_hidden_and_can_be_restored(lively: Memory, journal: ListJournal) -> None:
    old = lively.store("Deploys run from the release branch.", importance=0.3).memory
    new = lively.store("Deploys run from the release branch on Tuesdays at noon.", importance=0.9).memory
    assert lively.row(old).superseded_by == new  # type: ignore[union-attr]
    journal.now += timedelta(days=60)
    lively.recall("deploys on Tuesdays", k=1)
    assert settled(lively).consolidate().pruned == (old,)
    assert [hit.memory.id for hit in lively.recall("deploys release branch").hits] == [new]
    assert lively.stats().pruned == 1
    lively.restore(old)
    assert {hit.memory.id for hit in lively.recall("deploys release branch").hits} == {old, new}
    with pytest.raises(NotFound):
        lively.restore(4711)


def test_a_faded_fact_that_nothing_else_states_is_kept(lively: Memory, journal: ListJournal) -> None:
    alone = lively.store("The audit log is rotated weekly.", importance=0.1, category="failure").memory
    outdated = lively.store("The retry limit is 3.", importance=0.1, category="failure").memory
    lively.store("The retry limit is 7.", importance=0.9)
    journal.now += timedelta(days=365)
    assert settled(lively).consolidate().pruned == ()
    assert lively.row(outdated).superseded_by is not None  # type: ignore[union-attr]
    assert lively.recall("audit log rotated").hits[0].memory.id == alone
    assert lively.stats().stale >= 1


def test_of_a_chain_of_faded_repetitions_one_that_is_recalled_stays(
    memory: Memory, journal: ListJournal
) -> None:
    ids = stored_apart(journal, "alpha one", "alpha two", "alpha three", "alpha four")
    journal.append(
        MemorySuperseded(memory=ids[0], by=ids[1], merged=True),
        MemorySuperseded(memory=ids[1], by=ids[2], merged=True),
        # The third is outdated, not restated: nothing but itself says what it says.
        MemorySuperseded(memory=ids[2], by=ids[3]),
    )
    journal.now += timedelta(days=900)
    assert memory.consolidate().pruned == ids[:2]
    assert memory.consolidate().pruned == ()
    assert {hit.memory.id for hit in memory.recall("alpha").hits} == set(ids[2:])


# --- outcomes -------------------------------------------------------------------------------------------


def test_an_outcome_moves_what_the_session_recalled_once_and_within_bounds(
    memory: Memory, journal: ListJournal
) -> None:
    kept = memory.store("Redis runs on port 6380", importance=0.5).memory
    other = memory.store("Colours come from tokens.json", importance=0.5).memory
    memory.recall("redis port", session="mine")
    assert memory.report_outcome("mine", "success") == 1
    assert memory.report_outcome("mine", "success") == 1
    assert importance(memory, kept) == pytest.approx(0.55)
    assert memory.report_outcome("mine", "failure") == 1
    assert importance(memory, kept) == pytest.approx(0.45)
    for number in range(20):
        memory.recall("redis port", session=f"n{number}")
        memory.report_outcome(f"n{number}", "failure")
    assert importance(memory, kept) == pytest.approx(0.5 - MOST_GAIN)
    assert importance(memory, other) == 0.5
    assert memory.report_outcome("never heard of", "success") == 0
    assert memory.report_outcome("mine", "success", user="ann") == 0
    # Said again with more weight: outcomes still count.
    memory.update(kept, "Redis runs on port 6380", importance=0.9)
    assert importance(memory, kept) == pytest.approx(0.9 - MOST_GAIN)


def importance(memory: Memory, number: int) -> float:
    row = memory.row(number)
    assert row is not None
    return row.importance
