"""The two listening sockets of a session, bound before the agent is spawned: its early connections queue."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Listeners:
    """Both listening sockets and what is needed to reach them."""

    tcp: socket.socket
    unix: socket.socket
    path: Path
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = self.tcp.getsockname()[1]

    @classmethod
    def bind(cls, path: Path) -> Listeners:
        """Bind both. The Unix socket is 0600; a stale one at the same path is replaced."""
        # IPPROTO_TCP is needed: asyncio sets TCP_NODELAY only on sockets that name it, 44 ms a request else.
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        tcp.bind(("127.0.0.1", 0))
        unix = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        mask = os.umask(0o177)
        try:
            unix.bind(str(path))
        finally:
            os.umask(mask)
        for listener in (tcp, unix):
            listener.listen(128)
            listener.setblocking(False)
        return cls(tcp, unix, path)

    def close(self) -> None:
        """Close both and remove the path."""
        self.tcp.close()
        self.unix.close()
        with contextlib.suppress(OSError):
            self.path.unlink()
