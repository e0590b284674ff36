"""Reads rows of a libghostty-vt terminal as style runs.

The raw cells of a row are one copy of 64-bit words: content tag (2 bits), content (24), style id (16), width (2), then
flags. The C ABI is not frozen upstream; `GhosttyScreen` checks this layout when it opens and refuses another one.
"""

from __future__ import annotations

from array import array
from itertools import groupby
from typing import Any, Final

from engram_tui.terminal import protocol
from engram_tui.terminal.ghostty_binding import Binding
from engram_tui.terminal.protocol import Run
from engram_tui.terminal.screen import (
    BLINK,
    BOLD,
    DIM,
    INVERSE,
    INVISIBLE,
    ITALIC,
    OVERLINE,
    PLAIN_STYLE,
    RGB,
    STRIKE,
    UNDERLINE,
    Row,
    Style,
)

_TAG: Final = 3
_BACKGROUND_ONLY: Final = 2
_CONTENT: Final = 0xFFFFFF << 2
_STYLE_ID: Final = 0xFFFF << 26
_WIDE: Final = 3 << 42
_SPACER_TAIL: Final = 2 << 42
_TEXT_BITS: Final = _TAG | _CONTENT | _WIDE
_STYLE_BITS: Final = _STYLE_ID | _BACKGROUND_ONLY


class _CellText(dict[int, "str | None"]):
    """Text of a cell by its text bits; None for a grapheme cluster, which has to be asked for."""

    def __missing__(self, bits: int) -> str | None:
        tag = bits & _TAG
        text: str | None = " "
        if bits & _WIDE == _SPACER_TAIL:
            text = ""
        elif tag == 0:
            codepoint = (bits >> 2) & 0x1FFFFF
            text = chr(codepoint) if codepoint else " "
        elif tag == 1:
            text = None
        if len(self) > 50_000:
            self.clear()
        self[bits] = text
        return text


class RowReader:
    """A render state of one terminal. Rows come from its viewport as it is when `update` is called."""

    def __init__(self, binding: Binding) -> None:
        ffi, lib = binding.ffi, binding.lib
        self._ffi, self._lib = ffi, lib
        self._state = ffi.new("GhosttyRenderState*")
        self._iterator = ffi.new("GhosttyRenderStateRowIterator*")
        self._cells = ffi.new("GhosttyRenderStateRowCells*")
        if (
            lib.ghostty_render_state_new(ffi.NULL, self._state)
            or lib.ghostty_render_state_row_iterator_new(ffi.NULL, self._iterator)
            or lib.ghostty_render_state_row_cells_new(ffi.NULL, self._cells)
        ):
            raise MemoryError("libghostty-vt has no render state")
        self._view = ffi.new("GhosttyCellsView*")
        self._y = ffi.new("uint16_t*")
        self._dirty = ffi.new("int*")
        self._shape = ffi.new("int*")
        self._style = ffi.new("GhosttyStyle*")
        self._style.size = ffi.sizeof("GhosttyStyle")
        self._style_bytes = ffi.buffer(self._style)
        self._length = ffi.new("uint32_t*")
        self._codepoints = ffi.new("uint32_t[]", 64)
        self._text = _CellText()
        self._styles: dict[bytes, Style] = {}
        # Style ids are per page and recycled: a meaning holds within one frame, and across rows only on one page.
        self._ids: dict[int, Style] = {}

    def close(self) -> None:
        """Free the native objects."""
        self._lib.ghostty_render_state_row_cells_free(self._cells[0])
        self._lib.ghostty_render_state_row_iterator_free(self._iterator[0])
        self._lib.ghostty_render_state_free(self._state[0])

    def update(self, terminal: Any) -> bool:
        """Take in the terminal's viewport; whether anything in it is dirty."""
        lib = self._lib
        if lib.ghostty_render_state_update(self._state[0], terminal):
            raise MemoryError("libghostty-vt could not update its render state")
        lib.ghostty_render_state_get(self._state[0], lib.GHOSTTY_RENDER_STATE_DATA_DIRTY, self._dirty)
        lib.ghostty_render_state_get(
            self._state[0], lib.GHOSTTY_RENDER_STATE_DATA_ROW_ITERATOR, self._iterator
        )
        return bool(self._dirty[0])

    def cursor_shape(self) -> int:
        """The cursor's shape as of the last update, as in `protocol.Cursor`."""
        lib, shape = self._lib, self._shape
        lib.ghostty_render_state_get(self._state[0], lib.GHOSTTY_RENDER_STATE_DATA_CURSOR_VISUAL_STYLE, shape)
        if shape[0] == lib.GHOSTTY_RENDER_STATE_CURSOR_VISUAL_STYLE_BAR:
            return protocol.BAR
        if shape[0] == lib.GHOSTTY_RENDER_STATE_CURSOR_VISUAL_STYLE_UNDERLINE:
            return protocol.UNDERLINE
        return protocol.BLOCK

    def dirty_rows(self, one_page: bool) -> list[tuple[int, Row]]:
        """The dirty rows, clean from now on. one_page: the viewport lies on one page of the terminal's memory."""
        lib = self._lib
        if self._dirty[0] == lib.GHOSTTY_RENDER_STATE_DIRTY_FULL:
            rows = list(enumerate(self.rows(one_page)))
        else:
            self._ids.clear()
            rows = []
            while lib.ghostty_render_state_row_iterator_next_dirty(self._iterator[0], self._y):
                rows.append((self._y[0], self._row(one_page)))
        lib.ghostty_render_state_clean(self._state[0])
        return rows

    def rows(self, one_page: bool) -> list[Row]:
        """Every row of the viewport; they stay dirty if they were."""
        self._ids.clear()
        rows = []
        while self._lib.ghostty_render_state_row_iterator_next(self._iterator[0]):
            rows.append(self._row(one_page))
        return rows

    def _row(self, one_page: bool) -> Row:
        lib, ffi, view = self._lib, self._ffi, self._view
        lib.ghostty_render_state_row_get(self._iterator[0], lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS_RAW, view)
        raw = ffi.buffer(view.ptr, view.len * 8)[:]
        if raw.count(0) == len(raw):
            return [(" " * view.len, None, None, 0)]
        cells = array("Q", raw)
        if not one_page:
            self._ids.clear()
        lib.ghostty_render_state_row_get(
            self._iterator[0], lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS, self._cells
        )
        texts = self._texts(cells)
        runs: list[Run] = []
        x = 0
        for bits, group in groupby([cell & _STYLE_BITS for cell in cells]):
            end = x + sum(1 for _ in group)
            if bits & _BACKGROUND_ONLY:
                runs += self._background_runs(cells[x:end])
            else:
                runs.append(("".join(texts[x:end]), *(self._style_of(x, bits) if bits else PLAIN_STYLE)))
            x = end
        return _merged(runs)

    def _texts(self, cells: array[int]) -> list[str]:
        known = self._text
        texts = [known[cell & _TEXT_BITS] for cell in cells]
        if None in texts:
            texts = [self._cluster(x) if text is None else text for x, text in enumerate(texts)]
        return texts  # type: ignore[return-value]

    def _cluster(self, x: int) -> str:
        lib, cells = self._lib, self._cells[0]
        lib.ghostty_render_state_row_cells_select(cells, x)
        lib.ghostty_render_state_row_cells_get(
            cells, lib.GHOSTTY_RENDER_STATE_ROW_CELLS_DATA_GRAPHEMES_LEN, self._length
        )
        count = self._length[0]
        if count > len(self._codepoints):  # the C call writes as many as there are
            self._codepoints = self._ffi.new("uint32_t[]", count * 2)
        lib.ghostty_render_state_row_cells_get(
            cells, lib.GHOSTTY_RENDER_STATE_ROW_CELLS_DATA_GRAPHEMES_BUF, self._codepoints
        )
        return "".join(map(chr, self._codepoints[0:count]))

    def _style_of(self, x: int, bits: int) -> Style:
        style = self._ids.get(bits)
        if style is None:
            lib, cells = self._lib, self._cells[0]
            lib.ghostty_render_state_row_cells_select(cells, x)
            lib.ghostty_render_state_row_cells_get(
                cells, lib.GHOSTTY_RENDER_STATE_ROW_CELLS_DATA_STYLE, self._style
            )
            key = self._style_bytes[:]
            style = self._styles.get(key)
            if style is None:
                if len(self._styles) > 10_000:
                    self._styles.clear()
                style = self._styles[key] = self._decode_style()
            self._ids[bits] = style
        return style

    def _decode_style(self) -> Style:
        style = self._style
        attributes = (
            BOLD * style.bold
            + DIM * style.faint
            + ITALIC * style.italic
            + UNDERLINE * (style.underline != 0)
            + BLINK * style.blink
            + INVERSE * style.inverse
            + INVISIBLE * style.invisible
            + STRIKE * style.strikethrough
            + OVERLINE * style.overline
        )
        return _colour(style.fg_color), _colour(style.bg_color), int(attributes)

    @staticmethod
    def _background_runs(cells: array[int]) -> list[Run]:
        """Blanks whose content bits are their background colour: a palette index, or red, green, blue bytes."""
        runs: list[Run] = []
        for bits, group in groupby([cell & (_TAG | _CONTENT) for cell in cells]):
            value = bits >> 2
            if bits & _TAG == _BACKGROUND_ONLY:
                background = value & 0xFF
            else:
                background = RGB + ((value & 0xFF) << 16 | value & 0xFF00 | value >> 16 & 0xFF)
            runs.append((" " * sum(1 for _ in group), None, background, 0))
        return runs


def _colour(colour: Any) -> int | None:
    if colour.tag == 0:
        return None
    if colour.tag == 1:
        return int(colour.value.palette)
    rgb = colour.value.rgb
    return int(RGB + (rgb.r << 16 | rgb.g << 8 | rgb.b))


def _merged(runs: list[Run]) -> Row:
    """Neighbouring runs of one look as one (a written blank and an erased one look alike)."""
    row: Row = []
    for run in runs:
        if row and row[-1][1:] == run[1:]:
            row[-1] = (row[-1][0] + run[0], *run[1:])
        else:
            row.append(run)
    return row
