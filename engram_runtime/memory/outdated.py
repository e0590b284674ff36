"""Which of two memories found for one question tells an earlier state of the same thing.

What is certain is decided when a memory is stored (`dedup`) and kept as a link. Here two notes stand side by side
because a question brought up both, and only their order is at stake, so likelihood is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

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
    values: frozenset[str]
    changes: bool

    @classmethod
    def of(cls, row: MemoryRow) -> Note:
        """Takes a memory's text apart."""
        return cls(
            id=row.id,
            at=row.updated_at,
            terms=words.term_set(row.content),
            values=frozenset(_VALUE.findall(row.content)),
            changes=bool(_CHANGE.search(row.content)),
        )


def signals(older: Note, newer: Note, cosine: float, nearer: int) -> dict[str, float]:
    """What speaks for the newer note telling a later state of what the older one tells.

    `nearer`: how many of the notes found that are older than the newer one are nearer to it.
    """
    fewer = min(len(older.terms), len(newer.terms)) or 1
    changed = older.values - newer.values and newer.values - older.values
    return {
        "cosine": cosine,
        "shared": len(older.terms & newer.terms) / fewer,
        "change": float(newer.changes),
        "value": float(bool(changed)),
        "nearest": float(nearer == 0),
        "near": float(nearer <= 2),
    }


def pairs(notes: Sequence[Note], kin: Sequence[Sequence[float]]) -> list[tuple[int, int, dict[str, float]]]:
    """Places (older, newer) in `notes` of those that share a term, with their signals. `kin`: cosines by place."""
    found: list[tuple[int, int, dict[str, float]]] = []
    for j, newer in enumerate(notes):
        earlier = [i for i, note in enumerate(notes) if (note.at, note.id) < (newer.at, newer.id)]
        earlier.sort(key=lambda i: (-kin[i][j], notes[i].id))
        for nearer, i in enumerate(earlier):
            if notes[i].terms & newer.terms:
                found.append((i, j, signals(notes[i], newer, kin[i][j], nearer)))
    return found
