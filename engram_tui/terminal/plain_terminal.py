"""What sequences mean in the plain emulator: dispatch, modes, titles, replies. Numbers and names are xterm's
(https://invisible-island.net/xterm/ctlseqs/ctlseqs.html)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engram_tui.terminal.plain_cells import INITIAL_MODES, PlainCells, SavedCursor, argument
from engram_tui.terminal.plain_grid import PROTECTED
from engram_tui.terminal.plain_style import apply_sgr, erased
from engram_tui.terminal.protocol import BAR, BLOCK, UNDERLINE
from engram_tui.terminal.screen import BACKGROUND, FOREGROUND, PLAIN_STYLE

_KNOWN_MODES: Final = frozenset(
    (
        1,
        5,
        6,
        7,
        9,
        12,
        25,
        47,
        66,
        1000,
        1002,
        1003,
        1004,
        1005,
        1006,
        1015,
        1016,
        1047,
        1048,
        1049,
        2004,
        2026,
    )
)
_LONGEST_PARAMETERS: Final = 32


class PlainTerminal(PlainCells):
    """The emulated terminal: the `plain_parser.Handler` that changes its cells and answers its queries."""

    def __init__(self, cols: int, rows: int) -> None:
        self.title = ""
        self._replies: list[bytes] = []
        super().__init__(cols, rows)

    def reset(self) -> None:
        """Everything but the cells as at the start."""
        super().reset()
        self.shape = BLOCK

    def take_replies(self) -> bytes:
        """Answers to queries since the last call."""
        replies = b"".join(self._replies)
        self._replies.clear()
        return replies

    # --- sequences --------------------------------------------------------------------------------------------------

    def escape(self, intermediates: str, final: str) -> None:
        """A sequence of ESC without parameters."""
        match intermediates + final:
            case "7":
                self.save_cursor([])
            case "8":
                self.restore_cursor([])
            case "D":
                self.line_feed()
            case "E":
                self.x = 0
                self.line_feed()
            case "M":
                self.reverse_line_feed()
            case "H":
                self.tabs.add(min(self.x, self.cols - 1))
            case "c":
                self.grid = self.main
                self.main.clear()
                self.alternate.clear()
                self.title = ""
                self.reset()
            case "#8":
                for line in self.grid.lines:
                    line.put(0, "E" * self.cols, self.cols, PLAIN_STYLE)
                self.grid.dirty.update(range(self.rows))
                self.x = self.y = 0
                self.top, self.bottom = 0, self.rows - 1
            case _ if intermediates in ("(", ")"):
                self.charsets["()".index(intermediates)] = final

    def csi(self, prefix: str, parameters: str, intermediates: str, final: str) -> None:
        """A control sequence; unknown ones do nothing."""
        name = prefix + intermediates + final
        if name == "m":
            self.style = apply_sgr(self.style, parameters)
        elif (action := _ACTIONS.get(name)) is not None:
            numbers = [
                int(part) if part and len(part) < 8 else 0 if not part else 9999999
                for part in parameters.replace(":", ";").split(";")[:_LONGEST_PARAMETERS]
            ]
            action(self, numbers)

    def string(self, kind: str, content: str) -> None:
        """OSC 0, 1, 2 (titles), 10 and 11 (colours asked for), and DECRQSS; the rest does nothing."""
        if kind == "P" and content.startswith("$q"):
            known = {"m": "0m", "r": f"{self.top + 1};{self.bottom + 1}r", " q": "2 q", '"p': '61;1"p'}
            answer = known.get(content[2:])
            self._reply(f"\x1bP1$r{answer}\x1b\\" if answer else "\x1bP0$r\x1b\\")
        elif kind == "]":
            number, _, text = content.partition(";")
            if number in ("0", "2"):
                self.title = text
            elif number in ("10", "11") and text == "?":
                red, green, blue = FOREGROUND if number == "10" else BACKGROUND
                self._reply(
                    f"\x1b]{number};rgb:{red:02x}{red:02x}/{green:02x}{green:02x}/{blue:02x}{blue:02x}\x1b\\"
                )

    def _reply(self, text: str) -> None:
        self._replies.append(text.encode())

    # --- modes and reports ------------------------------------------------------------------------------------------

    def _set_ansi_modes(self, numbers: list[int]) -> None:
        self.ansi_modes.update(number for number in numbers if number in (4, 20))

    def _reset_ansi_modes(self, numbers: list[int]) -> None:
        self.ansi_modes.difference_update(numbers)

    def _set_modes(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in _KNOWN_MODES:
                self.modes.add(number)
            if number == 6:
                self.move_to(0, 0)
            elif number in (47, 1047, 1049):
                self._show_alternate(number)
            elif number == 1048:
                self.save_cursor([])

    def _reset_modes(self, numbers: list[int]) -> None:
        for number in numbers:
            self.modes.discard(number)
            if number == 6:
                self.move_to(0, 0)
            elif number in (47, 1047, 1049):
                self._show_main(number)
            elif number == 1048:
                self.restore_cursor([])

    def _show_alternate(self, number: int) -> None:
        if self.grid is self.alternate:
            return
        if number == 1049:
            self.save_cursor([])
        self.grid = self.alternate
        self.grid.clear(erased(self.style))

    def _show_main(self, number: int) -> None:
        if self.grid is self.main:
            return
        self.modes -= {47, 1047, 1049}
        self.grid = self.main
        self.grid.dirty.update(range(self.rows))
        if number == 1049:
            self.restore_cursor([])

    def _soft_reset(self, numbers: list[int]) -> None:
        self.modes = (self.modes - {1, 6, 66}) | INITIAL_MODES
        self.ansi_modes.clear()
        self.style = PLAIN_STYLE
        self.charsets, self.shift = ["B", "B"], 0
        self.top, self.bottom = 0, self.rows - 1
        self.cursors[self.grid is self.alternate] = SavedCursor(0, 0, PLAIN_STYLE, False, ["B", "B"], 0)

    def _cursor_shape(self, numbers: list[int]) -> None:
        self.shape = {3: UNDERLINE, 4: UNDERLINE, 5: BAR, 6: BAR}.get(numbers[0], BLOCK)

    def _protect(self, numbers: list[int]) -> None:
        foreground, background, attributes = self.style
        attributes = attributes | PROTECTED if numbers[0] == 1 else attributes & ~PROTECTED
        self.style = (foreground, background, attributes)

    def _report_status(self, numbers: list[int]) -> None:
        if numbers[0] == 5:
            self._reply("\x1b[0n")
        elif numbers[0] == 6:
            row = self.y - (self.top if 6 in self.modes else 0)
            self._reply(f"\x1b[{row + 1};{min(self.x, self.cols - 1) + 1}R")

    def _report_mode(self, numbers: list[int]) -> None:
        number = numbers[0]
        state = 0 if number not in _KNOWN_MODES else 1 if number in self.modes else 2
        self._reply(f"\x1b[?{number};{state}$y")

    def _report_window(self, numbers: list[int]) -> None:
        if numbers[0] == 18:
            self._reply(f"\x1b[8;{self.rows};{self.cols}t")

    def _report_attributes(self, numbers: list[int]) -> None:
        if numbers[0] == 0:
            self._reply("\x1b[?62;22c")

    def _report_secondary_attributes(self, numbers: list[int]) -> None:
        if numbers[0] == 0:
            self._reply("\x1b[>1;0;0c")

    def _report_version(self, numbers: list[int]) -> None:
        if numbers[0] == 0:
            self._reply("\x1bP>|engram\x1b\\")


_ACTIONS: Final[dict[str, Callable[[PlainTerminal, list[int]], None]]] = {
    "@": PlainTerminal.insert_characters,
    "A": lambda terminal, numbers: terminal.move_by(0, -argument(numbers, 0)),
    "B": lambda terminal, numbers: terminal.move_by(0, argument(numbers, 0)),
    "e": lambda terminal, numbers: terminal.move_by(0, argument(numbers, 0)),
    "C": lambda terminal, numbers: terminal.move_by(argument(numbers, 0), 0),
    "a": lambda terminal, numbers: terminal.move_by(argument(numbers, 0), 0),
    "D": lambda terminal, numbers: terminal.move_by(-argument(numbers, 0), 0),
    "E": PlainTerminal.next_line,
    "F": PlainTerminal.previous_line,
    "G": PlainTerminal.to_column,
    "`": PlainTerminal.to_column,
    "H": PlainTerminal.to_position,
    "f": PlainTerminal.to_position,
    "I": PlainTerminal.tab_forward,
    "Z": PlainTerminal.tab_back,
    "J": PlainTerminal.erase_display,
    "?J": lambda terminal, numbers: terminal.erase_display(numbers, selective=True),
    "K": PlainTerminal.erase_line,
    "?K": lambda terminal, numbers: terminal.erase_line(numbers, selective=True),
    "L": PlainTerminal.insert_lines,
    "M": PlainTerminal.delete_lines,
    "P": PlainTerminal.delete_characters,
    "S": PlainTerminal.scroll_up,
    "T": PlainTerminal.scroll_down,
    "X": PlainTerminal.erase_characters,
    "b": PlainTerminal.repeat,
    "c": PlainTerminal._report_attributes,
    ">c": PlainTerminal._report_secondary_attributes,
    ">q": PlainTerminal._report_version,
    "d": PlainTerminal.to_row,
    "g": PlainTerminal.clear_tabs,
    "h": PlainTerminal._set_ansi_modes,
    "l": PlainTerminal._reset_ansi_modes,
    "?h": PlainTerminal._set_modes,
    "?l": PlainTerminal._reset_modes,
    "?$p": PlainTerminal._report_mode,
    "n": PlainTerminal._report_status,
    "t": PlainTerminal._report_window,
    "r": PlainTerminal.margins,
    "s": PlainTerminal.save_cursor,
    "u": PlainTerminal.restore_cursor,
    "!p": PlainTerminal._soft_reset,
    " q": PlainTerminal._cursor_shape,
    '"q': PlainTerminal._protect,
}
"""Control sequences by private prefix, intermediates and final character."""
