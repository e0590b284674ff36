"""Conformance cases: what xterm.js shows after a stream of bytes, and how a screen of ours compares."""

from __future__ import annotations

import base64
import gzip
import json
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engram_tui.terminal.screen import INVERSE, OVERLINE, STRIKE, UNDERLINE, Row, Screen

FOLDER = Path(__file__).parents[2] / "golden" / "terminal"
_ATTRIBUTE_LETTERS = "bdiukrhso"
_VISIBLE_ON_BLANK = UNDERLINE | INVERSE | STRIKE | OVERLINE

Cell = tuple[str, int | None, int | None, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One case: steps to carry out, and the screen expected after them."""

    name: str
    cols: int
    rows: int
    steps: tuple[bytes | tuple[int, int], ...]
    cells: tuple[tuple[Cell, ...], ...]
    cursor: tuple[int, int]
    title: str


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case in the golden folder."""
    expected = json.loads(gzip.decompress((FOLDER / "expected.json.gz").read_bytes()))
    return tuple(_case(raw, expected[raw["name"]]) for raw in json.loads((FOLDER / "cases.json").read_text()))


def stream(name: str) -> bytes:
    """A recorded stream of the golden folder."""
    return gzip.decompress((FOLDER / "streams" / f"{name}.bin.gz").read_bytes())


def _case(raw: dict[str, Any], expected: dict[str, Any]) -> Case:
    cells = tuple(tuple(_cell(*cell) for cell in row) for row in expected["cells"])
    x, y = expected["cursor"]
    steps = tuple(_step(step) for step in raw["steps"])
    return Case(
        raw["name"],
        raw["cols"],
        raw["rows"],
        steps,
        cells,
        (min(x, expected["cols"] - 1), y),
        expected["title"],
    )


def _step(step: dict[str, Any]) -> bytes | tuple[int, int]:
    if "resize" in step:
        cols, rows = step["resize"]
        return cols, rows
    if "feed" in step:
        return base64.b64decode(step["feed"])
    return gzip.decompress((FOLDER / step["feed_file"]).read_bytes())[: step["end"]]


def _cell(text: str, foreground: Any, background: Any, attributes: str) -> Cell:
    bits = sum(1 << _ATTRIBUTE_LETTERS.index(letter) for letter in attributes)
    return _normalised(text, _colour(foreground), _colour(background), bits)


def _colour(colour: Any) -> int | None:
    if colour == "d":
        return None
    return 256 + int(colour[1:], 16) if isinstance(colour, str) else int(colour)


def _normalised(text: str, foreground: int | None, background: int | None, attributes: int) -> Cell:
    """A blank has no foreground to be seen."""
    if text == " " and not attributes & _VISIBLE_ON_BLANK:
        return " ", None, background, 0
    return text, foreground, background, attributes


def cells(row: Row) -> tuple[Cell, ...]:
    """A row as cells; the right half of a wide character has no text."""
    found: list[Cell] = []
    for text, foreground, background, attributes in row:
        look = (foreground, background, attributes)
        for character in text:
            if unicodedata.category(character) in ("Mn", "Me"):
                last = max(index for index, cell in enumerate(found) if cell[0])
                found[last] = (found[last][0] + character, *found[last][1:])
                continue
            found.append(_normalised(character, *look))
            if unicodedata.east_asian_width(character) in "WF":
                found.append(_normalised("", *look))
    return tuple(found)


def passes(case: Case, screen: Screen) -> bool:
    """Carry out a case on a fresh screen; whether every cell, the cursor and the title are as expected."""
    for step in case.steps:
        if isinstance(step, bytes):
            screen.feed(step)
        else:
            screen.resize(*step)
    shown = tuple(cells(row) for row in screen.all_rows())
    cursor = screen.cursor
    return shown == case.cells and (cursor.x, cursor.y) == case.cursor and screen.title == case.title
