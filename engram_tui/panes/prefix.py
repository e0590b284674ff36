"""What the prefix key opens: a line that says which keys now do what, and takes the next one."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from engram_tui.keymap import ACTIONS, Keymap, bindings
from engram_tui.panes.paint import Painted, Row
from engram_tui.panes.status import Part, fitted

_LEFT_OUT = frozenset(
    ("pane.next", "pane.previous", "pane.1", "pane.2", "pane.3", "pane.4", "pane.5", "menu.close")
)
_RANKS = ("frame", "detach", "checkpoint", "stop", "keys", "palette", "search", "scroll")


class PrefixMenu(Painted, can_focus=True):
    """Takes the place of the status bar until a key is chosen. Unknown keys close it and do nothing."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("prefix")

    class Dismissed(Message):
        """No action was chosen."""

    def __init__(self, keymap: Keymap, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts = [
            Part(
                _RANKS.index(a.id) if a.id in _RANKS else 20,
                ((keymap.shown(a.id), "key"), (f" {a.label}", "dim")),
            )
            for a in ACTIONS
            if a.group == "prefix" and a.id not in _LEFT_OUT
        ]
        panes = Part(10, (("1–5", "key"), (" panes", "dim")))
        self._parts.insert(len(_RANKS), panes)
        self._lead = keymap.shown("prefix")
        # The widget's own bindings do not show the user's key map.
        self._known = {
            key for a in ACTIONS if a.group in ("prefix", "session") for key in keymap.keys_of(a.id)
        }
        self.open = False

    def render_line(self, y: int) -> Strip:
        """The keys, as many as fit."""
        lead = f" {self._lead} "
        spans = fitted(self._parts, self.size.width - len(lead) - 2, gap=2)
        return self.paint(Row(((lead, "accent"), (" ", "plain"), *spans)), self.size.width)

    def knows(self, key: str) -> bool:
        """Whether a key means something here."""
        return key in self._known

    def on_blur(self) -> None:
        """Focus went elsewhere (and was not taken again before this was heard of)."""
        if self.screen.focused is not self:
            self.post_message(self.Dismissed())
