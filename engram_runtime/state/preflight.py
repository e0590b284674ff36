"""What a start has to know before anything heavy is imported: could there be interrupted work in this project?

On the bare driver, in milliseconds. It may say "perhaps" where `Queries.interrupted_tasks` finds nothing, never the
other way round; who is told "perhaps" opens the runtime and asks that.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from engram_runtime import database
from engram_runtime.paths import HomeFiles

_PLACE = "SELECT position, hash FROM projection"
_LAST = "SELECT position, hash FROM journal ORDER BY position DESC LIMIT 1"
_UNFINISHED = "SELECT id FROM sessions WHERE ended_at IS NULL"
# As `queries._INTERRUPTED`, but for reports, which count here whoever made them, and when.
_INTERRUPTED = """
    SELECT EXISTS (
        SELECT 1 FROM tasks LEFT JOIN sessions ON sessions.id = tasks.last_session
        WHERE tasks.project = ? AND tasks.status NOT IN ('done', 'cancelled') AND (
            (sessions.ended_at IS NOT NULL AND sessions.verdict_kind != 'finished' AND (
                sessions.verdict_kind != 'user_quit' OR sessions.left_running > 0
                OR EXISTS (SELECT 1 FROM progress WHERE progress.task = tasks.id
                           AND progress.status IN ('in_progress', 'blocked'))))
            OR EXISTS (SELECT 1 FROM interruptions WHERE resolved_by IS NULL AND (
                interruptions.task = tasks.id OR interruptions.session = tasks.last_session))))
"""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the state says. `unfinished`: ids of sessions of the home without a recorded end, live ones and lost."""

    interrupted: bool
    unfinished: tuple[str, ...]


def look(files: HomeFiles, project: str) -> Preflight | None:
    """Look at a home; None where that is not enough: no state yet, one behind the journal, anything unsound."""
    if not (files.state.exists() and files.journal.exists()):
        return None
    try:
        with (
            contextlib.closing(database.connect_bare(files.journal, access="read")) as journal,
            contextlib.closing(database.connect_bare(files.state, access="read")) as state,
        ):
            position, seal = state.execute(_PLACE).fetchone()
            last = journal.execute(_LAST).fetchone()
            if last is None or (last[0], last[1].hex()) != (position, seal):
                return None
            unfinished = tuple(session for (session,) in state.execute(_UNFINISHED))
            (interrupted,) = state.execute(_INTERRUPTED, (project,)).fetchone()
    except database.errors(TypeError):
        return None
    return Preflight(bool(interrupted), unfinished)
