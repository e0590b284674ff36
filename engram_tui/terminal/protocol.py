"""The wire between the supervisor and its screen process: length-prefixed frames on a socket pair.

A frame is a big-endian u32 payload length, one type byte, then the payload. Frames are handled in order, so an answer
always reflects every frame sent before its question. This module imports only msgspec and the standard library: both
ends use it, and the screen process has to be ready in well under 100 ms.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

# --- supervisor -> screen process
OUTPUT: Final = ord("o")
"""Raw bytes the agent wrote to its pty."""
KEY: Final = ord("k")
"""`KeyInput`, numbered; answered by `INPUT`."""
MOUSE: Final = ord("y")
"""`MouseInput`, numbered; answered by `INPUT`."""
PASTE: Final = ord("b")
"""`PasteInput`, numbered; answered by `INPUT`."""
RESIZE: Final = ord("r")
"""Columns and rows, two big-endian u16 (`pack_size`)."""
ASK_FULL: Final = ord("F")
"""Send a `FULL` frame now; no payload."""
MUTE: Final = ord("q")
"""`b"1"`: output that follows is a repetition, so drop replies and hold frames; `b"0"`: live again."""
TEXT: Final = ord("t")
"""Numbered question, empty body; the answer's body is the visible text in UTF-8."""
VIEWPORT: Final = ord("v")
"""Numbered question `ViewportRequest`; the answer's body is a `ScreenFrame` of every row at that offset."""
SEARCH: Final = ord("s")
"""Numbered question `SearchRequest`; the answer's body is a msgpack list of `Match`."""
COPY: Final = ord("c")
"""Numbered question `Region`; the answer's body is the region's text in UTF-8."""
SNAPSHOT: Final = ord("S")
"""Numbered question, empty body; the answer's body is an opaque snapshot, empty if none can be made just now."""
RESTORE: Final = ord("L")
"""A snapshot to load in place of the current screen; not numbered."""

# --- screen process -> supervisor (the questions above are answered with their own type)
READY: Final = ord("R")
"""First frame of a process: the engine's name in ASCII (`ghostty` or `plain`)."""
FULL: Final = ord("f")
"""`ScreenFrame` holding every row."""
DELTA: Final = ord("d")
"""`ScreenFrame` holding only the rows that changed."""
REPLY: Final = ord("p")
"""Bytes the terminal answers to a query of the agent; to be written to the pty."""
INPUT: Final = ord("i")
"""Numbered: the bytes a `KEY`, `MOUSE` or `PASTE` stands for; to be written to the pty."""

HEADER: Final = struct.Struct("!IB")
NUMBER: Final = struct.Struct("!I")
SIZE: Final = struct.Struct("!HH")
MAX_PAYLOAD: Final = 256 << 20
"""Longest payload accepted, in bytes; more means the stream is out of step."""

Run = tuple[str, int | None, int | None, int]
"""(text, foreground, background, attributes) of neighbouring cells that look alike; see `screen.Style`."""


class ProtocolError(Exception):
    """The byte stream cannot be a sequence of frames."""


class KeyInput(msgspec.Struct, array_like=True, frozen=True):
    """A key as Textual names it (`ctrl+c`, `shift+tab`, `a`) and the character it typed, if any."""

    key: str
    character: str | None


class MouseInput(msgspec.Struct, array_like=True, frozen=True):
    """A mouse event at cell (x, y), both from 0.

    action: press, release, move, scroll_up, scroll_down, scroll_left or scroll_right. button: 0 none, 1 left,
    2 middle, 3 right (for scrolling it does not matter). modifiers: sum of 1 shift, 2 control, 4 alt.
    """

    action: str
    button: int
    x: int
    y: int
    modifiers: int = 0


class PasteInput(msgspec.Struct, array_like=True, frozen=True):
    """Text to paste, bracketed if the agent asked for that."""

    text: str


class ViewportRequest(msgspec.Struct, array_like=True, frozen=True):
    """The screen scrolled back by `offset` rows (0: the live screen)."""

    offset: int


class SearchRequest(msgspec.Struct, array_like=True, frozen=True):
    """Occurrences of `needle` in scrollback and screen, at most `limit`, the newest first."""

    needle: str
    limit: int = 1000


class Match(msgspec.Struct, array_like=True, frozen=True):
    """First and last cell of an occurrence. Row 0 is the oldest row of the scrollback; the last column is included."""

    row: int
    column: int
    end_row: int
    end_column: int

    def length(self, cols: int) -> int:
        """Its cells on a screen of `cols` columns; one that wraps counts on in the next row."""
        return (self.end_row - self.row) * cols + self.end_column - self.column + 1


class Region(msgspec.Struct, array_like=True, frozen=True):
    """Cells from start to end, both included, in rows counted as in `Match`; a rectangle or flowing text."""

    row: int
    column: int
    end_row: int
    end_column: int
    rectangle: bool = False


BLOCK: Final = 0
UNDERLINE: Final = 1
BAR: Final = 2


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """The cursor's cell, whether it shows, and its shape: `BLOCK`, `UNDERLINE` or `BAR`."""

    x: int
    y: int
    visible: bool = True
    shape: int = BLOCK


class ScreenState(msgspec.Struct, frozen=True):
    """What the face must know beside cells.

    mouse: the tracking mode the agent set (0 none, 9, 1000, 1002 or 1003). alt: the alternate screen shows. paste:
    bracketed paste is on. scrollback: rows above the live screen. offset: how far this frame is scrolled back.
    """

    title: str = ""
    mouse: int = 0
    alt: bool = False
    paste: bool = False
    scrollback: int = 0
    offset: int = 0


class ScreenFrame(msgspec.Struct, array_like=True, frozen=True):
    """One picture (`FULL`) or the changes since the last one (`DELTA`); `changed` is a list of (row, runs)."""

    cols: int
    rows: int
    cursor: Cursor
    changed: list[tuple[int, list[Run]]]
    state: ScreenState


encode: Final = msgspec.msgpack.Encoder().encode
"""Encode a payload struct to msgpack."""


def pack(kind: int, payload: bytes = b"") -> bytes:
    """One frame, ready to be written."""
    return HEADER.pack(len(payload), kind) + payload


def numbered(number: int, body: bytes = b"") -> bytes:
    """Payload of a question, answer or input: its u32 number, then the body."""
    return NUMBER.pack(number & 0xFFFFFFFF) + body


def split_number(payload: bytes) -> tuple[int, bytes]:
    """The number and body of a numbered payload. Raises ProtocolError if it is too short."""
    if len(payload) < NUMBER.size:
        raise ProtocolError(f"a numbered payload of {len(payload)} bytes")
    return NUMBER.unpack_from(payload)[0], payload[NUMBER.size :]


def pack_size(cols: int, rows: int) -> bytes:
    """Payload of `RESIZE`."""
    return SIZE.pack(cols, rows)


class FrameReader:
    """Cuts a byte stream into frames; does no input or output itself."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames (type, payload) that `data` completes. Raises ProtocolError on an impossible length."""
        buffer = self._buffer
        buffer += data
        frames = []
        start, end = 0, len(buffer)
        while end - start >= HEADER.size:
            length, kind = HEADER.unpack_from(buffer, start)
            if length > MAX_PAYLOAD:
                raise ProtocolError(f"a frame of {length} bytes announced")
            stop = start + HEADER.size + length
            if stop > end:
                break
            frames.append((kind, bytes(buffer[start + HEADER.size : stop])))
            start = stop
        del buffer[:start]
        return frames
