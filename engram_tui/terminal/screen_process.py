"""The screen process: `python -m engram_tui.terminal.screen_process FD COLS ROWS [--plain]`.

It keeps one screen for the supervisor at the other end of the socket FD and ends when that end closes. It holds nothing
that cannot be made again: the supervisor may kill it at any time. Frames are described in `protocol`.
"""

from __future__ import annotations

import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from engram_tui.terminal import protocol
from engram_tui.terminal.pacing import FramePacer
from engram_tui.terminal.protocol import ScreenFrame, ScreenState
from engram_tui.terminal.screen import Row, Screen, open_screen

_END_OF_SYNCHRONIZED: Final = b"\x1b[?2026l"
_READ_BYTES: Final = 1 << 18
_UNREAD_FRAMES: Final = 1 << 20
"""Bytes waiting to be read by the supervisor above which no further frame is made."""
_UNREAD_LIMIT: Final = 4 << 20
"""Bytes waiting above which nothing more is taken in."""
_FEED_BYTES: Final = {"ghostty": 1 << 18, "plain": 1 << 14}
"""Output interpreted between two looks at the clock."""


class ScreenProcess:
    """Serves one screen over one socket."""

    def __init__(self, connection: socket.socket, screen: Screen) -> None:
        self._socket = connection
        self._screen = screen
        self._reader = protocol.FrameReader()
        self._pacer = FramePacer()
        self._out = bytearray()
        self._full = True
        self._muted = False
        self._last_seen: tuple[object, ...] | None = None
        screen.on_reply = self._reply
        self._handlers: dict[int, Callable[[bytes], None]] = {
            protocol.OUTPUT: self._output,
            protocol.KEY: self._key,
            protocol.MOUSE: self._mouse,
            protocol.PASTE: self._paste,
            protocol.RESIZE: self._resize,
            protocol.ASK_FULL: self._ask_full,
            protocol.MUTE: self._mute,
            protocol.TEXT: self._text,
            protocol.VIEWPORT: self._viewport,
            protocol.SEARCH: self._search,
            protocol.COPY: self._copy,
            protocol.SNAPSHOT: self._snapshot,
            protocol.RESTORE: self._restore,
        }

    def run(self) -> None:
        """Serve until the other end closes."""
        self._socket.setblocking(False)
        self._send(protocol.READY, self._screen.engine.encode())
        with selectors.DefaultSelector() as selector:
            interest = selectors.EVENT_READ
            selector.register(self._socket, interest)
            while True:
                wait = self._frame_if_due()
                self._flush()
                wanted = selectors.EVENT_WRITE if self._out else 0
                if len(self._out) < _UNREAD_LIMIT:
                    wanted |= selectors.EVENT_READ
                if wanted != interest:
                    selector.modify(self._socket, wanted)
                    interest = wanted
                for _, events in selector.select(wait):
                    if events & selectors.EVENT_READ and not self._receive():
                        return

    def _receive(self) -> bool:
        """Take in what has arrived; False when the other end has closed."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        for kind, payload in self._reader.feed(data):
            handler = self._handlers.get(kind)
            if handler is not None:
                handler(payload)
        return bool(data)

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self._socket.send(memoryview(self._out)[:_READ_BYTES])
                del self._out[:sent]
        except BlockingIOError:
            return
        except ConnectionError:
            self._out.clear()  # the next read tells that the other end has closed

    def _send(self, kind: int, payload: bytes) -> None:
        self._out += protocol.HEADER.pack(len(payload), kind)
        self._out += payload

    # --- frames -----------------------------------------------------------------------------------------------------

    def _frame_if_due(self) -> float | None:
        """Send a frame if one is due; seconds to wait for the next one, None for ever."""
        if not self._pacer.pending or self._muted or len(self._out) > _UNREAD_FRAMES:
            return None
        now = time.monotonic()
        wait = self._pacer.wait(now, self._screen.modes.synchronized and not self._full)
        if wait is None or wait > 0:
            return wait
        self._frame()
        self._pacer.sent(now)
        return None

    def _frame(self) -> None:
        full, self._full = self._full, False
        screen = self._screen
        changed = list(enumerate(screen.all_rows())) if full else screen.changed_rows()
        frame = self._picture(changed, 0)
        seen = (frame.cursor, frame.state)
        if full or changed or seen != self._last_seen:
            self._last_seen = seen
            self._send(protocol.FULL if full else protocol.DELTA, protocol.encode(frame))

    def _picture(self, rows: list[tuple[int, Row]], offset: int) -> ScreenFrame:
        screen = self._screen
        modes = screen.modes
        state = ScreenState(
            title=screen.title,
            mouse=modes.mouse,
            alt=modes.alternate,
            paste=modes.bracketed_paste,
            scrollback=screen.scrollback,
            offset=offset,
        )
        return ScreenFrame(screen.cols, screen.rows, screen.cursor, rows, state)

    def _reply(self, data: bytes) -> None:
        if not self._muted:
            self._send(protocol.REPLY, data)

    # --- what the supervisor sends ----------------------------------------------------------------------------------

    def _output(self, data: bytes) -> None:
        screen, step = self._screen, _FEED_BYTES[self._screen.engine]
        escapes = b"\x1b" in data
        start = 0
        while start < len(data):
            stop = min(start + step, len(data))
            # A picture is complete at the end of a synchronized repaint: that is the moment to show it.
            looking = escapes and self._pacer.pending
            if looking and (end := data.find(_END_OF_SYNCHRONIZED, start, stop)) >= 0:
                stop = end + len(_END_OF_SYNCHRONIZED)
            screen.feed(data[start:stop])
            start = stop
            self._pacer.changed()
            self._frame_if_due()

    def _key(self, payload: bytes) -> None:
        number, body = protocol.split_number(payload)
        key = msgspec.msgpack.decode(body, type=protocol.KeyInput)
        self._typed(number, self._screen.encode_key(key.key, key.character))

    def _mouse(self, payload: bytes) -> None:
        number, body = protocol.split_number(payload)
        event = msgspec.msgpack.decode(body, type=protocol.MouseInput)
        self._typed(
            number, self._screen.encode_mouse(event.action, event.button, event.x, event.y, event.modifiers)
        )

    def _paste(self, payload: bytes) -> None:
        number, body = protocol.split_number(payload)
        pasted = msgspec.msgpack.decode(body, type=protocol.PasteInput)
        self._typed(number, self._screen.encode_paste(pasted.text))

    def _typed(self, number: int, data: bytes) -> None:
        self._send(protocol.INPUT, protocol.numbered(number, data))

    def _resize(self, payload: bytes) -> None:
        self._screen.resize(*protocol.SIZE.unpack(payload))
        self._ask_full(b"")

    def _ask_full(self, payload: bytes) -> None:
        self._full = True
        self._pacer.hurry()

    def _mute(self, payload: bytes) -> None:
        self._muted = payload == b"1"

    def _text(self, payload: bytes) -> None:
        number, _ = protocol.split_number(payload)
        self._send(protocol.TEXT, protocol.numbered(number, self._screen.text().encode("utf-8", "replace")))

    def _viewport(self, payload: bytes) -> None:
        number, body = protocol.split_number(payload)
        request = msgspec.msgpack.decode(body, type=protocol.ViewportRequest)
        offset = min(max(request.offset, 0), self._screen.scrollback)
        frame = self._picture(list(enumerate(self._screen.viewport(offset))), offset)
        self._send(protocol.VIEWPORT, protocol.numbered(number, protocol.encode(frame)))

    def _search(self, payload: bytes) -> None:
        number, body = protocol.split_number(payload)
        request = msgspec.msgpack.decode(body, type=protocol.SearchRequest)
        found = self._screen.search(request.needle, request.limit)
        self._send(protocol.SEARCH, protocol.numbered(number, protocol.encode(found)))

    def _copy(self, payload: bytes) -> None:
        number, body = protocol.split_number(payload)
        region = msgspec.msgpack.decode(body, type=protocol.Region)
        text = self._screen.region_text(region)
        self._send(protocol.COPY, protocol.numbered(number, text.encode("utf-8", "replace")))

    def _snapshot(self, payload: bytes) -> None:
        number, _ = protocol.split_number(payload)
        self._send(protocol.SNAPSHOT, protocol.numbered(number, self._screen.snapshot() or b""))

    def _restore(self, payload: bytes) -> None:
        self._screen.restore(payload)
        self._ask_full(b"")


def _forbid_core_dumps() -> None:
    """A core file of this process would hold the agent's screen."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def main(arguments: list[str]) -> None:
    """Run with the command line's arguments: FD COLS ROWS [--plain]."""
    descriptor, cols, rows = map(int, arguments[:3])
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in the supervisor's terminal is not for this process
    _forbid_core_dumps()
    screen = open_screen(cols, rows, None, prefer="plain" if "--plain" in arguments[3:] else None)
    with socket.socket(fileno=descriptor) as connection:
        ScreenProcess(connection, screen).run()


if __name__ == "__main__":
    main(sys.argv[1:])
