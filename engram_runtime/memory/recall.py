"""One recall: candidates by words and by meaning, then one order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from engram_runtime.memory import lexical
from engram_runtime.memory.embedder import Vectors
from engram_runtime.memory.index import Index
from engram_runtime.memory.ranking import DEFAULT, Evidence, Weights, rank
from engram_runtime.memory.results import Hit
from engram_runtime.memory.scope import Scope

CANDIDATES = 100
"""Rows looked at by words, and as many by meaning."""


def find(
    index: Index,
    query: str,
    vector: Vectors | None,
    scope: Scope,
    now: datetime,
    weights: Weights = DEFAULT,
) -> tuple[list[Hit], bool]:
    """Hits of a query, best first, and whether meaning was compared (the index holds vectors of that model)."""
    terms = lexical.query_terms(query)
    with index.connection() as connection:
        bm25 = lexical.search(connection, terms, scope, CANDIDATES)
        cosine: dict[int, float] = {}
        compared = vector is not None and index.vectors.model() == (vector.model, vector.dim)
        if vector is not None and compared:
            cosine = _cosines(index, vector.rows[0], scope, bm25)
        total = connection.execute("SELECT count(*) FROM memories").fetchone()[0]
        rows = index.select("m.id IN (SELECT value FROM json_each(?))", (_listed({*bm25, *cosine}),))
    found = Evidence(bm25, cosine, tuple(terms), total)
    return rank(rows, found, scope.project, now, weights), compared


def _cosines(index: Index, vector: bytes, scope: Scope, bm25: dict[int, float]) -> dict[int, float]:
    """Cosines of the nearest rows in scope, and of those found by words."""
    nearest = index.vectors.nearest(vector, scope.selection, scope.selection_values, CANDIDATES)
    others = bm25.keys() - nearest.keys()
    if others:
        nearest |= index.vectors.nearest(
            vector, "SELECT value FROM json_each(?)", (_listed(others),), len(others)
        )
    return nearest


def _listed(ids: Iterable[int]) -> str:
    return json.dumps(sorted(ids))
