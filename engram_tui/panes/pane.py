"""A pane of the frame: a title that already answers the question, and rows for who wants to know more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.strip import Strip

from engram_tui.keymap import bindings
from engram_tui.messages import Snapshot
from engram_tui.panes.paint import Painted, Row, Span
from engram_tui.panes.rows import Rows


@dataclass(frozen=True, slots=True)
class PaneText:
    """What a pane says: the answer in its title, its rows, or the lesson when there are none."""

    summary: tuple[Span, ...] = ()
    rows: tuple[Row, ...] = ()
    empty: str = ""


View = Callable[[Snapshot, datetime], PaneText]
"""A pane's contents as a pure function of the snapshot and the time it is looked at."""


class PaneTitle(Painted):
    """The line above a pane's rows; a click folds."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self.summary: tuple[Span, ...] = ()
        self.folded = False
        self.lit = False

    def say(self, summary: tuple[Span, ...], *, folded: bool, lit: bool) -> None:
        """Show another answer."""
        if (summary, folded, lit) != (self.summary, self.folded, self.lit):
            self.summary, self.folded, self.lit = summary, folded, lit
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """`▾ Title ───────── answer`."""
        mark = "▸ " if self.folded else "▾ "
        left: tuple[Span, ...] = (
            (mark, "key" if self.lit else "dim"),
            (self._title, "title" if self.lit else "strong"),
        )
        return self.paint(
            Row((*left, (" ", "plain")), ((" ", "plain"), *self.summary, ("  ", "plain")), fill="─"),
            self.size.width,
        )


class Pane(Vertical):
    """A title line and its rows."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("pane")

    def __init__(self, title: str, view: View, *, id: str, selectable: bool = True) -> None:
        super().__init__(id=id)
        self._view = view
        self.title = PaneTitle(title)
        self.rows = Rows(selectable=selectable)
        self._text = PaneText()

    def compose(self) -> ComposeResult:
        """Title above, rows below."""
        yield self.title
        yield self.rows

    @property
    def folded(self) -> bool:
        """Whether only the title shows."""
        return self.has_class("-folded")

    def fold(self, on: bool) -> None:
        """Show only the title, or all."""
        self.set_class(on, "-folded")
        self._say_title()

    def action_fold(self) -> None:
        """Fold, or unfold."""
        self.fold(not self.folded)

    def show(self, snapshot: Snapshot, now: datetime) -> None:
        """Show a snapshot, with ages as of `now`."""
        self._text = self._view(snapshot, now)
        self.rows.show(self._text.rows, self._text.empty)
        self._say_title()

    def _say_title(self) -> None:
        self.title.say(self._text.summary, folded=self.folded, lit=self.rows.has_focus)

    def on_descendant_focus(self) -> None:
        """Light the title."""
        self._say_title()

    def on_descendant_blur(self) -> None:
        """Dim the title."""
        self._say_title()

    def on_click(self, event: events.Click) -> None:
        """A click on the title folds."""
        if event.widget is self.title:
            self.action_fold()
