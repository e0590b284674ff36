"""Nothing an agent can write breaks the plain engine: it is what remains when the native one has died."""

from __future__ import annotations

import random
import unicodedata

import pytest

from engram_tui.terminal.plain_screen import PlainScreen
from engram_tui.terminal.protocol import Region
from tests.unit.terminal.screen_cases import stream

PIECES = (
    *(
        "\x1b[",
        "\x1b",
        "\x1b]",
        "\x1bP",
        "\x1b\\",
        "\x07",
        "\x18",
        ";",
        ":",
        "?",
        ">",
        "!",
        " ",
        '"',
        "$",
        "0",
        "1",
        "9",
    ),
    *("38;2;1;2;3", "99999999999999", "1049", "47", "20", "4h", "?7l", "?6h", *"mHJKLMP@XSTrhlpqbncgtIZdG"),
    *(
        "你",
        "e\u0301",
        "\u0301",
        "👩\u200d💻",
        "\ufffd",
        "\xad",
        "\x9b",
        "text",
        "\t",
        "\r",
        "\n",
        "\b",
        "\x0e",
    ),
    *("\x1b(0", "\x1b7", "\x1b8", "\x1bM", "\x1bc", "\x1b#8"),
)
COMMON = (
    "你好",
    "\r",
    "\b",
    "x",
    "\x1b[5G",
    "\x1b[2P",
    "\x1b[2@",
    "\x1b[3X",
    "\r\n",
    "\x1b[4h",
    "wide 你 text",
)


def check_whole(screen: PlainScreen) -> None:
    """Every row is as wide as the screen, and the cursor is on it."""
    terminal = screen._terminal
    for grid in (terminal.main, terminal.alternate):
        assert len(grid.lines) == screen.rows
        for line in grid.lines:
            assert len(line.texts) == len(line.styles) == screen.cols
            for left, right in zip(line.texts, [*line.texts[1:], " "], strict=True):
                wide = bool(left) and unicodedata.east_asian_width(left[0]) in "WF"
                assert wide == (right == "" and left != "")
            assert line.texts[0] != "" or screen.cols == 1
    assert 0 <= screen.cursor.x < screen.cols
    assert 0 <= screen.cursor.y < screen.rows
    assert len(screen.viewport(5)) == screen.rows
    screen.search("e")
    screen.region_text(Region(0, 0, 999, 999))


@pytest.mark.parametrize("seed", range(8))
def test_any_mix_of_sequences_and_sizes_leaves_a_whole_screen(seed: int) -> None:
    choice = random.Random(seed)
    for _ in range(40):
        screen = PlainScreen(choice.randrange(1, 30), choice.randrange(1, 9))
        for _ in range(choice.randrange(80)):
            if choice.random() < 0.05:
                screen.resize(choice.randrange(1, 30), choice.randrange(1, 9))
            else:
                screen.feed(choice.choice(PIECES if choice.random() < 0.6 else COMMON).encode())
        check_whole(screen)
        copy = PlainScreen(1, 1)
        copy.restore(screen.snapshot() or b"")
        assert copy.all_rows() == screen.all_rows()


def test_random_bytes_in_recorded_streams_leave_a_whole_screen() -> None:
    choice = random.Random(1)
    screen = PlainScreen(80, 24)
    data = bytearray(stream("textual")[:60_000])
    for _ in range(2000):
        data[choice.randrange(len(data))] = choice.randrange(256)
    for start in range(0, len(data), 7000):
        screen.feed(bytes(data[start : start + 7000]))
        screen.resize(choice.randrange(1, 120), choice.randrange(1, 50))
        check_whole(screen)


def test_an_endless_sequence_or_string_takes_bounded_memory() -> None:
    screen = PlainScreen(20, 3)
    screen.feed(b"\x1b[" + b"1;" * 100_000)
    assert len(screen.snapshot() or b"") < 10_000
    screen.feed(b"\x1b]0;" + b"x" * 3_000_000)
    assert len(screen.snapshot() or b"") < 2_000_000
    screen.feed(b"\x07\x1b[Hok")
    assert screen.text().endswith("ok") or "ok" in screen.text()
    assert screen.title == ""
