from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_runtime.journal.events import MemoryStored, MemoryUpdated
from engram_runtime.memory import index as index_module
from engram_runtime.memory.index import Index
from engram_runtime.memory.vectors import BlobStore, VecStore
from tests.unit.memory.list_journal import ListJournal

ALL = "SELECT id FROM memories"


def unit(*numbers: float) -> bytes:
    length = math.sqrt(sum(number * number for number in numbers))
    return struct.pack(f"<{len(numbers)}f", *(number / length for number in numbers))


def put(index: Index, memory: int, vector: bytes, model: str = "m") -> None:
    with index.transaction():
        index.vectors.prepare(model, len(vector) // 4)
        index.vectors.put(memory, vector)


@pytest.fixture(params=["sqlite-vec", "numpy"])
def index(
    request: pytest.FixtureRequest, journal: ListJournal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Index]:
    if request.param == "numpy":
        monkeypatch.setattr(index_module, "load_vec", lambda connection: False)
    journal.append(*(MemoryStored(content=f"fact {n}", importance=0.5) for n in range(4)))
    opened = Index(home, journal)
    assert isinstance(opened.vectors, VecStore if request.param == "sqlite-vec" else BlobStore)
    opened.catch_up()
    yield opened
    opened.close()


def test_the_nearest_come_first_with_their_cosine(index: Index) -> None:
    put(index, 1, unit(1, 0, 0))
    put(index, 2, unit(1, 1, 0))
    put(index, 3, unit(-1, 0, 0))
    found = index.vectors.nearest(unit(1, 0, 0), ALL, (), 10)
    assert list(found) == [1, 2, 3]
    assert list(found.values()) == pytest.approx([1.0, math.sqrt(0.5), -1.0], abs=1e-6)
    assert list(index.vectors.nearest(unit(1, 0, 0), ALL, (), 1)) == [1]


def test_only_rows_in_scope_are_compared(index: Index) -> None:
    for memory in (1, 2, 3):
        put(index, memory, unit(1, memory, 0))
    assert set(index.vectors.nearest(unit(1, 0, 0), f"{ALL} WHERE id > ?", (1,), 10)) == {2, 3}


def test_rows_without_a_vector_are_the_lag_newest_first(index: Index) -> None:
    put(index, 3, unit(1, 0))
    assert [memory for memory, _ in index.vectors.missing(10)] == [4, 2, 1]
    assert [memory for memory, _ in index.vectors.missing(1)] == [4]
    assert index.vectors.lag() == 3


def test_a_reworded_memory_loses_its_vector_until_it_is_embedded_again(
    index: Index, journal: ListJournal
) -> None:
    put(index, 1, unit(1, 0))
    put(index, 2, unit(0, 1))
    journal.append(MemoryUpdated(memory=1, content="another fact"))
    journal.append(MemoryUpdated(memory=2, content="fact 1", importance=0.9))
    index.catch_up()
    assert index.vectors.get(1) is None
    assert index.vectors.get(2) == unit(0, 1)
    assert list(index.vectors.nearest(unit(1, 0), ALL, (), 10)) == [2]
    put(index, 1, unit(0.6, 0.8))
    assert index.vectors.nearest(unit(0.6, 0.8), ALL, (), 1) == pytest.approx({1: 1.0}, abs=1e-6)


def test_another_model_makes_all_vectors_anew(index: Index) -> None:
    put(index, 1, unit(1, 0))
    put(index, 2, unit(1, 0, 0), model="larger")
    assert index.vectors.model() == ("larger", 3)
    assert index.vectors.lag() == 3
    assert index.vectors.nearest(unit(1, 0), ALL, (), 10) == {}
    assert list(index.vectors.nearest(unit(1, 0, 0), ALL, (), 10)) == [2]


def test_processes_with_and_without_sqlite_vec_share_a_file(
    journal: ListJournal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(MemoryStored(content="fact", importance=0.5))
    with_vec = Index(home, journal)
    monkeypatch.setattr(index_module, "load_vec", lambda connection: False)
    without = Index(home, journal)
    with_vec.catch_up()
    put(with_vec, 1, unit(1, 0))
    put(without, 1, unit(1, 0))
    journal.append(MemoryUpdated(memory=1, content="reworded"))
    without.catch_up()
    assert with_vec.vectors.get(1) is None
    assert without.vectors.get(1) is None
    with_vec.close()
    without.close()
