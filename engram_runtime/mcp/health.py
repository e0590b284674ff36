"""get_runtime_health: mcp-engram's keys, told of this store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engram_runtime.journal.records import JSONObject
from engram_runtime.mcp.catalogue import Tool, version
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.schema import Answer, Arguments
from engram_runtime.paths import HomeFiles

MOST_NAMED = 3
_KINDS = {
    "SessionStarted": "session.start",
    "SessionEnded": "session.end",
    "OutcomeReported": "session.outcome",
    "MemoryRecalled": "session.memory_recall",
    "MemoryStored": "memory.store",
    "MemoryUpdated": "memory.update",
    "TaskCreated": "task.create",
    "TaskUpdated": "task.update",
    "CheckpointWritten": "checkpoint.write",
    "CheckpointRestored": "checkpoint.restore",
    "ContinuityEvaluated": "continuity.evaluated",
    "DriftDetected": "drift.detected",
    "ExecutionStarted": "execution.start",
    "ExecutionEnded": "execution.end",
}
"""mcp-engram's names of events that both have; retries and subtasks are tasks here, and counted apart."""
_NOT_HERE = {"duckdb_version": "the store is SQLite: see sqlite_version"}


class AskHealth(Arguments, frozen=True, kw_only=True):
    """get_runtime_health takes nothing."""


class Health(Answer, frozen=True, kw_only=True):
    """Answer of get_runtime_health. `backups` are the journal's sealed archives (never removed: retain -1) and what
    a recovery put aside, `snapshots` the copies of the state; `residue_files` what nothing uses any more."""

    LISTED = ("ok", "advice")
    ok: bool
    advice: list[str]
    db_path: str
    db_exists: bool
    event_dir: str
    residue_files: list[str]
    backups: JSONObject
    snapshots: JSONObject
    event_kinds: dict[str, int]
    event_max_seq: int
    meta: JSONObject
    counts: dict[str, int]
    readonly: bool
    embedding_stale: bool


def get_runtime_health(call: Call, given: AskHealth) -> Health:
    """Whether what agents say is being kept."""
    runtime = call.runtime
    health, files, counts = runtime.health(), HomeFiles(runtime.home), runtime.state.counts()
    stats = runtime.memory.stats(user=call.context.user)
    session = runtime.state.session(call.context.session) if call.context.session else None
    advice = [f"{health.problem} {health.hint}".strip()] if health.problem else []
    if health.unknown_kinds:
        advice.append("A newer Engram wrote to this home; update this one to see all of it.")
    return Health(
        ok=health.writable and not health.problem,
        advice=advice,
        db_path=str(files.journal),
        db_exists=files.journal.exists(),
        event_dir=str(files.archive),
        residue_files=sorted(str(path) for path in _residue(files)),
        backups=_backups(files),
        snapshots=_snapshots(files),
        event_kinds=_event_kinds(call),
        event_max_seq=health.journal_position,
        meta={
            "schema_version": files.state.stem.rpartition(".v")[2],
            "engram_version": version(),
            "sqlite_version": health.sqlite_version,
            "sqlite_driver": health.driver,
            "duckdb_version": None,
            "embedding_model": stats.model,
            "embedding_dim": stats.dim or None,
            "embedding_state": stats.embedder,
            "embedding_stale": str(stats.lag > 0).lower(),
            "state_position": health.state_position,
            "memory_position": health.memory_position,
            "last_boot_at": session.started_at if session else None,
            "not_here": _NOT_HERE,
        },
        counts={name: counts.get(name, 0) for name in ("memories", "tasks", "checkpoints", "sessions")},
        readonly=not health.writable,
        embedding_stale=stats.lag > 0,
    )


def _event_kinds(call: Call) -> dict[str, int]:
    kinds = call.runtime.state.event_kinds()
    retries, spawned = call.runtime.state.lineage_counts()
    named = {_KINDS.get(kind, kind): count for kind, count in kinds.items()}
    return dict.fromkeys(_KINDS.values(), 0) | named | {"task.retry": retries, "task.spawn": spawned}


def _backups(files: HomeFiles) -> JSONObject:
    sealed = _names(files.archive, "*.jsonl.gz")
    aside = _names(files.damaged, "*")
    return {
        "dir": str(files.archive),
        "live_count": len(aside),
        "archive_count": len(sealed),
        "retain": -1,
        "live_recent": aside[-MOST_NAMED:],
        "archive_recent": sealed[-MOST_NAMED:],
    }


def _snapshots(files: HomeFiles) -> JSONObject:
    found = [(int(path.suffixes[-2][1:]), path) for path in files.snapshots.glob("state.v*.*[0-9].sqlite")]
    position, latest = max(found, default=(0, None))
    return {
        "dir": str(files.snapshots),
        "count": len(found),
        "latest_seq": position,
        "latest_path": str(latest) if latest else None,
        "latest_size_bytes": _size(latest) if latest else 0,
    }


def _residue(files: HomeFiles) -> Iterator[Path]:
    """Derived files of other versions, and what an interrupted recovery left."""
    used = (files.state.name, files.memory.name)
    for pattern in ("state.v*.sqlite", "memory.v*.sqlite"):
        yield from (path for path in files.root.glob(pattern) if path.name not in used)
    if files.recovering.exists():
        yield files.recovering


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern)) if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


HEALTH_TOOLS: tuple[Tool, ...] = (
    Tool(
        "get_runtime_health",
        "Whether what you say is kept.",
        AskHealth,
        Health,
        get_runtime_health,
        reads=True,
    ),
)
