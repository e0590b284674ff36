"""What the agent's pty said, on disk: bounded, redacted, and convertible to an asciicast.

A dead screen process is not restored from here but from `output_log`: a redacted stream would show another screen.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from engram_tui.terminal import protocol

_RECORD: Final = struct.Struct("!BdI")  # kind, seconds since the epoch, payload length
_OUTPUT: Final = ord("o")
_RESIZE: Final = ord("r")
_GAP: Final = ord("g")
_MAGIC: Final = b"engram-recording-1\n"
DEFAULT_LIMIT: Final = 16 << 20
"""Bytes a recording may take on disk, in two segments."""
_QUEUE_LIMIT: Final = 4 << 20
_CARRY_LIMIT: Final = 4096
_SECRET_BLOCK_LIMIT: Final = 16 << 10
_BLOCK_START: Final = b"-----BEGIN "
_BLOCK_END: Final = b"-----END "

Redact = Callable[[bytes], bytes]


class LineRedactor:
    """Applies a redaction to a byte stream without a secret hiding across two chunks.

    Text is passed on in whole lines; the unfinished line waits, up to 4 KB, then it is cut at a blank or an escape
    sequence. An opened PEM block waits for its end, up to 16 KB.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._carry = b""

    def feed(self, data: bytes) -> bytes:
        """What may be written now, redacted."""
        data = self._carry + data
        cut = self._cut(data)
        self._carry = data[cut:]
        return self._redact(data[:cut]) if cut else b""

    def finish(self) -> bytes:
        """What still waited, redacted."""
        rest, self._carry = self._carry, b""
        return self._redact(rest) if rest else b""

    @staticmethod
    def _cut(data: bytes) -> int:
        """Where to cut so that no line, word or PEM block falls apart."""
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if len(data) - cut > _CARRY_LIMIT:
            tail = max(data.rfind(b" ", cut), data.rfind(b"\x1b", cut), data.rfind(b"\t", cut))
            cut = tail if tail > cut and len(data) - tail <= _CARRY_LIMIT else len(data)
        block = data.rfind(_BLOCK_START, 0, cut)
        if block >= 0 and data.find(_BLOCK_END, block, cut) < 0 and len(data) - block <= _SECRET_BLOCK_LIMIT:
            return block
        return cut


class Recorder:
    """Writes pty output to `<path>` and, when half the limit is reached, on over to a fresh one.

    The full half is kept as `<path>.old`, so the newest 8 to 16 MB survive. Files are 0600. Redaction and
    writing happen in a thread: `write` never waits for a disk. When the thread cannot keep up, output is left
    out and the gap noted. A disk that fails ends the recording, not the session: `failure` says why.
    """

    def __init__(self, path: Path, redact: Redact, limit: int = DEFAULT_LIMIT) -> None:
        self.path = path
        self.failure: OSError | None = None
        self._segment_limit = max(limit // 2, 4096)
        self._redactor = LineRedactor(redact)
        self._queue: deque[tuple[int, float, bytes]] = deque()
        self._queued = 0
        self._missed = 0
        self._closing = False
        self._wake = threading.Condition()
        self._file: BinaryIO | None = None
        self._thread = threading.Thread(target=self._run, name="engram-recorder", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Record output that has just been read."""
        self._put(_OUTPUT, data)

    def resized(self, cols: int, rows: int) -> None:
        """Record a change of the terminal's size."""
        self._put(_RESIZE, protocol.pack_size(cols, rows))

    def close(self, seconds: float = 2.0) -> None:
        """Write what is queued and the unfinished line, waiting at most `seconds`."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(seconds)

    def _put(self, kind: int, payload: bytes) -> None:
        with self._wake:
            if self._closing or self.failure is not None:
                return
            if self._queued + len(payload) > _QUEUE_LIMIT:
                self._missed += len(payload)
                return
            now = time.time()
            if self._missed:
                self._queue.append((_GAP, now, str(self._missed).encode()))
                self._missed = 0
            self._queue.append((kind, now, payload))
            self._queued += len(payload)
            self._wake.notify()

    def _run(self) -> None:
        try:
            self._open()
            while True:
                with self._wake:
                    while not self._queue and not self._closing:
                        self._wake.wait()
                    items = list(self._queue)
                    self._queue.clear()
                    self._queued = 0
                    closing = self._closing
                self._write_all(items)
                if closing:
                    self._append(_OUTPUT, time.time(), self._redactor.finish())
                    break
                if self._file is not None:
                    self._file.flush()
        except OSError as error:
            self.failure = error
        finally:
            if self._file is not None:
                with contextlib.suppress(OSError):  # closing tries once more to write what has just failed
                    self._file.close()

    def _write_all(self, items: list[tuple[int, float, bytes]]) -> None:
        """Write queued items, neighbouring output as one piece: redaction is cheaper by the piece."""
        started, pieces = 0.0, []
        for kind, at, payload in items:
            if kind == _OUTPUT:
                started = started or at
                pieces.append(payload)
                continue
            if pieces:
                self._append(_OUTPUT, started, self._redactor.feed(b"".join(pieces)))
                started, pieces = 0.0, []
            self._append(kind, at, payload)
        if pieces:
            self._append(_OUTPUT, started, self._redactor.feed(b"".join(pieces)))

    def _append(self, kind: int, at: float, payload: bytes) -> None:
        if not payload or self._file is None:
            return
        for start in range(0, len(payload), self._segment_limit // 2):
            piece = payload[start : start + self._segment_limit // 2]
            if self._file.tell() + _RECORD.size + len(piece) > self._segment_limit:
                self._file.close()
                self.path.replace(_older(self.path))
                self._open()
            self._file.write(_RECORD.pack(kind, at, len(piece)) + piece)

    def _open(self) -> None:
        flags = (
            os.O_WRONLY
            | os.O_CREAT
            | os.O_APPEND
            | getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_CLOEXEC", 0)
        )
        descriptor = os.open(self.path, flags, 0o600)
        self._file = os.fdopen(descriptor, "ab")
        if self._file.tell() == 0:
            self._file.write(_MAGIC)


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".old")


@dataclass(frozen=True, slots=True)
class RecordedChunk:
    """A record: at (seconds since the epoch), and output bytes, a new size, or the number of bytes left out."""

    at: float
    output: bytes = b""
    size: tuple[int, int] | None = None
    left_out: int = 0


def read_recording(path: Path) -> Iterator[RecordedChunk]:
    """The records of a recording, oldest first, up to an incomplete last one. Raises OSError if it cannot be read."""
    for segment in (_older(path), path):
        if segment.exists():
            yield from _read_segment(segment)


def _read_segment(path: Path) -> Iterator[RecordedChunk]:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        while len(header := file.read(_RECORD.size)) == _RECORD.size:
            kind, at, length = _RECORD.unpack(header)
            payload = file.read(length)
            if len(payload) < length:
                return
            if kind == _OUTPUT:
                yield RecordedChunk(at, output=payload)
            elif kind == _RESIZE:
                yield RecordedChunk(at, size=protocol.SIZE.unpack(payload))
            elif kind == _GAP:
                yield RecordedChunk(at, left_out=int(payload))


def asciicast(chunks: Iterable[RecordedChunk], cols: int, rows: int) -> Iterator[str]:
    """Lines of an asciicast v2 file (https://docs.asciinema.org/manual/asciicast/v2/); cols and rows at the start."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    start: float | None = None
    for chunk in chunks:
        if start is None:
            start = chunk.at
            yield json.dumps({"version": 2, "width": cols, "height": rows, "timestamp": int(start)})
        elapsed = round(max(chunk.at - start, 0.0), 6)
        if chunk.size is not None:
            yield json.dumps([elapsed, "r", f"{chunk.size[0]}x{chunk.size[1]}"])
        elif text := decoder.decode(chunk.output):
            yield json.dumps([elapsed, "o", text])
