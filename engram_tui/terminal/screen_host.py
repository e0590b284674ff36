"""The supervisor's end of the screen process: keeps one running, feeds it, and restores it when it dies.

Everything happens on the event loop and nothing blocks it: the process is started and waited for in a thread. A process
that dies is replaced by one that loads the last snapshot and repeats the output since, with replies and frames held
back. If that one dies before it has caught up, the output itself is deadly: then the plain engine starts on a blank
screen, and the agent has to be made to repaint.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
from collections.abc import Callable, Coroutine
from typing import Final

import msgspec

from engram_tui.terminal import protocol
from engram_tui.terminal.output_log import OutputLog
from engram_tui.terminal.protocol import KeyInput, Match, MouseInput, PasteInput, Region
from engram_tui.terminal.screen_launch import launch

_WRITE_LIMITS: Final = {"ghostty": (1 << 20, 256 << 10), "plain": (256 << 10, 64 << 10)}
"""High and low water of the write buffer: what is buffered is also what a key has to wait for."""
_SNAPSHOT_BYTES: Final = 256 << 10
_SNAPSHOT_SECONDS: Final = 5.0
_SNAPSHOT_PAUSE: Final = 0.25
_SNAPSHOT_RATE: Final = 10 << 20
_HUNG_SECONDS: Final = 10.0
"""A snapshot not answered within this time means that the process hangs."""
_DEATHS: Final = 5
_DEATHS_SECONDS: Final = 30.0
"""So many deaths in so many seconds make the engine unfit, even if none happened on the same output."""
_LONGEST_BACKOFF: Final = 5.0


class ScreenClosed(Exception):
    """The screen was closed before it answered."""


class _Connection(asyncio.Protocol):
    """The socket to one screen process."""

    def __init__(self, host: ScreenHost) -> None:
        self._host = host
        self._reader = protocol.FrameReader()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._host._connected(self, transport)

    def data_received(self, data: bytes) -> None:
        for kind, payload in self._reader.feed(data):
            self._host._received(self, kind, payload)

    def pause_writing(self) -> None:
        self._host._pause()

    def resume_writing(self) -> None:
        self._host._resume()

    def connection_lost(self, error: Exception | None) -> None:
        self._host._lost(self)


class ScreenHost:
    """One terminal screen for the length of a session, whatever happens to the processes behind it.

    on_frame(kind, payload): a `protocol.FULL` or `DELTA` frame, still encoded. on_reply(data): bytes for the pty, in
    order: answers to queries and encoded input. on_pause and on_resume: stop and go on reading the pty.
    on_repaint_needed: the screen was lost; make the agent repaint. on_started(pid): a process was started; it must
    not be reaped by anyone else.
    """

    def __init__(
        self,
        cols: int,
        rows: int,
        *,
        on_frame: Callable[[int, bytes], None],
        on_reply: Callable[[bytes], None],
        on_pause: Callable[[], None] = lambda: None,
        on_resume: Callable[[], None] = lambda: None,
        on_repaint_needed: Callable[[], None] = lambda: None,
        on_started: Callable[[int], None] = lambda pid: None,
        plain: bool = False,
    ) -> None:
        self._on_frame, self._on_reply = on_frame, on_reply
        self._on_pause, self._on_resume = on_pause, on_resume
        self._on_repaint_needed, self._on_started = on_repaint_needed, on_started
        self._plain = plain
        self._log = OutputLog(cols, rows)
        self._size = (cols, rows)
        self.pid: int | None = None
        self.engine = ""
        self.restarts = 0
        self._connection: _Connection | None = None
        self._numbers = itertools.count(1)
        self._inputs: dict[int, tuple[int, bytes]] = {}
        self._questions: dict[int, tuple[int, bytes, asyncio.Future[bytes]]] = {}
        self._paused = self._closed = False
        self._handled = 0  # log position up to which a process has been fed; only what follows is answered
        self._suspect: int | None = None
        self._deaths: list[float] = []
        self._snapshot_number = 0
        self._snapshot_position = 0
        self._snapshot_time = 0.0
        self._snapshot_timer: asyncio.TimerHandle | None = None
        self._hung_timer: asyncio.TimerHandle | None = None
        self._ready = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the first process; what is fed meanwhile waits for it. Raises OSError if none can be started."""
        await self._connect()

    async def ready(self) -> None:
        """Wait until the first process shows a screen."""
        await self._ready.wait()

    # --- what the supervisor sends ----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Pass on output of the agent."""
        if not data or self._closed:
            return
        self._log.output(data)
        self._write(protocol.OUTPUT, data)
        self._plan_snapshot()

    def resize(self, cols: int, rows: int) -> None:
        """Change the size of the screen."""
        self._size = (cols, rows)
        self._log.resized(cols, rows)
        self._write(protocol.RESIZE, protocol.pack_size(cols, rows))

    def key(self, key: str, character: str | None) -> None:
        """Type a key; its bytes arrive at on_reply."""
        self._input(protocol.KEY, protocol.encode(KeyInput(key, character)))

    def mouse(self, action: str, button: int, x: int, y: int, modifiers: int = 0) -> None:
        """Pass on a mouse event; its bytes, if the agent wants any, arrive at on_reply."""
        self._input(protocol.MOUSE, protocol.encode(MouseInput(action, button, x, y, modifiers)))

    def paste(self, text: str) -> None:
        """Paste text; its bytes arrive at on_reply."""
        self._input(protocol.PASTE, protocol.encode(PasteInput(text)))

    def ask_full(self) -> None:
        """Have a FULL frame sent, for a face that has none yet."""
        self._write(protocol.ASK_FULL, b"")

    async def text(self) -> str:
        """The visible text. This and the other questions raise ScreenClosed if the host is closed meanwhile."""
        return (await self._ask(protocol.TEXT, b"")).decode()

    async def viewport(self, offset: int) -> bytes:
        """An encoded `ScreenFrame` of the screen scrolled back by `offset` rows."""
        return await self._ask(protocol.VIEWPORT, protocol.encode(protocol.ViewportRequest(offset)))

    async def search(self, needle: str, limit: int = 1000) -> list[Match]:
        """Occurrences in scrollback and screen, the newest first."""
        answer = await self._ask(protocol.SEARCH, protocol.encode(protocol.SearchRequest(needle, limit)))
        return msgspec.msgpack.decode(answer, type=list[Match])

    async def region_text(self, region: Region) -> str:
        """The text of a region, for the clipboard."""
        return (await self._ask(protocol.COPY, protocol.encode(region))).decode()

    async def snapshot(self) -> bytes:
        """An opaque snapshot of the screen as it is after all that was fed; empty if none can be taken just now."""
        return await self._ask(protocol.SNAPSHOT, b"")

    async def close(self) -> None:
        """End the process and answer open questions with ScreenClosed."""
        self._closed = True
        for timer in (self._snapshot_timer, self._hung_timer):
            if timer is not None:
                timer.cancel()
        for _, _, future in self._questions.values():
            if not future.done():
                future.set_exception(ScreenClosed())
                future.exception()  # a question nobody waits for any more is no error
        self._questions.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.abort()
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), 1.0)
            self._kill()
            await self._gone.wait()

    # --- the process ------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Start a process, tell it what the last one knew, and let it go live."""
        process, gone, ours = await launch(*self._log.snapshot_size, plain=self._plain)
        self._process, self._gone, self.pid = process, gone, process.pid
        self._on_started(self.pid)
        try:
            await asyncio.get_running_loop().create_connection(lambda: _Connection(self), sock=ours)
        except BaseException:
            ours.close()  # which ends the process
            raise

    def _connected(self, connection: _Connection, transport: asyncio.Transport) -> None:
        high, low = _WRITE_LIMITS["plain" if self._plain else "ghostty"]
        transport.set_write_buffer_limits(high, low)
        self._connection = connection
        self._repeat()
        if transport.get_write_buffer_size() <= high:  # else `resume_writing` follows
            self._resume()

    def _repeat(self) -> None:
        """Bring a fresh process to where the last one was; nothing of it is answered or shown twice."""
        fresh = self._log.tail_since(self._handled)
        repeated = self._log.tail_since(0)
        if self._log.snapshot or len(repeated) > len(fresh):
            self._write(protocol.MUTE, b"1")
            if self._log.snapshot:
                self._write(protocol.RESTORE, self._log.snapshot)
            for kind, payload in repeated[: len(repeated) - len(fresh)]:
                self._write(kind, payload)
            self._write(protocol.MUTE, b"0")
        for kind, payload in fresh:
            self._write(kind, payload)
        if repeated:
            self._ask_snapshot()
        self._write(protocol.ASK_FULL, b"")
        for number, (kind, body) in self._inputs.items():
            self._write(kind, protocol.numbered(number, body))
        for number, (kind, body, _) in self._questions.items():
            self._write(kind, protocol.numbered(number, body))

    def _lost(self, connection: _Connection) -> None:
        """A process has closed its socket: it is dead, or as good as dead."""
        if connection is not self._connection:
            return
        self._connection = None
        self._kill()
        self._forget_snapshot_request()
        if self._closed:
            return
        self._pause()
        self.restarts += 1
        now = asyncio.get_running_loop().time()
        self._deaths = [death for death in self._deaths if now - death < _DEATHS_SECONDS] + [now]
        deadly = self._suspect is not None or len(self._deaths) > _DEATHS
        self._suspect = self._log.position
        self._handled = self._log.position
        if deadly:
            self._plain = True
            self._log.forget()
            self._suspect = None
        self._keep(self._restart(repaint=deadly))

    async def _restart(self, repaint: bool) -> None:
        delay = (
            min(0.05 * 2 ** max(0, len(self._deaths) - 3), _LONGEST_BACKOFF) if len(self._deaths) > 2 else 0.0
        )
        while not self._closed:
            await asyncio.sleep(delay)
            try:
                await self._connect()
            except OSError:  # no process or descriptor to be had just now
                delay = min(max(delay * 2, 0.1), _LONGEST_BACKOFF)
                continue
            if repaint:
                self._on_repaint_needed()
            return

    def _kill(self) -> None:
        """Make sure that the process ends; its thread reaps it."""
        if self._process is not None and not self._gone.is_set():
            self._process.kill()

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine as a task that is not forgotten before it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- frames -----------------------------------------------------------------------------------------------------

    def _write(self, kind: int, payload: bytes) -> None:
        """Send a frame; without a process it is lost, and said again by `_repeat` if it matters."""
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.write(protocol.pack(kind, payload))

    def _input(self, kind: int, body: bytes) -> None:
        number = next(self._numbers)
        self._inputs[number] = (kind, body)
        self._write(kind, protocol.numbered(number, body))

    async def _ask(self, kind: int, body: bytes) -> bytes:
        if self._closed:
            raise ScreenClosed
        number = next(self._numbers)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[number] = (kind, body, future)
        self._write(kind, protocol.numbered(number, body))
        try:
            return await future
        finally:
            self._questions.pop(number, None)

    def _received(self, connection: _Connection, kind: int, payload: bytes) -> None:
        if connection is not self._connection or self._closed:
            return
        if kind in (protocol.DELTA, protocol.FULL):
            self._on_frame(kind, payload)
        elif kind == protocol.REPLY:
            self._on_reply(payload)
        elif kind == protocol.READY:
            self.engine = payload.decode()
            self._ready.set()
        else:
            number, body = protocol.split_number(payload)
            if kind == protocol.INPUT:
                if self._inputs.pop(number, None) is not None and body:
                    self._on_reply(body)
            elif number == self._snapshot_number:
                self._take_snapshot(body)
            elif number in self._questions and not (future := self._questions[number][2]).done():
                future.set_result(body)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._on_pause()

    def _resume(self) -> None:
        if self._paused and not self._closed:
            self._paused = False
            self._on_resume()

    # --- snapshots --------------------------------------------------------------------------------------------------

    def _plan_snapshot(self) -> None:
        """Ask for a snapshot after 256 KB of output, but for no more than 10 MB of snapshots a second; or after 5 s."""
        if self._connection is None or self._snapshot_number:
            return
        loop = asyncio.get_running_loop()
        enough = self._log.bytes_since >= max(_SNAPSHOT_BYTES, len(self._log.snapshot))
        pause = min(max(_SNAPSHOT_PAUSE, len(self._log.snapshot) / _SNAPSHOT_RATE), _SNAPSHOT_SECONDS)
        if enough and loop.time() >= self._snapshot_time + pause:
            self._ask_snapshot()
        elif self._snapshot_timer is None:
            self._snapshot_timer = loop.call_later(_SNAPSHOT_SECONDS, self._snapshot_due)

    def _snapshot_due(self) -> None:
        self._snapshot_timer = None
        if self._connection is not None and not self._snapshot_number and self._log.bytes_since:
            self._ask_snapshot()

    def _ask_snapshot(self) -> None:
        loop = asyncio.get_running_loop()
        self._snapshot_number = next(self._numbers)
        self._snapshot_position = self._log.mark()
        self._write(protocol.SNAPSHOT, protocol.numbered(self._snapshot_number))
        self._hung_timer = loop.call_later(_HUNG_SECONDS, self._kill)

    def _take_snapshot(self, snapshot: bytes) -> None:
        self._snapshot_time = asyncio.get_running_loop().time()
        if self._suspect is not None and self._snapshot_position >= self._suspect:
            self._suspect = None
        if snapshot:
            self._log.keep_snapshot(self._snapshot_position, snapshot)
        self._forget_snapshot_request()
        if self._log.bytes_since:
            self._plan_snapshot()

    def _forget_snapshot_request(self) -> None:
        self._snapshot_number = 0
        for timer in (self._hung_timer, self._snapshot_timer):
            if timer is not None:
                timer.cancel()
        self._hung_timer = self._snapshot_timer = None
