"""Painting words: rows of spans become strips. No markup is ever parsed, so foreign text stays text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from engram_tui.panes.words import inert

Role = Literal["plain", "dim", "strong", "title", "accent", "danger", "good", "rule", "key"]
"""What a span means. accent: needs you; danger: something is lost or at risk; good: seen to be so."""
Span = tuple[str, Role]


@dataclass(frozen=True, slots=True)
class Row:
    """One line: spans from the left, spans at the right edge. `key` tells rows apart between updates."""

    left: tuple[Span, ...] = ()
    right: tuple[Span, ...] = ()
    key: str = ""
    fill: str = " "


def row(*left: Span | str, right: tuple[Span, ...] = (), key: str = "") -> Row:
    """A row; bare strings are plain spans."""
    return Row(tuple((s, "plain") if isinstance(s, str) else s for s in left), right, key)


def wrapped(text: str, width: int, role: Role = "plain", indent: str = "") -> list[Row]:
    """A paragraph as rows of at most `width` cells, each after `indent`."""
    lines = textwrap.wrap(inert(text), max(8, width - len(indent)), break_long_words=True)
    return [Row(((indent, "plain"), (line, role))) for line in lines or [""]]


def span_width(spans: tuple[Span, ...]) -> int:
    """Cells that spans take."""
    return sum(cell_len(text) for text, _ in spans)


class Painted(Widget):
    """A widget that paints rows in the roles of the theme."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"text--{role}"
        for role in ("dim", "strong", "title", "accent", "danger", "good", "rule", "key", "cursor")
    }

    def role_style(self, role: Role) -> Style:
        """The style of a role on this widget's background."""
        if role == "plain":
            return self.rich_style
        return self.rich_style + self.get_component_rich_style(f"text--{role}", partial=True)

    def strip_of(self, spans: tuple[Span, ...]) -> Strip:
        """Spans side by side, inert."""
        return Strip([Segment(inert(text), self.role_style(role)) for text, role in spans if text])

    def paint(self, line: Row, width: int, *, highlight: bool = False) -> Strip:
        """A row at exactly `width` cells. The right side is kept whole; the left gives way with an ellipsis."""
        plain = self.role_style("plain")
        right = self.strip_of(line.right)
        if right.cell_length > width:
            right = self._shortened(right, width)
        room = width - right.cell_length - (1 if line.right else 0)
        left = self.strip_of(line.left)
        if left.cell_length > room:
            left = self._shortened(left, max(0, room))
        gap = width - left.cell_length - right.cell_length
        filler = Segment(line.fill * gap, plain if line.fill == " " else self.role_style("rule"))
        strip = Strip([*left, filler, *right] if gap else [*left, *right], width)
        if not highlight:
            return strip
        over = self.get_component_rich_style("text--cursor", partial=True)
        return Strip([Segment(text, (style or plain) + over) for text, style, _ in strip], width)

    def _shortened(self, strip: Strip, width: int) -> Strip:
        if width <= 1:
            return Strip([Segment("…"[:width], self.role_style("dim"))])
        return Strip([*strip.crop(0, width - 1), Segment("…", self.role_style("dim"))])
