"""A world stored and asked through the tools of `engram mcp`, in a home of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from benchmarks.place import ENGRAM, Place
from benchmarks.recall_sets import Question, World

INDEXED_S = 1800.0
LOOK_S = 0.5
FIRST_FIVE = 5


async def answers(world: World) -> list[tuple[Question, list[str]]]:
    """The keys of the first five memories for each question."""
    with Place() as place:
        server = StdioServerParameters(
            command=str(ENGRAM), args=["mcp"], env=place.environ, cwd=str(place.work)
        )
        async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
            await session.initialize()
            keys: dict[int, str] = {}
            for note in world.memories:
                arguments = {
                    "content": note.content,
                    "importance": note.importance,
                    "category": note.category,
                }
                kept = await _call(session, "store_memory", arguments)
                keys.setdefault(int(kept["memory_id"]), note.key)
            await _indexed(session)
            found = []
            for question in world.questions:
                told = await _call(session, "recall_memory", {"query": question.text, "top_k": FIRST_FIVE})
                ranked = [keys.get(int(one["id"]), "?") for one in told["memories"]]
                found.append((question, ranked))
            return found


async def _indexed(session: ClientSession) -> None:
    """Waits until all memories have vectors and the model answers."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(INDEXED_S):
            while True:
                stats = await _call(session, "memory_stats", {})
                if stats["index"]["rows_without_vector"] == 0 and stats["index"]["embedder"] == "ready":
                    return
                await asyncio.sleep(LOOK_S)


async def _call(session: ClientSession, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = await session.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        raise RuntimeError(f"{tool}: {result.content}")
    return dict(result.structured_content)
