"""What a terminal screen is to the rest of Engram, and the choice of the engine behind it.

Two engines implement `Screen`: `ghostty_screen` (libghostty-vt, exact and fast, native) and `plain_screen` (pure
Python, for machines without the native wheel and for output that crashes it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from engram_tui.terminal.protocol import Cursor, Match, Region, Run

BOLD: Final = 1
DIM: Final = 2
ITALIC: Final = 4
UNDERLINE: Final = 8
BLINK: Final = 16
INVERSE: Final = 32
INVISIBLE: Final = 64
STRIKE: Final = 128
OVERLINE: Final = 256

RGB: Final = 256
"""A colour is None (the default), 0..255 (palette) or RGB + 0xRRGGBB."""

Style = tuple[int | None, int | None, int]
"""(foreground, background, attributes): colours as `RGB` says, attributes a sum of the bits above."""

Row = list[Run]
"""Runs of a row from left to right; together they fill its width. A wide character's second cell has no text."""

PLAIN_STYLE: Final[Style] = (None, None, 0)

FOREGROUND: Final = (0xD8, 0xD8, 0xD8)
BACKGROUND: Final = (0x12, 0x12, 0x12)
"""Red, green and blue told to programs that ask for the default colours (OSC 10 and 11)."""

SCROLLBACK_ROWS: Final = 10_000
MAX_CELLS: Final = 2000
"""Largest width and height accepted; a larger size is cut to this."""

ReplyCallback = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes of the agent's terminal that matter outside the emulator.

    mouse: tracking mode (0 none, 9, 1000, 1002, 1003). synchronized: the agent is in the middle of a repaint it wants
    shown at once (mode 2026).
    """

    mouse: int = 0
    alternate: bool = False
    bracketed_paste: bool = False
    synchronized: bool = False


class Screen(Protocol):
    """A terminal emulator without a terminal: bytes in, cells out."""

    engine: str
    """`ghostty` or `plain`."""
    on_reply: ReplyCallback | None
    """Called with what the terminal answers to queries; None drops the answers."""

    @property
    def cols(self) -> int:
        """Width in cells."""

    @property
    def rows(self) -> int:
        """Height in cells."""

    def feed(self, data: bytes) -> None:
        """Interpret output of the agent; any split of the stream gives the same screen."""

    def resize(self, cols: int, rows: int) -> None:
        """Change the size in cells, cut to 1..MAX_CELLS."""

    def changed_rows(self) -> list[tuple[int, Row]]:
        """Rows of the live screen that look different from what this or `all_rows` last returned."""

    def all_rows(self) -> list[Row]:
        """Every row of the live screen."""

    def viewport(self, offset: int) -> list[Row]:
        """The rows seen when scrolled back by `offset` rows, cut to what there is."""

    @property
    def cursor(self) -> Cursor:
        """Where the cursor is on the live screen."""

    @property
    def modes(self) -> Modes:
        """Modes as they are now."""

    @property
    def title(self) -> str:
        """Window title set by the agent, or empty."""

    @property
    def scrollback(self) -> int:
        """Rows above the live screen."""

    def text(self) -> str:
        """The live screen as lines without trailing blanks."""

    def search(self, needle: str, limit: int = 1000) -> list[Match]:
        """Occurrences in scrollback and screen, the newest first; letters of ASCII match in either case."""

    def region_text(self, region: Region) -> str:
        """Text of a region, wrapped lines joined, trailing blanks cut; positions outside are cut to what there is."""

    def encode_key(self, key: str, character: str | None) -> bytes:
        """Bytes a key sends under the modes the agent has set; empty if it sends nothing."""

    def encode_mouse(self, action: str, button: int, x: int, y: int, modifiers: int = 0) -> bytes:
        """Bytes a mouse event sends; empty if the agent does not track it."""

    def encode_paste(self, text: str) -> bytes:
        """Bytes pasted text sends, without control characters that could act as keys."""

    def snapshot(self) -> bytes | None:
        """The whole state, for `restore` of the same engine; None if it cannot be taken at this byte."""

    def restore(self, snapshot: bytes) -> None:
        """Take over a state. Raises ValueError if it is not one of this engine's."""

    def close(self) -> None:
        """Free what the engine holds; the screen is not used afterwards."""


class ScreenUnavailable(Exception):
    """The native engine cannot be used on this machine; the text says why."""


class ShownRows:
    """Remembers the rows last handed out, so that a repaint of the same text is no change."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}

    def reset(self) -> None:
        """Forget everything: the next rows are all changes."""
        self._rows.clear()

    def changes(self, candidates: Iterable[tuple[int, Row]]) -> list[tuple[int, Row]]:
        """Those candidates that differ from what was shown, now taken as shown."""
        shown = self._rows
        changed = [(y, row) for y, row in candidates if shown.get(y) != row]
        shown.update(changed)
        return changed


def row_text(row: Row) -> str:
    """Text of a row without trailing blanks."""
    return "".join([run[0] for run in row]).rstrip()


def clamp_size(cols: int, rows: int) -> tuple[int, int]:
    """A size both engines accept."""
    return min(max(cols, 1), MAX_CELLS), min(max(rows, 1), MAX_CELLS)


def open_screen(cols: int, rows: int, on_reply: ReplyCallback | None, prefer: str | None = None) -> Screen:
    """A screen of the best engine here: ghostty, or plain if `prefer` says so or ghostty is not to be had."""
    if prefer != "plain":
        from engram_tui.terminal.ghostty_screen import GhosttyScreen

        try:
            return GhosttyScreen(cols, rows, on_reply)
        except ScreenUnavailable:
            if prefer == "ghostty":
                raise
    from engram_tui.terminal.plain_screen import PlainScreen

    return PlainScreen(cols, rows, on_reply)
