"""The UIs attached to a session: who gets which frame, and whose size counts."""

from __future__ import annotations

import asyncio
from collections import deque

from engram_tui.messages import Message, pack

SNAPSHOT = b"s"
SLOW_BYTES = 2 << 20
"""A UI with more than this unsent gets its screen anew when it has caught up."""


class UI:
    """One attached UI: what waits to be sent to it."""

    def __init__(self) -> None:
        self.cols = 0
        self.rows = 0
        self.wants_full = True
        self.typed = 0.0
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._snapshot: bytes | None = None
        self._wake = asyncio.Event()
        self.closing = False

    def send(self, data: bytes) -> None:
        """Queue a message. One that cannot keep up loses screen frames, and snapshots that a newer one replaces."""
        if data[:1] == SNAPSHOT:
            self._snapshot = data
            self._wake.set()
            return
        self._queue.append(data)
        self._bytes += len(data)
        self._wake.set()

    def send_frame(self, kind: bytes, payload: bytes) -> None:
        """Queue a screen frame, unless the UI waits for a full one or is too slow."""
        if kind == b"d" and self.wants_full:
            return
        if self._bytes > SLOW_BYTES:
            self._queue = deque(m for m in self._queue if m[:1] not in (b"d", b"f"))
            self._bytes = sum(map(len, self._queue))
            self.wants_full = True
            return
        self.wants_full = False
        self.send(kind + payload)

    async def next_batch(self) -> list[bytes]:
        """Messages to send now; waits for the first."""
        while not self._queue and self._snapshot is None and not self.closing:
            self._wake.clear()
            await self._wake.wait()
        batch = [self._snapshot] if self._snapshot is not None else []
        batch += self._queue
        self._snapshot = None
        self._queue.clear()
        self._bytes = 0
        return batch

    @property
    def drained(self) -> bool:
        """Nothing waits."""
        return not self._queue and self._snapshot is None

    def wake(self) -> None:
        """Let a waiting sender look again."""
        self._wake.set()


class Attached:
    """All UIs of a session."""

    def __init__(self) -> None:
        self._uis: list[UI] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._uis)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(tuple(self._uis))

    def add(self, ui: UI) -> None:
        """A UI connected."""
        self._uis.append(ui)

    def remove(self, ui: UI) -> None:
        """A UI is gone."""
        if ui in self._uis:
            self._uis.remove(ui)

    def broadcast(self, message: Message) -> None:
        """Send to all."""
        data = pack(message)
        for ui in self._uis:
            ui.send(data)

    def frame(self, kind: bytes, payload: bytes) -> bool:
        """Pass a screen frame on; True if some UI needs a full one that this was not."""
        for ui in self._uis:
            ui.send_frame(kind, payload)
        return any(ui.wants_full for ui in self._uis)

    def size(self) -> tuple[int, int] | None:
        """Columns and rows of the UI last typed in (the newest, before any typed); None without UIs."""
        sized = [ui for ui in self._uis if ui.cols and ui.rows]
        if not sized:
            return None
        latest = max(reversed(sized), key=lambda ui: ui.typed)
        return latest.cols, latest.rows
