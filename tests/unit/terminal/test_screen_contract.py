"""What every engine promises as a `Screen`."""

from __future__ import annotations

import random

import pytest

from engram_tui.terminal.protocol import BAR, BLOCK, Match, Region
from engram_tui.terminal.screen import BOLD, UNDERLINE, Modes, Screen, open_screen
from tests.unit.terminal.conftest import OpenScreen
from tests.unit.terminal.screen_cases import stream


def state(screen: Screen) -> tuple[object, ...]:
    return screen.all_rows(), screen.cursor, screen.modes, screen.title, screen.scrollback


def lines(count: int) -> bytes:
    return b"".join(b"line %d the \x1b[31mQuick\x1b[0m fox\r\n" % number for number in range(count))


@pytest.mark.parametrize("name", ["textual", "sgr", "vte_cursor_motion"])
def test_feeding_byte_by_byte_gives_the_same_screen_as_feeding_at_once(
    name: str, open_engine: OpenScreen
) -> None:
    data = b"\x1b[31;4m\x1b[3;5rabc\x1b[!pX\xe4\xbd\xa0\x7f\x1b]0;t\xc3\xa9\x1b\\" + stream(name)[:12_000]
    once, bytewise, randomly = open_engine(120, 40), open_engine(120, 40), open_engine(120, 40)
    once.feed(data)
    for index in range(len(data)):
        bytewise.feed(data[index : index + 1])
    cuts = sorted(random.Random(7).sample(range(len(data)), 300))
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        randomly.feed(data[start:stop])
    assert state(once) == state(bytewise) == state(randomly)


def test_changed_rows_put_together_give_the_whole_screen(open_engine: OpenScreen) -> None:
    screen = open_engine(120, 40)
    shown = dict(enumerate(screen.all_rows()))
    data = stream("textual")[:100_000]
    for start in range(0, len(data), 5000):
        screen.feed(data[start : start + 5000])
        shown.update(screen.changed_rows())
    assert [shown[y] for y in range(40)] == screen.all_rows()


def test_a_row_written_with_the_same_text_is_not_a_change(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(b"one\r\ntwo")
    assert [y for y, _ in screen.changed_rows()] == list(range(8))
    screen.feed(b"\x1b[H\x1b[2Jone\r\ntwo")
    assert screen.changed_rows() == []
    screen.viewport(3)
    screen.feed(b"!")
    assert screen.changed_rows() == [(1, [("two!".ljust(40), None, None, 0)])]


def test_colours_and_attributes_come_as_runs(open_engine: OpenScreen) -> None:
    screen = open_engine(20, 2)
    screen.feed(b"a\x1b[1;31mb\x1b[0;4;38;2;1;2;3mc\x1b[0;48;5;20m\x1b[K")
    assert screen.all_rows()[0] == [
        ("a", None, None, 0),
        ("b", 1, None, BOLD),
        ("c", 256 + 0x010203, None, UNDERLINE),
        (" " * 17, None, 20, 0),
    ]


def test_blanks_that_look_alike_are_one_run_however_they_came_about(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(b"\x1b[41m   \x1b[K")
    assert screen.all_rows()[0] == [(" " * 40, None, 1, 0)]


def test_delete_characters_in_output_show_nothing(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(b"a\x7fb")
    assert screen.text().startswith("ab")


@pytest.mark.slow
def test_thousands_of_rows_are_kept(open_engine: OpenScreen) -> None:
    screen = open_engine(120, 8)
    screen.feed(lines(9000))
    assert screen.scrollback == 8993


def test_the_scrollback_can_be_seen_and_leaves_the_live_screen_alone(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(lines(500))
    live = screen.all_rows()
    top = screen.scrollback
    assert top == 493
    assert screen.viewport(top)[0][0][0].startswith("line 0 ")
    assert screen.viewport(10**6) == screen.viewport(top)
    assert screen.viewport(0) == screen.all_rows() == live
    assert len(screen.viewport(3)) == 8


def test_search_finds_text_in_scrollback_and_screen_newest_first(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(lines(300))
    found = screen.search("QUICK", 3)
    assert found == [Match(y, 13, y, 17) for y in (299, 298, 297)]
    assert found[0].length(40) == 5
    assert [match.row for match in screen.search("line 7 ")] == [7]
    assert screen.search("") == screen.search("absent") == []
    screen.feed("你好 wide".encode())
    assert screen.search("wide") == [Match(300, 5, 300, 8)]


def test_a_region_is_copied_without_trailing_blanks_and_with_wrapped_lines_joined(
    open_engine: OpenScreen,
) -> None:
    screen = open_engine()
    screen.feed(lines(100) + b"x" * 60)
    assert screen.region_text(Region(40, 5, 41, 6)) == "40 the Quick fox\nline 41"
    assert screen.region_text(Region(40, 0, 42, 3, rectangle=True)) == "line\nline\nline"
    assert screen.region_text(Region(100, 0, 101, 39)) == "x" * 60
    assert screen.region_text(Region(-9, -9, 0, 999)) == "line 0 the Quick fox"


@pytest.mark.parametrize("cut", [b"", b"\x1b", b"\x1b[3", b"\x1b]0;half", b"\xe4\xbd", b"\x1b[!"])
def test_a_restored_snapshot_goes_on_like_the_original(
    cut: bytes, engine: str, open_engine: OpenScreen
) -> None:
    replies: list[bytes] = []
    original = open_engine(60, 10)
    original.feed(lines(200) + b"\x1b]0;title\x07\x1b[?1002h\x1b[?2004h\x1b[5 q\x1b[2;6r\x1b[1;35m" + cut)
    snapshot = original.snapshot()
    assert snapshot
    copy = open_screen(10, 2, replies.append, prefer=engine)
    copy.restore(snapshot)
    assert state(copy) == state(original)
    for screen in (original, copy):
        screen.feed(b"p4mB" + "你".encode() + b"\x07\x1b[3;3Hhere\x1b[6n" + lines(20))
    assert state(copy) == state(original)
    assert copy.viewport(100) == original.viewport(100)
    assert replies == [b"\x1b[3;7R"]


def test_a_snapshot_of_the_alternate_screen_restores_the_main_one_too(open_engine: OpenScreen) -> None:
    original = open_engine()
    original.feed(lines(20) + b"main\x1b[?1049h\x1b[Halternate")
    copy = open_engine()
    copy.restore(original.snapshot() or b"")
    for screen in (original, copy):
        assert screen.modes.alternate
        screen.feed(b"\x1b[?1049l!")
        assert not screen.modes.alternate
    assert state(copy) == state(original)
    assert "main!" in copy.text()


@pytest.mark.parametrize("junk", [b"", b"junk", b"EGS1", b"EGS1\x00" + b"junk" * 9, b"EPS1\x93"])
def test_a_broken_snapshot_is_refused_and_the_screen_stays(junk: bytes, open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(b"kept")
    with pytest.raises(ValueError):
        screen.restore(junk)
    assert screen.text().startswith("kept")


def test_queries_are_answered(open_engine: OpenScreen) -> None:
    replies: list[bytes] = []
    screen = open_engine(on_reply=replies.append)
    screen.feed(b"ab\x1b[6n\x1b[5n\x1b[c\x1b[?2026$p\x1b[18t\x1b]10;?\x1b\\\x1b]11;?\x1b\\")
    assert b"".join(replies) == (
        b"\x1b[1;3R\x1b[0n\x1b[?62;22c\x1b[?2026;2$y\x1b[8;8;40t"
        b"\x1b]10;rgb:d8d8/d8d8/d8d8\x1b\\\x1b]11;rgb:1212/1212/1212\x1b\\"
    )
    screen.on_reply = None
    screen.feed(b"\x1b[6n")
    assert len(b"".join(replies)) < 150


def test_modes_title_and_cursor_are_told(open_engine: OpenScreen) -> None:
    screen = open_engine()
    assert (screen.modes, screen.title, screen.cursor.shape) == (Modes(), "", BLOCK)
    screen.feed(
        b"\x1b[?1000h\x1b[?1003h\x1b[?2004h\x1b[?2026h\x1b[?1049h\x1b]2;caf\xc3\xa9\x07\x1b[6 q\x1b[?25l"
    )
    assert screen.modes == Modes(mouse=1003, alternate=True, bracketed_paste=True, synchronized=True)
    assert screen.title == "café"
    assert (screen.cursor.shape, screen.cursor.visible) == (BAR, False)


def test_sizes_out_of_range_are_cut(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed("你".encode() * 30)
    screen.resize(0, -3)
    assert (screen.cols, screen.rows, len(screen.all_rows())) == (1, 1, 1)
    screen.feed("你a\r\nb\t\x1b[5b".encode())
    screen.resize(10**6, 2)
    assert (screen.cols, screen.rows) == (2000, 2)
