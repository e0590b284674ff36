"""A list of rows that keeps its place: new rows never move what a reader is looking at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from engram_tui.keymap import bindings
from engram_tui.panes.paint import Painted, Row, wrapped


class Rows(Painted, can_focus=True):
    """Scrollable rows on the line API. `tail` lists show their newest row first and follow it while unfocused."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    class Chosen(Message):
        """Enter or a second click on a row."""

        def __init__(self, rows: Rows, row: Row) -> None:
            super().__init__()
            self.rows = rows
            self.row = row

        @property
        def control(self) -> Rows:
            """The list it happened in."""
            return self.rows

    class Highlighted(Message):
        """The cursor went to another row."""

        def __init__(self, rows: Rows, row: Row) -> None:
            super().__init__()
            self.rows = rows
            self.row = row

        @property
        def control(self) -> Rows:
            """The list it happened in."""
            return self.rows

    class Vanished(Message):
        """The list is not shown any more; if the keys went here, they have to go elsewhere."""

    def __init__(self, *, id: str | None = None, selectable: bool = True, always: bool = False) -> None:
        """`selectable`: a cursor row is shown while focused; `always`: also while not."""
        super().__init__(id=id)
        self._rows: tuple[Row, ...] = ()
        self._empty = ""
        self._selectable = selectable
        self._always = always
        self.top = 0
        self.cursor = 0

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows as last given."""
        return self._rows

    @property
    def chosen(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if self._rows and self._selectable else None

    def on_hide(self) -> None:
        """Folded, or in something that was hidden."""
        self.post_message(self.Vanished())

    def show(self, rows: Sequence[Row], empty: str = "") -> None:
        """Replace the rows; `empty` is the lesson shown when there are none."""
        new = tuple(rows)
        if new == self._rows and empty == self._empty:
            return
        grown = len(new) != len(self._rows) or empty != self._empty
        shift = self._shift(new) if self.has_focus or self._always else 0
        self._rows, self._empty = new, empty
        if self.has_focus or self._always:
            self.cursor = self._clamped(self.cursor + shift)
            self.top = max(0, self.top + shift)
        else:
            self.cursor = self.top = 0
        self._keep_in_range()
        self.refresh(layout=grown and self.styles.is_auto_height)

    def _shift(self, new: tuple[Row, ...]) -> int:
        """How far the row under the cursor moved (0 if it is gone)."""
        if not self._rows:
            return 0
        key = self._rows[self._clamped(self.cursor)].key
        where = next((i for i, r in enumerate(new) if r.key == key), None) if key else None
        return 0 if where is None else where - self.cursor

    def _clamped(self, index: int) -> int:
        return max(0, min(index, len(self._rows) - 1))

    def _keep_in_range(self) -> None:
        self.cursor = self._clamped(self.cursor)
        self.top = max(0, min(self.top, len(self._rows) - self.size.height))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One line a row; the lesson's lines when there is none."""
        return len(self._rows) or len(self._lesson(width))

    def _lesson(self, width: int) -> list[Row]:
        return wrapped(self._empty, width - 2, "dim", "  ") if self._empty else []

    def render_line(self, y: int) -> Strip:
        """A row, with a mark at the right edge where there is more than fits."""
        width, height = self.size
        if not self._rows:
            lesson = self._lesson(width)
            return self.paint(lesson[y] if y < len(lesson) else Row(), width)
        index = self.top + y
        if index >= len(self._rows):
            return self.paint(Row(), width)
        lit = self._selectable and index == self.cursor and (self.has_focus or self._always)
        line = self.paint(self._rows[index], width - 2, highlight=lit)
        more = "▴" if y == 0 and self.top else "▾" if y == height - 1 and index < len(self._rows) - 1 else " "
        return Strip([*line, *self.strip_of(((f" {more}", "dim"),))], width)

    def move(self, by: int) -> None:
        """Move the cursor (or the view, where rows cannot be chosen) by so many rows."""
        height = max(1, self.size.height)
        if not self._selectable:
            self.top += by
            self._keep_in_range()
            self.refresh()
            return
        before = self.cursor
        self.cursor = self._clamped(self.cursor + by)
        if self.cursor < self.top:
            self.top = self.cursor
        elif self.cursor >= self.top + height:
            self.top = self.cursor - height + 1
        self.refresh()
        if self.cursor != before and self._rows:
            self.post_message(self.Highlighted(self, self._rows[self.cursor]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Rows that cannot be chosen leave Enter to others."""
        return self._selectable or action != "choose"

    def action_move(self, by: int) -> None:
        """Up or down by rows."""
        self.move(by)

    def action_page(self, pages: int) -> None:
        """Up or down by screenfuls."""
        self.move(pages * max(1, self.size.height - 1))

    def action_edge(self, which: int) -> None:
        """To the first (-1) or the last (1) row."""
        self.move(which * (len(self._rows) + self.top))

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if (chosen := self.chosen) is not None:
            self.post_message(self.Chosen(self, chosen))

    def on_focus(self) -> None:
        """Show the cursor row."""
        self.refresh()

    def on_blur(self) -> None:
        """A tail returns to its newest row."""
        if not self._always:
            self.cursor = self.top = 0
        self.refresh()

    def on_resize(self) -> None:
        """Keep the view inside the rows."""
        self._keep_in_range()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll the view."""
        self._wheel(event, 2)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll the view."""
        self._wheel(event, -2)

    def _wheel(self, event: events.MouseEvent, by: int) -> None:
        event.stop()
        self.top += by
        self._keep_in_range()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """The first click moves the cursor, a second opens."""
        index = self.top + event.y
        if index >= len(self._rows) or not self._selectable:
            return
        if event.chain > 1:
            self.action_choose()
        else:
            self.move(index - self.cursor)
