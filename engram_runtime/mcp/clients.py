"""The clients of one HTTP server, each with a session of its own: what one works on is not another's current task."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engram_runtime.ids import session_id
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.unsupervised import UnsupervisedSession
from engram_runtime.runtime import Runtime

MOST_CLIENTS = 64
"""Sessions kept open at once; for one more, the one silent for longest is ended."""
IDLE_SECONDS = 6 * 3600.0
"""A client silent for so long is taken for gone when the next one asks."""
SESSION_HEADER = "mcp-session-id"
NAME_HEADER = "x-engram-client"
_KEY_LENGTH = 200

ContextOf = Callable[[Mapping[str, str], tuple[str, str]], ToolContext]
"""(HTTP headers, the client's name and version) → what the tools get of that client's session."""


@dataclass(slots=True)
class _Client:
    """One client's session, its tools' context, and when it last asked (monotonic seconds)."""

    session: UnsupervisedSession
    context: ToolContext
    asked: float


class Clients:
    """Sessions by client, made on first use. Thread-safe."""

    def __init__(self, runtime: Runtime, cwd: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._runtime = runtime
        self._cwd = cwd
        self._clock = clock
        self._guard = threading.Lock()
        self._open: dict[str, _Client] = {}

    def context(self, headers: Mapping[str, str], info: tuple[str, str]) -> ToolContext:
        """The context of the client that sent this request (a `ContextOf`)."""
        now = self._clock()
        key = client_key(headers, info)
        with self._guard:
            gone = self._take_gone(key, now)
            client = self._open.get(key)
            if client is None:
                session = UnsupervisedSession(self._runtime, session_id(), self._cwd)
                client = self._open[key] = _Client(session, session.context(), now)
            client.asked = now
        for session, line in gone:
            session.end(Verdict(kind="user_quit", evidence=(line,)))
        return client.context

    def leave(self, headers: Mapping[str, str]) -> None:
        """The client says that its session is over."""
        with self._guard:
            client = self._open.pop(client_key(headers, ("", "")), None)
        if client is not None:
            client.session.end(Verdict(kind="user_quit", evidence=("the MCP client closed its session",)))

    def end(self, verdict: Verdict) -> None:
        """The server stops: all sessions end."""
        with self._guard:
            clients = list(self._open.values())
            self._open.clear()
        for client in clients:
            client.session.end(verdict)

    def _take_gone(self, asking: str, now: float) -> list[tuple[UnsupervisedSession, str]]:
        oldest_first = sorted(self._open.items(), key=lambda entry: entry[1].asked)
        room = MOST_CLIENTS if asking in self._open else MOST_CLIENTS - 1
        gone = []
        for key, client in oldest_first:
            if key == asking:
                continue
            if now - client.asked > IDLE_SECONDS:
                gone.append((client.session, f"the client was silent for {IDLE_SECONDS / 3600:.0f} hours"))
            elif len(self._open) > room:
                gone.append((client.session, f"{MOST_CLIENTS} other clients asked since"))
            else:
                continue
            del self._open[key]
        return gone


def client_key(headers: Mapping[str, str], info: tuple[str, str]) -> str:
    """Who asks: the name it gave in X-Engram-Client, else the protocol's session, else its own name and version, else
    its User-Agent. `headers` have lower-case names.
    """
    for header in (NAME_HEADER, SESSION_HEADER):
        if said := headers.get(header, "").strip():
            return f"{header} {said[:_KEY_LENGTH]}"
    if any(info):
        return f"client {info[0]} {info[1]}"
    return f"user-agent {headers.get('user-agent', '').strip()[:_KEY_LENGTH]}"
