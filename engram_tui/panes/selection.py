"""Places on the agent's screen and in its scrollback: what is selected, what was found. No widget here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engram_tui.panes.words import is_word

Place = tuple[int, int]
"""(row counted from the oldest line kept, column)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A stretch of text from one cell to another, both included, in reading order or not."""

    anchor: Place
    head: Place

    @property
    def ends(self) -> tuple[Place, Place]:
        """First and last cell in reading order."""
        return (self.anchor, self.head) if self.anchor <= self.head else (self.head, self.anchor)

    def cells(self, row: int, width: int) -> tuple[int, int] | None:
        """The columns (end excluded) selected in a row, or None."""
        first, last = self.ends
        if not first[0] <= row <= last[0]:
            return None
        return (first[1] if row == first[0] else 0, last[1] + 1 if row == last[0] else width)


def word_at(text: str, column: int) -> tuple[int, int]:
    """First and last column of the word around a column of a line of one-cell characters."""
    if column >= len(text) or not is_word(text[column]):
        return column, column
    first = last = column
    while first > 0 and is_word(text[first - 1]):
        first -= 1
    while last + 1 < len(text) and is_word(text[last + 1]):
        last += 1
    return first, last


@dataclass(slots=True)
class Matches:
    """What a search found: (row, column, length) in reading order, and which one is looked at."""

    found: Sequence[tuple[int, int, int]] = ()
    current: int = -1
    by_row: dict[int, list[tuple[int, int, bool]]] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Sequence[tuple[int, int, int]]) -> Matches:
        """The newest match is looked at first."""
        matches = cls(sorted(found))
        matches.look_at(len(matches.found) - 1)
        return matches

    def look_at(self, index: int) -> None:
        """Make a match the current one; past either end it comes round."""
        self.current = index % len(self.found) if self.found else -1
        self.by_row = {}
        for i, (row, column, length) in enumerate(self.found):
            self.by_row.setdefault(row, []).append((column, column + length, i == self.current))

    @property
    def row(self) -> int | None:
        """The row of the current match."""
        return self.found[self.current][0] if self.found else None
