"""Answering the agent's hooks: at once, except where the answer must wait for something durable or for the tools."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from engram_runtime.journal.events import BriefingInjected
from engram_runtime.journal.records import CheckpointReason
from engram_tui.agents.base import Adapter
from engram_tui.supervisor.endpoint import Endpoint
from engram_tui.supervisor.intake import Intake
from engram_tui.watch.observations import CompactionBegan, Observation, ToolEnded

TOOLS_WAIT_S = 5.0
TOOLS_MARGIN_S = 0.3
"""After tools/list was answered Claude needs 100–200 ms until its first request has the tools (measured)."""
COMPACTION_WAIT_S = 2.0


class Hooks:
    """Takes hook calls of one agent.

    `briefing(source)` gives the text for a (re)started conversation, None for nothing; `checkpoint(reason, trigger)`
    writes one and returns when it is durable; `advice(ended)` what is known of a failed call, at once or not at all.
    """

    def __init__(
        self,
        adapter: Adapter,
        intake: Intake,
        endpoint: Endpoint,
        post: Callable[..., None],
        briefing: Callable[[str], Awaitable[tuple[str, int | None, int | None] | None]],
        checkpoint: Callable[[CheckpointReason, str], Awaitable[None]],
        advice: Callable[[ToolEnded], Awaitable[str | None]],
        has_mcp: bool,
    ) -> None:
        self._adapter = adapter
        self._intake = intake
        self._endpoint = endpoint
        self._post = post
        self._briefing = briefing
        self._checkpoint = checkpoint
        self._advice = advice
        self._has_mcp = has_mcp
        self._held = False

    async def answer(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Take in what a hook call tells; its answer."""
        observations = self._adapter.on_hook(event, payload)
        self._intake.take(observations)
        if any(isinstance(o, CompactionBegan) for o in observations):
            await _bounded(self._checkpoint("COMPACTION", f"{event} {payload.get('trigger', '')}".strip()))
        context: str | None = None
        if self._adapter.gives_briefing(event, payload):
            context = await self._context(event, str(payload.get("source", "")))
        if self._adapter.takes_advice(event):
            context = await self._advised(observations)
        if self._has_mcp and not self._held and self._adapter.holds_for_tools(event):
            self._held = True
            await self._tools_listed()
        return self._adapter.hook_answer(event, payload, context)

    async def _advised(self, observations: Sequence[Observation]) -> str | None:
        failed = next((o for o in observations if isinstance(o, ToolEnded) and not o.ok), None)
        return None if failed is None else await self._advice(failed)

    async def _context(self, event: str, source: str) -> str | None:
        given = await self._briefing(source)
        if given is None:
            return None
        text, task, checkpoint = given
        if task is not None:
            self._post(briefing_injected(text, task, checkpoint, f"{event}({source})"))
        return text

    async def _tools_listed(self) -> None:
        """Wait until the MCP client has the tools, bounded: an agent whose client fails starts without them."""
        until = time.monotonic() + TOOLS_WAIT_S
        while time.monotonic() < until:
            listed = self._endpoint.tools_listed
            if self._endpoint.mcp_refused:
                return
            if listed is not None and time.monotonic() - listed >= TOOLS_MARGIN_S:
                return
            await asyncio.sleep(0.02)


async def _bounded(work: Awaitable[None]) -> None:
    """Wait for a checkpoint, but never hold up the agent's compaction for long."""
    try:
        async with asyncio.timeout(COMPACTION_WAIT_S):
            await work
    except TimeoutError:
        return


def briefing_injected(text: str, task: int, checkpoint: int | None, channel: str) -> BriefingInjected:
    """The event that a briefing was handed over, with its size (estimated tokens) and digest."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    tokens = (len(text.encode()) + 3) // 4
    return BriefingInjected(task=task, checkpoint=checkpoint, channel=channel, tokens=tokens, digest=digest)
