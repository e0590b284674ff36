"""The cells and the cursor of the plain emulator: printing, moving, erasing, scrolling within margins.

Methods that take `numbers` carry out a control sequence with these parameters (`plain_terminal` has the table).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from engram_tui.terminal.plain_grid import Grid, Line, cell_width
from engram_tui.terminal.plain_style import erased
from engram_tui.terminal.screen import PLAIN_STYLE, Style

_NARROW: Final = re.compile("[ -\u02ff‐-‧‰-⁞℀-⌙␀-◼⠀-⣿\ue0a0-\ue0d4]+")
_GRAPHICS: Final = str.maketrans("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")
INITIAL_MODES: Final = frozenset((7, 25))


class SavedCursor(msgspec.Struct, array_like=True):
    """What DECSC saves."""

    x: int
    y: int
    style: Style
    origin: bool
    charsets: list[str]
    shift: int


class PlainCells:
    """Two screens of cells, a cursor, and the modes that decide how text goes in.

    x may equal the number of columns: the cursor is past the last column and the next character wraps.
    """

    def __init__(self, cols: int, rows: int) -> None:
        self.cols, self.rows = cols, rows
        self.main, self.alternate = Grid(cols, rows, True), Grid(cols, rows, False)
        self.grid = self.main
        self.reset()

    def reset(self) -> None:
        """Everything but the cells as at the start."""
        self.x = self.y = 0
        self.style: Style = PLAIN_STYLE
        self.top, self.bottom = 0, self.rows - 1
        self.modes = set(INITIAL_MODES)
        self.ansi_modes: set[int] = set()
        self.tabs = set(range(0, self.cols, 8))
        self.charsets, self.shift = ["B", "B"], 0
        self.cursors = [self._cursor(), self._cursor()]
        self.last = ""

    def resize(self, cols: int, rows: int) -> None:
        """Change the size of both screens; margins are reset."""
        for grid, saved in zip((self.main, self.alternate), self.cursors, strict=True):
            if grid is self.grid:
                self.y = min(grid.resize(cols, rows, self.y), rows - 1)
            else:
                saved.y = min(grid.resize(cols, rows, saved.y), rows - 1)
        self.tabs |= set(range(-(-self.cols // 8) * 8, cols, 8))
        self.cols, self.rows = cols, rows
        self.x = min(self.x, cols)
        self.top, self.bottom = 0, rows - 1

    # --- text -------------------------------------------------------------------------------------------------------

    def print(self, text: str) -> None:
        """Printable characters at the cursor."""
        if self.charsets[self.shift] == "0":
            text = text.translate(_GRAPHICS)
        self.last = text[-1]
        if text.isascii():
            self._print_narrow(text)
            return
        position = 0
        while position < len(text):
            if match := _NARROW.match(text, position):
                self._print_narrow(match[0])
                position = match.end()
            else:
                self._print_one(text[position])
                position += 1

    def _print_narrow(self, text: str) -> None:
        cols, wraps = self.cols, 7 in self.modes
        if not wraps and self.x + len(text) > cols:
            room = cols - min(self.x, cols - 1)
            text = text[: room - 1] + text[-1]
            self.x = cols - room
        while text:
            if self.x >= cols:
                self._wrap()
            part = text[: cols - self.x]
            self._write(part, len(part))
            text = text[len(part) :]

    def _print_one(self, character: str) -> None:
        width = cell_width(character)
        if width == 0:
            if self.x:
                self.grid.lines[self.y].combine(min(self.x, self.cols) - 1, character)
                self.grid.dirty.add(self.y)
            return
        if width == 1:
            self._print_narrow(character)
            return
        if self.cols < 2:
            return
        if self.x + 2 > self.cols:
            if 7 in self.modes:
                self._wrap()
            else:
                self.x = self.cols - 2
        self._write((character, ""), 2)

    def _write(self, texts: str | tuple[str, str], count: int) -> None:
        line = self.grid.lines[self.y]
        if 4 in self.ansi_modes:
            line.insert(self.x, count, self.style)
        line.put(self.x, texts, count, self.style)
        self.grid.dirty.add(self.y)
        self.x += count

    def _wrap(self) -> None:
        self.grid.lines[self.y].wrapped = True
        self.x = 0
        self.line_feed()

    def line_feed(self) -> None:
        """IND: down, scrolling at the bottom margin."""
        if self.y == self.bottom:
            self.grid.scroll_up(self.top, self.bottom, 1, erased(self.style), keep=True)
        elif self.y < self.rows - 1:
            self.y += 1

    def reverse_line_feed(self) -> None:
        """RI: up, scrolling at the top margin."""
        if self.y == self.top:
            self.grid.scroll_down(self.top, self.bottom, 1, erased(self.style))
        elif self.y > 0:
            self.y -= 1

    def control(self, character: str) -> None:
        """A C0 control."""
        if character in "\n\v\f":
            if 20 in self.ansi_modes:
                self.x = 0
            self.line_feed()
        elif character == "\r":
            self.x = 0
        elif character == "\b":
            self.x = max(0, min(self.x, self.cols - 1) - 1)
        elif character == "\t":
            self.tab_forward([1])
        elif character in "\x0e\x0f":
            self.shift = 1 if character == "\x0e" else 0

    # --- cursor -----------------------------------------------------------------------------------------------------

    def move_to(self, x: int, y: int) -> None:
        """Put the cursor at a cell; in origin mode rows count from, and stay within, the margins."""
        low, high = (self.top, self.bottom) if 6 in self.modes else (0, self.rows - 1)
        self.x = min(max(x, 0), self.cols - 1)
        self.y = min(max(y + low, low), high)

    def move_by(self, dx: int, dy: int) -> None:
        """Move, stopping at the edges and, from inside, at the margins."""
        self.x = min(max(min(self.x, self.cols - 1) + dx, 0), self.cols - 1)
        low = self.top if self.y >= self.top else 0
        high = self.bottom if self.y <= self.bottom else self.rows - 1
        self.y = min(max(self.y + dy, low), high)

    def _cursor(self) -> SavedCursor:
        return SavedCursor(self.x, self.y, self.style, 6 in self.modes, list(self.charsets), self.shift)

    def save_cursor(self, numbers: list[int]) -> None:
        """DECSC."""
        self.cursors[self.grid is self.alternate] = self._cursor()

    def restore_cursor(self, numbers: list[int]) -> None:
        """DECRC."""
        saved = self.cursors[self.grid is self.alternate]
        self.x, self.y = min(saved.x, self.cols), min(saved.y, self.rows - 1)
        self.style, self.charsets, self.shift = saved.style, list(saved.charsets), saved.shift
        (self.modes.add if saved.origin else self.modes.discard)(6)

    def to_position(self, numbers: list[int]) -> None:
        """CUP, HVP."""
        self.move_to(argument(numbers, 1) - 1, argument(numbers, 0) - 1)

    def to_column(self, numbers: list[int]) -> None:
        """CHA, HPA."""
        self.x = min(argument(numbers, 0), self.cols) - 1

    def to_row(self, numbers: list[int]) -> None:
        """VPA."""
        self.move_to(min(self.x, self.cols - 1), argument(numbers, 0) - 1)

    def next_line(self, numbers: list[int]) -> None:
        """CNL."""
        self.move_by(-self.cols, argument(numbers, 0))

    def previous_line(self, numbers: list[int]) -> None:
        """CPL."""
        self.move_by(-self.cols, -argument(numbers, 0))

    def tab_forward(self, numbers: list[int]) -> None:
        """CHT."""
        for _ in range(min(argument(numbers, 0), self.cols)):
            after = [tab for tab in self.tabs if self.x < tab < self.cols]
            self.x = max(self.x, min(after, default=self.cols - 1))

    def tab_back(self, numbers: list[int]) -> None:
        """CBT."""
        for _ in range(min(argument(numbers, 0), self.cols)):
            self.x = max((tab for tab in self.tabs if tab < self.x), default=0)

    def clear_tabs(self, numbers: list[int]) -> None:
        """TBC: the tab stop here (0) or all of them (3)."""
        if numbers[0] == 3:
            self.tabs.clear()
        elif numbers[0] == 0:
            self.tabs.discard(self.x)

    def margins(self, numbers: list[int]) -> None:
        """DECSTBM: top and bottom row of the scrolling region."""
        top = argument(numbers, 0) - 1
        bottom = min(argument(numbers, 1, self.rows), self.rows) - 1
        if top < bottom:
            self.top, self.bottom = top, bottom
            self.move_to(0, 0)

    # --- erasing and moving cells -----------------------------------------------------------------------------------

    def erase_display(self, numbers: list[int], selective: bool = False) -> None:
        """ED: below (0), above (1), all (2), the scrollback (3); DECSED if selective."""
        kind = numbers[0]
        if kind == 3:
            if self.grid.history is not None:
                self.grid.history.clear()
            return
        if kind > 3:
            return
        if kind < 2:
            self.erase_line([kind], selective)
        first = self.y + 1 if kind == 0 else 0
        last = self.y - 1 if kind == 1 else self.rows - 1
        for y in range(first, last + 1):
            self.erase_cells(self.grid.lines[y], 0, self.cols, selective)
            self.grid.dirty.add(y)

    def erase_line(self, numbers: list[int], selective: bool = False) -> None:
        """EL: right (0), left (1), all (2) of the cursor; DECSEL if selective."""
        x = min(self.x, self.cols - 1)
        start, stop = {0: (x, self.cols), 1: (0, x + 1), 2: (0, self.cols)}.get(numbers[0], (0, 0))
        self.erase_cells(self.grid.lines[self.y], start, stop, selective)
        self.grid.dirty.add(self.y)

    def erase_cells(self, line: Line, start: int, stop: int, selective: bool) -> None:
        """Blank the cells start..stop-1 of a line with the current background."""
        line.erase(start, stop, erased(self.style), selective)
        if stop == self.cols:
            line.wrapped = False

    def erase_characters(self, numbers: list[int]) -> None:
        """ECH."""
        x = min(self.x, self.cols - 1)
        self.erase_cells(self.grid.lines[self.y], x, min(x + argument(numbers, 0), self.cols), False)
        self.grid.dirty.add(self.y)

    def insert_characters(self, numbers: list[int]) -> None:
        """ICH."""
        self.line_at_cursor().insert(self.x, argument(numbers, 0), erased(self.style))

    def delete_characters(self, numbers: list[int]) -> None:
        """DCH."""
        self.line_at_cursor().delete(self.x, argument(numbers, 0), erased(self.style))

    def line_at_cursor(self) -> Line:
        """The line to change at the cursor, which takes its place back on the last column."""
        self.x = min(self.x, self.cols - 1)
        self.grid.dirty.add(self.y)
        return self.grid.lines[self.y]

    def insert_lines(self, numbers: list[int]) -> None:
        """IL."""
        if self.top <= self.y <= self.bottom:
            self.grid.scroll_down(self.y, self.bottom, argument(numbers, 0), erased(self.style))
            self.x = 0

    def delete_lines(self, numbers: list[int]) -> None:
        """DL."""
        if self.top <= self.y <= self.bottom:
            self.grid.scroll_up(self.y, self.bottom, argument(numbers, 0), erased(self.style))
            self.x = 0

    def scroll_up(self, numbers: list[int]) -> None:
        """SU."""
        self.grid.scroll_up(self.top, self.bottom, argument(numbers, 0), erased(self.style), keep=True)

    def scroll_down(self, numbers: list[int]) -> None:
        """SD."""
        if len(numbers) == 1:  # with five parameters it is xterm's highlight tracking
            self.grid.scroll_down(self.top, self.bottom, argument(numbers, 0), erased(self.style))

    def repeat(self, numbers: list[int]) -> None:
        """REP: the last character again."""
        if self.last:
            self.print(self.last * min(argument(numbers, 0), self.cols * self.rows))


def argument(numbers: list[int], index: int, default: int = 1) -> int:
    """A parameter, where missing and 0 mean the default."""
    return (numbers[index] if index < len(numbers) else 0) or default
