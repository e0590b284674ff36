"""One recall: candidates by words and by meaning, their signals, one order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from engram_runtime.memory import features, graph, lexical, pooling
from engram_runtime.memory.embedder import Embedder, Likeness
from engram_runtime.memory.features import Nearby
from engram_runtime.memory.index import Index
from engram_runtime.memory.query import Query, query
from engram_runtime.memory.ranking import Gathered, Mode, Weights, rank, score, shipped
from engram_runtime.memory.results import Hit
from engram_runtime.memory.scope import Scope
from engram_runtime.state.views import MemoryRow

CANDIDATES = 80
"""Rows looked at by words, and as many by meaning."""
WEIGHED = 96
"""Of these, so many are looked at closely, with what stands beside them."""
FLANKED = 48
"""Of these, so many bring what stands beside them: its words and tokens count for them."""
HEAD = 40
"""Of these, so many are compared by their tokens."""
PATIENCE = 0.25
"""Seconds to wait for that comparison."""
LEADING = 16
"""Of the rows found by words, so many bring along what stands beside them: an answer follows its question."""
LONGEST_CHAIN = 8
NEARBY = 32
"""Where meaning cannot be compared, so many neighbours of the leading rows are looked at beside them."""

Ask = Callable[[float], Likeness | None]
"""Asks the model, given so many seconds."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the words of a question find, with BM25, best first. `held`: how many memories hold each term."""

    bm25: dict[int, float]
    held: dict[str, int]
    total: int

    @property
    def ids(self) -> tuple[int, ...]:
        """The memories found, best first."""
        return tuple(self.bm25)


def find(
    index: Index,
    embedder: Embedder,
    question: str,
    scope: Scope,
    now: datetime,
    *,
    patiently: Callable[[Ask], Likeness | None],
    weights: Weights | None = None,
    most: int | None = None,
) -> tuple[list[Hit], bool]:
    """The `most` best hits of a question, and whether meaning was compared.

    `patiently` is handed the question to the model and says how long it may take. Raises what the index raises.
    """
    weights = weights or shipped()
    gathered = gather(
        index, embedder, question, scope, now, patiently=patiently, weights=weights, most=most or CANDIDATES
    )
    return rank(gathered, scope.project, now, weights, most), gathered.mode != "words"


def gather(
    index: Index,
    embedder: Embedder,
    question: str,
    scope: Scope,
    now: datetime,
    *,
    patiently: Callable[[Ask], Likeness | None],
    weights: Weights,
    most: int = CANDIDATES,
) -> Gathered:
    """The candidates of a question with their signals, where there are so many `most` at least."""
    asked = query(question, now.date())
    limit = max(CANDIDATES, most)
    found = index.healing(lambda: _by_words(index, asked, scope, limit))
    likeness = patiently(lambda within: _by_meaning(embedder, asked, found, scope, within, limit))
    cosine = likeness.cosine if likeness is not None else {}
    ids = {*found.ids, *cosine}
    weighed = max(WEIGHED, most)
    if likeness is None or (found.total and not cosine):
        near = index.healing(lambda: _nearby(index, found))
        ids |= near.keys()
        candidates = index.healing(
            lambda: _candidates(index, asked, found, ids, {}, scope, now, weighed + len(near))
        )
        features.put_near(candidates, near)
        return Gathered("words", asked, candidates)
    candidates = index.healing(lambda: _candidates(index, asked, found, ids, cosine, scope, now, weighed))
    if not likeness.pieces:
        return Gathered("sentence", asked, candidates)
    return _compared(embedder, asked, found, candidates, weights)


def _by_words(index: Index, asked: Query, scope: Scope, limit: int) -> Found:
    with index.connection() as connection:
        held = lexical.frequencies(connection, {term for word in asked.words for term in word.terms})
        bm25 = lexical.search(connection, asked.terms, scope, limit, held)
        return Found(bm25, held, lexical.total(connection))


def _nearby(index: Index, found: Found) -> dict[int, Nearby]:
    """Neighbours of the leading rows, by the edges between memories that were near when the model could tell."""
    leading = found.ids[:LEADING]
    if not leading:
        return {}
    with index.connection() as connection:
        edges = graph.neighbours(connection, leading)
    best = max(found.bm25.values()) or 1.0
    near: dict[int, Nearby] = {}
    for leader in leading:
        for memory, cosine in edges.get(leader, {}).items():
            found_near = Nearby(cosine * found.bm25[leader] / best, leader)
            near[memory] = max(near.get(memory, found_near), found_near)
    order = sorted(near, key=lambda memory: (-near[memory].nearness, -memory))
    return {memory: near[memory] for memory in order[:NEARBY]}


def _by_meaning(
    embedder: Embedder, asked: Query, found: Found, scope: Scope, within: float, limit: int
) -> Likeness | None:
    words = _weighed(asked, found)
    return embedder.consult(
        asked.text, scope, k=limit, ids=found.ids, within=within, words=words, total=found.total
    )


def _weighed(asked: Query, found: Found) -> list[tuple[int, int, int]]:
    """The question's words, each with how many memories hold its rarest term."""
    return [
        (word.start, word.end, min((found.held[term] for term in word.terms), default=-1))
        for word in asked.words
    ]


def _candidates(
    index: Index,
    asked: Query,
    found: Found,
    ids: set[int],
    cosine: dict[int, float],
    scope: Scope,
    now: datetime,
    weighed: int,
) -> list[features.Candidate]:
    """The best of the memories found and those that superseded them, with the signals that need no tokens."""
    rare = {term: lexical.rarity(found.total, found.held[term]) for term in asked.terms}
    with index.connection() as connection:
        lines = lexical.lines(connection, ids, asked.terms)
        leading = [lines[memory] for memory in found.ids[:LEADING] if memory in lines]
        beside = {place for line in leading for place in (line.previous, line.following) if place}
        lines |= lexical.lines(connection, beside - lines.keys(), asked.terms)
    likely = _likeliest(lines, cosine, rare, weighed)
    kept = {*found.ids[:LEADING], *beside, *likely}
    rows = _with_successors(index, index.select(*_within(scope, kept)), scope)
    with index.connection() as connection:
        lines |= lexical.lines(connection, rows.keys() - lines.keys(), asked.terms)
        for row in rows.values():
            if row.project != scope.project and row.id in lines:
                # A global memory: what stands beside it elsewhere is not for this project.
                lines[row.id] = lines[row.id]._replace(previous=None, following=None)
        known = [lines[memory] for memory in likely[:FLANKED] if memory in rows]
        beside = {place for line in known for place in (line.previous, line.following) if place}
        lines |= lexical.lines(connection, beside - lines.keys(), asked.terms)
    candidates = [
        features.candidate(row, lines[row.id], cosine.get(row.id), asked)
        for row in rows.values()
        if row.id in lines
    ]
    features.describe(candidates, features.Setting(asked, now, rare, lines))
    return candidates


def _likeliest(
    lines: Mapping[int, lexical.Line], cosine: Mapping[int, float], rare: Mapping[str, float], most: int
) -> list[int]:
    """Of the memories found, the `most` that meaning and their own words speak for most."""
    total = sum(rare.values()) or 1.0

    def impression(memory: int) -> float:
        covered = sum(rare[term] for term in lines[memory].counts) / total
        near = cosine.get(memory)
        return 0.5 * covered + (0.25 + 0.4 * covered if near is None else near)

    return sorted(lines, key=lambda memory: (-impression(memory), -memory))[:most]


def _within(scope: Scope, ids: Iterable[int]) -> tuple[str, tuple[object, ...]]:
    asked = "m.id IN (SELECT value FROM json_each(?)) AND m.pruned_at IS NULL"
    return f"{asked} AND {scope.condition} ORDER BY m.id", (json.dumps(sorted(ids)), *scope.values)


def _with_successors(index: Index, rows: Sequence[MemoryRow], scope: Scope) -> dict[int, MemoryRow]:
    """The rows by id, and those that superseded them."""
    found = {row.id: row for row in rows}
    for _ in range(LONGEST_CHAIN):
        missing = {row.superseded_by for row in found.values() if row.superseded_by} - found.keys()
        more = index.select(*_within(scope, missing)) if missing else []
        if not more:
            break
        found.update((row.id, row) for row in more)
    return dict(sorted(found.items()))


def _compared(
    embedder: Embedder, asked: Query, found: Found, candidates: list[features.Candidate], weights: Weights
) -> Gathered:
    """The best candidates, compared by their tokens."""
    of_sentence = weights.of("sentence")
    order = sorted(candidates, key=lambda one: (-score(one.signals, of_sentence), -one.row.id))
    head, rest = order[:HEAD], order[HEAD:]
    ids = [one.row.id for one in head]
    beside = [place for one in head for place in (one.line.previous, one.line.following) if place]
    near = embedder.compare(asked.text, list(dict.fromkeys((*ids, *beside))), within=PATIENCE, among=ids)
    if near is None or not near.pieces:
        return Gathered("sentence", asked, candidates)
    of_tokens = pooling.token_weights(near.pieces, near.starts, _weighed(asked, found), found.total)
    features.compare(head, near.best, of_tokens)
    features.keep_company(head, near.kin)
    mode: Mode = "tokens"
    return Gathered(mode, asked, head, rest, near.kin)
