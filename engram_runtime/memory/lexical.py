"""Recall by words: what is put into the text index, how a query is asked of it, and BM25."""

from __future__ import annotations

import re
from typing import Any

from engram_runtime.memory.scope import Scope

MOST_TERMS = 64
"""Terms of one query; of a longer one (a traceback, a log) the two ends count: they say the most."""
FREQUENT_SHARE = 0.10
FREQUENT_FROM = 200
"""A term in more than this share of the rows is dropped from a query with rarer terms, from this many rows on."""

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are aren as at be because been before being below
    between both but by can cannot could couldn d did didn do does doesn doing don down during each else ever few
    for from further get gets got had hadn has hasn have haven having he her here hers herself him himself his how
    i if in into is isn it its itself just ll m me more most must mustn my myself no nor not now o of off on once
    only or other our ours ourselves out over own please re s same shall shan she should shouldn so some such t
    than that the their theirs them themselves then there these they this those through to too under until up us
    ve very was wasn we were weren what when where which while who whom whose why will with won would wouldn you
    your yours yourself yourselves
    """.split()
)

_WORD = re.compile(r"[^\W_]+")
_PIECE = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def sub_words(word: str) -> list[str]:
    """Parts of a camelCase (or letters-and-digits) word, lower case, of two characters or more; [] for a plain one."""
    pieces = _PIECE.findall(word)
    return [piece.lower() for piece in pieces if len(piece) > 1] if len(pieces) > 1 else []


def index_text(content: str) -> str:
    """What is indexed: the text, and the parts of its compound words, which the tokenizer would not find."""
    parts = dict.fromkeys(part for word in _WORD.findall(content) for part in sub_words(word))
    return f"{content}\n{' '.join(parts)}" if parts else content


def query_terms(query: str) -> list[str]:
    """Distinct terms of a query in order, lower case, without stop words, at most `MOST_TERMS`."""
    terms: dict[str, None] = {}
    for word in _WORD.findall(query):
        for term in (word.lower(), *sub_words(word)):
            if term not in STOP_WORDS:
                terms[term] = None
    found = list(terms)
    if len(found) > MOST_TERMS:
        half = MOST_TERMS // 2
        return found[:half] + found[-half:]
    return found


def expression(terms: list[str]) -> str:
    """The FTS5 expression for any of the terms. Each is a quoted phrase, so nothing in it can be an operator."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def search(connection: Any, terms: list[str], scope: Scope, limit: int) -> dict[int, float]:
    """BM25 (higher is better) of the best `limit` rows in scope that hold any of the terms, by memory id."""
    terms = _rare(connection, terms)
    if not terms:
        return {}
    found = connection.execute(
        "SELECT m.id, -bm25(words) AS bm25 FROM words JOIN memories m ON m.id = words.rowid"  # noqa: S608
        f" WHERE words MATCH ? AND {scope.condition} ORDER BY bm25 DESC, m.id DESC LIMIT ?",
        (expression(terms), *scope.values, limit),
    )
    return {int(row[0]): float(row[1]) for row in found}


def _rare(connection: Any, terms: list[str]) -> list[str]:
    """The terms that tell rows apart; all of them when none does."""
    total = connection.execute("SELECT count(*) FROM memories").fetchone()[0]
    if total <= FREQUENT_FROM or len(terms) < 2:
        return terms
    most = int(total * FREQUENT_SHARE)
    rare = [
        term
        for term in terms
        if connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)",
            (expression([term]), most + 1),
        ).fetchone()[0]
        <= most
    ]
    return rare or terms
