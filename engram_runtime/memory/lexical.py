"""Recall by words: the text index, how often a word occurs, which memories stand beside each other, and BM25.

The terms of each memory are kept as a line of text, which FTS5 indexes. So terms are made in one place (`words`),
and a recall can count a query's terms in a memory and in its neighbours without taking texts apart again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from engram_runtime.memory import words
from engram_runtime.memory.scope import Scope
from engram_runtime.memory.wording import wording

MOST_TERMS = 64
"""Terms of one query; of a longer one (a traceback, a log) the two ends count: they say the most."""
LONGEST_LINE = 4000
"""Terms of one memory that are indexed."""
MOST_POSTINGS = 3000
"""Occurrences looked at to find candidates. Terms are taken from the rarest on, so frequent words cannot make a query
slow; they still count for the candidates found."""

SCHEMA = (
    # `thread`: memories of one conversation, session or day; `previous` and `following` stand beside this one in it.
    """CREATE TABLE IF NOT EXISTS lines(id INTEGER PRIMARY KEY, thread TEXT NOT NULL, previous INTEGER,
        following INTEGER, length INTEGER NOT NULL, terms TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS by_thread ON lines(thread, id)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(terms, content='lines', content_rowid='id',"
    " tokenize='unicode61 remove_diacritics 0')",
    # How many memories hold a term; all of them "hold" the empty one.
    "CREATE TABLE IF NOT EXISTS lexicon(term TEXT PRIMARY KEY, held INTEGER NOT NULL) WITHOUT ROWID",
)


class Line(NamedTuple):
    """A memory as the index has it. A tuple: a recall makes hundreds."""

    thread: str
    previous: int | None
    following: int | None
    length: int
    counts: Mapping[str, int]
    """How often it holds those of the terms asked for that it holds."""
    text: str = ""
    """All its terms, a space between two."""

    @property
    def terms(self) -> frozenset[str]:
        """Its different terms."""
        return frozenset(self.text.split())


def add(
    connection: Any, memory: int, content: str, *, project: str, user: str, session: str | None, at: str
) -> None:
    """Indexes a new memory, in the caller's transaction. `at` is when it was stored (ISO 8601)."""
    thread = _thread(content, project, user, session, at)
    row = connection.execute(
        "SELECT max(id) FROM lines WHERE thread = ? AND id < ?", (thread, memory)
    ).fetchone()
    line = _line(content)
    connection.execute(
        "INSERT INTO lines VALUES(?, ?, ?, NULL, ?, ?)", (memory, thread, row[0], len(line), " ".join(line))
    )
    if row[0] is not None:
        connection.execute("UPDATE lines SET following = ? WHERE id = ?", (memory, row[0]))
    _put(connection, memory, line)
    connection.execute("INSERT INTO lexicon VALUES('', 1) ON CONFLICT(term) DO UPDATE SET held = held + 1")


def reword(connection: Any, memory: int, content: str) -> None:
    """Indexes the new text of a memory in place of the old one; its place among others stays."""
    (old,) = connection.execute("SELECT terms FROM lines WHERE id = ?", (memory,)).fetchone()
    connection.execute("INSERT INTO words(words, rowid, terms) VALUES('delete', ?, ?)", (memory, old))
    connection.executemany(
        "UPDATE lexicon SET held = held - 1 WHERE term = ?", [(term,) for term in sorted(set(old.split()))]
    )
    line = _line(content)
    connection.execute(
        "UPDATE lines SET length = ?, terms = ? WHERE id = ?", (len(line), " ".join(line), memory)
    )
    _put(connection, memory, line)


def query_terms(query: str) -> list[str]:
    """Distinct terms of a query in order, at most `MOST_TERMS`."""
    return trimmed(words.terms(query))


def trimmed(terms: Iterable[str]) -> list[str]:
    """Distinct terms in order; of more than `MOST_TERMS` the two ends."""
    found = list(dict.fromkeys(terms))
    if len(found) > MOST_TERMS:
        half = MOST_TERMS // 2
        return found[:half] + found[-half:]
    return found


def frequencies(connection: Any, terms: Collection[str]) -> dict[str, int]:
    """How many memories of the home hold each of the terms."""
    rows = connection.execute(
        "SELECT term, held FROM lexicon WHERE term IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(terms)),),
    )
    held = {str(row[0]): int(row[1]) for row in rows}
    return {term: held.get(term, 0) for term in terms}


def total(connection: Any) -> int:
    """How many memories the home has: counting rows would read them all."""
    row = connection.execute("SELECT held FROM lexicon WHERE term = ''").fetchone()
    return int(row[0]) if row else 0


def rarity(total: int, held: int) -> float:
    """BM25's weight of a term that so many of the `total` memories hold."""
    return math.log1p((total - held + 0.5) / (held + 0.5))


def expression(terms: Sequence[str]) -> str:
    """The FTS5 expression for any of the terms. Each is a quoted phrase, so nothing in it can be an operator."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def search(
    connection: Any, terms: Sequence[str], scope: Scope, limit: int, held: Mapping[str, int] | None = None
) -> dict[int, float]:
    """BM25 (higher is better) of the best `limit` rows in scope that hold any of the rarer terms, by memory id.

    `held`: how many memories hold each of the terms, where the caller knows it already.
    """
    known = frequencies(connection, terms) if held is None else {term: held[term] for term in terms}
    chosen = _rarest(known)
    if not chosen:
        return {}
    found = connection.execute(
        "SELECT m.id, -bm25(words) AS bm25 FROM words JOIN memories m ON m.id = words.rowid"  # noqa: S608
        f" WHERE words MATCH ? AND {scope.condition} ORDER BY bm25 DESC, m.id DESC LIMIT ?",
        (expression(chosen), *scope.values, limit),
    )
    return {int(row[0]): float(row[1]) for row in found}


def lines(connection: Any, memories: Collection[int], terms: Collection[str]) -> dict[int, Line]:
    """The lines of these memories, with how often they hold these terms."""
    asked = [(term, f" {term} ") for term in dict.fromkeys(terms)]
    rows = connection.execute(
        "SELECT id, thread, previous, following, length, terms FROM lines"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(memories)),),
    )
    found: dict[int, Line] = {}
    for memory, thread, previous, following, length, text in rows:
        # Looked for in the text first: a line holds few of the terms, and taking it apart costs more than this.
        between = f" {text} "
        held = [term for term, spaced in asked if spaced in between]
        line = text.split() if held else ()
        found[int(memory)] = Line(
            thread, previous, following, length, {term: line.count(term) for term in held}, text
        )
    return found


def _put(connection: Any, memory: int, line: list[str]) -> None:
    connection.execute("INSERT INTO words(rowid, terms) VALUES(?, ?)", (memory, " ".join(line)))
    connection.executemany(
        "INSERT INTO lexicon VALUES(?, 1) ON CONFLICT(term) DO UPDATE SET held = held + 1",
        [(term,) for term in sorted(set(line))],
    )


def _line(content: str) -> list[str]:
    return words.terms(content)[:LONGEST_LINE]


def _thread(content: str, project: str, user: str, session: str | None, at: str) -> str:
    """Memories that belong together: of one dated conversation, else of one session and day."""
    dated = wording(content).date
    parts = (project, user, dated) if dated else (project, user, session or "", at[:10])
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _rarest(held: dict[str, int]) -> list[str]:
    """Terms that occur at all, from the rarest on, as long as they have few postings together; one at least."""
    chosen: list[str] = []
    left = MOST_POSTINGS
    for term, rows in sorted(held.items(), key=lambda item: (item[1], item[0])):
        if rows and (rows <= left or not chosen):
            chosen.append(term)
            left -= rows
    return chosen
