"""The same bug twice: when a tool call fails as a failure on record did, its cause and fix go back with the hook."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engram_runtime.continuity.known_failures import Known, Match, advice, best_match, same_failure
from engram_runtime.errors import EngramError
from engram_runtime.journal import events as ev
from engram_runtime.redaction import head
from engram_tui.supervisor.capture import Decision, FixedFailure
from engram_tui.watch.observations import ToolEnded

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

logger = logging.getLogger(__name__)

PATIENCE_S = 0.15
"""The agent waits for its hook: what is not found by then is not told."""
MOST_KNOWN = 1000
OBSERVED_IMPORTANCE = 0.35


class KnownBugs:
    """The failures of a project, for one session. `post` appends events; `runtime` may not be open yet."""

    def __init__(
        self, session: str, project: str, post: Callable[..., None], runtime: Callable[[], Runtime | None]
    ) -> None:
        self._session = session
        self._project = project
        self._post = post
        self._runtime = runtime
        self._told: set[int] = set()

    async def advice(self, ended: ToolEnded) -> str | None:
        """What the model is told of a failed call; None where nothing like it is on record, or it was told."""
        runtime = self._runtime()
        if runtime is None or ended.ok:
            return None
        error = ended.error or ended.output
        match = await _in_time(asyncio.to_thread(self._match, runtime, error, ended.summary))
        if match is None or match.failure.memory in self._told:
            return None
        self._told.add(match.failure.memory)
        told = ev.KnownFailureTold(
            memory=match.failure.memory, confidence=match.confidence, call_id=ended.call_id
        )
        self._post(told)
        return advice(match)

    def keep(self, found: FixedFailure | Decision) -> None:
        """Store what was observed, unless it is known. Blocks: call it in a thread."""
        runtime = self._runtime()
        if runtime is None or not runtime.settings.capture:
            return
        try:
            if isinstance(found, FixedFailure):
                self._keep_failure(runtime, found)
            else:
                runtime.memory.store(
                    f"The user stated: {found.text}",
                    importance=OBSERVED_IMPORTANCE,
                    category="strategy",
                    source="observed",
                )
        except EngramError as error:
            logger.warning("nothing was kept of what was observed: %s", error)

    def _keep_failure(self, runtime: Runtime, found: FixedFailure) -> None:
        known = same_failure(found.error, self._known(runtime, of_this_session=True))
        if known is not None and known.fix == found.fix:
            runtime.append(ev.MemoryRecalled(memories=(known.memory,)))
            return
        # Of no task: it is knowledge of the project, and nothing of the task failed for good.
        runtime.append(
            ev.FailureTracked(
                error=found.error,
                component=head(found.command, 200),
                severity="minor",
                fix=found.fix,
                source="observed",
            )
        )

    def _match(self, runtime: Runtime, error: str, command: str) -> Match | None:
        return best_match(error, self._known(runtime), command=command)

    def _known(self, runtime: Runtime, *, of_this_session: bool = False) -> list[Known]:
        """Failures of the project; what this session recorded itself is in its model's context already."""
        return [
            Known(
                memory=row.memory,
                error=row.error,
                component=row.component,
                cause=row.root_cause,
                fix=row.fix,
                at=row.created_at,
                reported=row.source == "agent",
            )
            for row in runtime.state.failures(project=self._project, limit=MOST_KNOWN)
            if of_this_session or row.session != self._session
        ]


async def _in_time(work: Awaitable[Match | None]) -> Match | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await work
    except TimeoutError:
        return None
    except EngramError as error:
        logger.warning("known failures cannot be asked: %s", error)
        return None
