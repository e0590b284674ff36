"""One run of the import of an mcp-engram home: what is known on the way, and the words it is read with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from engram_runtime.journal.events import Event, InterruptionReason
from engram_runtime.upkeep.importers.batches import Batches, Told
from engram_runtime.upkeep.importers.old_home import Broken, OldEvent

if TYPE_CHECKING:
    from engram_runtime.state.queries import Queries

Scope = Literal["project", "global"]


class Report(msgspec.Struct, kw_only=True):
    """What became of the events. `tasks` tells the new id of each old one that was taken over now."""

    folder: str
    read: int = 0
    imported: dict[str, int] = {}
    known: int = 0
    deleted_there: int = 0
    """Memories that were deleted there: here they are kept, and not recalled."""
    left: dict[str, int] = {}
    broken: list[Broken] = []
    tasks: dict[str, int] = {}
    own_ids: list[int] = []
    """Old task ids that tasks of this home have too: those numbers go on meaning the home's own."""


@dataclass(slots=True)
class OldTask:
    """What an old task is by now, for those made from it and for the end."""

    name: str
    goal: str
    user: str
    status: str
    execution: str = ""
    interrupted: tuple[str, InterruptionReason] | None = None


@dataclass(slots=True)
class Run:
    """One run."""

    batches: Batches
    queries: Queries
    scope: Scope
    project: str
    report: Report
    imported: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    tasks: dict[int, OldTask] = field(default_factory=dict)
    memories: dict[int, str] = field(default_factory=dict)
    features: dict[tuple[str, int | None, str], int] = field(default_factory=dict)
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    recalled: dict[str, set[int]] = field(default_factory=dict)
    open_sessions: dict[str, str] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)


def add(run: Run, event: OldEvent, *told: Event, within: str | None = None, **record: Any) -> None:
    """Take an event over as `told`, in the session `within`; `record` as for `Batches.add`."""
    run.batches.add(event.key, [Told(event.at, said, within) for said in told], **record)
    run.imported[event.kind] += 1


def id_of(run: Run, kind: str, name: object) -> int | None:
    """The id here of what is called so there; None where it was not taken over."""
    here = run.batches.here(kind, name)
    return here if isinstance(here, int) else None


def session_of(run: Run, name: object) -> str | None:
    """The session here of one there."""
    here = run.batches.here("session", name) if isinstance(name, str) else None
    return here if isinstance(here, str) else None


def one_of(choices: Any, value: object, otherwise: Any) -> Any:
    """The value, if it is one of a Literal's."""
    return value if value in get_args(choices) else otherwise


def share(value: object, otherwise: Any) -> Any:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return otherwise
    return min(1.0, max(0.0, float(value)))
