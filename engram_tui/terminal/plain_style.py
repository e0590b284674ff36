"""SGR: the sequence that sets colours and attributes, applied to a style (ECMA-48 8.3.117 and xterm's extensions)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from engram_tui.terminal.screen import (
    BLINK,
    BOLD,
    DIM,
    INVERSE,
    INVISIBLE,
    ITALIC,
    OVERLINE,
    PLAIN_STYLE,
    RGB,
    STRIKE,
    UNDERLINE,
    Style,
)

_SET: Final = {
    1: BOLD,
    2: DIM,
    3: ITALIC,
    4: UNDERLINE,
    5: BLINK,
    6: BLINK,
    7: INVERSE,
    8: INVISIBLE,
    9: STRIKE,
    21: UNDERLINE,
    53: OVERLINE,
}
_RESET: Final = {
    22: BOLD | DIM,
    23: ITALIC,
    24: UNDERLINE,
    25: BLINK,
    27: INVERSE,
    28: INVISIBLE,
    29: STRIKE,
    55: OVERLINE,
}
_ALL: Final = 511


@lru_cache(maxsize=4096)
def apply_sgr(style: Style, parameters: str) -> Style:
    """The style after `CSI parameters m`; bits of the attributes above SGR's are kept."""
    foreground, background, attributes = style
    codes = iter(parameters.split(";"))
    for code in codes:
        number, *parts = [int(part) if part.isdecimal() and len(part) < 8 else 0 for part in code.split(":")]
        if number == 0:
            foreground, background, attributes = None, None, attributes & ~_ALL
        elif number == 4 and parts[:1] == [0]:
            attributes &= ~UNDERLINE
        elif number in _SET:
            attributes |= _SET[number]
        elif number in _RESET:
            attributes &= ~_RESET[number]
        elif number in (38, 48, 58):
            colour = _extended(parts) if parts else _following(codes)
            if number == 38 and colour is not None:
                foreground = colour
            elif number == 48 and colour is not None:
                background = colour
        else:
            foreground, background = _basic(number, foreground, background)
    return foreground, background, attributes


def _basic(number: int, foreground: int | None, background: int | None) -> tuple[int | None, int | None]:
    if 30 <= number <= 37 or 90 <= number <= 97:
        return number - 30 if number < 40 else number - 82, background
    if 40 <= number <= 47 or 100 <= number <= 107:
        return foreground, number - 40 if number < 50 else number - 92
    if number == 39:
        return None, background
    if number == 49:
        return foreground, None
    return foreground, background


def _following(codes: Iterator[str]) -> int | None:
    """A colour written with semicolons: `38;5;n` or `38;2;r;g;b`."""
    kind = next(codes, "")
    count = {"5": 1, "2": 3}.get(kind, 0)
    values = [next(codes, "") for _ in range(count)]
    return _colour([int(value) if value.isdecimal() and len(value) < 8 else 0 for value in values])


def _extended(parts: list[int]) -> int | None:
    """A colour written with colons: `5:n`, `2:r:g:b` or `2:colourspace:r:g:b`."""
    if parts[0] == 5:
        return _colour(parts[1:2])
    if parts[0] == 2:
        return _colour(parts[-3:] if len(parts) < 5 else parts[2:5])
    return None


def _colour(values: list[int]) -> int | None:
    if len(values) == 1:
        return values[0] & 255
    if len(values) == 3:
        red, green, blue = (min(value, 255) for value in values)
        return RGB + (red << 16 | green << 8 | blue)
    return None


def erased(style: Style) -> Style:
    """The style of cells erased under `style`: its background and nothing else (back colour erase)."""
    return PLAIN_STYLE if style[1] is None else (None, style[1], 0)
