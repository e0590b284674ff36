"""Which of two memories found for one question tells an earlier state of the same thing.

What is certain is decided when a memory is stored (`dedup`) and kept as a link. Here two notes stand side by side
because a question brought up both, and only their order is at stake, so likelihood is enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engram_runtime.memory import words
from engram_runtime.state.views import MemoryRow

_CHANGE = re.compile(
    r"\b(?:now|no longer|any ?more|from now on|again|instead of|replaced|renamed|moved|switched|migrated|dropped"
    r"|removed|bumped|upgraded|downgraded|raised|lowered|reduced|increased|doubled|halved|went to|gone|shortened"
    r"|extended|back to)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(r"\d(?:[\d.,:_x-]*\d)?")


@dataclass(frozen=True, slots=True)
class Note:
    """What is compared of a memory."""

    id: int
    at: str
    terms: frozenset[str]
    text: str

    @classmethod
    def of(cls, row: MemoryRow, terms: frozenset[str] | None = None) -> Note:
        """A memory's note; `terms` are its terms where they are known."""
        known = frozenset(words.terms(row.content)) if terms is None else terms
        return cls(id=row.id, at=row.updated_at, terms=known, text=row.content)

    @property
    def values(self) -> frozenset[str]:
        """The numbers it gives."""
        return _values(self.text)

    @property
    def changes(self) -> bool:
        """Whether it speaks of a change."""
        return _changes(self.text)


@lru_cache(maxsize=2048)
def _values(text: str) -> frozenset[str]:
    return frozenset(_VALUE.findall(text))


@lru_cache(maxsize=2048)
def _changes(text: str) -> bool:
    return bool(_CHANGE.search(text))


def signals(older: Note, newer: Note, cosine: float, shared: float, nearer: int) -> dict[str, float]:
    """What speaks for the newer note telling a later state of what the older one tells.

    `shared`: of the shorter one's terms, the share that the other has too. `nearer`: how many of the notes found that
    are older than the newer one are nearer to it.
    """
    changed = older.values - newer.values and newer.values - older.values
    return {
        "cosine": cosine,
        "shared": shared,
        "change": float(newer.changes),
        "value": float(bool(changed)),
        "nearest": float(nearer == 0),
        "near": float(nearer <= 2),
    }


def pairs(
    notes: Sequence[Note],
    kin: Sequence[Sequence[float]],
    worth: Callable[[float, float], bool] = lambda cosine, shared: True,
) -> list[tuple[int, int, dict[str, float]]]:
    """Places (older, newer) in `notes` of those that share a term, with their signals. `kin`: cosines by place.

    `worth(cosine, shared)` says whether the other signals can matter: most pairs are far from it.
    """
    found: list[tuple[int, int, dict[str, float]]] = []
    for j, newer in enumerate(notes):
        earlier = [i for i, note in enumerate(notes) if (note.at, note.id) < (newer.at, newer.id)]
        earlier.sort(key=lambda i: (-kin[i][j], notes[i].id))
        for nearer, i in enumerate(earlier):
            both = len(notes[i].terms & newer.terms)
            shared = both / (min(len(notes[i].terms), len(newer.terms)) or 1)
            if both and worth(kin[i][j], shared):
                found.append((i, j, signals(notes[i], newer, kin[i][j], shared, nearer)))
    return found
