"""How figures, times and foreign text are put into words. Pure functions; nothing here knows a widget."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

_SPARKS = "▁▂▃▄▅▆▇█"
_BIDI = {
    ord(c): None for c in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
}
_INERT: dict[int, str | None] = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ") | _BIDI


def inert(text: str) -> str:
    """Foreign text as one line that can drive nothing: control characters become blanks, bidi controls vanish."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_INERT)


def inert_lines(text: str) -> list[str]:
    """Foreign text as inert lines; tabs become four blanks."""
    return [inert(line.replace("\t", "    ")) for line in text.replace("\r\n", "\n").split("\n")]


def moment(text: str) -> datetime | None:
    """A UTC ISO 8601 time as the journal writes it, or None if it is empty or not one."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def seconds_since(at: str, now: datetime) -> float | None:
    """Seconds from `at` to `now`, never negative; None if `at` is no time."""
    then = moment(at)
    return None if then is None else max(0.0, (now - then).total_seconds())


def brief_age(at: str, now: datetime) -> str:
    """An age in a few characters: `now`, `10 s`, `3 m`, `2 h`, `4 d`. Seconds go in steps of five, for calm."""
    seconds = seconds_since(at, now)
    if seconds is None:
        return ""
    if seconds < 60:
        return "now" if seconds < 5 else f"{int(seconds // 5 * 5)} s"
    for unit, name, limit in ((60, "m", 3600), (3600, "h", 86400), (86400, "d", float("inf"))):
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
    raise AssertionError("every age is below infinity")


def age(at: str, now: datetime) -> str:
    """An age as said in a sentence: `just now`, `10 s ago`, `3 min ago`."""
    brief = brief_age(at, now)
    if brief in ("", "now"):
        return "just now" if brief else ""
    return f"{brief.replace(' m', ' min')} ago"


def elapsed(since: str, now: datetime) -> str:
    """A running time: `0:42`, `1:02:03`."""
    seconds = seconds_since(since, now)
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock(at: str) -> str:
    """The local time of day of a moment: `12:04:11`; empty if it is none."""
    then = moment(at)
    return "" if then is None else then.astimezone().strftime("%H:%M:%S")


def count(number: int) -> str:
    """`1284` as `1,284`."""
    return f"{number:,}"


def tokens(number: int) -> str:
    """A token count in a few characters: `812`, `9k`, `1.2M`."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.0f}k" if number < 999_500 else f"{number / 1e6:.1f}M"


def size(number: int) -> str:
    """Bytes in a few characters: `812 B`, `9.8 MB`."""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def fraction(value: float) -> str:
    """A value of 0..1 as `.82`; 1 is `1.0`."""
    text = f"{value:.2f}"
    return text[1:] if text.startswith("0") else "1.0"


def gauge(filled: float, width: int = 10) -> str:
    """A bar of `width` cells, `filled` 0..1 of it."""
    cells = round(min(1.0, max(0.0, filled)) * width)
    return "▓" * cells + "░" * (width - cells)


def sparkline(values: Sequence[int]) -> str:
    """One cell a value, the highest at full height; empty bins at the lowest."""
    top = max(values, default=0)
    return "".join(_SPARKS[round(v / top * 7)] if top else _SPARKS[0] for v in values)


def plural(number: int, one: str, many: str = "") -> str:
    """`1 file`, `3 files`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def is_word(character: str) -> bool:
    """Whether a double click takes this character with its neighbours: letters, digits and what paths are made of."""
    return character in "_-./~@:+%" or unicodedata.category(character)[0] in "LNM"
