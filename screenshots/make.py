"""Pictures of a real run: the demo agent under a real supervisor, the real app drawing into memory.

Run: make screenshots. Writes SVG and PNG beside this file (PNG needs a monospace font with box drawing on the machine).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from engram_runtime import ids
from engram_runtime.paths import project_of
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_tui.agents.registry import adapter
from engram_tui.app import EngramApp
from engram_tui.cli.ask import recovery_card
from engram_tui.cli.run import Wish
from engram_tui.client import request
from engram_tui.screens.session import SessionScreen
from engram_tui.supervisor.launch import start_detached
from engram_tui.supervisor.spec import SessionSpec

HERE = Path(__file__).parent
SIZES = ((140, 40), (80, 24))
FONT = "DejaVu Sans Mono"


class Stage:
    """A home and a small project; everything started is ended."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="es-"))
        self.home, self.work = self.root / "home", self.root / "shop"
        self.work.mkdir()
        git = ("git", "-c", "user.name=u", "-c", "user.email=u@example.invalid")
        subprocess.run([*git, "init", "-q", "-b", "main", "."], cwd=self.work, check=True)
        (self.work / "README.md").write_text("# Shop\n")
        subprocess.run([*git, "add", "-A"], cwd=self.work, check=True)
        subprocess.run([*git, "commit", "-q", "-m", "start"], cwd=self.work, check=True)
        os.environ["ENGRAM_HOME"] = str(self.home)

    def spec(self, size: tuple[int, int], **more: Any) -> SessionSpec:
        """A session of the demo agent."""
        spec = SessionSpec(
            id=ids.session_id(),
            home=str(self.home),
            project=project_of(self.work),
            agent="demo",
            executable=sys.executable,
            cwd=str(self.work),
            cols=size[0],
            rows=size[1],
        )
        return msgspec.structs.replace(spec, **more)

    def close(self) -> None:
        """Remove all."""
        shutil.rmtree(self.root, ignore_errors=True)


async def main() -> None:
    """Take all pictures."""
    stage = Stage()
    try:
        for size in SIZES:
            await session(stage, size)
        await card(stage)
    finally:
        stage.close()


async def session(stage: Stage, size: tuple[int, int]) -> None:
    """The session screen while the agent works; at 80×24 with and without the frame."""
    os.environ["ENGRAM_DEMO_PACE"] = "1.5"
    socket = await asyncio.to_thread(start_detached, stage.spec(size))
    name = f"{size[0]}x{size[1]}"

    async def script(pilot: Any) -> None:
        await until(lambda: _done(socket) >= 2, 30)
        await pilot.pause(1.0)
        save(pilot.app, f"session-{name}")
        if size[0] < 100:
            await pilot.press("ctrl+right_square_bracket", "e")
            await pilot.pause(0.6)
            save(pilot.app, f"frame-{name}")
        pilot.app.exit()

    await shown(EngramApp(Settings()).begin_with(SessionScreen(socket, Settings())), size, script)
    snapshot = request(socket, "GET", "/session")
    os.kill(snapshot["pid"], signal.SIGKILL)  # the killed agent is what the recovery card is about
    await until(lambda: not socket.exists(), 20)


async def card(stage: Stage) -> None:
    """The recovery card of the killed demo agent."""
    with Runtime.open(stage.home, project=project_of(stage.work)) as runtime:
        task = runtime.state.interrupted_tasks(runtime.project)[0]
        typed = Wish(
            agent=adapter("demo"), executable=sys.executable, args=(), cwd=stage.work, headless=False
        )
        shown_card = recovery_card(runtime, task, typed)

    async def nothing(_choice: Any) -> Path:
        raise RuntimeError("a picture starts nothing")

    async def script(pilot: Any) -> None:
        await pilot.pause(0.5)
        save(pilot.app, "recovery-140x40")
        pilot.app.exit()

    await shown(EngramApp(Settings()).begin_with_card(shown_card, nothing), (140, 40), script)


async def shown(app: EngramApp, size: tuple[int, int], script: Callable[[Any], Awaitable[None]]) -> None:
    """Run the app without a terminal of its own."""
    async with app.run_test(size=size) as pilot:
        await script(pilot)


def save(app: EngramApp, name: str) -> None:
    """SVG as Textual draws it, PNG through cairo."""
    import cairosvg

    svg = app.export_screenshot(title="engram")
    (HERE / f"{name}.svg").write_text(svg)
    # The web font of the SVG is not fetched: the PNG is drawn with one of the machine's own.
    local = re.sub(r"@font-face \{[^}]*\}", "", svg).replace("Fira Code", FONT)
    cairosvg.svg2png(bytestring=local.encode(), write_to=str(HERE / f"{name}.png"), output_width=1400)
    print(f"{name}.svg, {name}.png")


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, bounded."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        if time.monotonic() > end:
            raise TimeoutError
        await asyncio.sleep(0.1)


def _done(socket: Path) -> int:
    tasks = request(socket, "GET", "/session").get("tasks", [])
    return sum(1 for t in tasks if t["current"] for f in t["features"] if f[1] == "done")


if __name__ == "__main__":
    asyncio.run(main())
