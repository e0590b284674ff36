"""The session's screen and the UIs that show it: frames out, keys and sizes in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from engram_tui import messages as m
from engram_tui.supervisor.attached import UI, Attached
from engram_tui.terminal.pacing import Throttle
from engram_tui.terminal.protocol import Region
from engram_tui.terminal.screen_host import ScreenClosed, ScreenHost
from engram_tui.watch.pty_process import AgentProcess

TAIL_ROWS = 24
TAIL_S = 0.2
MODIFIERS = (("shift", 1), ("ctrl", 2), ("meta", 4))


class Display:
    """Joins the agent's pty, its screen process and the attached UIs. Without a terminal it does nothing."""

    def __init__(
        self,
        process: AgentProcess,
        cols: int,
        rows: int,
        attached: Attached,
        know: Callable[[int], None],
        *,
        answers: bool = True,
    ) -> None:
        """`answers`: the screen answers the agent's terminal queries (False where the user's own terminal does)."""
        self.attached = attached
        self._process = process
        self._size = (cols, rows)
        self._last_tail = ""
        self._throttle = Throttle()
        self.host: ScreenHost | None = None
        if process.has_terminal:
            self.host = ScreenHost(
                cols,
                rows,
                on_frame=self._frame,
                on_reply=process.write if answers else _unanswered,
                on_pause=partial(process.pause_reading, "screen"),
                on_resume=partial(process.resume_reading, "screen"),
                on_repaint_needed=self._jiggle,
                on_started=know,
            )

    async def start(self) -> None:
        """Start the screen process; what the agent writes meanwhile waits for it."""
        if self.host is not None:
            await self.host.start()

    def output(self, data: bytes) -> None:
        """The agent wrote to its terminal."""
        if self.host is None:
            return
        self.host.feed(data)
        if wait := self._throttle.taken(time.monotonic(), len(data)):
            self._process.pause_reading("flood")
            asyncio.get_running_loop().call_later(wait, self._process.resume_reading, "flood")

    async def tail(self) -> str:
        """The text of the screen's last lines that are not blank; "" without a screen.

        A screen process that does not answer soon (a flood, a restart) is not waited for: the last answer counts.
        """
        if self.host is None:
            return ""
        try:
            async with asyncio.timeout(TAIL_S):
                text = await self.host.text()
        except (ScreenClosed, TimeoutError):
            return self._last_tail
        lines = [line.rstrip() for line in text.splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        self._last_tail = "\n".join(lines[-TAIL_ROWS:])
        return self._last_tail

    async def close(self) -> None:
        """End the screen process."""
        if self.host is not None:
            await self.host.close()

    def joined(self, ui: UI) -> None:
        """A UI connected: it gets a full frame."""
        self.attached.add(ui)
        if self.host is not None:
            self.host.ask_full()

    def left(self, ui: UI) -> None:
        """A UI is gone: the size is that of the others now."""
        self.attached.remove(ui)
        self._resize()

    async def said(self, ui: UI, message: Any) -> bool:
        """Handle what concerns the screen; False for messages of another kind."""
        host = self.host
        if host is None:
            return isinstance(message, m.Resize | m.AskFull)
        if isinstance(message, m.Key):
            self._typed(ui)
            host.key(message.key, message.character)
        elif isinstance(message, m.Paste):
            self._typed(ui)
            host.paste(message.text)
        elif isinstance(message, m.Mouse):
            held = sum(bit for name, bit in MODIFIERS if getattr(message, name))
            host.mouse(message.action, message.button, message.x, message.y, held)
        elif isinstance(message, m.Resize):
            self._resize()
            host.ask_full()
        elif isinstance(message, m.AskFull):
            host.ask_full()
        else:
            return await self._asked(ui, host, message)
        return True

    async def _asked(self, ui: UI, host: ScreenHost, message: Any) -> bool:
        with contextlib.suppress(ScreenClosed):  # the session is ending: nobody needs the answer
            if isinstance(message, m.Viewport):
                ui.send(b"f" + await host.viewport(message.offset))
                return True
            if isinstance(message, m.Search):
                found = await host.search(message.text)
                places = tuple((f.row, f.column, f.length(self._size[0])) for f in found)
                ui.send(m.pack(m.SearchResult(text=message.text, matches=places)))
                return True
            if isinstance(message, m.Copy):
                region = Region(message.start[0], message.start[1], message.end[0], message.end[1])
                ui.send(m.pack(m.CopyResult(text=await host.region_text(region))))
                return True
        return False

    def _typed(self, ui: UI) -> None:
        newest = max((other.typed for other in self.attached if other is not ui), default=0.0)
        changed = ui.typed <= newest
        ui.typed = time.monotonic()
        if changed:
            self._resize()

    def _resize(self) -> None:
        size = self.attached.size()
        if size is not None and size != self._size and self.host is not None:
            self._size = size
            self.host.resize(*size)
            self._process.resize(size[1], size[0])

    def _jiggle(self) -> None:
        """The screen was lost: two sizes in a row make the agent repaint."""
        cols, rows = self._size
        self._process.resize(max(2, rows - 1), cols)
        asyncio.get_running_loop().call_later(0.1, self._process.resize, rows, cols)

    def _frame(self, kind: int, payload: bytes) -> None:
        self.attached.frame(bytes((kind,)), payload)


def _unanswered(data: bytes) -> None:
    """The user's own terminal answers."""
