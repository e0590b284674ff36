"""How a client and the embedding worker speak: where the socket is, and length-prefixed msgpack frames.

A frame is a 4-byte big-endian length and that many bytes. Either end may close at any time.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engram_runtime.paths import HomeFiles, make_private_folder

MAX_FRAME = 64 * 1024 * 1024
"""Bytes; a longer frame is a broken peer."""
LONGEST_SOCKET_PATH = 100
"""Bytes: `sun_path` holds 104 on macOS, 108 on Linux, with its terminator."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Asks for the vectors of texts; `urgent` (a query somebody waits for) goes before indexing."""

    texts: tuple[str, ...]
    urgent: bool = False


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Asks how the worker is."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's answer: `vectors` is float32 little-endian, one row of `dim` per text, unit length.

    Empty vectors with state "warming" mean: not yet; with "failed": never, and `reason` says why.
    """

    state: str
    reason: str = ""
    model: str = ""
    dim: int = 0
    vectors: bytes = b""
    pid: int = 0


class WireError(Exception):
    """The peer broke the protocol or went away in the middle of a frame."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Files of one worker: there is one per home and model."""

    socket: Path
    lock: Path
    log: Path

    @classmethod
    def of(cls, home: Path, model: str) -> WorkerPlace:
        """Names the files; creates nothing."""
        key = hashlib.sha256(model.encode()).hexdigest()[:8]
        run = HomeFiles(home).run
        path = run / f"embed-{key}.sock"
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            path = _short_folder(home) / f"embed-{key}.sock"
        return cls(socket=path, lock=run / f"embed-{key}.lock", log=run / "embed-worker.log")

    def make_folders(self) -> None:
        """Creates the folders, for this user alone. Raises OSError when somebody else owns one of them."""
        for folder in {self.socket.parent, self.lock.parent}:
            make_private_folder(folder)
            if folder.stat().st_uid != os.geteuid():
                raise PermissionError(f"{folder} belongs to another user")
        if self.socket.parent.stat().st_mode & 0o077:
            self.socket.parent.chmod(0o700)


def _short_folder(home: Path) -> Path:
    """A folder with a short name for a home with a long one."""
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime_dir and len(runtime_dir) < 60 and os.access(runtime_dir, os.W_OK):
        return Path(runtime_dir) / f"engram-{digest}"
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > 50:
        base = Path("/tmp")  # noqa: S108  the folder below it is private, and its owner is checked
    return base / f"engram-{os.geteuid()}-{digest}"


def send(connection: socket.socket, message: Ask | Status | Reply) -> None:
    """Sends one frame. Raises OSError, or TimeoutError after the socket's timeout."""
    body = msgspec.msgpack.encode(message)
    connection.sendall(struct.pack(">I", len(body)) + body)


def receive(connection: socket.socket) -> bytes | None:
    """Reads one frame's body; None when the peer closed between frames. Raises WireError, OSError."""
    head = _exactly(connection, 4, at_start=True)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > MAX_FRAME:
        raise WireError(f"a frame of {length} bytes")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int, *, at_start: bool = False) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        chunk = connection.recv(min(count - len(parts), 1 << 18))
        if not chunk:
            if at_start and not parts:
                return None
            raise WireError("the peer went away in the middle of a frame")
        parts += chunk
    return bytes(parts)
