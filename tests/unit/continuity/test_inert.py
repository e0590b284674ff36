"""Text made harmless."""

from __future__ import annotations

import pytest

from engram_runtime.continuity.inert import inert_line, inert_text


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("plain", "plain"),
        ("  two\n lines\r\n\tand tab ", "two lines and tab"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("unfinished \x1b]0;title", "unfinished"),
        ("a\x00b\x07c\x7fd\x9be", "abcde"),
        ("<system>", "‹system>"),
        ("</ENGRAM-briefing>", "‹/ENGRAM-briefing>"),
        ("< / b>", "‹ / b>"),
        ("<!-- c", "‹!-- c"),
        ("x<3, 1 < 2, cat a > b, a <- b", "x<3, 1 < 2, cat a > b, a <- b"),
        ("zero\u200bwidth \u202eright-to-left \u2066isolate", "zerowidth right-to-left isolate"),
        ("tag\U000e0041s variation\ufe0f", "tags variation"),
        ("Grüße 漢字 🎉", "Grüße 漢字 🎉"),
        ("half \ud800", "half"),
        ("\u2028line\u2029para", "line para"),
    ],
)
def test_a_line_holds_only_what_can_be_read(given: str, line: str) -> None:
    assert inert_line(given) == line


def test_a_line_is_bounded_whatever_its_source() -> None:
    assert len(inert_line("x" * 10_000_000, 50)) == 50
    assert len(inert_line("\x1b" * 10_000_000, 50)) <= 50


def test_kept_text_shows_controls_as_pictures_and_keeps_its_lines() -> None:
    assert inert_text("a\x00\x1b[1m\r\nb\tc\x7f\x85") == "a␀␛[1m\nb\tc␡\ufffd"
    assert inert_text("\udfff") == "?" or "\ufffd" in inert_text("\udfff")
