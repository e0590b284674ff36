"""What the attached UIs' panes are told: a snapshot when something changed, at most four a second, none without UIs."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from engram_runtime.errors import EngramError
from engram_tui import messages as m
from engram_tui.supervisor import status
from engram_tui.watch.observations import ProcessSeen

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_tui.supervisor.supervisor import Supervisor

INTERVAL_S = 0.25
REFRESH_S = 5.0
MEMORY_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class Panes:
    """Builds snapshots of one supervisor's session."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._of = supervisor
        self._touched = asyncio.Event()
        self._health: m.MemoryHealth | None = None
        self._health_at = 0.0
        self._lines: dict[str, object] = {}
        self._lines_of: tuple[int, int | None] | None = None
        self.processes: tuple[ProcessSeen, ...] = ()

    def touch(self) -> None:
        """Something that panes show has changed."""
        self._touched.set()

    async def push(self) -> None:
        """Send snapshots to the UIs until cancelled."""
        while True:
            try:
                async with asyncio.timeout(REFRESH_S if len(self._of.attached) else None):
                    await self._touched.wait()
            except TimeoutError:
                pass
            self._touched.clear()
            if len(self._of.attached):
                await self._send()
            await asyncio.sleep(INTERVAL_S)

    async def _send(self) -> None:
        try:
            self._of.attached.broadcast(await self.snapshot())
        except EngramError as error:
            logger.warning("no snapshot: %s", error)  # the next one may do; panes must not freeze for good

    def _memory(self, runtime: Runtime) -> m.MemoryHealth:
        """Figures over all memories cost tenths of a second where there are many: not at every change."""
        now = time.monotonic()
        if self._health is None or now - self._health_at >= MEMORY_EVERY_S:
            self._health, self._health_at = status.memory_health(runtime), now
        return self._health

    async def snapshot(self) -> m.Snapshot:
        """The session as it is now."""
        runtime = self._of.runtime
        kept = await asyncio.to_thread(self._kept, runtime) if runtime is not None else {}
        return self._assemble(kept)

    def _kept(self, runtime: Runtime) -> dict[str, object]:
        """What the projections say (blocks: in a thread). Asked anew only where the journal went on."""
        of, task = self._of, self._of.task.id
        as_of = (runtime.journal.head(), task)
        if as_of != self._lines_of:
            checkpoints = status.checkpoint_lines(runtime, task)
            self._lines = {
                "tasks": status.task_lines(runtime, of.spec.project, task),
                "checkpoints": checkpoints,
                "checkpoint": checkpoints[0] if checkpoints else None,
                "activity": tuple(runtime.activity(limit=status.ACTIVITY_SHOWN, session=of.spec.id)),
            }
            self._lines_of = as_of
        return {**self._lines, "memory": self._memory(runtime)}

    def _assemble(self, kept: dict[str, object]) -> m.Snapshot:
        of, live = self._of, self._of.live
        tasks: tuple[m.TaskLine, ...] = kept.get("tasks", ())  # type: ignore[assignment]
        checkpoint: m.CheckpointLine | None = kept.get("checkpoint")  # type: ignore[assignment]
        current = next((t for t in tasks if t.current), None)
        return m.Snapshot(
            session=of.spec.id,
            agent=of.spec.agent,
            project=of.spec.project,
            cwd=of.spec.cwd,
            pid=of.process.pid,
            supervisor_pid=of.info.pid,
            state=live.state.state,
            state_since=status.stamp(live.state.since_wall),
            now=status.stamp(time.time()),
            task=of.task.id,
            task_name=current.name if current else "",
            goal=current.goal if current else "",
            context_used=live.context.used if live.context else None,
            context_window=live.context.window if live.context else None,
            tokens_in=live.context.used if live.context else 0,
            tokens_out=live.tokens_out,
            conditions=tuple(
                status.condition(kind, since, text, checkpoint)
                for kind, (since, text) in reversed(live.conditions.items())
            ),
            protected=not of.recorder.problem,
            problem=of.recorder.problem,
            journal_position=of.recorder.position,
            uis=len(of.attached),
            mcp_connected=of.endpoint.mcp_asked.is_set(),
            processes=status.process_lines(of.eyes.processes),
            files=of.eyes.changes() or (),
            **kept,  # type: ignore[arg-type]
        )
