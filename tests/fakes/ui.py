"""Opening the face on a fake session, and waiting for what it shows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from engram_tui.app import EngramApp
from engram_tui.keymap import PlainFace
from engram_tui.screens.outcome import Outcome
from engram_tui.screens.session import SessionScreen
from tests.fakes.wire_server import WireServer

PREFIX = "ctrl+right_square_bracket"


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until the condition holds; fail when it does not within so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {seconds} s")
        await asyncio.sleep(0.005)


def text_of(app: EngramApp) -> list[str]:
    """The lines on the whole screen."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def shows(app: EngramApp, words: str) -> bool:
    """Whether some line of the screen holds the words."""
    return any(words in line for line in text_of(app))


@dataclass
class Opened:
    """A session screen on a fake session."""

    app: EngramApp
    pilot: Pilot[Outcome]
    server: WireServer

    @property
    def screen(self) -> SessionScreen:
        assert isinstance(self.app.screen, SessionScreen)
        return self.app.screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def after_prefix(self, *keys: str) -> None:
        await self.pilot.press(PREFIX, *keys)

    async def see(self, words: str) -> None:
        try:
            await until(lambda: shows(self.app, words))
        except AssertionError:
            raise AssertionError(f"{words!r} is not shown in\n" + "\n".join(text_of(self.app))) from None

    async def hear(self, kind: type[Any], times: int = 1) -> list[Any]:
        await until(lambda: len(self.server.said(kind)) >= times)
        return self.server.said(kind)

    async def paint(self, lines: list[Any], rows: list[int] | None = None) -> None:
        cols, height = self.server.size
        full = [line.ljust(cols)[:cols] if isinstance(line, str) else line for line in lines]
        full += [" " * cols] * (height - len(full))
        await self.server.paint(full, rows)


def short_folder() -> Path:
    """A new folder whose path is short enough for a Unix socket."""
    return Path(tempfile.mkdtemp(prefix="eng"))


@asynccontextmanager
async def opened(
    size: tuple[int, int] = (80, 24), *, settings: PlainFace | None = None, state: Any = None, **snapshot: Any
) -> AsyncIterator[Opened]:
    """The session screen at some size, attached to a fake session that has painted one line."""
    import msgspec

    folder = short_folder()
    async with WireServer(folder / "s") as server:
        server.snapshot = msgspec.structs.replace(server.snapshot, **snapshot)
        app = EngramApp(settings)
        app.begin_with(SessionScreen(server.path, app.settings, state=state))
        async with app.run_test(size=size, notifications=True) as pilot:
            here = Opened(app, pilot, server)
            await until(lambda: server.size != (0, 0))
            await here.paint(["ready"])
            await here.see("ready")
            yield here
    folder.rmdir()
