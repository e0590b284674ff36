"""A session as a UI sees it, without agent or supervisor: a real server on a Unix socket that a test drives.

Run by hand it plays a small scene to attach to: `python tests/fakes/wire_server.py SOCKET`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from engram_tui import messages as wire
from tests.fakes.scene import SCENE, screen_rows


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WireServer:
    """Speaks `messages` to any number of UIs; keeps what they said in `heard`."""

    def __init__(self, path: Path, snapshot: wire.Snapshot | None = None) -> None:
        self.path = path
        self.snapshot = snapshot or SCENE
        self.heard: list[Any] = []
        self.posted: list[tuple[str, Any]] = []
        self.uis: list[WebSocket] = []
        self.size = (0, 0)
        self.lines: list[list[wire.Run]] = []
        self.past: list[list[wire.Run]] = []
        self.cursor = (0, 0, True, 0)
        self.modes = wire.ScreenModes()
        self.echo = False
        self._task: asyncio.Task[None] | None = None
        self._server: _Server | None = None

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> WireServer:
        """Listen."""
        listener = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        listener.bind(str(self.path))
        listener.listen(16)
        listener.setblocking(False)
        app = Starlette(
            routes=[
                WebSocketRoute("/attach", self._attach),
                Route("/session", self._session),
                Route("/{what}", self._post, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(
            app, lifespan="off", loop="none", log_config=None, ws="websockets-sansio",
            ws_per_message_deflate=False, ws_ping_interval=None, timeout_graceful_shutdown=1,
        )  # fmt: skip
        config.load()
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            await asyncio.sleep(0.001)
        return self

    async def stop(self) -> None:
        """Close every connection and stop listening; the socket file goes too."""
        if self._server and self._task:
            await self.hang_up()
            self._server.should_exit = True
            await self._task
            self._server = self._task = None
        self.path.unlink(missing_ok=True)

    async def hang_up(self) -> None:
        """Drop every UI without a word, as a supervisor that dies does."""
        for ui in list(self.uis):
            with contextlib.suppress(RuntimeError):
                await ui.close(1012)
        self.uis.clear()

    async def __aenter__(self) -> WireServer:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- what it says -----------------------------------------------------------------------------------------

    async def say(self, message: Any) -> None:
        """Send a message to every UI."""
        for ui in list(self.uis):
            await ui.send_bytes(wire.pack(message))

    async def show(self, **changes: Any) -> None:
        """Send the snapshot with these fields changed."""
        import msgspec

        self.snapshot = msgspec.structs.replace(self.snapshot, **changes)
        await self.say(self.snapshot)

    async def end(self, line: str = "finished · checkpoint v8 durable") -> None:
        """Say that the session ended."""
        await self.say(wire.Ended(verdict="finished", exit_code=0, line=line))

    def frame(self, rows: list[int] | None = None, offset: int = 0) -> wire.ScreenFrame:
        """The screen, or some rows of it, or the view that far back."""
        cols, height = self.size
        everything = self.past + self.lines
        view = everything[len(self.past) - offset :][:height]
        view += [[(" " * cols, None, None, 0)]] * (height - len(view))
        chosen = range(height) if rows is None else rows
        modes = wire.ScreenModes(
            title=self.modes.title,
            mouse=self.modes.mouse,
            alt=self.modes.alt,
            paste=self.modes.paste,
            scrollback=len(self.past),
            offset=offset,
        )
        return wire.ScreenFrame(cols, height, self.cursor, [(y, view[y]) for y in chosen], modes)

    async def paint(self, lines: list[str | list[wire.Run]], rows: list[int] | None = None) -> None:
        """Put these lines on the screen (plain text or runs): all, or as a change of `rows`."""
        self.lines = [line if isinstance(line, list) else [(line, None, None, 0)] for line in lines]
        kind = b"f" if rows is None else b"d"
        import msgspec

        data = kind + msgspec.msgpack.encode(self.frame(rows))
        for ui in list(self.uis):
            await ui.send_bytes(data)

    # --- what it hears ----------------------------------------------------------------------------------------

    def said(self, kind: type[Any]) -> list[Any]:
        """Messages of one kind, in order."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def _attach(self, ui: WebSocket) -> None:
        await ui.accept()
        self.uis.append(ui)
        try:
            while True:
                message = wire.unpack(await ui.receive_bytes())
                self.heard.append(message)
                await self._answer(ui, message)
        except WebSocketDisconnect:
            pass
        finally:
            if ui in self.uis:
                self.uis.remove(ui)

    async def _answer(self, ui: WebSocket, message: Any) -> None:
        if isinstance(message, wire.Resize):
            self.size = (message.cols, message.rows)
            await ui.send_bytes(wire.pack(self.frame()))
            await ui.send_bytes(wire.pack(self.snapshot))
        elif isinstance(message, wire.AskFull):
            await ui.send_bytes(wire.pack(self.frame()))
        elif isinstance(message, wire.Viewport):
            await ui.send_bytes(wire.pack(self.frame(offset=min(message.offset, len(self.past)))))
        elif isinstance(message, wire.Search):
            await ui.send_bytes(
                wire.pack(wire.SearchResult(text=message.text, matches=self._find(message.text)))
            )
        elif isinstance(message, wire.Copy):
            await ui.send_bytes(wire.pack(wire.CopyResult(text=self._region(message))))
        elif isinstance(message, wire.ShowCheckpoint):
            words = (
                "+ added\n- removed [b]not markup[/b]" if message.compare else "# Goal\nFix the login loop"
            )
            title = f"checkpoint {message.id}{' compared' if message.compare else ''}"
            await ui.send_bytes(wire.pack(wire.CheckpointText(id=message.id, title=title, text=words)))
        elif isinstance(message, wire.StopAgent):
            await self.end("killed(15) · checkpoint v8 durable · `engram resume` goes on")
        elif isinstance(message, wire.Key) and self.echo:
            await self._type(message)

    async def _type(self, key: wire.Key) -> None:
        x, y, visible, shape = self.cursor
        text = "".join(run[0] for run in self.lines[y])
        typed = key.character if key.character and key.character.isprintable() else f"<{key.key}>"
        text = (text[:x] + typed).ljust(self.size[0])[: self.size[0]]
        self.cursor = (min(x + len(typed), self.size[0] - 1), y, visible, shape)
        lines: list[Any] = [*self.lines]
        lines[y] = text
        await self.paint(lines, [y])

    def _text(self, row: int) -> str:
        return "".join(run[0] for run in (self.past + self.lines)[row])

    def _find(self, text: str) -> tuple[tuple[int, int, int], ...]:
        found = []
        for row in range(len(self.past) + len(self.lines)):
            column = self._text(row).find(text)
            if column >= 0:
                found.append((row, column, len(text)))
        return tuple(found)

    def _region(self, region: wire.Copy) -> str:
        (first, start), (last, end) = region.start, region.end
        lines = [self._text(row) for row in range(first, last + 1)]
        lines[-1] = lines[-1][: end + 1]
        lines[0] = lines[0][start:]
        return "\n".join(line.rstrip() for line in lines)

    async def _session(self, request: Request) -> Response:
        import msgspec

        return Response(msgspec.json.encode(self.snapshot), media_type="application/json")

    async def _post(self, request: Request) -> Response:
        what = request.path_params["what"]
        body = await request.body()
        self.posted.append((what, body.decode()))
        if what not in ("checkpoint", "stop", "detach"):
            return JSONResponse({"error": f"there is no {what}"}, status_code=404)
        return JSONResponse({"done": what})


async def _play(path: Path) -> None:
    async with WireServer(path) as server:
        server.echo = True
        server.past = [[(f"earlier line {i}", None, None, 0)] for i in range(400)]
        shown = (0, 0)
        tick = 0
        while True:
            await asyncio.sleep(0.2)
            if server.size != shown:
                shown = server.size
                server.cursor = (3, shown[1] - 3, True, 0)
                await server.paint(screen_rows(*shown))
            tick += 1
            if tick % 25 == 0:
                await server.show(journal_position=server.snapshot.journal_position + 1)


if __name__ == "__main__":
    asyncio.run(_play(Path(sys.argv[1])))
