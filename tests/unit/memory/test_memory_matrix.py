"""The worker's matrix: exact, and always as the memory file is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray

from engram_runtime.journal.events import MemoryStored, MemoryUpdated
from engram_runtime.memory import index as index_module
from engram_runtime.memory.index import Index
from engram_runtime.memory.matrix import Matrix
from engram_runtime.memory.quantised import QuantisedRows
from engram_runtime.memory.scope import Scope
from engram_runtime.paths import HomeFiles
from tests.unit.memory.list_journal import ListJournal

DIM = 48
LEFT = 2e-5
"""What two bytes a number leave of a cosine, with so few numbers."""
HERE = Scope("one", "default")


def units(count: int, seed: int = 0, spread: float = 1.0) -> NDArray[numpy.float32]:
    """Unit vectors; with a small spread all are much alike, as those of one subject are."""
    chance = numpy.random.default_rng(seed)
    rows = chance.standard_normal((count, DIM)) * spread + (spread < 1) * chance.standard_normal(DIM)
    return (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype(numpy.float32)


def table(rows: NDArray[numpy.float32]) -> QuantisedRows:
    made = QuantisedRows(rows.shape[1])
    made.add(range(len(rows)), [1] * len(rows), [0] * len(rows), rows)
    made.index()
    return made


@pytest.mark.parametrize("spread", [1.0, 0.05, 0.002])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_the_nearest_are_those_that_comparing_all_would_find(spread: float, k: int) -> None:
    rows = units(3000, spread=spread)
    made = table(rows)
    for query in units(10, seed=1, spread=spread):
        exact = (rows.astype(numpy.float64) @ query).round(6)
        found = made.ranked(query, made.nearest(query, numpy.arange(3000), k))
        assert len(found) == k
        # As good as the best: only rows that are equal to five digits may stand for each other.
        assert sorted(found.values(), reverse=True) == list(found.values())
        best = numpy.sort(exact)[::-1][:k]
        assert numpy.abs(numpy.array(list(found.values())) - best).max() <= LEFT
        assert all(abs(exact[row] - cosine) <= LEFT for row, cosine in found.items())


def test_the_order_of_reading_changes_nothing() -> None:
    rows = units(500, spread=0.05)
    forwards, backwards = table(rows), QuantisedRows(DIM)
    for row in reversed(range(500)):
        backwards.add([row], [1], [0], rows[row : row + 1])
    backwards.index()
    query = units(1, seed=5)[0]
    one = forwards.ranked(query, forwards.nearest(query, numpy.arange(500), 20))
    other = backwards.ranked(query, backwards.nearest(query, numpy.arange(500), 20))
    assert list(one.items()) == list(other.items())


def test_of_equal_rows_the_oldest_comes_first() -> None:
    row = units(1)
    made = QuantisedRows(DIM)
    made.add([9, 3, 5], [1, 2, 3], [0, 0, 0], numpy.repeat(row, 3, axis=0))
    made.index()
    assert list(made.ranked(row[0], numpy.arange(3))) == [3, 5, 9]


def test_rows_that_go_leave_the_others_findable() -> None:
    rows = units(100)
    made = table(rows)
    made.drop([0, 50, 98, 99, 1234])
    made.index()
    assert len(made) == 96
    assert made.rows_of([0, 50, 98, 99]).size == 0
    for row in (1, 49, 51, 97):
        assert list(made.ranked(rows[row], made.nearest(rows[row], numpy.arange(96), 1))) == [row]


@pytest.fixture(params=["sqlite-vec", "numpy"])
def index(
    request: pytest.FixtureRequest, journal: ListJournal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Index]:
    if request.param == "numpy":
        monkeypatch.setattr(index_module, "load_vec", lambda connection: False)
    journal.append(*(MemoryStored(content=f"fact {n}", importance=0.5) for n in range(2500)))
    opened = Index(home, journal)
    opened.catch_up()
    yield opened
    opened.close()


@pytest.fixture
def matrix(home: Path) -> Iterator[Matrix]:
    made = Matrix(HomeFiles(home).memory, "m", DIM)
    yield made
    made.close()


def put(index: Index, rows: dict[int, NDArray[numpy.float32]], model: str = "m") -> None:
    with index.transaction():
        index.vectors.prepare(model, DIM)
        for memory, row in rows.items():
            index.vectors.put(memory, row.tobytes())


def test_the_matrix_holds_what_the_file_holds_and_follows_it(
    index: Index, matrix: Matrix, journal: ListJournal
) -> None:
    rows = dict(enumerate(units(2500), 1))
    put(index, rows)
    matrix.refresh()
    assert len(matrix) == 2500
    assert matrix.share() == 1.0
    for memory in (1, 1024, 1025, 2500):
        assert list(matrix.nearest(rows[memory], HERE, 1)) == [memory]
    # One reworded and embedded again, one reworded and not yet, one new, in whatever order.
    journal.append(MemoryUpdated(memory=7, content="seven"), MemoryUpdated(memory=8, content="eight"))
    (new,) = journal.append(MemoryStored(content="new", importance=0.5))
    index.catch_up()
    fresh = dict(zip((7, new), units(2, seed=9), strict=True))
    put(index, fresh)
    matrix.refresh()
    assert len(matrix) == 2500
    assert list(matrix.nearest(fresh[7], HERE, 1)) == [7]
    assert list(matrix.nearest(fresh[new], HERE, 1)) == [new]
    assert matrix.nearest(rows[8], HERE, 1).keys() != {8}
    assert matrix.changes([7, 8, 9]).keys() == {7, 9}
    assert matrix.texts([7, 8]) == {7: "seven", 8: "eight"}


def test_what_was_asked_for_is_compared_whatever_its_scope(
    index: Index, matrix: Matrix, journal: ListJournal
) -> None:
    (theirs,) = journal.append(MemoryStored(content="theirs", importance=0.5), project="two")
    (shared,) = journal.append(MemoryStored(content="shared", importance=0.5, scope="global"), project="two")
    (others,) = journal.append(MemoryStored(content="others", importance=0.5, user="somebody else"))
    index.catch_up()
    near, far, row = units(1)[0], -units(1)[0], units(1, seed=2)[0]
    put(index, {theirs: near, shared: near, others: near, 1: row, 2: far})
    matrix.refresh()
    assert list(matrix.nearest(near, HERE, 10)) == [shared, 1, 2]
    assert list(matrix.nearest(near, HERE, 1, ids=(theirs, 2, 99999))) == [shared, theirs, 2]
    assert matrix.nearest(near, HERE, 0, ids=(theirs,)) == pytest.approx({theirs: 1.0}, abs=1e-5)
    assert matrix.nearest(near, Scope("two", "default"), 10).keys() == {theirs, shared}
    assert matrix.nearest(near, Scope("one", "default", "failure"), 10) == {}


def test_another_models_vectors_are_not_touched(index: Index, matrix: Matrix) -> None:
    put(index, {1: units(1)[0]}, model="other")
    matrix.refresh()
    assert len(matrix) == 0
    assert matrix.share() == 0.0
    put(index, {2: units(1)[0]})
    matrix.refresh()
    assert matrix.nearest(units(1)[0], HERE, 10).keys() == {2}
    assert math.isclose(matrix.share(), 1 / 2500)


@pytest.mark.slow
def test_a_file_made_anew_is_read_anew_and_one_that_went_is_let_go(
    index: Index, matrix: Matrix, home: Path
) -> None:
    put(index, {1: units(1)[0]})
    matrix.refresh()
    assert not matrix.is_stale()
    index.rebuild()
    assert matrix.is_stale()
    matrix.refresh()
    assert len(matrix) == 0
    put(index, {2: units(1)[0]})
    matrix.refresh()
    assert matrix.nearest(units(1)[0], HERE, 10).keys() == {2}
    index.close()
    for file in home.glob(f"{HomeFiles(home).memory.name}*"):
        file.unlink()
    matrix.refresh()
    assert len(matrix) == 0
