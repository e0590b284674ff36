from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_runtime.journal.events import (
    Event,
    FailureTracked,
    HandoffRecorded,
    MemoryRecalled,
    MemoryStored,
    MemorySuperseded,
    MemoryUpdated,
    ProgressTracked,
    TaskCreated,
)
from engram_runtime.journal.records import Prohibition
from engram_runtime.memory import Memory
from engram_runtime.memory.index import Index
from engram_runtime.memory.scope import Scope
from engram_runtime.paths import HomeFiles
from tests.unit.memory.list_journal import ListJournal, memory_over

pytestmark = pytest.mark.guarantee("G8")

WORDS = st.sampled_from(["redis", "port 8080", "deploy", "HTTPServer", "never", "naïve café", "x" * 300])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
USERS = st.sampled_from(["default", "ann"])
IDS = st.integers(min_value=1, max_value=12)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        MemoryStored,
        content=TEXTS,
        importance=st.floats(0, 1),
        user=USERS,
        scope=st.sampled_from(["project", "global"]),
    ),
    st.builds(
        FailureTracked,
        error=TEXTS,
        component=WORDS,
        user=USERS,
        severity=st.sampled_from(["critical", "major", "minor"]),
    ),
    st.builds(
        ProgressTracked,
        feature=WORDS,
        status=st.sampled_from(["in_progress", "done"]),
        user=USERS,
        task=st.none(),
    ),
    st.builds(HandoffRecorded, summary=TEXTS, user=USERS, working_set=st.none(), task=st.none()),
    st.builds(MemoryUpdated, memory=IDS, content=TEXTS, importance=st.one_of(st.none(), st.floats(0, 1))),
    st.builds(MemorySuperseded, memory=IDS, by=IDS),
    st.builds(MemoryRecalled, memories=st.lists(IDS, max_size=3).map(tuple), query_digest=st.just("q")),
    st.builds(TaskCreated, name=WORDS, metadata=st.just({})),
)


def dump(memory: Memory) -> list[bytes]:
    """Every row and the whole text index, as bytes."""
    rows = memory.rows(limit=None)
    with memory._index.connection() as connection:
        words = connection.execute("SELECT * FROM lines ORDER BY id").fetchall()
        counts = connection.execute("SELECT * FROM recalls ORDER BY project").fetchall()
    return [msgspec.json.encode(row) for row in (*rows, words, counts)]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.sampled_from(["one", "two"]), st.booleans()), max_size=20))
def test_a_rebuild_gives_the_rows_that_were_there(story: list[tuple[Event, str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal, home = ListJournal(), Path(folder)
        memory = memory_over(journal, home)
        for event, project, look in story:
            journal.append(event, project=project)
            if look:
                memory.catch_up()
        before = dump(memory)
        memory.close()
        (HomeFiles(home).memory).unlink()
        rebuilt = memory_over(journal, home)
        assert dump(rebuilt) == before
        rebuilt.close()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["one", "two", "three"]),
            USERS,
            st.sampled_from(["project", "global"]),
            st.sampled_from(["alpha beta", "alpha gamma", "beta gamma"]),
        ),
        max_size=15,
    ),
    st.sampled_from(["one", "two"]),
    USERS,
)
def test_a_recall_never_sees_another_projects_or_users_memories(
    stored: list[tuple[str, str, Any, str]], project: str, user: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = ListJournal()
        for where, who, scope, text in stored:
            event = MemoryStored(content=text, importance=0.5, user=who, scope=scope)
            journal.append(event, project=where)
        memory = memory_over(journal, Path(folder), project=project)
        seen = {hit.memory.id for hit in memory.recall("alpha beta gamma", k=100, user=user).hits}
        allowed = {
            place
            for place, (where, who, scope, _) in enumerate(stored, start=1)
            if who == user and (where == project or scope == "global")
        }
        assert seen == allowed
        # The other half of a recall, by meaning, looks at the rows of this selection.
        scope = Scope(project, user)
        selected = memory._index.select(f"m.id IN ({scope.selection})", scope.selection_values)
        assert {row.id for row in selected} == allowed
        memory.close()


def test_a_feature_is_one_memory_however_often_it_is_tracked(memory: Memory, journal: ListJournal) -> None:
    (first,) = journal.append(ProgressTracked(feature="login", status="in_progress", completion=0.4, task=7))
    journal.append(ProgressTracked(feature="login", status="blocked", blockers=("no keys",), task=7))
    (other_task,) = journal.append(ProgressTracked(feature="login", status="done", task=8))
    rows = memory.rows(memory_type="progress")
    assert [row.id for row in rows] == [other_task, first]
    assert rows[1].content == "Feature login is blocked. Blocked by: no keys."
    assert (rows[1].importance, rows[1].metadata["status"]) == (0.9, "blocked")
    assert memory.recall("keys").hits[0].memory.id == first
    assert rows[1].created_at < rows[1].updated_at


def test_a_failure_is_a_memory_with_cause_and_fix(memory: Memory, journal: ListJournal) -> None:
    event = FailureTracked(
        error="MissingGreenlet in get_invoice",
        component="billing",
        root_cause="lazy load after commit",
        fix="selectinload",
        severity="critical",
        related_test_ids=("test_invoice",),
        task=3,
    )
    (place,) = journal.append(event)
    (hit,) = memory.recall("lazy load", memory_type="failure").hits
    assert hit.memory.id == place
    assert hit.memory.content == (
        "Failure in billing (critical): MissingGreenlet in get_invoice."
        " Cause: lazy load after commit. Fix: selectinload. Tests: test_invoice."
    )
    assert (hit.memory.category, hit.memory.importance, hit.memory.task) == ("failure", 0.9, 3)
    assert set(hit.memory.metadata) >= {
        "type", "error", "component", "severity", "root_cause", "fix", "related_test_ids", "timestamp", "task_id",
    }  # fmt: skip
    assert memory.recall("lazy load", memory_type="handoff").hits == ()


def test_a_handoff_is_a_memory_that_says_what_must_not_be_redone(
    memory: Memory, journal: ListJournal
) -> None:
    journal.append(
        HandoffRecorded(
            summary="Half of the importer works",
            completed=("parser",),
            next_steps=("writer",),
            must_not_redo=(Prohibition(action="drop the old table", reason="side_effect_emitted"),),
            must_preserve=("column order",),
        )
    )
    (row,) = memory.rows(memory_type="handoff")
    assert row.content == (
        "Handoff: Half of the importer works. Completed: parser. Next steps: writer."
        " Must not be redone: drop the old table (side_effect_emitted). Must be preserved: column order."
    )
    assert row.metadata["next_steps"] == ["writer"]
    assert row.metadata["must_not_redo"] == ["drop the old table (side_effect_emitted)"]


def test_an_unknown_or_forgotten_event_changes_nothing_and_is_passed(
    memory: Memory, journal: ListJournal
) -> None:
    memory.store("one thing", importance=0.5)
    journal.add_unknown()
    memory.store("another thing", importance=0.5)
    assert [row.id for row in memory.rows()] == [3, 1]


def test_many_events_are_applied_in_several_transactions(journal: ListJournal, home: Path) -> None:
    journal.append(*(MemoryStored(content=f"fact number {n}", importance=0.5) for n in range(2500)))
    index = Index(home, journal)
    assert index.catch_up() == 2500
    assert len(index.select("1", ())) == 2500
    index.close()
