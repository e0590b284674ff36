"""Tools about memories, and the health of the store."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engram_runtime.continuity.interruptions import pins
from engram_runtime.journal.events import Category
from engram_runtime.journal.records import Checkpoint, JSONObject
from engram_runtime.mcp.catalogue import Tool
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.schema import LONGEST_CONTENT, Answer, Arguments, Id, Share, Text
from engram_runtime.mcp.upkeep_tools import UPKEEP_TOOLS
from engram_runtime.memory.results import StoreResult
from engram_runtime.state.views import HandoffView, MemoryRow

MOST_RECALLED = 50


class RecallMemory(Arguments, frozen=True, kw_only=True):
    """With `session_id`, what is found is booked on that session too, for session_outcome."""

    query: Text
    user_id: str = "default"
    top_k: Annotated[int, Meta(ge=1, le=MOST_RECALLED)] = 5
    session_id: Text | None = None
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


class Recalled(Answer, frozen=True, kw_only=True):
    """Answer of recall_memory; `pinned` holds what to know and do first."""

    LISTED = ("pinned", "memories")
    pinned: list[JSONObject]
    memoriesFound: int  # noqa: N815 - mcp-engram's key
    memories: list[JSONObject]
    semantic: Literal["ready", "warming", "off"]


class Stored(Answer, frozen=True, kw_only=True):
    """Answer of store_memory; `superseded` are memories that stay, but below this one."""

    LISTED = ("memory_id",)
    result: str
    memory_id: int
    outcome: Literal["stored", "reinforced", "superseded", "merged"]
    superseded: list[int]
    below: int | None
    why: str
    compared: bool


class Updated(Answer, frozen=True, kw_only=True):
    """Answer of update_memory."""

    result: str


def recall_memory(call: Call, given: RecallMemory) -> Recalled:
    """What earlier sessions learned; the latest hand-off leads, and open interruptions say what to do."""
    from engram_runtime.mcp.unsupervised import lost_sessions

    user = call.user(given.user_id)
    found = call.runtime.memory.recall(
        given.query,
        k=given.top_k,
        user=user,
        project=call.context.project,
        memory_type=given.memory_type,
        session=given.session_id or call.context.session,
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
    memories = [
        {
            **_recalled(call, hit.memory, hit.strength, hit.similarity, hit.score),
            "why": list(hit.why),
            "age_days": round(hit.age_days, 1),
        }
        for hit in found.hits
    ]
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
    return Stored(
        result=_became(kept),
        memory_id=kept.memory,
        outcome="stored" if kept.outcome == "updated" else kept.outcome,
        superseded=list(kept.superseded),
        below=kept.below,
        why=kept.why,
        compared=not kept.pending,
    )


def update_memory(call: Call, given: UpdateMemory) -> Updated:
    """New wording of a memory; the earlier wording stays in the journal."""
    memory = call.runtime.memory.row(given.memory_id)
    # One that was taken over answers to the number it had there, where no memory here has it.
    former = (
        None if memory else call.runtime.state.imported_id("memory", given.memory_id, call.context.project)
    )
    kept = call.runtime.memory.update(former or given.memory_id, given.new_content, given.importance)
    return Updated(result=f"Memory {kept.memory} updated.")


def _became(kept: StoreResult) -> str:
    """What happened, in one sentence."""
    if kept.outcome == "reinforced":
        return f"Known already: strengthened memory {kept.memory}."
    others = ", ".join(map(str, kept.superseded))
    plural = "ies" if len(kept.superseded) > 1 else "y"
    match kept.outcome:
        case "superseded":
            return f"Stored as memory {kept.memory} in place of memor{plural} {others} ({kept.why})."
        case "merged" if kept.below is not None:
            return f"Stored as memory {kept.memory} below memory {kept.below}, which says the same and more."
        case "merged":
            return f"Stored as memory {kept.memory}, which says what memor{plural} {others} said, and more."
        case _:
            return f"Stored as memory {kept.memory}."


def _recalled(call: Call, row: MemoryRow, strength: float, similarity: float, score: float) -> JSONObject:
    entry: JSONObject = {
        "id": row.id,
        "content": row.content,
        "category": row.category,
        "importance": round(row.importance, 4),
        "quality_score": row.metadata.get("quality_score"),
        "strength": round(strength, 4),
        "similarity": round(similarity, 4),
        "score": round(score, 4),
        "metadata": row.metadata,
        "source": {"by": row.source, "session": row.session, "event": row.id, "at": row.created_at},
    }
    if row.superseded_by is not None:
        entry["superseded_by"] = row.superseded_by
        entry["superseded_why"] = row.superseded_why
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
        "What earlier sessions learned. First call: interrupted work comes on top.",
        RecallMemory,
        Recalled,
        recall_memory,
        reads=True,
    ),
    Tool(
        "store_memory",
        "Keep a fact, decision or convention; one per call. Nothing secret.",
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
    *UPKEEP_TOOLS,
)
