"""The home of one run of `engram mcp`: opened before the SDK is loaded, shared with it afterwards."""

from __future__ import annotations

from pathlib import Path

from engram_runtime.ids import session_id
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.unsupervised import UnsupervisedSession, lost_sessions
from engram_runtime.runtime import Runtime


class OpenHome:
    """Runtime, session and what the tools get of it. Raises StoreUnavailable, SettingsError."""

    def __init__(self, home: Path, project: str) -> None:
        name = session_id()
        self.runtime = Runtime.open(home, project=project, session=name)
        self.session = UnsupervisedSession(self.runtime, name, Path.cwd())
        self.context: ToolContext = self.session.context()

    def prepare(self) -> None:
        """What must be known, and may begin, before the first call: ends nobody recorded, and the model."""
        lost_sessions(self.runtime)
        if self.runtime.journal.files.memory.exists():
            self.runtime.memory.expect_questions()

    def end(self, signal: int | None) -> None:
        """Record why it ended (None: the client closed its end)."""
        if signal is None:
            verdict = Verdict(kind="user_quit", evidence=("the MCP client closed the connection",))
        else:
            verdict = Verdict(kind="killed", signal=signal, evidence=(f"signal {signal} to the MCP server",))
        self.session.end(verdict)
