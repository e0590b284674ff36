"""What becomes of a text that is to be kept: new, known already, or in the place of what was known."""

from __future__ import annotations

import array
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from engram_runtime.journal.events import MemoryCompared, MemoryStored
from engram_runtime.memory import chains, dedup, lexical
from engram_runtime.memory.embedder import Embedder, NoEmbedder
from engram_runtime.memory.index import Index
from engram_runtime.memory.scope import Scope
from engram_runtime.state.views import MemoryRow

PATIENCE = 0.15
"""Seconds a store waits for a model that is ready."""
NEAREST = 8
"""Rows compared because they are near in meaning; those of the devrecall set that are outdated are first or second."""
NAMED = 6
"""Rows compared because they name the same identifiers."""
UNSEEN = 16
"""Rows without a vector yet (stored a moment ago) that are compared all the same."""
MOST_SUPERSEDED = 4
WORDS_ONLY = 24
"""Terms looked for where there is no model."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """mcp-engram's settings, where they are set: below these cosines a text is not compared, not taken for an update
    or addition, not taken for the same. They add to the rules of `dedup`."""

    search: float = 0.0
    replace: float = 0.0
    same: float = 0.0


Outcome = Literal["stored", "reinforced", "superseded", "merged"]


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a text stands among what is known. With `known` it is not stored again, but strengthens that memory."""

    known: int | None = None
    supersedes: tuple[int, ...] = ()
    below: int | None = None
    why: str = ""
    outcome: Outcome = "stored"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows to compare with, each with its cosine. `whole`: none that matters can be missing."""

    rows: tuple[tuple[MemoryRow, float], ...]
    whole: bool


def place(
    content: str,
    candidates: Iterable[tuple[MemoryRow, float]],
    *,
    scope: str = "project",
    source: str = "agent",
    thresholds: Thresholds | None = None,
) -> Placing:
    """Decides by `dedup.judge`. A pure function; the same text and candidates give the same place.

    A project's text may strengthen a global memory, but outdates only the project's own; what was merely observed
    outdates only what was observed.
    """
    least = thresholds or Thresholds()
    replaced: list[int] = []
    why: list[str] = []
    changed = alone = False
    for row, cosine in sorted(candidates, key=lambda pair: (-pair[1], -pair[0].id)):
        found = dedup.judge(row.content, content, cosine)
        if found.relation == "distinct" or cosine < least.search or (found.alone and alone):
            continue
        floor = least.same if found.relation == "same" else least.replace
        own = row.scope == scope and (source != "observed" or row.source == "observed")
        if (
            cosine < floor
            or row.scope not in (scope, "global")
            or (not own and (found.relation != "same" or found.adds))
        ):
            continue
        if found.relation == "same" and not found.adds:
            return Placing(known=row.id, why=found.why, outcome="reinforced")
        if found.relation == "same" and found.lacks and not replaced:
            return Placing(below=row.id, why=f"memory {row.id} says the same and more", outcome="merged")
        replaced.append(row.id)
        why.append(found.why)
        changed |= found.relation != "same"
        alone |= found.alone
        if len(replaced) == MOST_SUPERSEDED:
            break
    if not replaced:
        return Placing()
    return Placing(
        supersedes=tuple(replaced),
        why="; ".join(dict.fromkeys(why)),
        outcome="superseded" if changed else "merged",
    )


class Finder:
    """Finds what a text is to be compared with: current memories of the same user, near in meaning or in names."""

    def __init__(self, index: Index, embedder: Embedder) -> None:
        self._index = index
        self._embedder = embedder

    @property
    def by_words_only(self) -> bool:
        """Whether there is no model to wait for."""
        return isinstance(self._embedder, NoEmbedder) or self._embedder.state.startswith("failed")

    def candidates(
        self, content: str, project: str, user: str, *, before: int = 0, within: float = PATIENCE
    ) -> Candidates | None:
        """Rows to compare with, older than `before` where that is given; None while the model is not ready."""
        scope = Scope(project, user, "memory")
        if self.by_words_only:
            terms = lexical.query_terms(content)[:WORDS_ONLY]
            rows = self._rows(self._by_terms(terms, scope, NEAREST), scope, before)
            return Candidates(tuple((row, dedup.likeness(row.content, content)) for row in rows), whole=True)
        # "off" is also the state of a worker never asked; one that starts or warms up is not waited for.
        if self._embedder.state not in ("ready", "off"):
            return None
        # Listed before the worker is asked: one that gets its vector in between is seen twice, not never.
        with self._index.connection():
            missing = [memory for memory, _ in self._index.vectors.missing(UNSEEN + 1)]
        named = self._by_terms(lexical.query_terms(" ".join(dedup.names(content))), scope, NAMED)
        near = self._embedder.consult(
            content, scope, k=NEAREST, ids=named, within=within, passage=True, before=before
        )
        if near is None:
            return None
        cosine = dict(near.cosine)
        # A text outdated again and again fills the nearest with what it was: the last of each chain stands for them.
        ends = self._ends(cosine.keys() - set(named))
        if unknown := sorted(ends - cosine.keys()):
            more = self._embedder.consult(
                content, scope, k=0, ids=unknown, within=within, passage=True, before=before
            )
            if more is None:
                return None
            cosine |= {memory: more.cosine[memory] for memory in unknown if memory in more.cosine}
        seen = [(row, cosine[row.id]) for row in self._rows(cosine, scope, before)]
        fresh = [memory for memory in missing[:UNSEEN] if memory not in cosine]
        unseen = self._unseen(content, fresh, scope, before, within)
        if unseen is None:
            return Candidates(tuple(seen), whole=False)
        return Candidates((*seen, *unseen), whole=len(missing) <= UNSEEN)

    def _by_terms(self, terms: list[str], scope: Scope, limit: int) -> list[int]:
        if not terms:
            return []
        with self._index.connection() as connection:
            return list(lexical.search(connection, terms, scope, limit))

    def _ends(self, memories: Iterable[int]) -> set[int]:
        """The memories at the ends of the chains that these stand in."""
        with self._index.connection() as connection:
            ends = (chains.head(connection, memory) for memory in memories)
            return {end[0] for end in ends if end is not None}

    def _rows(self, ids: Iterable[int], scope: Scope, before: int) -> list[MemoryRow]:
        found = self._index.select(
            "m.id IN (SELECT value FROM json_each(?)) AND +m.user = ? AND (+m.project = ? OR +m.scope = 'global')"
            " AND +m.memory_type = 'memory' AND m.superseded_by IS NULL AND (? = 0 OR m.id < ?)",
            (json.dumps(sorted(ids)), scope.user, scope.project, before, before),
        )
        return found

    def _unseen(
        self, content: str, missing: list[int], scope: Scope, before: int, within: float
    ) -> list[tuple[MemoryRow, float]] | None:
        """Of rows that have no vector yet, those to compare with, and their cosines; None if these cannot be had."""
        rows = self._rows(missing, scope, before)
        if not rows:
            return []
        made = self._embedder.embed((content, *(row.content for row in rows)), within=within, urgent=True)
        if made is None:
            return None
        own, *others = (array.array("f", vector) for vector in made.rows)
        return [
            (row, sum(a * b for a, b in zip(own, other, strict=True)))
            for row, other in zip(rows, others, strict=True)
        ]


def stored_event(event: MemoryStored, placing: Placing, *, pending: bool) -> MemoryStored:
    """The event of a text that is stored at its place."""
    return MemoryStored(
        content=event.content,
        importance=event.importance,
        category=event.category,
        user=event.user,
        metadata=event.metadata,
        scope=event.scope,
        task=event.task,
        source=event.source,
        supersedes=placing.supersedes,
        below=placing.below,
        why=placing.why,
        merged=placing.outcome == "merged",
        pending=pending,
    )


def compared_event(memory: int, placing: Placing) -> MemoryCompared:
    """The event of a text stored before it could be compared: it has a row, so a repetition goes below its original."""
    return MemoryCompared(
        memory=memory,
        supersedes=placing.supersedes,
        below=placing.below if placing.known is None else placing.known,
        why=placing.why,
        merged=placing.outcome in ("merged", "reinforced"),
    )


def floors(settings: object) -> Thresholds:
    """mcp-engram's thresholds, as far as they are set."""

    def of(name: str) -> float:
        value: Mapping[str, float] | float | None = getattr(settings, name, None)
        return float(value) if isinstance(value, (int, float)) else 0.0

    return Thresholds(of("dedup_search_threshold"), of("dedup_threshold"), of("reinforce_threshold"))
