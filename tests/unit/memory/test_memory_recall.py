from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_runtime.journal.events import MemorySuperseded
from engram_runtime.memory import Memory, graph
from engram_runtime.memory.ranking import shipped
from engram_runtime.paths import HomeFiles
from tests.support import wait_until
from tests.unit.memory.list_journal import ListJournal, memory_over
from tests.unit.memory.toy_embedder import ToyEmbedder

WORDS = "queue redis port lease worker nightly deploy lock cache token".split()
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
stores = st.tuples(
    texts,
    st.sampled_from(["one", "two"]),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["project", "global"]),
)


def quiet(journal: ListJournal) -> Any:
    """Submits nothing: recalls leave the journal as it is."""

    def submit(*events: object) -> Future[tuple[int, ...]]:
        done: Future[tuple[int, ...]] = Future()
        done.set_result(())
        return done

    return submit


def opened(journal: ListJournal, home: Path, project: str) -> tuple[Memory, ToyEmbedder]:
    home.mkdir(exist_ok=True)
    toy = ToyEmbedder()
    memory = memory_over(journal, home, project=project, embedder=toy)
    memory._submit = quiet(journal)
    toy.index = memory._index
    return memory, toy


def indexed(memory: Memory) -> None:
    wait_until(lambda: memory.stats().lag == 0, seconds=10)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(stores, min_size=1, max_size=14), texts)
def test_nothing_of_another_project_or_user_is_shown_unless_it_is_global(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str, str, str]], question: str
) -> None:
    journal = ListJournal()
    home = tmp_path_factory.mktemp("home")
    memories = {project: opened(journal, home, project)[0] for project in ("one", "two")}
    try:
        for content, project, user, scope in made:
            memories[project].store(content, importance=0.5, user=user, scope=scope)  # type: ignore[arg-type]
        for memory in memories.values():
            memory.catch_up()
            indexed(memory)
        for project, memory in memories.items():
            for user in ("ann", "bob"):
                for hit in memory.recall(question, user=user, k=50).hits:
                    assert hit.memory.user == user
                    assert hit.memory.project == project or hit.memory.scope == "global"
    finally:
        for memory in memories.values():
            memory.close()


def test_the_same_journal_clock_and_question_give_the_same_ranking_also_after_a_rebuild(
    tmp_path: Path,
) -> None:
    journal = ListJournal()
    first, _ = opened(journal, tmp_path / "home", "one")
    for number in range(40):
        words = [WORDS[(number * step) % len(WORDS)] for step in (1, 3, 7)]
        first.store(f"{' '.join(words)} {number}", importance=0.3 + number % 5 / 10)
    indexed(first)
    questions = ["redis port", "which lease does the nightly worker hold", "token"]

    def answers(memory: Memory) -> list[list[tuple[int, float, tuple[str, ...]]]]:
        return [
            [(hit.memory.id, hit.score, hit.why) for hit in memory.recall(question, k=20).hits]
            for question in questions
        ]

    before = answers(first)
    assert all(before)
    assert answers(first) == before
    first.close()
    for file in (tmp_path / "home").glob(HomeFiles(tmp_path).memory.name + "*"):
        file.unlink()
    again, _ = opened(journal, tmp_path / "home", "one")
    again.catch_up()
    indexed(again)
    assert answers(again) == before
    again.close()
    elsewhere, _ = opened(journal, tmp_path / "other", "one")
    elsewhere.catch_up()
    indexed(elsewhere)
    assert answers(elsewhere) == before
    elsewhere.close()


def test_a_memory_that_was_superseded_brings_its_successor(memory: Memory, journal: ListJournal) -> None:
    old = memory.store("The gateway listens on 8080 behind nginx", importance=0.5).memory
    journal.session = "s2"
    new = memory.store("Caddy took over", importance=0.5).memory
    journal.append(MemorySuperseded(memory=old, by=new, why="changed"))
    memory.catch_up()
    hits = memory.recall("gateway nginx").hits
    assert [hit.memory.id for hit in hits] == [new, old]
    assert f"superseded by {new}" in hits[1].why


def test_without_a_model_a_memory_is_found_through_one_it_was_near_to(tmp_path: Path) -> None:
    journal = ListJournal()
    memory, toy = opened(journal, tmp_path / "home", "one")
    other, _ = opened(journal, tmp_path / "home", "two")
    said = memory.store("gateway nginx", importance=0.5).memory
    near = memory.store("caddy took over", importance=0.5).memory
    far = memory.store("lease of the queue", importance=0.5).memory
    elsewhere = other.store("secret of another project", importance=0.5).memory
    memory.catch_up()
    indexed(memory)
    toy.state = "warming"
    assert [hit.memory.id for hit in memory.recall("nginx").hits] == [said]
    with memory._index.transaction() as connection:
        # As the model would have said of texts that mean the same in other words.
        graph.link(connection, near, {said: 0.8})
        graph.link(connection, elsewhere, {said: 0.9})
    hits = memory.recall("nginx").hits
    assert [hit.memory.id for hit in hits] == [said, near] and far not in {hit.memory.id for hit in hits}
    assert f"near memory {said}" in hits[1].why
    memory.close()
    other.close()


def test_shipped_weights_name_only_signals_there_are() -> None:
    known = {
        *("meaning words coverage thread tokens speaker asks length date after stored".split()),
        *("recency importance strength company command near".split()),
    }
    weights = shipped()
    assert set(weights.modes) == {"tokens", "sentence", "words"}
    for mode in weights.modes.values():
        assert set(mode) <= known
    assert weights.fitted
