"""The line a search is typed in."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from engram_tui.keymap import bindings
from engram_tui.panes.selection import Matches


class SearchBar(Horizontal):
    """Takes the place of the status bar while searching."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("search")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.input = Input(placeholder="text on the screen or in scrollback", compact=True)
        self._count = Static("", markup=False, classes="count")

    def compose(self) -> ComposeResult:
        """`find ▏text      3 of 17`."""
        yield Static(" find ", markup=False, classes="label")
        yield self.input
        yield self._count

    def say(self, matches: Matches, *, asked: bool) -> None:
        """Say how many there are; nothing before anything was asked."""
        if not asked:
            self._count.update("Enter finds · Esc closes ")
        elif not matches.found:
            self._count.update("not found ")
        else:
            self._count.update(f"{matches.current + 1} of {len(matches.found)} · ↑ older ↓ newer ")
