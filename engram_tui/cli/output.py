"""Printing for people and for programs: tables, ages, one JSON document."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

STEERING = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON allows in strings and that can drive a terminal: written as escapes, the same JSON."""

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout."
)


def print_json(value: object) -> None:
    """One JSON document and nothing else."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    sys.stdout.write(STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def plain(text: str) -> str:
    """Text of agents for a terminal: no control characters, so it cannot drive it."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def one_line(text: str, width: int) -> str:
    """The first `width` characters on one line."""
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= width else flat[: max(0, width - 1)] + "…"


def age(stamp: str | None, now: datetime | None = None) -> str:
    """How long ago a UTC stamp was: 12 s, 3 m, 2 h, 5 d; "-" for none."""
    if not stamp:
        return "-"
    seconds = max(0.0, ((now or datetime.now(UTC)) - datetime.fromisoformat(stamp)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest cell."""
    lines = [head, *rows]
    widths = [max(len(row[i]) for row in lines) for i in range(len(head))]
    for row in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def note(text: str) -> None:
    """A diagnostic, to stderr."""
    print(f"engram: {text}", file=sys.stderr)
