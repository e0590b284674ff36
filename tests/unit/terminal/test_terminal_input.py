"""Keys, mouse events and pastes become the bytes a terminal sends."""

from __future__ import annotations

import pytest

from engram_tui.terminal.input import ALT, CONTROL, SHIFT
from tests.unit.terminal.conftest import OpenScreen

KEYS = {
    ("a", "a"): b"a",
    ("A", "A"): b"A",
    ("é", "é"): "é".encode(),
    ("👍", "👍"): "👍".encode(),
    ("question_mark", "?"): b"?",
    ("less_than_sign", "<"): b"<",
    ("plus", "+"): b"+",
    ("+", "+"): b"+",
    ("space", " "): b" ",
    ("enter", "\r"): b"\r",
    ("tab", "\t"): b"\t",
    ("shift+tab", None): b"\x1b[Z",
    ("escape", "\x1b"): b"\x1b",
    ("backspace", "\x7f"): b"\x7f",
    ("ctrl+c", "\x03"): b"\x03",
    ("ctrl+z", "\x1a"): b"\x1a",
    ("ctrl+space", None): b"\0",
    ("ctrl+at", "\0"): b"\0",
    ("ctrl+underscore", "\x1f"): b"\x1f",
    ("ctrl+backslash", "\x1c"): b"\x1c",
    ("ctrl+right_square_bracket", "\x1d"): b"\x1d",
    ("alt+f", "f"): b"\x1bf",
    ("alt+shift+f", "F"): b"\x1bF",
    ("alt+enter", None): b"\x1b\r",
    ("up", None): b"\x1b[A",
    ("ctrl+left", None): b"\x1b[1;5D",
    ("shift+up", None): b"\x1b[1;2A",
    ("home", None): b"\x1b[H",
    ("pageup", None): b"\x1b[5~",
    ("delete", None): b"\x1b[3~",
    ("f1", None): b"\x1bOP",
    ("f5", None): b"\x1b[15~",
    ("shift+f5", None): b"\x1b[15;2~",
    ("<ignore>", "\x1b[I"): b"",
}


@pytest.mark.parametrize(("key", "character"), KEYS)
def test_a_key_sends_what_xterm_sends(key: str, character: str | None, open_engine: OpenScreen) -> None:
    assert open_engine().encode_key(key, character) == KEYS[key, character]


def test_arrows_change_in_application_cursor_mode(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(b"\x1b[?1h")
    assert screen.encode_key("up", None) == b"\x1bOA"
    assert screen.encode_key("end", None) == b"\x1bOF"
    assert screen.encode_key("ctrl+up", None) == b"\x1b[1;5A"
    screen.feed(b"\x1b[?1l")
    assert screen.encode_key("up", None) == b"\x1b[A"


@pytest.mark.parametrize("engine", ["ghostty"], indirect=True)
def test_the_kitty_protocol_tells_keys_apart_that_are_alike_without_it(open_engine: OpenScreen) -> None:
    screen = open_engine()
    screen.feed(b"\x1b[>1u")
    sent = [
        screen.encode_key(*key)
        for key in [("shift+enter", None), ("ctrl+i", "\t"), ("tab", "\t"), ("a", "a")]
    ]
    assert sent == [b"\x1b[13;2u", b"\x1b[105;5u", b"\t", b"a"]
    screen.feed(b"\x1b[<u")
    assert screen.encode_key("ctrl+i", "\t") == b"\t"


@pytest.mark.parametrize("engine", ["plain"], indirect=True)
def test_the_plain_engine_ignores_the_kitty_protocol(open_engine: OpenScreen) -> None:
    replies: list[bytes] = []
    screen = open_engine(on_reply=replies.append)
    screen.feed(b"\x1b[>1u\x1b[?u")
    assert replies == []
    assert screen.encode_key("ctrl+i", "\t") == b"\t"


def test_the_mouse_is_told_only_what_the_agent_tracks(open_engine: OpenScreen) -> None:
    screen = open_engine()
    assert screen.encode_mouse("press", 1, 3, 4) == b""
    screen.feed(b"\x1b[?1000h\x1b[?1006h")
    assert screen.encode_mouse("press", 1, 3, 4) == b"\x1b[<0;4;5M"
    assert screen.encode_mouse("release", 1, 3, 4) == b"\x1b[<0;4;5m"
    assert screen.encode_mouse("press", 3, 3, 4, SHIFT + ALT + CONTROL) == b"\x1b[<30;4;5M"
    assert screen.encode_mouse("scroll_up", 0, 3, 4) == b"\x1b[<64;4;5M"
    assert screen.encode_mouse("move", 1, 3, 4) == b""
    screen.feed(b"\x1b[?1002h")
    assert screen.encode_mouse("move", 1, 99, 99) == b"\x1b[<32;40;8M"
    assert screen.encode_mouse("move", 0, 3, 4) == b""
    screen.feed(b"\x1b[?1003h")
    assert screen.encode_mouse("move", 0, 3, 4) == b"\x1b[<35;4;5M"
    screen.feed(b"\x1b[?1006l")
    assert screen.encode_mouse("press", 2, 3, 4) == b"\x1b[M!$%"
    assert screen.encode_mouse("release", 2, 3, 4) == b"\x1b[M#$%"


def test_a_paste_is_bracketed_when_asked_for_and_cannot_press_keys(open_engine: OpenScreen) -> None:
    screen = open_engine()
    assert screen.encode_paste("one\ntwo\x03") == b"one\rtwo "
    screen.feed(b"\x1b[?2004h")
    assert screen.encode_paste("one\ntwo\x1b[201~rm\r") == b"\x1b[200~one\ntwo [201~rm\r\x1b[201~"
