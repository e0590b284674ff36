"""A question, taken apart once: its words and terms, the days it names, what kind of answer it wants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from engram_runtime.memory import lexical, times, words

LONGEST = 1600
"""Characters of a question. Of a longer one (a traceback, a log) `HEAD` and `TAIL` are read: they say the most."""
HEAD = 600
TAIL = 900

_ASKS_HOW = re.compile(
    r"\bhow (?:do|does|to|can|could|should|would|exactly)\b|\bcommands?\b|\bwhich flags?\b|^\W*(?:accept|add|apply|"
    r"attach|backup|benchmark|build|check|clean|clear|connect|create|debug|delete|deploy|disable|dump|enable|export|"
    r"find|fix|flush|force|format|generate|get|import|inspect|install|kill|lint|list|load|make|measure|migrate|open|"
    r"print|profile|publish|purge|rebuild|record|regenerate|reindex|release|reload|remove|rename|reproduce|reset|"
    r"restart|restore|revert|roll ?back|rotate|run|seed|serve|set ?up|show|start|stop|sync|tail|test|trace|try|"
    r"uninstall|update|upgrade|use|watch)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Query:
    """A question: what of its text is read, the distinct terms of it, its words with their places in `text`, the days
    it names, and whether it asks how to do something."""

    text: str
    terms: tuple[str, ...]
    words: tuple[words.Word, ...]
    spans: tuple[times.Span, ...]
    asks_how: bool

    def spoken(self, terms: Iterable[str]) -> list[str]:
        """The words of the question that these terms were made of."""
        asked = set(terms)
        said = (self.text[word.start : word.end].lower() for word in self.words if asked & set(word.terms))
        return list(dict.fromkeys(said))


def query(question: str, today: date) -> Query:
    """Takes a question apart. `today` is what "yesterday" is counted from."""
    text = question.strip()
    if len(text) > LONGEST:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    found = tuple(words.words(text))
    return Query(
        text=text,
        terms=tuple(lexical.trimmed(term for word in found for term in word.terms)),
        words=found,
        spans=tuple(times.spans(text, today)),
        asks_how=bool(_ASKS_HOW.search(text)),
    )
