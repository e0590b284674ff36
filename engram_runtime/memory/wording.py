"""What a memory's text is made of: an optional `[date]`, an optional `Name:` and what is said."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DATE = re.compile(r"\[([^\]\n]{4,60})\]\s*")
_SPEAKER = re.compile(r"([A-Z][\w.'’-]*(?: [A-Z][\w.'’-]*){0,2}): (?=\S)")


@dataclass(frozen=True, slots=True)
class Wording:
    """Parts of a text. `date` and `speaker` are "" where it has none; a speaker is only one after a date.

    Developer notes begin with words and a colon as well ("Stack baseline: …", "Progress: …"): not speakers.
    """

    date: str
    speaker: str
    said: str

    @property
    def body(self) -> str:
        """The text without its date: what is embedded."""
        return f"{self.speaker}: {self.said}" if self.speaker else self.said


def wording(content: str) -> Wording:
    """Takes a memory's text apart."""
    dated = _DATE.match(content)
    if dated is None or not content[dated.end() :].strip():
        return Wording("", "", content)
    body = content[dated.end() :]
    named = _SPEAKER.match(body)
    if named is None:
        return Wording(dated[1], "", body)
    return Wording(dated[1], named[1], body[named.end() :])
