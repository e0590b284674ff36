from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engram_runtime.errors import NotFound, StoreDamaged, UsageError
from engram_runtime.journal.events import MemoryStored
from engram_runtime.memory import Memory
from engram_runtime.paths import HomeFiles
from tests.unit.memory.list_journal import ListJournal, memory_over


def test_a_stored_memory_is_recalled_and_strengthened(memory: Memory) -> None:
    stored = memory.store(
        "Redis runs on port 6380", importance=0.7, category="strategy", metadata={"a": [1, None]}
    )
    answer = memory.recall("redis port")
    assert [hit.memory.id for hit in answer.hits] == [stored.memory]
    assert answer.semantic == "off"
    row = memory.row(stored.memory)
    assert row is not None
    assert (row.recalls, row.category, row.metadata) == (1, "strategy", {"a": [1, None]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": " "},
        {"importance": 7},
        {"importance": -0.1},
        {"importance": float("nan")},
        {"category": "rumour"},
        {"scope": "galaxy"},
    ],
)
def test_a_wrong_argument_is_refused_and_nothing_is_written(
    memory: Memory, journal: ListJournal, wrong: dict[str, Any]
) -> None:
    good: dict[str, Any] = {"content": "text", "importance": 0.5}
    with pytest.raises(UsageError):
        memory.store(**(good | wrong))
    assert journal.rows == []


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 101}, {"memory_type": "dream"}])
def test_a_wrong_recall_is_refused(memory: Memory, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        memory.recall("query", **wrong)


def test_an_update_gives_new_wording_that_is_found_and_old_wording_that_is_not(memory: Memory) -> None:
    stored = memory.store("The queue is Celery", importance=0.4)
    assert memory.update(stored.memory, "The queue is arq", importance=0.9).outcome == "updated"
    assert [hit.memory.content for hit in memory.recall("arq").hits] == ["The queue is arq"]
    assert memory.recall("celery").hits == ()
    assert memory.rows()[0].importance == 0.9


def test_only_memories_of_this_project_can_be_updated(memory: Memory, journal: ListJournal) -> None:
    (theirs,) = journal.append(MemoryStored(content="theirs", importance=0.5), project="two")
    for unknown in (theirs, 999):
        with pytest.raises(NotFound):
            memory.update(unknown, "mine now")


def test_rows_are_filtered_and_newest_first(memory: Memory, journal: ListJournal) -> None:
    for number in range(5):
        memory.store(f"fact {number}", importance=0.5, user="ann" if number % 2 else "default", task=number)
    assert [row.id for row in memory.rows(user="ann")] == [4, 2]
    assert [row.content for row in memory.rows(task=3)] == ["fact 3"]
    assert [row.id for row in memory.rows(limit=2)] == [5, 4]


def test_figures_count_what_is_there(memory: Memory) -> None:
    memory.store("alpha", importance=1.0)
    memory.store("beta", importance=0.5, category="failure")
    memory.recall("alpha")
    memory.recall("nothing of the kind")
    stats = memory.stats()
    assert (stats.total, stats.by_category, stats.by_type) == (2, {"fact": 1, "failure": 1}, {"memory": 2})
    assert (stats.recalls, stats.hit_rate, stats.lag, stats.embedder) == (2, 0.5, 2, "off")
    assert sum(stats.strength_histogram) == 2
    assert stats.strength_histogram[9] == 1
    assert 0.7 < stats.avg_strength < 0.8
    assert stats.bytes_on_disk > 0
    assert memory.stats(project="two").total == 0


def test_recall_goes_on_where_the_journal_refuses_writes(memory: Memory, journal: ListJournal) -> None:
    memory.store("Redis runs on port 6380", importance=0.7)
    journal.refuses = StoreDamaged("the journal fails its check")
    assert len(memory.recall("redis").hits) == 1
    with pytest.raises(StoreDamaged):
        memory.store("more", importance=0.5)


def test_what_another_process_stored_is_seen_at_once(
    memory: Memory, journal: ListJournal, home: Path
) -> None:
    other = memory_over(journal, home)
    other.store("Redis runs on port 6380", importance=0.7)
    assert len(memory.recall("redis").hits) == 1
    other.close()


def test_a_damaged_file_is_rebuilt_on_opening(memory: Memory, journal: ListJournal, home: Path) -> None:
    memory.store("Redis runs on port 6380", importance=0.7)
    memory.close()
    (HomeFiles(home).memory).write_bytes(b"this is no database" * 1000)
    again = memory_over(journal, home)
    assert len(again.recall("redis").hits) == 1
    again.close()


def test_a_file_damaged_inside_is_rebuilt_when_a_query_trips_over_it(
    journal: ListJournal, home: Path
) -> None:
    journal.append(*(MemoryStored(content=f"redis fact {n} " * 20, importance=0.5) for n in range(500)))
    first = memory_over(journal, home)
    first.catch_up()
    first.close()
    file = HomeFiles(home).memory
    whole = bytearray(file.read_bytes())
    # All pages after the first, which holds the schema.
    whole[4096 * 14 :] = os.urandom(len(whole) - 4096 * 14)
    file.write_bytes(whole)
    again = memory_over(journal, home)
    assert len(again.recall("redis", k=7).hits) == 7
    assert len(again.rows(limit=None)) == 500
    again.close()


def test_a_file_that_belongs_to_another_journal_is_rebuilt(memory: Memory, home: Path) -> None:
    for number in range(5):
        memory.store(f"old fact {number}", importance=0.5)
    memory.close()
    restored = ListJournal()
    restored.append(MemoryStored(content="restored fact", importance=0.5))
    again = memory_over(restored, home)
    assert [row.content for row in again.rows()] == ["restored fact"]
    again.close()


def test_rows_outlive_a_journal_that_lost_their_events(
    memory: Memory, journal: ListJournal, home: Path
) -> None:
    memory.store("Redis runs on port 6380", importance=0.5)
    memory.close()
    journal.rows.clear()
    journal.damaged = True
    again = memory_over(journal, home)
    assert len(again.recall("redis").hits) == 1
    again.close()


def test_a_forgotten_event_is_gone_after_a_rebuild(memory: Memory, journal: ListJournal, home: Path) -> None:
    memory.store("the password is xyzzy", importance=0.5)
    memory.store("Redis runs on port 6380", importance=0.5)
    journal.rows[0] = msgspec.structs.replace(journal.rows[0], event=None)
    memory.rebuild()
    assert [row.id for row in memory.rows()] == [2]
    assert b"xyzzy" not in b"".join(file.read_bytes() for file in home.iterdir())


def test_a_home_that_cannot_be_written_is_recalled_from_ram(journal: ListJournal, tmp_path: Path) -> None:
    journal.append(MemoryStored(content="Redis runs on port 6380", importance=0.5))
    memory = memory_over(journal, tmp_path / "nowhere" / "home")
    assert len(memory.recall("redis").hits) == 1
    assert memory.stats().bytes_on_disk == 0
    memory.close()
    assert not (tmp_path / "nowhere").exists()


def test_many_threads_store_and_recall_at_once(memory: Memory) -> None:
    def work(number: int) -> int:
        memory.store(f"fact{number % 10} about redis", importance=0.5)
        return len(memory.recall("redis", k=100).hits)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(40)))
    assert len(memory.rows()) == 10


def test_files_are_for_this_user_alone(memory: Memory, home: Path) -> None:
    memory.store("fact", importance=0.5)
    assert {file.stat().st_mode & 0o777 for file in home.iterdir()} == {0o600}


def test_recalling_loads_neither_numpy_nor_torch(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tests.unit.memory.list_journal import ListJournal, memory_over
memory = memory_over(ListJournal(), Path(sys.argv[1]))
memory.store("Redis runs on port 6380", importance=0.5)
assert memory.recall("redis").hits
memory.close()
print(sorted({"numpy", "torch", "sentence_transformers", "sqlalchemy", "textual"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
