"""Tools about the store as a whole: its figures and health, its tidying, and how sessions went."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from engram_runtime.journal.records import JSONObject
from engram_runtime.mcp.catalogue import Tool
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.schema import Answer, Arguments, Text

MOST_DETAILS = 200
MODEL_SECONDS = 2.0
"""How long a consolidation waits for the model."""


class ConsolidateMemory(Arguments, frozen=True, kw_only=True):
    """Parameters of consolidate_memory."""

    user_id: str = "default"


class SessionOutcome(Arguments, frozen=True, kw_only=True):
    """Parameters of session_outcome."""

    session_id: Text
    outcome: Literal["success", "failure"]
    notes: str | None = None
    user_id: str = "default"


class AskStats(Arguments, frozen=True, kw_only=True):
    """Parameters of memory_stats."""

    user_id: str = "default"


class ConsolidatedAnswer(Answer, frozen=True, kw_only=True):
    """Answer of consolidate_memory; `details` has an entry for each memory that was linked or hidden."""

    LISTED = ("result",)
    result: str
    details: list[JSONObject]


class OutcomeBooked(Answer, frozen=True, kw_only=True):
    """Answer of session_outcome."""

    LISTED = ("memories_adjusted",)
    result: str
    session_id: str
    outcome: str
    memories_adjusted: int


class Stats(Answer, frozen=True, kw_only=True):
    """Answer of memory_stats."""

    LISTED = ("total",)
    total: int
    categories: dict[str, int]
    avg_strength: float
    last_maintenance: str | None
    fts_available: bool
    engineering: JSONObject
    index: JSONObject


def consolidate_memory(call: Call, given: ConsolidateMemory) -> ConsolidatedAnswer:
    """Link memories that say the same, hide faded repetitions; nothing is lost."""
    done = call.runtime.memory.consolidate(call.user(given.user_id), wait=MODEL_SECONDS)
    details: list[JSONObject] = [
        {"action": "linked", "memory_id": memory, "below": above, "why": why}
        for memory, above, why in done.linked
    ]
    details += [{"action": "pruned", "memory_id": memory} for memory in done.pruned]
    return ConsolidatedAnswer(
        result=f"Linked {len(done.linked)} repetitions, hid {len(done.pruned)} faded ones;"
        f" {done.compared} pairs compared.",
        details=details[:MOST_DETAILS],
    )


def session_outcome(call: Call, given: SessionOutcome) -> OutcomeBooked:
    """Let how a session went tell on the memories it recalled."""
    session = given.session_id
    adjusted = call.runtime.memory.report_outcome(
        session, given.outcome, user=call.user(given.user_id), notes=given.notes or ""
    )
    way = "gain" if given.outcome == "success" else "lose"
    said = f"{adjusted} memories recalled in session {session} {way} weight."
    return OutcomeBooked(
        result=said if adjusted else f"Noted; no memory of this project was recalled in session {session}.",
        session_id=session,
        outcome=given.outcome,
        memories_adjusted=adjusted,
    )


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
        last_maintenance=stats.last_maintenance,
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
            "stale": stats.stale,
            "pruned": stats.pruned,
            "not_yet_compared": stats.waiting,
            "edges": stats.edges,
            "recalls": stats.recalls,
            "hit_rate": stats.hit_rate,
            "rows_without_vector": stats.lag,
            "embedder": stats.embedder,
            "embedder_note": stats.note,
            "model": stats.model,
            "bytes": stats.bytes_on_disk,
        },
    )


UPKEEP_TOOLS: tuple[Tool, ...] = (
    Tool(
        "consolidate_memory",
        "Link memories that say the same. Also runs by itself.",
        ConsolidateMemory,
        ConsolidatedAnswer,
        consolidate_memory,
    ),
    Tool(
        "session_outcome",
        "How a session went; weighs what it recalled.",
        SessionOutcome,
        OutcomeBooked,
        session_outcome,
    ),
    Tool(
        "memory_stats",
        "Figures about memories, failures, features.",
        AskStats,
        Stats,
        memory_stats,
        reads=True,
    ),
)
