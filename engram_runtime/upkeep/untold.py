"""Events that were forgotten in part and whose rest was lost: what a lost `Forgotten` told of them.

An erased event's row is whole, as the chain has it, though what it says stands in a tombstone after it. Where that is
lost, its words are: they are looked for in derived rows like those of any event that lost them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from engram_runtime.journal.candidates import Loss
from engram_runtime.journal.chain import Row
from engram_runtime.journal.encoding import decode
from engram_runtime.journal.events import Forgotten


def with_untold(losses: list[Loss], rows: Iterable[Row]) -> list[Loss]:
    """The losses, with erased events of which no tombstone that is left tells what became of them; in order."""
    lost = _Runs((first, last) for first, last, _ in losses)
    stones: dict[int, Forgotten] = {}
    erased: list[int] = []
    others: set[int] = set()
    for row in rows:
        if row.kind == Forgotten.__name__:
            stone = None if row.payload is None else decode(row.kind, row.version, row.payload)[0]
            if isinstance(stone, Forgotten):
                stones[row.position] = stone
        elif row.position in lost:
            others.add(row.position)
        elif row.payload is None:
            erased.append(row.position)
    told = {told.position for stone in stones.values() for told in stone.retold}
    whole = _Runs(
        run for at, stone in stones.items() if _is_complete(at, stones, lost, others) for run in stone.ranges
    )
    last = max((place for _, end, _ in losses for place in _stones_up_to(end, lost, others)), default=0)
    untold = [Loss(at, at, "words") for at in erased if at < last and at not in told and at not in whole]
    return sorted([*losses, *untold])


def _is_complete(at: int, stones: dict[int, Forgotten], lost: _Runs, others: set[int]) -> bool:
    """Whether all parts of a tombstone are there: those after the first follow it, and name no ranges."""
    at += 1
    while at in stones and not stones[at].ranges:
        at += 1
    return at not in lost or at in others


def _stones_up_to(last: int, lost: _Runs, others: set[int]) -> Iterable[int]:
    """The last lost position up to one, of a run of them, that may have been a tombstone."""
    while last in lost:
        if last not in others:
            yield last
            return
        last -= 1


class _Runs:
    """Positions as runs: whether one is in any of them."""

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(runs):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, position: int) -> bool:
        place = bisect_right(self._firsts, position) - 1
        return place >= 0 and position <= self._lasts[place]
