"""The screen engine on libghostty-vt (the `pyghostty` wheel): exact, with reflow, graphemes and the kitty keyboard.

The library is native and has crashed on mutated streams: only the screen process may use it. What it does not do is
done here: DECSTR (soft reset), which it ignores, and DEL, which it would print.
"""

from __future__ import annotations

from typing import Any, Final

from engram_tui.terminal import ghostty_binding
from engram_tui.terminal.ghostty_keys import KeyEncoder
from engram_tui.terminal.ghostty_rows import RowReader
from engram_tui.terminal.input import encode_mouse, encode_paste, parse_key
from engram_tui.terminal.protocol import Cursor, Match, Region
from engram_tui.terminal.screen import (
    BACKGROUND,
    FOREGROUND,
    PLAIN_STYLE,
    SCROLLBACK_ROWS,
    Modes,
    ReplyCallback,
    Row,
    ScreenUnavailable,
    ShownRows,
    clamp_size,
    row_text,
)

_CELL_BYTES: Final = 9
_ROW_BYTES: Final = 100
"""What the library needs for a cell and for a row, with what its pages leave unused (measured, 20 to 300 columns)."""
_NO_LIMIT: Final = 1 << 40
_CONTINUATION_BYTES: Final = 1 << 20  # makes a snapshot possible in the middle of a sequence
_CELL_PIXELS: Final = (8, 16)
_ESCAPE: Final = b"\x1b"
_SOFT_RESET: Final = b"\x1b[!p"
_SOFT_RESET_EQUIVALENT: Final = b"\x1b[?25h\x1b[4l\x1b[?1l\x1b[?6l\x1b[?7h\x1b>\x1b[0m\x1b(B\x1b)B\x0f\x1b[r"
_SNAPSHOT_MAGIC: Final = b"EGS1"
_MOUSE_MODES: Final = (1003, 1002, 1000, 9)
_MOUSE_ENCODINGS: Final = (1016, 1006, 1015, 1005)


class GhosttyScreen:
    """`screen.Screen` on libghostty-vt. Raises ScreenUnavailable if the library is missing or not as expected."""

    engine = "ghostty"

    def __init__(self, cols: int, rows: int, on_reply: ReplyCallback | None = None) -> None:
        self._binding = ghostty_binding.load()
        self._ffi, self._lib = self._binding.ffi, self._binding.lib
        self.cols, self.rows = clamp_size(cols, rows)
        self.on_reply = on_reply
        self._replies: list[bytes] = []
        self._held_tail = b""
        self._shown = ShownRows()
        self._sizes = self._ffi.new("size_t*")
        self._callbacks = self._make_callbacks()
        terminal = self._ffi.new("GhosttyTerminal*")
        if self._lib.ghostty_terminal_new(self._ffi.NULL, terminal, self.cols, self.rows):
            raise ScreenUnavailable("libghostty-vt made no terminal")
        self._terminal = terminal[0]
        self._reader = RowReader(self._binding)
        self._keys = KeyEncoder(self._binding)
        self._configure()
        self._check_layout()
        self.feed(b"\x1b[?2027h")  # grapheme clusters are off until asked for

    def feed(self, data: bytes) -> None:
        """Interpret output of the agent."""
        data = data.replace(b"\x7f", b"")
        if self._held_tail or _ESCAPE in data:
            self._feed_with_resets(data)
        else:
            self._write(data)
        if self._replies:
            replies = b"".join(self._replies)
            self._replies.clear()
            if self.on_reply is not None:
                self.on_reply(replies)

    def _feed_with_resets(self, data: bytes) -> None:
        start = 0
        # A soft reset may be split over feeds: the library has had its first part and ignores the whole.
        joined = self._held_tail + data
        while (found := joined.find(_SOFT_RESET, start)) >= 0:
            stop = found + len(_SOFT_RESET)
            self._write(joined[max(start, len(self._held_tail)) : stop])
            self._soft_reset()
            start = stop
        self._write(joined[max(start, len(self._held_tail)) :])
        tail = joined[max(start, len(joined) - len(_SOFT_RESET) + 1) :]
        self._held_tail = tail[tail.rfind(_ESCAPE) :] if _ESCAPE in tail else b""

    def resize(self, cols: int, rows: int) -> None:
        """Change the size; the primary screen is reflowed."""
        cols, rows = clamp_size(cols, rows)
        self._limit_scrollback(max(cols, self.cols))
        if self._lib.ghostty_terminal_resize(self._terminal, cols, rows, *_CELL_PIXELS):
            raise MemoryError("libghostty-vt could not resize")
        self.cols, self.rows = cols, rows
        self._limit_scrollback(cols)
        self._shown.reset()

    def changed_rows(self) -> list[tuple[int, Row]]:
        """Rows that look different from what was last returned."""
        if not self._reader.update(self._terminal):
            return []
        return self._shown.changes(self._reader.dirty_rows(self._on_one_page()))

    def all_rows(self) -> list[Row]:
        """Every row of the live screen."""
        rows = self._read_rows()
        self._shown.reset()
        self._shown.changes(enumerate(rows))
        return rows

    def viewport(self, offset: int) -> list[Row]:
        """The rows seen when scrolled back by `offset` rows."""
        scrollback = self.scrollback
        offset = min(max(offset, 0), scrollback)
        if offset == 0:
            return self._read_rows()
        self._scroll(self._lib.GHOSTTY_SCROLL_VIEWPORT_ROW, scrollback - offset)
        rows = self._read_rows()
        self._scroll(self._lib.GHOSTTY_SCROLL_VIEWPORT_BOTTOM, 0)
        return rows

    @property
    def cursor(self) -> Cursor:
        """Where the cursor is."""
        lib = self._lib
        self._reader.update(self._terminal)
        return Cursor(
            min(self._get("uint16_t", lib.GHOSTTY_TERMINAL_DATA_CURSOR_X), self.cols - 1),
            self._get("uint16_t", lib.GHOSTTY_TERMINAL_DATA_CURSOR_Y),
            bool(self._get("bool", lib.GHOSTTY_TERMINAL_DATA_CURSOR_VISIBLE)),
            self._reader.cursor_shape(),
        )

    @property
    def modes(self) -> Modes:
        """Modes as they are now."""
        active = self._get("GhosttyTerminalScreen", self._lib.GHOSTTY_TERMINAL_DATA_ACTIVE_SCREEN)
        return Modes(
            mouse=self._first_set(_MOUSE_MODES),
            alternate=active == self._lib.GHOSTTY_TERMINAL_SCREEN_ALTERNATE,
            bracketed_paste=self._mode(2004),
            synchronized=self._mode(2026),
        )

    @property
    def title(self) -> str:
        """Window title, or empty."""
        title = self._ffi.new("GhosttyString*")
        if self._lib.ghostty_terminal_get(self._terminal, self._lib.GHOSTTY_TERMINAL_DATA_TITLE, title):
            return ""
        return bytes(self._ffi.buffer(title.ptr, title.len)).decode("utf-8", "replace") if title.len else ""

    @property
    def scrollback(self) -> int:
        """Rows above the live screen."""
        return int(self._get("size_t", self._lib.GHOSTTY_TERMINAL_DATA_SCROLLBACK_ROWS))

    def text(self) -> str:
        """The live screen as lines."""
        return "\n".join(map(row_text, self._read_rows()))

    def search(self, needle: str, limit: int = 1000) -> list[Match]:
        """Occurrences in scrollback and screen, the newest first."""
        if not needle:
            return []
        ffi, lib = self._ffi, self._lib
        search = ffi.new("GhosttySearch*")
        if lib.ghostty_search_new(ffi.NULL, search, self._terminal):
            return []
        try:
            encoded = needle.encode("utf-8", "replace")
            kept = ffi.new("uint8_t[]", encoded)
            text = ffi.new("GhosttyString*", {"ptr": kept, "len": len(encoded)})
            lib.ghostty_search_set(search[0], lib.GHOSTTY_SEARCH_OPT_NEEDLE, text)
            lib.ghostty_search_run(search[0])
            lib.ghostty_search_get(search[0], lib.GHOSTTY_SEARCH_DATA_TOTAL_MATCHES, self._sizes)
            count = self._sizes[0]
            found = ffi.new("GhosttySelection[]", max(count, 1))
            for index in range(count):
                found[index].size = ffi.sizeof("GhosttySelection")
            matches = ffi.new("GhosttySelectionBuffer*", {"ptr": found, "cap": count, "len": 0})
            lib.ghostty_search_get(search[0], lib.GHOSTTY_SEARCH_DATA_MATCHES, matches)
            spans = [
                Match(*self._point(found[i].start), *self._point(found[i].end)) for i in range(matches.len)
            ]
        finally:
            lib.ghostty_search_free(search[0])
        return sorted(spans, key=lambda match: (match.row, match.column), reverse=True)[:limit]

    def region_text(self, region: Region) -> str:
        """Text of a region, wrapped lines joined."""
        ffi, lib = self._ffi, self._lib
        last = self.scrollback + self.rows - 1
        options = ffi.new("GhosttyTerminalSelectionFormatOptions*")
        options.size = ffi.sizeof("GhosttyTerminalSelectionFormatOptions")
        options.emit = lib.GHOSTTY_FORMATTER_FORMAT_PLAIN
        options.unwrap = options.trim = True
        selection = ffi.new("GhosttySelection*")
        selection.size = ffi.sizeof("GhosttySelection")
        selection.start = self._reference(region.column, region.row, last)
        selection.end = self._reference(region.end_column, region.end_row, last)
        selection.rectangle = region.rectangle
        options.selection = selection
        text, length = ffi.new("uint8_t**"), self._sizes
        if lib.ghostty_terminal_selection_format_alloc(self._terminal, ffi.NULL, options[0], text, length):
            return ""
        try:
            return bytes(ffi.buffer(text[0], length[0])).decode("utf-8", "replace")
        finally:
            lib.ghostty_free(ffi.NULL, text[0], length[0])

    def encode_key(self, key: str, character: str | None) -> bytes:
        """Bytes a key sends, with the kitty protocol if the agent asked for it."""
        return self._keys.encode(self._terminal, parse_key(key, character))

    def encode_mouse(self, action: str, button: int, x: int, y: int, modifiers: int = 0) -> bytes:
        """Bytes a mouse event sends."""
        tracking, encoding = self._first_set(_MOUSE_MODES), self._first_set(_MOUSE_ENCODINGS)
        return encode_mouse(tracking, encoding, action, button, x, y, modifiers, (self.cols, self.rows))

    def encode_paste(self, text: str) -> bytes:
        """Bytes pasted text sends."""
        return encode_paste(text, self._mode(2004))

    def snapshot(self) -> bytes | None:
        """The whole state with scrollback; None in the middle of a sequence of more than 1 MB."""
        ffi, lib = self._ffi, self._lib
        data = ffi.new("uint8_t**")
        if lib.ghostty_snapshot_encode_alloc(self._terminal, ffi.NULL, data, self._sizes):
            return None
        try:
            encoded = bytes(ffi.buffer(data[0], self._sizes[0]))
        finally:
            lib.ghostty_free(ffi.NULL, data[0], self._sizes[0])
        return _SNAPSHOT_MAGIC + bytes((len(self._held_tail),)) + self._held_tail + encoded

    def restore(self, snapshot: bytes) -> None:
        """Take over a state. Raises ValueError if it is not one of this engine's."""
        if not snapshot.startswith(_SNAPSHOT_MAGIC) or len(snapshot) < 6:
            raise ValueError("not a snapshot of the ghostty engine")
        ffi, lib = self._ffi, self._lib
        body = 5 + snapshot[4]
        encoded = ffi.from_buffer("uint8_t[]", snapshot[body:])
        decoder, terminal = ffi.new("GhosttySnapshotDecoder*"), ffi.new("GhosttyTerminal*")
        if lib.ghostty_snapshot_decoder_new_buf(ffi.NULL, decoder, encoded, len(encoded)):
            raise ValueError("the snapshot cannot be read")
        self._sizes[0] = _CONTINUATION_BYTES
        lib.ghostty_snapshot_decoder_set(
            decoder[0], lib.GHOSTTY_SNAPSHOT_DECODER_OPT_MAX_CONTINUATION_BYTES, self._sizes
        )
        lib.ghostty_snapshot_decoder_set(
            decoder[0], lib.GHOSTTY_SNAPSHOT_DECODER_OPT_RETAIN_CONTINUATION, ffi.new("bool*", True)
        )
        result = lib.ghostty_snapshot_decoder_decode(decoder[0], terminal)
        lib.ghostty_snapshot_decoder_free(decoder[0])
        if result:
            raise ValueError(f"the snapshot cannot be decoded ({result})")
        self.close()
        self._terminal = terminal[0]
        self._held_tail = snapshot[5:body]
        self._reader, self._keys = RowReader(self._binding), KeyEncoder(self._binding)
        self.cols = int(self._get("uint16_t", lib.GHOSTTY_TERMINAL_DATA_COLS))
        self.rows = int(self._get("uint16_t", lib.GHOSTTY_TERMINAL_DATA_ROWS))
        self._configure()
        self._shown.reset()

    def close(self) -> None:
        """Free the native terminal."""
        self._reader.close()
        self._keys.close()
        self._lib.ghostty_terminal_free(self._terminal)

    # --- the library's own terms ------------------------------------------------------------------------------------

    def _make_callbacks(self) -> dict[int, Any]:
        """Callbacks by option; kept here because the library does not keep them alive."""
        ffi, lib = self._ffi, self._lib

        def write_pty(terminal: Any, user: Any, data: Any, length: int) -> None:
            self._replies.append(bytes(ffi.buffer(data, length)))

        def report_size(terminal: Any, user: Any, size: Any) -> bool:
            size.rows, size.columns = self.rows, self.cols
            size.cell_width, size.cell_height = _CELL_PIXELS
            return True

        def colour_scheme(terminal: Any, user: Any, scheme: Any) -> bool:
            scheme[0] = lib.GHOSTTY_COLOR_SCHEME_DARK
            return True

        return {
            lib.GHOSTTY_TERMINAL_OPT_WRITE_PTY: ffi.callback("GhosttyTerminalWritePtyFn", write_pty),
            lib.GHOSTTY_TERMINAL_OPT_SIZE: ffi.callback("GhosttyTerminalSizeFn", report_size),
            lib.GHOSTTY_TERMINAL_OPT_COLOR_SCHEME: ffi.callback(
                "GhosttyTerminalColorSchemeFn", colour_scheme
            ),
        }

    def _configure(self) -> None:
        ffi, lib = self._ffi, self._lib
        self._limit_scrollback(self.cols)
        self._set_size(lib.GHOSTTY_TERMINAL_OPT_CONTINUATION_MAX_BYTES, _CONTINUATION_BYTES)
        for option, colour in (
            (lib.GHOSTTY_TERMINAL_OPT_COLOR_FOREGROUND, FOREGROUND),
            (lib.GHOSTTY_TERMINAL_OPT_COLOR_BACKGROUND, BACKGROUND),
        ):
            lib.ghostty_terminal_set(self._terminal, option, ffi.new("GhosttyColorRgb*", colour))
        for option, callback in self._callbacks.items():
            lib.ghostty_terminal_set(self._terminal, option, callback)

    def _limit_scrollback(self, cols: int) -> None:
        """Keep about `SCROLLBACK_ROWS` rows of that width.

        By bytes, which drops whole pages: dropping single rows, as the limit on lines does, makes a flood cost six
        to nine times as much (measured). The library's default of 10,000 bytes would keep a few hundred rows.
        """
        limit = SCROLLBACK_ROWS * (_CELL_BYTES * cols + _ROW_BYTES)
        self._set_size(self._lib.GHOSTTY_TERMINAL_OPT_SCROLLBACK_MAX_LINES, _NO_LIMIT)
        self._set_size(self._lib.GHOSTTY_TERMINAL_OPT_SCROLLBACK_MAX_BYTES, limit)

    def _set_size(self, option: int, value: int) -> None:
        self._lib.ghostty_terminal_set(self._terminal, option, self._ffi.new("size_t*", value))

    def _check_layout(self) -> None:
        """Refuse a library whose raw cells are not laid out as `ghostty_rows` reads them."""
        self._write("a\x1b[31mb你\x1b[0m\x1b[48;5;20m\x1b[K".encode())
        row = self._read_rows()[0]
        self._write(b"\x1bc")
        expected = [("a", *PLAIN_STYLE), ("b你", 1, None, 0)]
        if self.cols >= 8 and (row[:2] != expected or row[2][1:] != (None, 20, 0)):
            raise ScreenUnavailable("libghostty-vt has another cell layout")

    def _write(self, data: bytes) -> None:
        if data:
            self._lib.ghostty_terminal_vt_write(self._terminal, data, len(data))

    def _soft_reset(self) -> None:
        cursor = self.cursor
        self._write(_SOFT_RESET_EQUIVALENT + b"\x1b[%d;%dH" % (cursor.y + 1, cursor.x + 1))

    def _get(self, ctype: str, key: int) -> Any:
        value = self._ffi.new(ctype + "*")
        if self._lib.ghostty_terminal_get(self._terminal, key, value):
            raise LookupError(f"libghostty-vt does not know datum {key}")
        return value[0]

    def _mode(self, number: int) -> bool:
        mode = self._ffi.new("GhosttyTerminalModeConfig*", {"mode": number})
        self._lib.ghostty_terminal_get(self._terminal, self._lib.GHOSTTY_TERMINAL_DATA_MODE, mode)
        return bool(mode.value)

    def _first_set(self, numbers: tuple[int, ...]) -> int:
        return next((number for number in numbers if self._mode(number)), 0)

    def _read_rows(self) -> list[Row]:
        self._reader.update(self._terminal)
        return self._reader.rows(one_page=False)

    def _scroll(self, tag: int, value: int) -> None:
        self._binding.scroll_viewport(
            self._terminal,
            self._ffi.new("GhosttyScrollViewportS*", {"tag": tag, "value": {"value": value}})[0],
        )

    def _reference(self, x: int, y: int, last_row: int, tag: int | None = None) -> Any:
        point = self._ffi.new("GhosttyPointS*")
        point.tag = self._lib.GHOSTTY_POINT_TAG_SCREEN if tag is None else tag
        point.value.x, point.value.y = min(max(x, 0), self.cols - 1), min(max(y, 0), last_row)
        reference = self._ffi.new("GhosttyGridRef*")
        reference.size = self._ffi.sizeof("GhosttyGridRef")
        self._binding.grid_ref(self._terminal, point[0], reference)
        return reference[0]

    def _on_one_page(self) -> bool:
        last, tag = self.rows - 1, self._lib.GHOSTTY_POINT_TAG_VIEWPORT
        return bool(self._reference(0, 0, last, tag).node == self._reference(0, last, last, tag).node)

    def _point(self, reference: Any) -> tuple[int, int]:
        """Row and column of a grid reference, counted from the oldest row."""
        point = self._ffi.new("GhosttyPointCoordinate*")
        self._lib.ghostty_terminal_point_from_grid_ref(
            self._terminal, self._ffi.addressof(reference), self._lib.GHOSTTY_POINT_TAG_SCREEN, point
        )
        return int(point.y), int(point.x)
