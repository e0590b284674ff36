"""The one place of the supervisor that appends events: in order, off the loop, and never losing them to a full disk.

Events posted before the journal is open, or while it cannot be written (disk full, home damaged), wait in a bounded
buffer and are written when it can. What does not fit is counted, and the screen says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engram_runtime.errors import EngramError, InvalidEvent
from engram_runtime.journal.events import Event

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

logger = logging.getLogger(__name__)

BUFFERED_EVENTS = 20_000
BATCH = 200
RETRY_S = 1.0


@dataclass(slots=True)
class _Entry:
    event: Event
    done: asyncio.Future[int] | None


class Recorder:
    """Appends what the supervisor saw to the journal of one session."""

    def __init__(self, session: str, on_change: Callable[[], None]) -> None:
        self.session = session
        self.problem = ""
        self.dropped = 0
        self.refused = 0
        self.position = 0
        self._on_change = on_change
        self._waiting: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._runtime: Runtime | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self, runtime: Runtime) -> None:
        """Begin to write (the runtime is open now)."""
        self._runtime = runtime
        self._task = asyncio.create_task(self._pump(), name="recorder")

    def unprotected(self, why: str) -> None:
        """Say that nothing is kept."""
        self._set_problem(why)

    def post(self, *events: Event) -> None:
        """Append soon; order is kept."""
        for event in events:
            self._put(_Entry(event, None))

    def post_first(self, *events: Event) -> None:
        """Put events before all that wait: only before `start`, for what must open the session's record."""
        self._waiting.extendleft(_Entry(event, None) for event in reversed(events))
        self._idle.clear()
        self._wake.set()

    def position_of(self, event: Event) -> asyncio.Future[int]:
        """Append, and have the durable position. The future fails with the error if the journal refuses the event."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._put(_Entry(event, future))
        return future

    async def flushed(self, seconds: float) -> bool:
        """Wait until all posted events are durable, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, seconds: float = 2.0) -> None:
        """Flush as far as possible and stop."""
        if self._task is not None:
            await self.flushed(seconds)
            self._task.cancel()
            await asyncio.wait([self._task])
        for entry in self._waiting:
            if entry.done is not None and not entry.done.done():
                entry.done.cancel()

    def _put(self, entry: _Entry) -> None:
        if len(self._waiting) >= BUFFERED_EVENTS:
            self.dropped += 1
            self._on_change()
            if entry.done is not None:
                entry.done.set_exception(EngramError("the buffer of unwritten events is full"))
            return
        self._waiting.append(entry)
        self._idle.clear()
        self._wake.set()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
                if await self._write(batch):
                    for _ in batch:
                        self._waiting.popleft()
                else:
                    await asyncio.sleep(RETRY_S)
            self._idle.set()

    async def _write(self, batch: list[_Entry]) -> bool:
        """True when the batch is dealt with (durable, or refused for good)."""
        assert self._runtime is not None
        try:
            positions = await asyncio.to_thread(self._runtime.append, *(e.event for e in batch))
        except InvalidEvent as error:
            await self._write_singly(batch, error)
            return True
        except EngramError as error:
            self._set_problem(str(error))
            return False
        self._set_problem("")
        self._acknowledge(batch, positions)
        return True

    async def _write_singly(self, batch: list[_Entry], error: InvalidEvent) -> None:
        """One event of the batch is refused: the others must not suffer."""
        if len(batch) == 1:
            self.refused += 1
            logger.error("an event is refused: %s", error)
            entry = batch[0]
            if entry.done is not None and not entry.done.done():
                entry.done.set_exception(error)
            return
        for entry in batch:
            while not await self._write([entry]):
                await asyncio.sleep(RETRY_S)

    def _acknowledge(self, batch: list[_Entry], positions: tuple[int, ...]) -> None:
        for entry, position in zip(batch, positions, strict=True):
            if entry.done is not None and not entry.done.done():
                entry.done.set_result(position)
        self.position = positions[-1]
        self._on_change()

    def _set_problem(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            self._on_change()
