"""Runs of the wire become strips: styles are cached, control characters never reach the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engram_tui.messages import ATTRIBUTES, Run

_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")


_DEFAULT = Color.default()
PLAIN = Style(color=_DEFAULT, bgcolor=_DEFAULT)
"""The terminal's own colours, said outright: unsaid, they would become those of whatever lies below."""


@lru_cache(4096)
def color_of(code: int | None) -> Color:
    """None: the terminal's own default; 0..255: its palette; above: 24-bit."""
    if code is None:
        return _DEFAULT
    if code < 256:
        return Color.from_ansi(code)
    rgb = code - 256
    return Color.from_rgb(rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255)


@lru_cache(8192)
def style_of(foreground: int | None, background: int | None, attributes: int) -> Style:
    """The style of a run."""
    bits = {name: True for bit, name in enumerate(ATTRIBUTES) if attributes >> bit & 1}
    return Style(color=color_of(foreground), bgcolor=color_of(background), **bits)  # type: ignore[arg-type]


def strip_of(runs: Sequence[Run], width: int) -> Strip:
    """A row of the agent's screen, exactly `width` cells."""
    segments = [
        Segment(text if text.isprintable() else text.translate(_CONTROLS), style_of(fg, bg, attributes))
        for text, fg, bg, attributes in runs
    ]
    # Measuring text is the dearest part of a frame; ASCII is as wide as it is long.
    cells = sum(len(run[0]) for run in runs) if all(run[0].isascii() for run in runs) else None
    return Strip(segments, cells).adjust_cell_length(width, PLAIN)


def cell_text(runs: Sequence[Run]) -> str:
    """A row's text with one character a cell: wide characters stand twice, combining ones not at all."""
    return "".join(character * cell_len(character) for text, *_ in runs for character in text)


def restyled(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """The strip with `style` laid over the cells start..end (end excluded)."""
    length = strip.cell_length
    start, end = max(0, start), min(end, length)
    if start >= end:
        return strip
    before, between, after = strip.crop(0, start), strip.crop(start, end), strip.crop(end, length)
    over = Strip([Segment(text, (old or PLAIN) + style) for text, old, _ in between], end - start)
    return Strip.join([before, over, after])
