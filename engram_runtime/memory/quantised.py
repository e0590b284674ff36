"""Unit vectors as two signed bytes a number, and the exact nearest of them to a query.

By the coarse byte all rows are compared (100,000 rows of 384 are 38 MB, which one core reads in some 7 ms; as 32-bit
floats it takes twice as long and four times the memory). By what it left over, the fine byte, the few rows that can be
among the nearest are compared again. How much the coarse step can be wrong is known for each row, so none of the
nearest is missed; what remains (some 2e-6 of a cosine) is far below what ranking sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float32]
    Rows = NDArray[numpy.int64]

BLOCK = 2048
"""Rows turned to floats at a time: they stay in the processor's cache."""
FINE = 254.0
"""Steps of the fine byte within one of the coarse."""


class QuantisedRows:
    """Vectors of memories, each with the number of its last change and of its group. Not thread-safe."""

    def __init__(self, dim: int) -> None:
        import numpy

        self._dim = dim
        self._count = 0
        self._ids = numpy.empty(0, numpy.int64)
        self._change = numpy.empty(0, numpy.int64)
        self._group = numpy.empty(0, numpy.int32)
        self._scale = numpy.empty(0, numpy.float32)
        self._error = numpy.empty(0, numpy.float32)
        self._coarse = numpy.empty((0, dim), numpy.int8)
        self._fine = numpy.empty((0, dim), numpy.int8)
        self._order = numpy.empty(0, numpy.int64)
        self._sorted = numpy.empty(0, numpy.int64)
        self._moved = False

    def __len__(self) -> int:
        return self._count

    def reserve(self, more: int) -> None:
        """Makes room for so many more rows at once."""
        import numpy

        count = self._count + more
        if count <= len(self._ids):
            return
        room = count if not self._count else max(count, self._count + self._count // 8 + 256)
        for name in ("_ids", "_change", "_group", "_scale", "_error", "_coarse", "_fine"):
            old = getattr(self, name)
            new = numpy.empty((room, *old.shape[1:]), old.dtype)
            new[: self._count] = old[: self._count]
            setattr(self, name, new)

    def add(self, ids: Sequence[int], changes: Sequence[int], groups: Sequence[int], vectors: Floats) -> None:
        """Adds rows of memories that have none (`index` must follow before anything is asked)."""
        import numpy

        self.reserve(len(ids))
        rows = slice(self._count, self._count + len(ids))
        scale = numpy.maximum(numpy.abs(vectors).max(axis=1), 1e-12) / numpy.float32(127.0)
        steps = vectors / scale[:, None]
        coarse = numpy.rint(steps)
        left = steps - coarse
        self._scale[rows] = scale
        self._coarse[rows] = coarse
        self._fine[rows] = numpy.rint(left * numpy.float32(FINE))
        self._error[rows] = numpy.linalg.norm(left, axis=1) * scale
        self._ids[rows], self._change[rows], self._group[rows] = ids, changes, groups
        self._count += len(ids)

    def drop(self, ids: Sequence[int]) -> None:
        """Removes the rows of these memories: the last rows take their places (`index` must follow)."""
        import numpy

        for row in numpy.sort(self.rows_of(ids))[::-1].tolist():
            last = self._count - 1
            for column in (self._ids, self._change, self._group, self._scale, self._error):
                column[row] = column[last]
            self._coarse[row], self._fine[row] = self._coarse[last], self._fine[last]
            self._count = last
            self._moved = True

    def index(self) -> None:
        """Makes rows findable by their id."""
        import numpy

        fresh = self._ids[len(self._order) : self._count]
        follow = not len(self._sorted) or not len(fresh) or fresh[0] > self._sorted[-1]
        if self._moved or not follow or (numpy.diff(fresh) <= 0).any():
            self._order = numpy.argsort(self._ids[: self._count], kind="stable")
            self._sorted = self._ids[self._order]
        else:
            # Newer memories than all others, as nearly always: sorting 100,000 for each would cost more than storing.
            rows = numpy.arange(len(self._order), self._count)
            self._order = numpy.concatenate((self._order, rows))
            self._sorted = numpy.concatenate((self._sorted, fresh))
        self._moved = False

    def rows_of(self, ids: Sequence[int]) -> Rows:
        """The rows of those of these memories that have one."""
        import numpy

        wanted = numpy.unique(numpy.fromiter(ids, numpy.int64, len(ids)))
        if not len(self._order) or not len(wanted):
            return numpy.empty(0, numpy.int64)
        places = numpy.searchsorted(self._sorted, wanted).clip(max=len(self._order) - 1)
        rows: Rows = self._order[places]
        found: Rows = rows[self._ids[rows] == wanted]
        return found

    def rows_in(self, admits: Callable[[int], bool], groups: int) -> Rows:
        """The rows of the groups, numbered from 0, that are admitted."""
        import numpy

        mask = numpy.array([admits(number) for number in range(groups)], bool)
        if not self._count:
            return numpy.empty(0, numpy.int64)
        rows: Rows = numpy.flatnonzero(mask[self._group[: self._count]])
        return rows

    def older(self, rows: Rows, before: int) -> Rows:
        """Of these rows, those of memories with smaller ids than `before`."""
        kept: Rows = rows[self._ids[rows] < before]
        return kept

    def group(self, memory: int) -> int | None:
        """Number of a memory's group, None where it has no row."""
        rows = self.rows_of((memory,))
        return int(self._group[rows[0]]) if len(rows) else None

    def changes(self, ids: Sequence[int]) -> dict[int, int]:
        """Number of the last change of each of these memories that has a row."""
        rows = self.rows_of(ids)
        return dict(zip(self._ids[rows].tolist(), self._change[rows].tolist(), strict=True))

    def vectors(self, ids: Sequence[int]) -> Floats:
        """The vectors of these memories [n, dim], zeros for one that has none."""
        import numpy

        found = numpy.zeros((len(ids), self._dim), numpy.float32)
        rows = self.rows_of(ids)
        places = {memory: place for place, memory in enumerate(ids)}
        exact = self._coarse[rows].astype(numpy.float32) + self._fine[rows] / numpy.float32(FINE)
        found[[places[memory] for memory in self._ids[rows].tolist()]] = exact * self._scale[rows][:, None]
        return found

    def nearest(self, query: Floats, rows: Rows, k: int) -> Rows:
        """Of these rows the k nearest to a unit vector."""
        import numpy

        if len(rows) <= k:
            return rows
        about = self._coarse_cosines(query, rows)
        error = self._error[rows] * float(numpy.linalg.norm(query)) + 1e-6
        least = numpy.partition(about - error, len(rows) - k)[len(rows) - k]
        possible = rows[about + error >= least]
        nearest: Rows = possible[self._ranking(possible, self._cosines(query, possible))[:k]]
        return nearest

    def ranked(self, query: Floats, rows: Rows) -> dict[int, float]:
        """Cosines of these rows by id, best first; the older id first where they are equal."""
        cosines = self._cosines(query, rows)
        order = self._ranking(rows, cosines)
        values = [round(value, 6) for value in cosines[order].tolist()]
        return dict(zip(self._ids[rows[order]].tolist(), values, strict=True))

    def _ranking(self, rows: Rows, cosines: Floats) -> Rows:
        import numpy

        # By id where two are equal: the order does not depend on when a row was read.
        order: Rows = numpy.lexsort((self._ids[rows], -cosines.round(6)))
        return order

    def _coarse_cosines(self, query: Floats, rows: Rows) -> Floats:
        import numpy

        whole = len(rows) * 3 > self._count
        count = self._count if whole else len(rows)
        found = numpy.empty(count, numpy.float32)
        buffer = numpy.empty((BLOCK, self._dim), numpy.float32)
        for start in range(0, count, BLOCK):
            end = min(start + BLOCK, count)
            part = buffer[: end - start]
            numpy.copyto(part, self._coarse[start:end] if whole else self._coarse[rows[start:end]])
            numpy.dot(part, query, out=found[start:end])
        scaled: Floats = (found[rows] if whole else found) * self._scale[rows]
        return scaled

    def _cosines(self, query: Floats, rows: Rows) -> Floats:
        import numpy

        cosines = numpy.empty(len(rows), numpy.float32)
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            exact = self._coarse[part].astype(numpy.float32) + self._fine[part] / numpy.float32(FINE)
            # A sum of each row by itself: a matrix product's last bit would depend on the row's neighbours.
            cosines[start : start + BLOCK] = (exact * query).sum(axis=1) * self._scale[part]
        return cosines
