"""What an event makes of the memory rows: a pure function of (rows, event), run inside the index's transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from engram_runtime.journal.events import (
    FailureTracked,
    HandoffRecorded,
    MaintenanceDone,
    MemoryCompared,
    MemoryPruned,
    MemoryRecalled,
    MemoryReinforced,
    MemoryRestored,
    MemoryStored,
    MemorySuperseded,
    MemoryUpdated,
    OutcomeReported,
    ProgressTracked,
    Recorded,
)
from engram_runtime.memory import chains, graph, lexical, rendering, vectors
from engram_runtime.memory.dedup import normalised
from engram_runtime.memory.rendering import Rendered

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value)",
    """CREATE TABLE IF NOT EXISTS memories(
        id INTEGER PRIMARY KEY, content TEXT NOT NULL, category TEXT NOT NULL, importance REAL NOT NULL,
        user TEXT NOT NULL, project TEXT NOT NULL, scope TEXT NOT NULL, metadata TEXT NOT NULL,
        memory_type TEXT NOT NULL, task INTEGER, session TEXT, source TEXT NOT NULL, created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL, recalls INTEGER NOT NULL DEFAULT 0, last_recalled_at TEXT,
        superseded_by INTEGER, normalised TEXT NOT NULL, feature TEXT, superseded_at TEXT,
        superseded_why TEXT NOT NULL DEFAULT '', merged INTEGER NOT NULL DEFAULT 0, pruned_at TEXT,
        pending INTEGER NOT NULL DEFAULT 0, stated REAL NOT NULL)""",
    # `importance` is `stated` (what was said of it) moved by `outcomes`.
    "CREATE INDEX IF NOT EXISTS by_text ON memories(user, project, normalised)",
    "CREATE INDEX IF NOT EXISTS by_project ON memories(project, user, memory_type)",
    "CREATE INDEX IF NOT EXISTS by_scope ON memories(user, memory_type) WHERE scope = 'global'",
    "CREATE INDEX IF NOT EXISTS by_feature ON memories(project, user, feature) WHERE feature IS NOT NULL",
    *lexical.SCHEMA,
    # Queries answered, and those with at least one hit.
    "CREATE TABLE IF NOT EXISTS recalls(project TEXT PRIMARY KEY, asked INTEGER NOT NULL, hit INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS by_successor ON memories(superseded_by) WHERE superseded_by IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS by_pending ON memories(project) WHERE pending",
    "CREATE TABLE IF NOT EXISTS recalled_in(session TEXT NOT NULL, memory INTEGER NOT NULL,"
    " PRIMARY KEY(session, memory)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outcomes(memory INTEGER NOT NULL, session TEXT NOT NULL, gain REAL NOT NULL,"
    " PRIMARY KEY(memory, session)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS maintained(project TEXT PRIMARY KEY, at TEXT NOT NULL, detail TEXT NOT NULL)",
    *vectors.PLAIN_SCHEMA,
    *graph.SCHEMA,
)

OUTCOME_GAIN = {"success": 0.05, "failure": -0.05}
"""What one session's outcome adds to the importance of each memory that was recalled in it."""
MOST_GAIN = 0.2
"""How far outcomes move an importance from what was stated, either way."""
MEMORY_MAINTENANCE = "memories"
"""`what` of the MaintenanceDone that closes a consolidation."""

_INSERT = """INSERT INTO memories(id, content, category, importance, user, project, scope, metadata, memory_type,
    task, session, source, created_at, updated_at, normalised, feature, stated)
    VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""


def apply(connection: Any, recorded: Recorded) -> None:
    """Brings the rows from before the event to after it. Other kinds, and forgotten events, change nothing."""
    event = recorded.event
    match event:
        case MemoryStored():
            said = Rendered(event.content, event.category, event.importance, "memory", event.metadata)
            _insert(connection, recorded, said, event.user, event.task, event.source, event.scope)
            _place(connection, recorded.position, event, recorded.at)
            if event.pending:
                connection.execute("UPDATE memories SET pending = 1 WHERE id = ?", (recorded.position,))
        case MemoryCompared():
            connection.execute("UPDATE memories SET pending = 0 WHERE id = ?", (event.memory,))
            _place(connection, event.memory, event, recorded.at)
        case FailureTracked():
            said = rendering.failure(event, recorded.at)
            _insert(connection, recorded, said, event.user, event.task, event.source)
        case HandoffRecorded():
            _insert(connection, recorded, rendering.handoff(event, recorded.at), event.user, event.task)
        case ProgressTracked():
            _progress(connection, recorded, event)
        case MemoryUpdated():
            connection.execute(
                "UPDATE memories SET stated = coalesce(?, stated) WHERE id = ?",
                (event.importance, event.memory),
            )
            _weigh(connection, event.memory)
            _reword(connection, event.memory, event.content, recorded.at)
        case MemorySuperseded():
            chains.supersede(connection, event.memory, event.by, event.why, recorded.at, merged=event.merged)
        case MemoryRecalled():
            _recalled(connection, recorded, event)
        case MemoryReinforced():
            _reinforced(connection, recorded, event)
        case MemoryPruned() | MemoryRestored():
            since = recorded.at if isinstance(event, MemoryPruned) else None
            connection.executemany(
                "UPDATE memories SET pruned_at = ? WHERE id = ?",
                [(since, memory) for memory in event.memories],
            )
        case OutcomeReported():
            _outcome(connection, event)
        case MaintenanceDone() if event.what == MEMORY_MAINTENANCE:
            connection.execute(
                "INSERT OR REPLACE INTO maintained VALUES(?, ?, ?)",
                (recorded.project, recorded.at, _json(event.detail)),
            )
        case _:
            pass


def _insert(
    connection: Any,
    recorded: Recorded,
    said: Rendered,
    user: str,
    task: int | None,
    source: str = "agent",
    scope: str = "project",
    feature: str | None = None,
) -> None:
    place, at = recorded.position, recorded.at
    connection.execute(
        _INSERT,
        (
            *(place, said.content, said.category, said.importance, user, recorded.project, scope),
            *(_json(said.metadata), said.memory_type, task, recorded.session, source, at, at),
            *(normalised(said.content), feature, said.importance),
        ),
    )
    graph.expect(connection, place)
    lexical.add(
        connection, place, said.content, project=recorded.project, user=user, session=recorded.session, at=at
    )


def _reword(connection: Any, memory: int, content: str, at: str) -> None:
    row = connection.execute("SELECT content FROM memories WHERE id = ?", (memory,)).fetchone()
    if row is None:
        return
    connection.execute(
        "UPDATE memories SET content = ?, normalised = ?, updated_at = ? WHERE id = ?",
        (content, normalised(content), at, memory),
    )
    if row[0] != content:
        lexical.reword(connection, memory, content)
        vectors.forget(connection, memory)
        graph.forget(connection, memory)


def _progress(connection: Any, recorded: Recorded, event: ProgressTracked) -> None:
    """One row a feature: the first event makes it, later ones rewrite it."""
    said = rendering.progress(event, recorded.at)
    row = connection.execute(
        "SELECT id FROM memories WHERE project = ? AND user = ? AND feature = ? AND task IS ?",
        (recorded.project, event.user, event.feature, event.task),
    ).fetchone()
    if row is None:
        _insert(connection, recorded, said, event.user, event.task, feature=event.feature)
        return
    connection.execute(
        "UPDATE memories SET stated = ?, metadata = ? WHERE id = ?",
        (said.importance, _json(said.metadata), row[0]),
    )
    _weigh(connection, int(row[0]))
    _reword(connection, int(row[0]), said.content, recorded.at)


def _recalled(connection: Any, recorded: Recorded, event: MemoryRecalled) -> None:
    connection.executemany(
        "UPDATE memories SET recalls = recalls + 1, last_recalled_at = ? WHERE id = ?",
        [(recorded.at, memory) for memory in event.memories],
    )
    sessions = {recorded.session, event.reported_session} - {None}
    connection.executemany(
        "INSERT OR IGNORE INTO recalled_in VALUES(?, ?)",
        [(session, memory) for session in sorted(map(str, sessions)) for memory in event.memories],
    )
    if event.query_digest:
        connection.execute(
            "INSERT INTO recalls(project, asked, hit) VALUES(?, 1, ?)"
            " ON CONFLICT(project) DO UPDATE SET asked = asked + 1, hit = hit + excluded.hit",
            (recorded.project, 1 if event.memories else 0),
        )


def _place(connection: Any, memory: int, event: MemoryStored | MemoryCompared, at: str) -> None:
    """Links a memory with those it was compared with."""
    for older in event.supersedes:
        chains.supersede(connection, older, memory, event.why, at, merged=event.merged)
    if event.below is not None:
        chains.supersede(connection, memory, event.below, event.why, at, merged=event.merged)


def _reinforced(connection: Any, recorded: Recorded, event: MemoryReinforced) -> None:
    connection.execute(
        "UPDATE memories SET recalls = recalls + 1, last_recalled_at = ?, pruned_at = NULL,"
        " stated = max(stated, coalesce(?, 0)) WHERE id = ?",
        (recorded.at, event.importance, event.memory),
    )
    _weigh(connection, event.memory)


def _outcome(connection: Any, event: OutcomeReported) -> None:
    """One voice per session: what it says again replaces what it said before."""
    for memory in event.memories:
        connection.execute(
            "INSERT OR REPLACE INTO outcomes VALUES(?, ?, ?)",
            (memory, event.reported_session, OUTCOME_GAIN[event.outcome]),
        )
        _weigh(connection, memory)


def _weigh(connection: Any, memory: int) -> None:
    """Importance: what was stated, moved by outcomes of sessions, within 0..1."""
    connection.execute(
        "UPDATE memories SET importance = max(0.0, min(1.0, stated + max(?2, min(?3,"
        " (SELECT coalesce(sum(gain), 0.0) FROM outcomes WHERE memory = ?1))))) WHERE id = ?1",
        (memory, -MOST_GAIN, MOST_GAIN),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
