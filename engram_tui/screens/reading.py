"""Small screens that open over another: a text to read, a question to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from engram_tui.keymap import ACTIONS, GROUPS, Keymap, bindings
from engram_tui.panes.paint import Role, Row, row, wrapped
from engram_tui.panes.rows import Rows
from engram_tui.panes.status import StatusBar, hint
from engram_tui.panes.words import inert, inert_lines


class Box(Vertical):
    """A framed box in the middle of the screen."""

    def name_it(self, title: str) -> None:
        """Set its title, as plain text."""
        self.border_title = Content(inert(title))


class TextScreen(ModalScreen[None], inherit_bindings=False):
    """Text to read. `compare` asks for the same with what changed; nothing in the text is markup."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("text")

    def __init__(
        self, title: str, rows: Callable[[int], Sequence[Row]], *, compare: Callable[[], None] | None = None
    ) -> None:
        """`rows` makes the rows for a width in cells."""
        super().__init__()
        self._title = title
        self._make = rows
        self._compare = compare

    def compose(self) -> ComposeResult:
        """A box with rows and a line of keys."""
        with Box(id="box"):
            yield Rows(id="text", selectable=False)
            yield StatusBar(id="keys")

    def on_mount(self) -> None:
        """Fill in."""
        self.call_after_refresh(self._fill)

    def on_resize(self) -> None:
        """Wrap anew."""
        self.call_after_refresh(self._fill)

    def show(self, title: str, rows: Callable[[int], Sequence[Row]]) -> None:
        """Show another text."""
        self._title, self._make = title, rows
        self._fill()

    def _fill(self) -> None:
        self.query_one(Box).name_it(self._title)
        text = self.query_one("#text", Rows)
        text.show(self._make(max(20, text.size.width - 3)), "Empty.")
        if self.focused is not text:
            text.focus()
        keys = [
            hint(0, "Esc", "close"),
            hint(1, "↑↓ PgUp PgDn", "scroll"),
        ]
        if self._compare:
            keys.append(hint(2, "c", "compare with the one before"))
        self.query_one(StatusBar).show((), keys)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)

    def action_compare(self) -> None:
        """Ask for the comparison."""
        if self._compare:
            self._compare()


class AskScreen(ModalScreen[bool], inherit_bindings=False):
    """One question with two answers."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("ask")

    def __init__(self, title: str, question: str, yes: str) -> None:
        super().__init__()
        self._title, self._question, self._yes = title, question, yes

    def compose(self) -> ComposeResult:
        """The question, and the keys that answer it."""
        with Box(id="question"):
            yield Rows(id="text", selectable=False)
            yield StatusBar(id="keys")

    def on_mount(self) -> None:
        """Fill in."""
        self.query_one(Box).name_it(self._title)
        text = self.query_one("#text", Rows)
        text.show(wrapped(self._question, 52, "plain", "  "))
        text.focus()
        keys = [
            hint(0, "s", self._yes),
            hint(1, "Esc", "go on"),
        ]
        self.query_one(StatusBar).show((), keys)

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)


def text_rows(text: str) -> Callable[[int], Sequence[Row]]:
    """Rows of a text that may hold a diff: added lines in the good colour, removed ones in the danger colour."""

    def make(width: int) -> list[Row]:
        rows: list[Row] = []
        for line in inert_lines(text):
            indent = " " * (len(line) - len(line.lstrip(" ")))
            rows += (
                wrapped(line.strip(" "), width, _line_role(line), f" {indent}") if line.strip() else [Row()]
            )
        return rows

    return make


def _line_role(line: str) -> Role:
    if line.startswith(("+ ", "- ")) or (
        line[:1] in "+-" and line[:3] not in ("+++", "---") and len(line) > 1
    ):
        return "good" if line[0] == "+" else "danger"
    return "strong" if line.startswith(("#", "@@")) else "plain"


def key_rows(keymap: Keymap) -> Callable[[int], Sequence[Row]]:
    """All keys, by where they work."""

    def make(width: int) -> list[Row]:
        rows: list[Row] = []
        for group, title in GROUPS.items():
            rows += [Row(), row((f" {title}", "title"))] if rows else [row((f" {title}", "title"))]
            for action in ACTIONS:
                if action.group == group:
                    keys = keymap.all_shown(action.id)
                    rows.append(row((f"   {keys:<18}", "key"), action.tooltip, right=((action.id, "dim"),)))
        return rows

    return make
