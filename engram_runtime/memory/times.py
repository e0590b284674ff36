"""Days that a question names ("in March", "last week", "two days ago"), and days that texts are dated with."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

MONTHS = [name.lower() for name in calendar.month_name][1:]
WEEKDAYS = [name.lower() for name in calendar.day_name]
NUMBERS = {
    **{
        word: number
        for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)
    },
    **{"a": 1, "an": 1, "couple": 2, "few": 3},
}
PARTS = {
    **{
        "first week of": (0, 6),
        "second week of": (7, 13),
        "third week of": (14, 20),
        "fourth week of": (21, 27),
    },
    **{"early": (0, 10), "beginning of": (0, 10), "start of": (0, 10), "mid": (8, 20), "middle of": (8, 20)},
    **{"late": (-11, -1), "end of": (-11, -1), "last week of": (-7, -1)},
    **{"first half of": (0, 15), "second half of": (15, -1)},
}
"""First and last day of a part of a month, counted from its first day or (negative) its end."""

_MONTH = "|".join([*MONTHS, *(name[:3] for name in MONTHS), "sept"])
_COUNT = rf"(\d{{1,3}}|{'|'.join(NUMBERS)})(?: of)?"
_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\b\.?,?(?: (\d{{4}}))?")
_MONTH_FIRST = re.compile(rf"\b({_MONTH})\b\.? (\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,? (\d{{4}}))?")
_MONTH_ALONE = re.compile(rf"\b(?:({'|'.join(PARTS)})[ -])?(?:in )?({_MONTH})\b(?:,? (\d{{4}}))?")
_YEAR = re.compile(r"\b(?:in|of|during|since) (20\d\d)\b")
_LEADS_TO_MONTH = re.compile(r"(?:in|of|since|during|from|until|by|last|this|next|back in|around)[ -]$")
"""Before "may" and "mar", which are words as well."""


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`; `any_year` when the question did not say of which year."""

    first: date
    last: date
    any_year: bool = False

    def distance(self, day: date) -> int:
        """How many days after the span a day is: 0 within it, negative before it."""
        shift = day.year - self.last.year if self.any_year else 0
        first, last = _moved(self.first, shift), _moved(self.last, shift)
        if day < first:
            return (day - first).days
        return max(0, (day - last).days)


def spans(question: str, today: date) -> list[Span]:
    """The days a question names. Where it names some by the calendar, those in words ("last week") do not count."""
    text = question.lower()
    return _by_calendar(text, today) or _in_words(text, today)


def dated(text: str) -> date | None:
    """The first day a text names with its year, as the date at the head of a chat's turn does."""
    for found in _by_calendar(text.lower(), date.max):
        if found.first == found.last and not found.any_year:
            return found.first
    return None


def _by_calendar(text: str, today: date) -> list[Span]:
    found: list[Span] = []

    def day(year: str | None, month: int, number: str) -> str:
        made = _date(int(year) if year else _year_of(month, today), month, int(number))
        if made is not None:
            found.append(Span(made, made, year is None))
        # Cut out, so that its month is not found once more.
        return " " if made is not None else f"{number} "

    text = _ISO.sub(lambda m: day(m[1], int(m[2]), m[3]), text)
    text = _DAY_FIRST.sub(lambda m: day(m[3], _month(m[2]), m[1]), text)
    text = _MONTH_FIRST.sub(lambda m: day(m[3], _month(m[1]), m[2]), text)
    for named in _MONTH_ALONE.finditer(text):
        part, name, year = named.groups()
        if name in ("may", "mar") and not (part or year or _LEADS_TO_MONTH.search(text[: named.start(2)])):
            continue
        found.append(_month_span(_month(name), year, part, today))
    if not found:
        found = [Span(date(int(y), 1, 1), date(int(y), 12, 31)) for y in _YEAR.findall(text)]
    return found


def _month_span(month: int, year: str | None, part: str | None, today: date) -> Span:
    of = int(year) if year else _year_of(month, today)
    length = calendar.monthrange(of, month)[1]
    first, last = PARTS.get(part or "", (0, -1))
    return Span(
        date(of, month, 1 + (first if first >= 0 else length + first)),
        date(of, month, 1 + (min(last, length - 1) if last >= 0 else length + last)),
        year is None,
    )


def _in_words(text: str, today: date) -> list[Span]:
    found: list[Span] = []

    def take(pattern: str, span: Callable[[re.Match[str]], Span | None]) -> None:
        nonlocal text
        found.extend(made for m in re.finditer(pattern, text) if (made := span(m)) is not None)
        text = re.sub(pattern, " ", text)

    monday = today - timedelta(today.weekday())
    month = today.replace(day=1)
    take(r"\bday before yesterday\b", lambda m: _ago(today, 2))
    take(r"\b(?:yesterday|last night)\b", lambda m: _ago(today, 1))
    take(r"\b(?:today|this morning|tonight)\b", lambda m: Span(today, today))
    take(rf"\b{_COUNT} (day|week|month|year)s? (?:ago|back)\b", lambda m: _counted(today, m))
    take(
        rf"\b(?:last|past|previous) {_COUNT} (day|week|month|year)s?\b",
        lambda m: Span(_earlier(today, round(_number(m[1]) * _DAYS[m[2]])), today),
    )
    take(r"\b(?:last|previous|past) week\b", lambda m: Span(_earlier(monday, 7), _earlier(monday, 1)))
    take(r"\bthis week\b", lambda m: Span(monday, today))
    take(
        r"\b(?:last|previous|past) month\b",
        lambda m: Span(_earlier(month, 1).replace(day=1), _earlier(month, 1)),
    )
    take(r"\bthis month\b", lambda m: Span(month, today))
    take(r"\blast year\b", lambda m: Span(date(today.year - 1, 1, 1), date(today.year - 1, 12, 31)))
    take(r"\bthis year\b", lambda m: Span(date(today.year, 1, 1), today))
    take(
        rf"\b({'|'.join(WEEKDAYS)})\b",
        lambda m: _ago(today, (today.weekday() - WEEKDAYS.index(m[1])) % 7 or 7),
    )
    return found


_DAYS = {"day": 1.0, "week": 7.0, "month": 30.4, "year": 365.2}
_SLACK = {"day": 0, "week": 3, "month": 15, "year": 182}


def _counted(today: date, found: re.Match[str]) -> Span:
    """ "three weeks ago": about then."""
    then = round(_number(found[1]) * _DAYS[found[2]])
    slack = _SLACK[found[2]]
    return Span(_earlier(today, then + slack), _earlier(today, max(0, then - slack)))


def _ago(today: date, days: int) -> Span:
    then = _earlier(today, days)
    return Span(then, then)


def _earlier(day: date, days: int) -> date:
    return date.fromordinal(max(1, day.toordinal() - days))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else NUMBERS[text]


def _month(name: str) -> int:
    return next(i for i, month in enumerate(MONTHS, 1) if month[:3] == name[:3])


def _year_of(month: int, today: date) -> int:
    """The year of that month that was last."""
    return today.year if month <= today.month else max(1, today.year - 1)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _moved(day: date, years: int) -> date:
    """The same day so many years later; 28 February for a leap day."""
    if not years:
        return day
    return _date(day.year + years, day.month, day.day) or date(day.year + years, day.month, 28)
