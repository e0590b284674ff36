"""What is seen of the agent from outside: its transcript, its processes, the files of the worktree."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from engram_runtime.journal.records import FileChange, GitFacts
from engram_runtime.paths import git_place
from engram_tui.agents.base import Adapter, LaunchPlan, TranscriptReader
from engram_tui.supervisor.intake import Intake
from engram_tui.supervisor.verdict import oom_kills
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
RESTLESS_S = 5.0
"""… or, where it is never quiet, after this long."""
"""git is asked for the changed files at most this often while the session runs."""
FIRST_LOOK_S = 3.0
RESTART_S = 1.0

logger = logging.getLogger(__name__)


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
        self._reads: set[asyncio.Task[None]] = set()
        self._recorded: dict[str, FileChange] = {}
        self._changed: list[ChangedFile] | None = [] if self._in_git else None
        self.git: GitFacts | None = None
        """What git said last."""
        self._asking_git: asyncio.Task[None] | None = None
        self._touched_at = 0.0
        self._asked_git_at = 0.0
        self.processes: tuple[ProcessSeen, ...] = ()
        self.problem = ""
        self.oom_kills = oom_kills()
        """Kills for memory in this group as of the last capture: only those since then can be the agent's."""

    @property
    def transcript_offset(self) -> int:
        """Bytes of the transcript read so far."""
        return self._transcript.offset if self._transcript else 0

    async def first_look(self) -> GitStatus | None:
        """The worktree as the agent found it; None where it is no repository (or git is too slow to wait for)."""
        if not self._in_git:
            return None
        status = await asyncio.to_thread(git_watch.git_status, self.top, seconds=FIRST_LOOK_S)
        if status is None:
            return None
        self.git = status.facts
        # The agent runs already: what it changed before git looked is not what it found.
        found = await asyncio.to_thread(lambda: tuple(c for c in status.changed if not self._is_new(c.path)))
        self._attribution.baseline(found)
        self._changed = list(status.changed)
        return GitStatus(status.facts, found)

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
        loops = (self._watch_files, self._poll_transcript, self._capture, self._record)
        await asyncio.gather(*(_kept_up(loop) for loop in loops))

    async def read_transcript(self) -> None:
        """Take in what the transcript has beyond what was read.

        It goes on when the caller gives up waiting: what the reader has read once, it will not read again.
        """
        reading = asyncio.create_task(self._read_on(), name="transcript")
        self._reads.add(reading)
        reading.add_done_callback(self._reads.discard)
        await asyncio.shield(reading)

    async def _read_on(self) -> None:
        """One read at a time. A native resume goes on with an old transcript: what was there before is not of us."""
        async with self._reading:
            reader = self._transcript
            if reader is not None:
                read = await asyncio.to_thread(reader.read)
                self._intake.take(o for o in read if not 0 < o.at < self._since)

    async def last_look(self, seconds: float) -> None:
        """At the end: what git says now, within a bound; then record what is new."""
        self._attribution.idle()
        await self.look_at_git(seconds, fresh=True)
        self.record_changes()

    def record_changes(self) -> None:
        """Record what changed since the last record."""
        current = {c.path: c for c in self.changes()}
        new = tuple(c for path, c in current.items() if self._recorded.get(path) != c)
        self._recorded = current
        self._intake.files(new)

    def _is_new(self, path: str) -> bool:
        try:
            return os.lstat(os.path.join(self.top, path)).st_mtime >= self._since
        except OSError:
            return False

    async def look_at_git(self, seconds: float, *, fresh: bool = False) -> None:
        """Have git's word no older than GIT_EVERY_S (`fresh`: of now), waiting `seconds` at most.

        One look at a time: a slow git must not pile up; what is waited for in vain arrives later.
        """
        if not self._in_git or not (fresh or time.monotonic() - self._asked_git_at >= GIT_EVERY_S):
            return
        if self._asking_git is None or self._asking_git.done():
            self._asking_git = asyncio.create_task(self._ask_git(), name="git")
        await asyncio.wait([self._asking_git], timeout=seconds)

    async def _ask_git(self) -> None:
        status = await asyncio.to_thread(git_watch.git_status, self.top)
        if status is not None:
            self.git, self._changed = status.facts, list(status.changed)
        self._asked_git_at = time.monotonic()

    async def _poll_transcript(self) -> None:
        while True:
            await self.read_transcript()
            await asyncio.sleep(TRANSCRIPT_POLL_S)

    async def _capture(self) -> None:
        while True:
            self.processes = await asyncio.to_thread(self._tree.capture)
            self.oom_kills = oom_kills()
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
            settled = now - self._touched_at >= QUIET_S or now - self._asked_git_at >= RESTLESS_S
            if stale and settled and now - self._asked_git_at >= GIT_EVERY_S:
                await self.look_at_git(FIRST_LOOK_S)
                self.record_changes()


async def _kept_up(loop: Callable[[], Awaitable[None]]) -> None:
    """Run one of the eyes for ever: what it stumbles over is logged, and it looks again."""
    while True:
        try:
            await loop()
        except Exception:
            # The boundary to files and processes of others, whatever they look like.
            logger.exception("watching failed")
            await asyncio.sleep(RESTART_S)
