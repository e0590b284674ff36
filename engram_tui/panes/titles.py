"""What lies around the room: its title, the banner over it, and the line for a window that is too small."""

from __future__ import annotations

from datetime import datetime

from textual.color import Color
from textual.containers import Container
from textual.content import Content
from textual.strip import Strip
from textual.style import Style
from textual.visual import VisualType

from engram_tui.messages import Snapshot
from engram_tui.panes.paint import Painted, Role, Row, Span, span_width
from engram_tui.panes.status import state_spans
from engram_tui.panes.words import inert


class Room(Container):
    """The box around the agent's terminal."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._named: tuple[object, ...] = ()

    def name_it(self, snapshot: Snapshot, now: datetime) -> None:
        """`claude ─ fix-login-redirect ───────── busy 0:42`."""
        state = state_spans(snapshot, now)
        width = self.size.width
        named = (snapshot.agent, snapshot.task_name, state, width, self.app.theme)
        if named != self._named:
            self._named = named
            self.border_title = self._title(snapshot, state, width)  # type: ignore[assignment]

    def _title(self, snapshot: Snapshot, state: tuple[Span, ...], width: int) -> VisualType:
        # The room keeps the terminal's own background, so its words keep the terminal's own foreground.
        colors = self.app.theme_variables
        own = Style(foreground=Color.parse("ansi_default"))
        roles: dict[Role, Style] = {
            "strong": own + Style(bold=True),
            "dim": own + Style(dim=True),
            "accent": Style.parse(f"bold {colors['accent']}"),
            "danger": Style.parse(f"bold {colors['error']}"),
            "good": Style.parse(colors["success"]),
            "rule": Style.parse(colors["rule"]),
        }
        left: list[Span] = [(inert(snapshot.agent), "strong")]
        if snapshot.task_name:
            left += [(" ─ ", "rule"), (inert(snapshot.task_name), "plain")]
        right: list[Span] = [(" ", "plain"), *state]
        # Textual keeps a corner, a rule and a blank at either end.
        gap = width - 4 - span_width(tuple(left)) - span_width(tuple(right)) - 1
        if gap < 1:
            left, gap = left[:1], max(1, gap + span_width(tuple(left[1:])))
        spans = [*left, (" ", "plain"), ("─" * gap, "rule"), *right]
        return Content.assemble(*[(text, roles.get(role, own)) for text, role in spans])


class Banner(Painted):
    """One line over everything, while something is wrong with the connection."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.words = ""
        self.display = False

    def show(self, words: str) -> None:
        """Show these words; none hides it."""
        if words != self.words:
            self.words = words
            self.display = bool(words)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The words."""
        return self.paint(Row((((" ▲ "), "danger"), (self.words, "danger"))), self.size.width)


class TooSmall(Painted):
    """All that is shown in a window below 40×10."""

    def render_line(self, y: int) -> Strip:
        """What is there, and what is needed."""
        width, height = self.app.size
        if y != self.size.height // 2:
            return self.paint(Row(), self.size.width)
        words = f" {width}×{height}: engram needs 40×10"
        return self.paint(Row(((words, "accent"),)), self.size.width)
