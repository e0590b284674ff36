"""Figures, times and foreign text in words; rows and strips."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engram_tui.messages import RecoveryCard
from engram_tui.panes import words
from engram_tui.panes.card import card_rows
from engram_tui.panes.cells import cell_text, restyled, strip_of, style_of
from engram_tui.panes.selection import Matches, Selection, word_at
from engram_tui.panes.status import Part, fitted
from tests.fakes.scene import CARD

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "just now"), (4, "just now"), (12, "10 s ago"), (59, "55 s ago"), (60, "1 min ago"), (2460, "41 min ago"),
     (7200, "2 h ago"), (200_000, "2 d ago"), (-5, "just now")],
)  # fmt: skip
def test_ages_are_said_calmly(seconds: int, said: str) -> None:
    at = datetime.fromtimestamp(NOW.timestamp() - seconds, UTC).isoformat()
    assert words.age(at, NOW) == said


def test_what_is_no_time_has_no_age() -> None:
    assert (words.age("", NOW), words.age("soon", NOW), words.clock("x"), words.elapsed("", NOW)) == (
        "",
        "",
        "",
        "",
    )


def test_running_times_and_figures() -> None:
    assert words.elapsed("2026-11-22T11:59:18Z", NOW) == "0:42"
    assert words.elapsed("2026-11-22T10:57:57Z", NOW) == "1:02:03"
    assert [words.tokens(n) for n in (0, 812, 9_400, 182_000, 999_499, 999_600)] == [
        "0",
        "812",
        "9k",
        "182k",
        "999k",
        "1.0M",
    ]
    assert [words.size(n) for n in (812, 9_800_000, 223_000_000, 5e9)] == [
        "812 B",
        "9.8 MB",
        "223 MB",
        "5.0 GB",
    ]
    assert (words.fraction(0.82), words.fraction(1.0), words.fraction(0.0)) == (".82", "1.0", ".00")
    assert words.gauge(0.61) == "▓▓▓▓▓▓░░░░" and words.gauge(2.0) == "▓" * 10
    assert words.sparkline((0, 1, 2, 4)) == "▁▃▅█" and words.sparkline((0, 0)) == "▁▁"


@pytest.mark.guarantee("G7")
def test_foreign_text_can_drive_nothing() -> None:
    text = "a\x1b[31mb\x07\r\n\x9bc\u202ed\u2066e\x00"
    assert words.inert(text) == "a [31mb    cde "
    assert words.inert("naïve ✓ 漢字") == "naïve ✓ 漢字"


def test_rows_of_cells_have_the_width_asked_for_whatever_is_in_them() -> None:
    for runs in ([("漢字", None, None, 0)], [("x" * 50, 1, 2, 3)], [], [("e\u0301a", None, None, 0)]):
        assert strip_of(runs, 10).cell_length == 10
    assert cell_text([("漢a\u0301", None, None, 0)]) == "漢漢a"


def test_a_style_laid_over_cells_wins_over_theirs() -> None:
    strip = restyled(strip_of([("abcdef", 1, 2, 0)], 6), 2, 4, style_of(None, 5, 0))
    assert [(s.text, s.style.bgcolor.number) for s in strip] == [("ab", 2), ("cd", 5), ("ef", 2)]  # type: ignore[union-attr]


def test_a_selection_reads_the_same_from_either_end() -> None:
    for selection in (Selection((3, 5), (5, 2)), Selection((5, 2), (3, 5))):
        assert [selection.cells(row, 80) for row in (2, 3, 4, 5, 6)] == [None, (5, 80), (0, 80), (0, 3), None]


def test_a_word_is_what_paths_are_made_of() -> None:
    line = "see src/a-b.py: ok"
    assert word_at(line, 6) == (4, 14) and word_at(line, 3) == (3, 3) and word_at(line, 99) == (99, 99)


def test_matches_come_round() -> None:
    matches = Matches.of([(9, 0, 2), (3, 1, 2)])
    assert matches.row == 9
    matches.look_at(matches.current + 1)
    assert matches.row == 3 and matches.by_row[3] == [(1, 3, True)]
    assert Matches.of(()).row is None


def test_the_status_bar_drops_what_matters_least_and_keeps_an_alarm() -> None:
    parts = [
        Part(0, (("busy", "strong"),)),
        Part(1, (("▲ the disk is full, nothing is kept", "danger"),)),
        Part(60, (("journal 4", "dim"),)),
    ]
    said = "".join(text for text, _ in fitted(parts, 30))
    assert "busy" in said and "the disk is full" in said and "journal" not in said
    assert "journal" in "".join(text for text, _ in fitted(parts, 80))


def test_a_card_without_facts_invents_none() -> None:
    card = RecoveryCard(
        title="x",
        task=1,
        verdict="lost",
        age="1 h ago",
        agent="claude",
        typed="claude",
        briefing="b",
        tokens=3,
    )
    said = "\n".join("".join(text for text, _ in (*row.left, *row.right)) for row in card_rows(card, 80))
    assert "Nothing was recorded" in said and "Done" not in said and "HEAD" not in said


@pytest.mark.guarantee("G4")
def test_claims_and_what_was_seen_are_told_apart_on_the_card() -> None:
    said = {"".join(t for t, _ in row.left).strip(): row for row in card_rows(CARD, 100)}
    verified, claimed = (
        said["Done          ✓ reproduced in tests/test_auth.py"],
        said["· cleared stale cookies"],
    )
    assert verified.right == (("verified: pytest saw it fail, exit 1", "good"),)
    assert claimed.right == (("claimed, nothing seen", "dim"),)
