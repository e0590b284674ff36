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

from engram_runtime.paths import MEMORY_VERSION, HomeFiles, make_private_folder

PROTOCOL = 2
"""Changed with any message below. A worker and a client of different protocols or schemas never meet."""
MAX_FRAME = 64 * 1024 * 1024
"""Bytes; a longer frame is a broken peer."""
LONGEST_SOCKET_PATH = 100
"""Bytes: `sun_path` holds 104 on macOS, 108 on Linux, with its terminator."""
LONGEST_TEXT = 8192
"""Characters of a text that are sent; models read some hundred words at most."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Asks for the vectors of memories' texts; `urgent` (somebody waits) goes before indexing."""

    texts: tuple[str, ...]
    urgent: bool = False


class Consult(msgspec.Struct, frozen=True, tag="consult", kw_only=True):
    """Asks which memories are like a text: the `k` nearest in scope, and how near those of `ids` are.

    `project`, `user` and `memory_type` are a `Scope`. `passage`: the text is a memory's, not a question.
    """

    text: str
    project: str
    user: str
    memory_type: str = "all"
    k: int = 100
    ids: tuple[int, ...] = ()
    passage: bool = False
    before: int = 0
    """Only memories with smaller ids are looked for; 0: all."""
    words: tuple[tuple[int, int, int], ...] = ()
    """Words of a question: first character, the one after the last, and how many memories hold it (-1: it tells
    nothing, as "the"). So the question is pooled by how rare its words are in this store (`pooling`)."""
    total: int = 0
    """How many memories there are."""
    within: float = 60.0
    """Seconds after which nobody waits for the answer any more."""


class Compare(msgspec.Struct, frozen=True, tag="compare", kw_only=True):
    """Asks how near each token of a text comes to any token of each of these memories."""

    text: str
    ids: tuple[int, ...]
    passage: bool = False
    among: tuple[int, ...] = ()
    """Memories whose cosines to each other are asked for."""
    within: float = 60.0


class Neighbours(msgspec.Struct, frozen=True, tag="neighbours", kw_only=True):
    """Asks for the `k` older memories of the same project and user that are nearest to each of these."""

    ids: tuple[int, ...]
    k: int


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Asks how the worker is."""


Request = Ask | Consult | Compare | Neighbours | Status


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The worker's answer.

    Nothing but a state of "warming" means: not yet; "busy": not in the time given; "failed": never, and `reason`
    says why. `note` is for people: what the worker is busy with, or what it does without.
    """

    state: str
    reason: str = ""
    note: str = ""
    model: str = ""
    dim: int = 0
    pid: int = 0
    vectors: bytes = b""
    """To `Ask`: float32 little-endian, one row of `dim` per text, unit length."""
    share: float = 0.0
    """To `Consult`: of the memories, how many have a vector of this model."""
    counts: tuple[int, ...] = ()
    """To `Neighbours`: for each memory asked for, how many of `ids` and `cosines` are its own; -1: it has no vector."""
    ids: tuple[int, ...] = ()
    cosines: tuple[float, ...] = ()
    """To `Consult`: one per id in `ids`."""
    pieces: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    """To `Consult` and `Compare`: vocabulary id and first character of each token of the text."""
    nearness: bytes = b""
    """To `Compare`: float32 little-endian, for each id in `ids` one number per token of the text."""
    kin: bytes = b""
    """To `Compare`: float32 little-endian, the cosines of `among` to each other, a row for each."""


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
        key = hashlib.sha256(f"{PROTOCOL} {MEMORY_VERSION} {model}".encode()).hexdigest()[:8]
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


def sendable(text: str) -> str:
    """The text as far as a model would read it, in characters that UTF-8 has."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


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


def send(connection: socket.socket, message: Request | Reply) -> None:
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
