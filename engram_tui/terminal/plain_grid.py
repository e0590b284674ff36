"""The cells of the plain emulator: one screen of lines, and its scrollback. Knows nothing of sequences or cursors."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import Final

from engram_tui.terminal.protocol import Run
from engram_tui.terminal.screen import PLAIN_STYLE, SCROLLBACK_ROWS, Row, Style

PROTECTED: Final = 512
"""Attribute bit inside the grid: selective erase leaves the cell alone (DECSCA)."""
_VISIBLE: Final = 511
_LONGEST_CLUSTER: Final = 16

SavedLine = tuple[list[str], list[tuple[Style, int]], bool]
"""A line for a snapshot: texts of its cells, its styles run by run, whether it wraps into the next."""


@lru_cache(maxsize=8192)
def cell_width(character: str) -> int:
    """Cells a character takes: 0 for combining and format characters, 2 for wide ones, after Unicode's UAX 11."""
    codepoint = ord(character)
    if codepoint == 0xAD:
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc") or 0x1160 <= codepoint <= 0x11FF:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Line:
    """One row: the text of each cell (empty for the right half of a wide character) and its style."""

    __slots__ = ("styles", "texts", "wrapped")

    def __init__(self, cols: int, style: Style = PLAIN_STYLE) -> None:
        self.texts = [" "] * cols
        self.styles = [style] * cols
        self.wrapped = False

    def runs(self) -> Row:
        """The line as style runs."""
        styles = self.styles
        first = styles[0]
        if styles.count(first) == len(styles):
            return [("".join(self.texts), first[0], first[1], first[2] & _VISIBLE)]
        row: list[Run] = []
        x = 0
        for style, group in groupby(styles):
            end = x + sum(1 for _ in group)
            row.append(("".join(self.texts[x:end]), style[0], style[1], style[2] & _VISIBLE))
            x = end
        return row

    def is_blank(self) -> bool:
        """Whether nothing can be seen in it."""
        return self.texts.count(" ") == len(self.texts) and self.styles.count(PLAIN_STYLE) == len(self.styles)

    def put(self, x: int, texts: Iterable[str], count: int, style: Style) -> None:
        """Write `count` cells from x on; a wide character that loses a half becomes blank."""
        cells, end = self.texts, x + count
        if cells[x] == "" and x:
            cells[x - 1] = " "
        if end < len(cells) and cells[end] == "":
            cells[end] = " "
        cells[x:end] = texts
        self.styles[x:end] = [style] * count

    def combine(self, x: int, mark: str) -> None:
        """Add a combining character to the cell at x."""
        if self.texts[x] == "" and x:
            x -= 1
        if self.texts[x] and len(self.texts[x]) < _LONGEST_CLUSTER:
            self.texts[x] += mark

    def erase(self, start: int, stop: int, style: Style, selective: bool = False) -> None:
        """Blank the cells start..stop-1; selective erase keeps protected cells and all styles."""
        if start >= stop:
            return
        if selective:
            for x in range(start, stop):
                if not self.styles[x][2] & PROTECTED:
                    self.texts[x] = " "
        else:
            self.put(start, [" "] * (stop - start), stop - start, style)

    def insert(self, x: int, count: int, style: Style) -> None:
        """Push the cells from x on to the right by `count` blanks."""
        self._split_wide(x)
        cols = len(self.texts)
        count = min(count, cols - x)
        self.texts[x:x] = [" "] * count
        self.styles[x:x] = [style] * count
        del self.texts[cols:], self.styles[cols:]
        self._mend_end()

    def delete(self, x: int, count: int, style: Style) -> None:
        """Pull the cells right of x + count to x; blanks come in from the right."""
        count = min(count, len(self.texts) - x)
        self._split_wide(x)
        if x + count < len(self.texts):
            self._split_wide(x + count)
        del self.texts[x : x + count], self.styles[x : x + count]
        self.texts += [" "] * count
        self.styles += [style] * count

    def resize(self, cols: int) -> None:
        """Cut or extend to a width."""
        if cols < len(self.texts):
            del self.texts[cols:], self.styles[cols:]
            self._mend_end()
        else:
            grown = cols - len(self.texts)
            self.texts += [" "] * grown
            self.styles += [PLAIN_STYLE] * grown

    def _split_wide(self, x: int) -> None:
        if self.texts[x] == "" and x:
            self.texts[x] = self.texts[x - 1] = " "

    def _mend_end(self) -> None:
        """A wide character cut at the right edge becomes blank."""
        last = self.texts[-1]
        if last and cell_width(last[0]) == 2:
            self.texts[-1] = " "

    def saved(self) -> SavedLine:
        """The line as plain data."""
        return (
            self.texts,
            [(style, sum(1 for _ in group)) for style, group in groupby(self.styles)],
            self.wrapped,
        )

    @classmethod
    def from_saved(cls, saved: SavedLine) -> Line:
        """The line `saved` was made from."""
        line = cls(0)
        line.texts = saved[0]
        line.styles = [style for style, count in saved[1] for _ in range(count)]
        line.wrapped = saved[2]
        return line

    @classmethod
    def from_row(cls, row: Row, cols: int, wrapped: bool = False) -> Line:
        """A line showing `row`, cut or extended to a width."""
        line = cls(0)
        for text, foreground, background, attributes in row:
            style = (foreground, background, attributes)
            for character in text:
                width = cell_width(character)
                if width == 0:
                    if line.texts:
                        line.combine(len(line.texts) - 1, character)
                    continue
                line.texts += [character, ""][:width]
                line.styles += [style] * width
        line.resize(cols)
        line.wrapped = wrapped
        return line


class Grid:
    """The lines of one screen. `history` holds the rows scrolled off its top, oldest first, or is None for none."""

    def __init__(self, cols: int, rows: int, with_history: bool) -> None:
        self.cols, self.rows = cols, rows
        self.lines = [Line(cols) for _ in range(rows)]
        self.dirty = set(range(rows))
        self.history: deque[tuple[Row, bool]] | None = deque(maxlen=SCROLLBACK_ROWS) if with_history else None

    def scroll_up(self, top: int, bottom: int, count: int, style: Style, keep: bool = False) -> None:
        """Move the lines of a region up; `keep` puts those that leave the screen's top into the history."""
        count = min(count, bottom - top + 1)
        if keep and top == 0 and self.history is not None:
            self.history.extend((line.runs(), line.wrapped) for line in self.lines[:count])
        blanks = [Line(self.cols, style) for _ in range(count)]
        self.lines[top : bottom + 1] = self.lines[top + count : bottom + 1] + blanks
        self.dirty.update(range(top, bottom + 1))

    def scroll_down(self, top: int, bottom: int, count: int, style: Style) -> None:
        """Move the lines of a region down."""
        count = min(count, bottom - top + 1)
        blanks = [Line(self.cols, style) for _ in range(count)]
        self.lines[top : bottom + 1] = blanks + self.lines[top : bottom + 1 - count]
        self.dirty.update(range(top, bottom + 1))

    def clear(self, style: Style = PLAIN_STYLE) -> None:
        """Blank every line."""
        self.lines = [Line(self.cols, style) for _ in range(self.rows)]
        self.dirty.update(range(self.rows))

    def resize(self, cols: int, rows: int, cursor_y: int) -> int:
        """Change the size without reflow; the cursor's new row.

        A lower screen loses blank lines below the cursor, then lines at the top to the history; a higher one gets
        lines back from the history, then blank lines at the bottom.
        """
        while len(self.lines) > rows and len(self.lines) - 1 > cursor_y and self.lines[-1].is_blank():
            self.lines.pop()
        surplus = max(0, len(self.lines) - rows)
        if surplus and self.history is not None:
            self.history.extend((line.runs(), line.wrapped) for line in self.lines[:surplus])
        del self.lines[:surplus]
        cursor_y -= surplus
        for line in self.lines:
            line.resize(cols)
        while len(self.lines) < rows and self.history:
            row, wrapped = self.history.pop()
            self.lines.insert(0, Line.from_row(row, cols, wrapped))
            cursor_y += 1
        self.lines += [Line(cols) for _ in range(rows - len(self.lines))]
        self.cols, self.rows = cols, rows
        self.dirty = set(range(rows))
        return max(0, cursor_y)
