"""The keys of a screen in as many lines as they need: in a narrow window none of them may go missing."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip

from engram_tui.panes.paint import Painted, Row, Span, span_width

Keys = Sequence[tuple[Span, ...]]
GAP = 3
MARGIN = 1


def flowed(keys: Keys, width: int) -> list[Row]:
    """Keys one after the other; one that does not fit into `width` cells any more begins a line."""
    lines: list[tuple[Span, ...]] = []
    for spans in keys:
        if lines and span_width(lines[-1]) + GAP + span_width(spans) + MARGIN <= width:
            lines[-1] = (*lines[-1], (" " * GAP, "plain"), *spans)
        else:
            lines.append(((" " * MARGIN, "plain"), *spans))
    return [Row(line) for line in lines]


class KeyLines(Painted):
    """Keys and what they do here, or one sentence in their place."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys: tuple[tuple[Span, ...], ...] = ()

    def show(self, keys: Keys) -> None:
        """Show these."""
        if tuple(keys) != self._keys:
            self._keys = tuple(keys)
            self.refresh(layout=True)

    def lines(self, width: int) -> int:
        """How many lines they take."""
        return max(1, len(flowed(self._keys, width)))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many lines as they take."""
        return self.lines(width)

    def render_line(self, y: int) -> Strip:
        """One of the lines."""
        rows = flowed(self._keys, self.size.width)
        return self.paint(rows[y] if y < len(rows) else Row(), self.size.width)
