"""What is seen of the agent from outside: its transcript, its processes, the files of the worktree."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from engram_runtime.journal.records import FileChange
from engram_runtime.paths import git_place
from engram_tui.agents.base import Adapter, LaunchPlan, TranscriptReader
from engram_tui.supervisor.intake import Intake
from engram_tui.watch import git_watch
from engram_tui.watch.attribution import Attribution
from engram_tui.watch.file_watch import FileWatch
from engram_tui.watch.git_watch import ChangedFile, GitStatus
from engram_tui.watch.observations import (
    FileTouched,
    Observation,
    ProcessSeen,
    ToolBegan,
    ToolEnded,
    TurnEnded,
    TurnFailed,
)
from engram_tui.watch.process_tree import ProcessTree

TRANSCRIPT_POLL_S = 0.3
BUSY_CAPTURE_S = 1.0
IDLE_CAPTURE_S = 3.0
QUIET_S = 0.4
"""Changes of files are recorded as one event once it has been quiet for this long."""
GIT_EVERY_S = 2.0
"""git is asked for the changed files at most this often while the session runs."""
FIRST_LOOK_S = 3.0


class Eyes:
    """Watches on behalf of one session and hands what it sees to the intake."""

    def __init__(
        self,
        cwd: Path,
        tree: ProcessTree,
        intake: Intake,
        adapter: Adapter,
        plan: LaunchPlan,
        since: float,
        ignore: Sequence[str] = (),
    ) -> None:
        """`since`: UTC seconds at which the session began."""
        self._tree = tree
        self._intake = intake
        self._adapter = adapter
        place = git_place(cwd)
        self.top = str(place.top if place else cwd.resolve())
        self._in_git = place is not None
        self._ignore = tuple(ignore)
        self._attribution = Attribution(self.top, sees_tools=adapter.tells_tools, tree_pids=tree.pids)
        self._transcript: TranscriptReader | None = adapter.transcript(plan, os.environ, cwd)
        self._since = since
        self._reading = asyncio.Lock()
        self._recorded: dict[str, FileChange] = {}
        self._changed: list[ChangedFile] | None = [] if self._in_git else None
        self._touched_at = 0.0
        self._asked_git_at = 0.0
        self.processes: tuple[ProcessSeen, ...] = ()
        self.problem = ""

    @property
    def transcript_offset(self) -> int:
        """Bytes of the transcript read so far."""
        return self._transcript.offset if self._transcript else 0

    async def first_look(self) -> GitStatus | None:
        """The worktree as the agent found it; None where it is no repository (or git is too slow to wait for)."""
        if not self._in_git:
            return None
        status = await asyncio.to_thread(git_watch.git_status, self.top, seconds=FIRST_LOOK_S)
        if status is not None:
            self._attribution.baseline(status.changed)
            self._changed = list(status.changed)
        return status

    def follow(self, path: str) -> None:
        """The agent told where its transcript is (another one after /clear)."""
        current = str(self._transcript.path) if self._transcript and self._transcript.path else ""
        if path and path != current:
            self._transcript = self._adapter.reopen_transcript(Path(path))

    def noticed(self, observation: Observation) -> None:
        """Tool calls open and close the windows in which changes are the agent's."""
        if isinstance(observation, ToolBegan):
            self._attribution.began(observation)
        elif isinstance(observation, ToolEnded):
            self._attribution.ended(observation)
        elif isinstance(observation, TurnEnded | TurnFailed):
            self._attribution.idle(observation.at)

    def changes(self) -> tuple[FileChange, ...]:
        """Files changed since the session's start, with who changed them."""
        return self._attribution.changes(self._changed)

    async def watch(self) -> None:
        """Watch until cancelled."""
        await asyncio.gather(self._watch_files(), self._poll_transcript(), self._capture(), self._record())

    async def read_transcript(self) -> None:
        """Take in what the transcript has beyond what was read (one reader at a time).

        A native resume goes on with an old transcript: what was there before this session is not of it.
        """
        async with self._reading:
            reader = self._transcript
            if reader is not None:
                read = await asyncio.to_thread(reader.read)
                self._intake.take(o for o in read if not 0 < o.at < self._since)

    async def last_look(self, seconds: float) -> None:
        """At the end: what git says now, within a bound; then record what is new."""
        self._attribution.idle()
        await self._ask_git(seconds)
        self.record_changes()

    def record_changes(self) -> None:
        """Record what changed since the last record."""
        current = {c.path: c for c in self.changes()}
        new = tuple(c for path, c in current.items() if self._recorded.get(path) != c)
        self._recorded = current
        self._intake.files(new)

    async def _ask_git(self, seconds: float) -> None:
        if self._in_git:
            changed = await asyncio.to_thread(git_watch.changed_files, self.top, seconds=seconds)
            self._changed = changed if changed is not None else self._changed
        self._asked_git_at = time.monotonic()

    async def _poll_transcript(self) -> None:
        while True:
            await self.read_transcript()
            await asyncio.sleep(TRANSCRIPT_POLL_S)

    async def _capture(self) -> None:
        while True:
            self.processes = await asyncio.to_thread(self._tree.capture)
            self._attribution.processes(self.processes)
            busy = self._intake.live.state.state == "busy"
            await asyncio.sleep(BUSY_CAPTURE_S if busy else IDLE_CAPTURE_S)

    async def _watch_files(self) -> None:
        files = FileWatch(self.top, ignore=self._ignore)
        batches: asyncio.Queue[tuple[FileTouched, ...]] = asyncio.Queue()
        files.start(asyncio.get_running_loop(), batches.put_nowait)
        try:
            while True:
                batch = await batches.get()
                writers = await asyncio.to_thread(self._attribution.find_writers, batch)
                self._attribution.touched(batch, writers)
                self._touched_at = time.monotonic()
                self.problem = files.problem or ""
        finally:
            await files.stop()

    async def _record(self) -> None:
        while True:
            await asyncio.sleep(QUIET_S)
            now = time.monotonic()
            stale = self._touched_at > self._asked_git_at
            if stale and now - self._touched_at >= QUIET_S and now - self._asked_git_at >= GIT_EVERY_S:
                await self._ask_git(FIRST_LOOK_S)
                self.record_changes()
