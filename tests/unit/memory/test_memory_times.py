from __future__ import annotations

from datetime import date

import pytest

from engram_runtime.memory.times import Span, dated, spans

TODAY = date(2026, 3, 12)  # a Thursday


def days(question: str) -> list[tuple[str, str]]:
    return [(span.first.isoformat(), span.last.isoformat()) for span in spans(question, TODAY)]


@pytest.mark.parametrize(
    ("question", "first", "last"),
    [
        ("what broke yesterday", "2026-03-11", "2026-03-11"),
        ("the day before yesterday we fixed it", "2026-03-10", "2026-03-10"),
        ("last night's run", "2026-03-11", "2026-03-11"),
        ("what did we do last week", "2026-03-02", "2026-03-08"),
        ("this week's rule", "2026-03-09", "2026-03-12"),
        ("last month", "2026-02-01", "2026-02-28"),
        ("two days ago", "2026-03-10", "2026-03-10"),
        ("3 weeks ago", "2026-02-16", "2026-02-22"),
        ("over the last 10 days", "2026-03-02", "2026-03-12"),
        ("which hang did we explain on Tuesday", "2026-03-10", "2026-03-10"),
        ("Thursday's release", "2026-03-05", "2026-03-05"),
        ("in February", "2026-02-01", "2026-02-28"),
        ("mid February", "2026-02-09", "2026-02-21"),
        ("the first week of March", "2026-03-01", "2026-03-07"),
        ("late january 2025", "2025-01-21", "2025-01-31"),
        ("on 7 May 2023", "2023-05-07", "2023-05-07"),
        ("on May 7th, 2023", "2023-05-07", "2023-05-07"),
        ("2024-02-29 it failed", "2024-02-29", "2024-02-29"),
        ("in 2022", "2022-01-01", "2022-12-31"),
        ("in May", "2025-05-01", "2025-05-31"),
    ],
)
def test_days_named_in_a_question_are_found(question: str, first: str, last: str) -> None:
    assert days(question) == [(first, last)]


@pytest.mark.parametrize(
    "question",
    ["may I redo it", "what is the port", "31 February 2020", "99999999 days ago", "second 12", "march on"],
)
def test_what_names_no_day_is_left_alone(question: str) -> None:
    assert [span for span in spans(question, TODAY) if span.first.month != 3] == []


def test_a_date_by_the_calendar_counts_before_one_in_words() -> None:
    assert days("what was her issue last week, as told on November 6, 2023") == [("2023-11-06", "2023-11-06")]


def test_a_month_without_a_year_is_that_of_any_year() -> None:
    (june,) = spans("in June", TODAY)
    assert june.distance(date(2019, 6, 30)) == 0
    assert june.distance(date(2019, 7, 2)) == 2
    assert Span(date(2024, 2, 29), date(2024, 2, 29), any_year=True).distance(date(2023, 2, 28)) == 0


def test_the_date_at_the_head_of_a_turn_is_read() -> None:
    assert dated("1:56 pm on 8 May, 2023") == date(2023, 5, 8)
    assert dated("2023-05-08 10:00") == date(2023, 5, 8)
    assert dated("in May") is None
