"""What an event makes of the memory rows: a pure function of (rows, event), run inside the index's transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from engram_runtime.journal.events import (
    FailureTracked,
    HandoffRecorded,
    MemoryRecalled,
    MemoryStored,
    MemorySuperseded,
    MemoryUpdated,
    ProgressTracked,
    Recorded,
)
from engram_runtime.memory import rendering, vectors
from engram_runtime.memory.dedup import normalised
from engram_runtime.memory.lexical import index_text
from engram_runtime.memory.rendering import Rendered

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value)",
    """CREATE TABLE IF NOT EXISTS memories(
        id INTEGER PRIMARY KEY, content TEXT NOT NULL, category TEXT NOT NULL, importance REAL NOT NULL,
        user TEXT NOT NULL, project TEXT NOT NULL, scope TEXT NOT NULL, metadata TEXT NOT NULL,
        memory_type TEXT NOT NULL, task INTEGER, session TEXT, source TEXT NOT NULL, created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL, recalls INTEGER NOT NULL DEFAULT 0, last_recalled_at TEXT,
        superseded_by INTEGER, normalised TEXT NOT NULL, feature TEXT)""",
    "CREATE INDEX IF NOT EXISTS by_text ON memories(user, project, normalised)",
    "CREATE INDEX IF NOT EXISTS by_project ON memories(project, user, memory_type)",
    "CREATE INDEX IF NOT EXISTS by_scope ON memories(user, memory_type) WHERE scope = 'global'",
    "CREATE INDEX IF NOT EXISTS by_feature ON memories(project, user, feature) WHERE feature IS NOT NULL",
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, tokenize='porter unicode61')",
    # Queries answered, and those with at least one hit.
    "CREATE TABLE IF NOT EXISTS recalls(project TEXT PRIMARY KEY, asked INTEGER NOT NULL, hit INTEGER NOT NULL)",
    *vectors.PLAIN_SCHEMA,
)

_INSERT = """INSERT INTO memories(id, content, category, importance, user, project, scope, metadata, memory_type,
    task, session, source, created_at, updated_at, normalised, feature) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""


def apply(connection: Any, recorded: Recorded) -> None:
    """Brings the rows from before the event to after it. Other kinds, and forgotten events, change nothing."""
    event = recorded.event
    match event:
        case MemoryStored():
            said = Rendered(event.content, event.category, event.importance, "memory", event.metadata)
            _insert(connection, recorded, said, event.user, event.task, event.source, event.scope)
        case FailureTracked():
            said = rendering.failure(event, recorded.at)
            _insert(connection, recorded, said, event.user, event.task, event.source)
        case HandoffRecorded():
            _insert(connection, recorded, rendering.handoff(event, recorded.at), event.user, event.task)
        case ProgressTracked():
            _progress(connection, recorded, event)
        case MemoryUpdated():
            connection.execute(
                "UPDATE memories SET importance = coalesce(?, importance) WHERE id = ?",
                (event.importance, event.memory),
            )
            _reword(connection, event.memory, event.content, recorded.at)
        case MemorySuperseded():
            connection.execute(
                "UPDATE memories SET superseded_by = ? WHERE id = ? AND id <> ?",
                (event.by, event.memory, event.by),
            )
        case MemoryRecalled():
            _recalled(connection, recorded, event)
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
            *(normalised(said.content), feature),
        ),
    )
    connection.execute("INSERT INTO words(rowid, text) VALUES(?, ?)", (place, index_text(said.content)))


def _reword(connection: Any, memory: int, content: str, at: str) -> None:
    row = connection.execute("SELECT content FROM memories WHERE id = ?", (memory,)).fetchone()
    if row is None:
        return
    connection.execute(
        "UPDATE memories SET content = ?, normalised = ?, updated_at = ? WHERE id = ?",
        (content, normalised(content), at, memory),
    )
    if row[0] != content:
        connection.execute("UPDATE words SET text = ? WHERE rowid = ?", (index_text(content), memory))
        vectors.forget(connection, memory)


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
        "UPDATE memories SET importance = ?, metadata = ? WHERE id = ?",
        (said.importance, _json(said.metadata), row[0]),
    )
    _reword(connection, int(row[0]), said.content, recorded.at)


def _recalled(connection: Any, recorded: Recorded, event: MemoryRecalled) -> None:
    connection.executemany(
        "UPDATE memories SET recalls = recalls + 1, last_recalled_at = ? WHERE id = ?",
        [(recorded.at, memory) for memory in event.memories],
    )
    if event.query_digest:
        connection.execute(
            "INSERT INTO recalls(project, asked, hit) VALUES(?, 1, ?)"
            " ON CONFLICT(project) DO UPDATE SET asked = asked + 1, hit = hit + excluded.hit",
            (recorded.project, 1 if event.memories else 0),
        )


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
