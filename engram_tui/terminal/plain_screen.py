"""The screen engine in pure Python: for machines without libghostty-vt, and for output that crashes it.

A subset of xterm in whole stretches of text. It lacks reflow, grapheme clusters and the kitty keyboard protocol.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from engram_tui.terminal.input import encode_legacy_key, encode_mouse, encode_paste, parse_key
from engram_tui.terminal.plain_cells import SavedCursor
from engram_tui.terminal.plain_grid import Grid, Line, SavedLine, cell_width
from engram_tui.terminal.plain_parser import Parser
from engram_tui.terminal.plain_terminal import PlainTerminal
from engram_tui.terminal.protocol import Cursor, Match, Region
from engram_tui.terminal.screen import (
    SCROLLBACK_ROWS,
    Modes,
    ReplyCallback,
    Row,
    ShownRows,
    Style,
    clamp_size,
    row_text,
)

_SNAPSHOT_MAGIC: Final = b"EPS1"
_MOUSE_MODES: Final = (1003, 1002, 1000, 9)
_MOUSE_ENCODINGS: Final = (1016, 1006, 1015, 1005)


class _SavedGrid(msgspec.Struct, array_like=True):
    lines: list[SavedLine]
    history: list[tuple[Row, bool]]


class _SavedScreen(msgspec.Struct, array_like=True):
    """Everything a `PlainTerminal` and its parser hold."""

    cols: int
    rows: int
    main: _SavedGrid
    alternate: _SavedGrid
    on_alternate: bool
    position: tuple[int, int]
    style: Style
    margins: tuple[int, int]
    modes: set[int]
    ansi_modes: set[int]
    tabs: set[int]
    charsets: tuple[list[str], int]
    cursors: list[SavedCursor]
    shape: int
    title: str
    last: str
    parser: tuple[bytes, str, str, str]


class PlainScreen:
    """`screen.Screen` in pure Python."""

    engine = "plain"

    def __init__(self, cols: int, rows: int, on_reply: ReplyCallback | None = None) -> None:
        self.on_reply = on_reply
        self._terminal = PlainTerminal(*clamp_size(cols, rows))
        self._parser = Parser(self._terminal)
        self._shown = ShownRows()

    @property
    def cols(self) -> int:
        """Width in cells."""
        return self._terminal.cols

    @property
    def rows(self) -> int:
        """Height in cells."""
        return self._terminal.rows

    def feed(self, data: bytes) -> None:
        """Interpret output of the agent."""
        self._parser.feed(data)
        replies = self._terminal.take_replies()
        if replies and self.on_reply is not None:
            self.on_reply(replies)

    def resize(self, cols: int, rows: int) -> None:
        """Change the size; lines are cut or extended, not reflowed."""
        self._terminal.resize(*clamp_size(cols, rows))
        self._shown.reset()

    def changed_rows(self) -> list[tuple[int, Row]]:
        """Rows that look different from what was last returned."""
        grid = self._terminal.grid
        dirty = sorted(grid.dirty)
        grid.dirty.clear()
        return self._shown.changes((y, grid.lines[y].runs()) for y in dirty)

    def all_rows(self) -> list[Row]:
        """Every row of the live screen."""
        rows = [line.runs() for line in self._terminal.grid.lines]
        self._terminal.grid.dirty.clear()
        self._shown.reset()
        self._shown.changes(enumerate(rows))
        return rows

    def viewport(self, offset: int) -> list[Row]:
        """The rows seen when scrolled back by `offset` rows."""
        first = self.scrollback - min(max(offset, 0), self.scrollback)
        return [self._line(y).runs() for y in range(first, first + self.rows)]

    @property
    def cursor(self) -> Cursor:
        """Where the cursor is."""
        terminal = self._terminal
        visible = 25 in terminal.modes
        return Cursor(min(terminal.x, terminal.cols - 1), terminal.y, visible, terminal.shape)

    @property
    def modes(self) -> Modes:
        """Modes as they are now."""
        terminal = self._terminal
        return Modes(
            mouse=self._first_set(_MOUSE_MODES),
            alternate=terminal.grid is terminal.alternate,
            bracketed_paste=2004 in terminal.modes,
            synchronized=2026 in terminal.modes,
        )

    @property
    def title(self) -> str:
        """Window title, or empty."""
        return self._terminal.title

    @property
    def scrollback(self) -> int:
        """Rows above the live screen."""
        return len(self._terminal.grid.history or ())

    def text(self) -> str:
        """The live screen as lines."""
        return "\n".join(row_text(line.runs()) for line in self._terminal.grid.lines)

    def search(self, needle: str, limit: int = 1000) -> list[Match]:
        """Occurrences, the newest first; one that wraps into the next line is not found."""
        wanted = _folded(needle)
        found: list[Match] = []
        if not wanted:
            return found
        for y in range(self.scrollback + self.rows - 1, -1, -1):
            columns, text = self._columns(y)
            start = text.rfind(wanted)
            while start >= 0 and len(found) < limit:
                found.append(Match(y, columns[start], y, columns[start + len(wanted)] - 1))
                start = text.rfind(wanted, 0, start + len(wanted) - 1)
            if len(found) >= limit:
                break
        return found

    def region_text(self, region: Region) -> str:
        """Text of a region, wrapped lines joined."""
        last = self.scrollback + self.rows - 1
        start, end = (region.row, region.column), (region.end_row, region.end_column)
        (top, left), (bottom, right) = sorted([start, end])
        if region.rectangle:
            left, right = sorted((region.column, region.end_column))
        parts: list[str] = []
        for y in range(min(max(top, 0), last), min(max(bottom, 0), last) + 1):
            line = self._line(y)
            begin = max(left, 0) if region.rectangle or y == top else 0
            stop = right + 1 if region.rectangle or y == bottom else self.cols
            text = "".join(line.texts[begin : max(stop, 0)])
            joined = line.wrapped and y != bottom and not region.rectangle
            parts.append(text if joined else text.rstrip() + "\n")
        return "".join(parts).rstrip("\n")

    def encode_key(self, key: str, character: str | None) -> bytes:
        """Bytes a key sends."""
        terminal = self._terminal
        return encode_legacy_key(parse_key(key, character), 1 in terminal.modes, 20 in terminal.ansi_modes)

    def encode_mouse(self, action: str, button: int, x: int, y: int, modifiers: int = 0) -> bytes:
        """Bytes a mouse event sends."""
        tracking, encoding = self._first_set(_MOUSE_MODES), self._first_set(_MOUSE_ENCODINGS)
        return encode_mouse(tracking, encoding, action, button, x, y, modifiers, (self.cols, self.rows))

    def encode_paste(self, text: str) -> bytes:
        """Bytes pasted text sends."""
        return encode_paste(text, 2004 in self._terminal.modes)

    def snapshot(self) -> bytes | None:
        """The whole state; always possible."""
        terminal = self._terminal
        saved = _SavedScreen(
            cols=terminal.cols,
            rows=terminal.rows,
            main=_save_grid(terminal.main),
            alternate=_save_grid(terminal.alternate),
            on_alternate=terminal.grid is terminal.alternate,
            position=(terminal.x, terminal.y),
            style=terminal.style,
            margins=(terminal.top, terminal.bottom),
            modes=terminal.modes,
            ansi_modes=terminal.ansi_modes,
            tabs=terminal.tabs,
            charsets=(terminal.charsets, terminal.shift),
            cursors=terminal.cursors,
            shape=terminal.shape,
            title=terminal.title,
            last=terminal.last,
            parser=self._parser.state(),
        )
        return _SNAPSHOT_MAGIC + msgspec.msgpack.encode(saved)

    def restore(self, snapshot: bytes) -> None:
        """Take over a state. Raises ValueError if it is not one of this engine's."""
        if not snapshot.startswith(_SNAPSHOT_MAGIC):
            raise ValueError("not a snapshot of the plain engine")
        try:
            saved = msgspec.msgpack.decode(snapshot[len(_SNAPSHOT_MAGIC) :], type=_SavedScreen)
        except msgspec.DecodeError as error:
            raise ValueError(f"the snapshot cannot be decoded: {error}") from error
        terminal = PlainTerminal(saved.cols, saved.rows)
        _load_grid(terminal.main, saved.main)
        _load_grid(terminal.alternate, saved.alternate)
        terminal.grid = terminal.alternate if saved.on_alternate else terminal.main
        terminal.x, terminal.y = saved.position
        terminal.style = saved.style
        terminal.top, terminal.bottom = saved.margins
        terminal.modes, terminal.ansi_modes, terminal.tabs = saved.modes, saved.ansi_modes, saved.tabs
        terminal.charsets, terminal.shift = saved.charsets
        terminal.cursors = saved.cursors
        terminal.shape, terminal.title, terminal.last = saved.shape, saved.title, saved.last
        self._terminal, self._parser = terminal, Parser(terminal)
        self._parser.set_state(saved.parser)
        self._shown.reset()

    def close(self) -> None:
        """Nothing to free."""

    def _first_set(self, numbers: tuple[int, ...]) -> int:
        return next((number for number in numbers if number in self._terminal.modes), 0)

    def _line(self, y: int) -> Line:
        """A line by its absolute row."""
        history = self._terminal.grid.history or ()
        if y >= len(history):
            return self._terminal.grid.lines[y - len(history)]
        row, wrapped = history[y]
        return Line.from_row(row, self.cols, wrapped)

    def _columns(self, y: int) -> tuple[list[int], str]:
        """Folded text of a row, and for each of its characters (and its end) the column."""
        history = self._terminal.grid.history or ()
        row = history[y][0] if y < len(history) else self._terminal.grid.lines[y - len(history)].runs()
        text = _folded("".join([run[0] for run in row]))
        if text.isascii():
            return list(range(len(text) + 1)), text
        columns = [0]
        for character in text:
            columns.append(columns[-1] + cell_width(character))
        # A combining character belongs to the cell before it.
        return [min(here, max(0, after - 1)) for here, after in pairwise(columns)] + [columns[-1]], text


def _folded(text: str) -> str:
    """ASCII letters in lower case, everything else (and the length) as it is."""
    return text.translate(_LOWER)


_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _save_grid(grid: Grid) -> _SavedGrid:
    return _SavedGrid([line.saved() for line in grid.lines], list(grid.history or ()))


def _load_grid(grid: Grid, saved: _SavedGrid) -> None:
    grid.lines = [Line.from_saved(line) for line in saved.lines]
    if grid.history is not None:
        grid.history.extend(saved.history[-SCROLLBACK_ROWS:])
