"""Tools about memories, and the health of the store."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engram_runtime.continuity.interruptions import pins
from engram_runtime.journal.events import Category
from engram_runtime.journal.records import Checkpoint, JSONObject
from engram_runtime.mcp.catalogue import Tool, version
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.schema import LONGEST_CONTENT, Answer, Arguments, Id, Share, Text
from engram_runtime.paths import HomeFiles
from engram_runtime.state.views import HandoffView, MemoryRow

MOST_RECALLED = 50


class RecallMemory(Arguments, frozen=True, kw_only=True):
    """`session_id` is taken for compatibility: the session is known from the connection."""

    query: Text
    user_id: str = "default"
    top_k: Annotated[int, Meta(ge=1, le=MOST_RECALLED)] = 5
    session_id: str | None = None
    memory_type: Literal["all", "handoff", "failure", "progress"] = "all"


class StoreMemory(Arguments, frozen=True, kw_only=True):
    """Parameters of store_memory."""

    content: Annotated[str, Meta(min_length=1, max_length=LONGEST_CONTENT)]
    importance: Share
    category: Category = "fact"
    user_id: str = "default"
    metadata: JSONObject | None = None


class UpdateMemory(Arguments, frozen=True, kw_only=True):
    """Parameters of update_memory."""

    memory_id: Id
    new_content: Annotated[str, Meta(min_length=1, max_length=LONGEST_CONTENT)]
    importance: Share | None = None


class AskStats(Arguments, frozen=True, kw_only=True):
    """Parameters of memory_stats."""

    user_id: str = "default"


class AskHealth(Arguments, frozen=True, kw_only=True):
    """get_runtime_health takes nothing."""


class Recalled(Answer, frozen=True, kw_only=True):
    """Answer of recall_memory; `pinned` holds what to know and do first."""

    pinned: list[JSONObject]
    memoriesFound: int  # noqa: N815 - mcp-engram's key
    memories: list[JSONObject]
    semantic: Literal["ready", "warming", "off"]


class Stored(Answer, frozen=True, kw_only=True):
    """Answer of store_memory."""

    result: str
    memory_id: int


class Updated(Answer, frozen=True, kw_only=True):
    """Answer of update_memory."""

    result: str


class Stats(Answer, frozen=True, kw_only=True):
    """Answer of memory_stats."""

    LISTED = ("total", "categories", "engineering", "index")
    total: int
    categories: dict[str, int]
    avg_strength: float
    last_maintenance: str | None
    fts_available: bool
    engineering: JSONObject
    index: JSONObject


class Health(Answer, frozen=True, kw_only=True):
    """Answer of get_runtime_health: mcp-engram's keys, told of this store."""

    LISTED = ("ok", "advice", "readonly", "counts")
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


def recall_memory(call: Call, given: RecallMemory) -> Recalled:
    """What earlier sessions learned; the latest hand-off leads, and open interruptions say what to do."""
    from engram_runtime.mcp.unsupervised import lost_sessions

    user = call.user(given.user_id)
    found = call.runtime.memory.recall(
        given.query, k=given.top_k, user=user, project=call.context.project, memory_type=given.memory_type
    )
    pinned = pins(
        call.runtime.state,
        project=call.context.project,
        user=user,
        now=call.now,
        session=call.context.session,
        lost=lost_sessions(call.runtime),
    )
    handoffs = call.runtime.state.handoffs(project=call.context.project, user=user, limit=1)
    memories = [_recalled(call, hit.memory, hit.strength, hit.similarity, hit.score) for hit in found.hits]
    if handoffs and given.memory_type in ("all", "handoff"):
        memories = _with_handoff_first(call, memories, handoffs[0])
    return Recalled(
        pinned=[msgspec.to_builtins(pin) for pin in pinned],
        memoriesFound=len(memories),
        memories=memories,
        semantic=found.semantic,
    )


def store_memory(call: Call, given: StoreMemory) -> Stored:
    """Keep a fact; one that is known already is strengthened."""
    task = call.current_task()
    kept = call.runtime.memory.store(
        given.content,
        importance=given.importance,
        category=given.category,
        user=call.user(given.user_id),
        metadata=given.metadata or {},
        task=task.id if task else None,
    )
    said = "Known already: strengthened" if kept.outcome == "reinforced" else "Stored"
    return Stored(result=f"{said} as memory {kept.memory}.", memory_id=kept.memory)


def update_memory(call: Call, given: UpdateMemory) -> Updated:
    """New wording of a memory; the earlier wording stays in the journal."""
    kept = call.runtime.memory.update(given.memory_id, given.new_content, given.importance)
    return Updated(result=f"Memory {kept.memory} updated.")


def memory_stats(call: Call, given: AskStats) -> Stats:
    """Figures about the memories, failures and features of this project."""
    user, project = call.user(given.user_id), call.context.project
    stats = call.runtime.memory.stats(user=user, project=project)
    failures = call.runtime.state.failures(project=project, user=user, limit=100_000)
    features = call.runtime.state.progress(project=project, user=user)
    return Stats(
        total=stats.total,
        categories=stats.by_category,
        avg_strength=stats.avg_strength,
        last_maintenance=None,
        fts_available=True,
        engineering={
            "failures": {
                "total": len(failures),
                "by_component": dict(Counter(failure.component for failure in failures)),
                "by_severity": dict(Counter(failure.severity for failure in failures)),
            },
            "features": {
                "total_tracked": len(features),
                "active": {
                    row.feature: {"status": row.status, "completion": row.completion}
                    for row in features
                    if row.status != "done"
                },
            },
        },
        index={
            "by_type": stats.by_type,
            "strength_histogram": list(stats.strength_histogram),
            "superseded": stats.superseded,
            "recalls": stats.recalls,
            "hit_rate": stats.hit_rate,
            "rows_without_vector": stats.lag,
            "embedder": stats.embedder,
            "model": stats.model,
            "bytes": stats.bytes_on_disk,
        },
    )


def get_runtime_health(call: Call, given: AskHealth) -> Health:
    """Whether what agents say is being kept."""
    health = call.runtime.health()
    files = HomeFiles(call.runtime.home)
    counts = call.runtime.state.counts()
    stats = call.runtime.memory.stats(user=call.context.user)
    session = call.runtime.state.session(call.context.session) if call.context.session else None
    advice = [f"{health.problem} {health.hint}".strip()] if health.problem else []
    if health.unknown_kinds:
        advice.append("A newer Engram wrote to this home; update this one to see all of it.")
    return Health(
        ok=health.writable and not health.problem,
        advice=advice,
        db_path=str(files.journal),
        db_exists=files.journal.exists(),
        event_dir=str(files.archive),
        residue_files=[],
        backups=_archives(files),
        snapshots={
            "dir": str(files.state.parent),
            "count": int(files.state.exists()),
            "latest_seq": health.state_position,
            "latest_path": str(files.state) if files.state.exists() else None,
            "latest_size_bytes": files.state.stat().st_size if files.state.exists() else 0,
        },
        event_kinds={name: count for name, count in counts.items() if name != "events"},
        event_max_seq=health.journal_position,
        meta={
            "schema_version": files.state.stem.rpartition(".v")[2],
            "engram_version": version(),
            "sqlite_version": health.sqlite_version,
            "sqlite_driver": health.driver,
            "duckdb_version": "",
            "embedding_model": stats.model,
            "embedding_dim": "",
            "embedding_state": stats.embedder,
            "embedding_stale": str(stats.lag > 0).lower(),
            "memory_position": health.memory_position,
            "last_boot_at": session.started_at if session else None,
        },
        counts={name: counts.get(name, 0) for name in ("memories", "tasks", "checkpoints", "sessions")},
        readonly=not health.writable,
        embedding_stale=stats.lag > 0,
    )


def _archives(files: HomeFiles) -> JSONObject:
    sealed = sorted(files.archive.glob("*.jsonl.gz")) if files.archive.is_dir() else []
    return {
        "dir": str(files.archive),
        "live_count": int(files.journal.exists()),
        "archive_count": len(sealed),
        "retain": -1,
        "live_recent": [path.name for path in sealed[-3:]],
    }


def _recalled(call: Call, row: MemoryRow, strength: float, similarity: float, score: float) -> JSONObject:
    entry: JSONObject = {
        "id": row.id,
        "content": row.content,
        "category": row.category,
        "importance": row.importance,
        "quality_score": row.metadata.get("quality_score"),
        "strength": round(strength, 4),
        "similarity": round(similarity, 4),
        "score": round(score, 4),
        "metadata": row.metadata,
    }
    if row.superseded_by is not None:
        entry["superseded_by"] = row.superseded_by
    return entry


def _with_handoff_first(call: Call, memories: list[JSONObject], handoff: HandoffView) -> list[JSONObject]:
    from engram_runtime.memory.decay import strength

    found = [entry for entry in memories if entry["id"] == handoff.memory]
    if not found:
        row = call.runtime.memory.row(handoff.memory)
        if row is None:
            return memories
        found = [_recalled(call, row, strength(row, call.now), 0.0, 0.0)]
    first = {
        **found[0],
        "handoff_validation": _validated(call, handoff),
        "related_failures": [
            {
                "memory_id": failure.memory,
                "error": failure.error,
                "severity": failure.severity,
                "fix": failure.fix,
                "timestamp": failure.created_at,
            }
            for failure in call.runtime.state.failures(
                task=handoff.task, project=call.context.project, user=handoff.user, limit=5
            )
        ],
    }
    return [first, *(entry for entry in memories if entry["id"] != handoff.memory)]


def _validated(call: Call, handoff: HandoffView) -> list[JSONObject]:
    """What became of the steps a hand-off left: as the latest checkpoint of its task, else the features, tell."""
    checkpoint = call.runtime.state.checkpoint_version(handoff.task) if handoff.task is not None else None
    content = (checkpoint.content if checkpoint else None) or Checkpoint()
    status = {_key(item.text): "in_progress" for item in content.in_progress}
    status |= {_key(item.text): "blocked" for item in content.blocked}
    for row in call.runtime.state.progress(
        task=handoff.task, project=call.context.project, user=handoff.user
    ):
        status[_key(row.feature)] = row.status
    status |= {_key(item.text): "done" for item in content.completed}
    steps = dict.fromkeys((*handoff.in_progress, *handoff.next_steps))
    return [{"step": step, "status": status.get(_key(step), "open")} for step in steps]


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()


MEMORY_TOOLS: tuple[Tool, ...] = (
    Tool(
        "recall_memory",
        "What earlier sessions learned. First call of a session: interrupted work and the last hand-off come on top.",
        RecallMemory,
        Recalled,
        recall_memory,
        reads=True,
    ),
    Tool(
        "store_memory",
        "Keep a fact, decision or convention that outlives the session; one per call. Nothing secret.",
        StoreMemory,
        Stored,
        store_memory,
    ),
    Tool(
        "update_memory",
        "Reword a memory that changed or was wrong.",
        UpdateMemory,
        Updated,
        update_memory,
        idempotent=True,
    ),
    Tool(
        "memory_stats",
        "Figures about memories, failures and features.",
        AskStats,
        Stats,
        memory_stats,
        reads=True,
    ),
    Tool(
        "get_runtime_health",
        "Whether Engram is keeping what it is told.",
        AskHealth,
        Health,
        get_runtime_health,
        reads=True,
    ),
)
