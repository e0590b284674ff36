"""The agent's process tree, remembered: who belongs to the agent, also after its parents died and it was orphaned.

A snapshot a second (and one at each tool start) notes every descendant by pid and start. Three kinds of evidence make a
process the agent's: it descends from the agent, it descends from an orphan the supervisor took in (subreaper), or its
environment carries `ENGRAM_SESSION=<this session>`, which survives double forks and works without a subreaper.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from engram_tui.watch.child_start import SESSION_VARIABLE
from engram_tui.watch.observations import ProcessSeen
from engram_tui.watch.process_table import ProcessId, ProcessRow, ProcessTable, process_table, shown_command

MOST_PROCESSES = 2000
"""A fork bomb must not take the supervisor with it."""
THOROUGH_EVERY = 15
"""Every so many snapshots, environments are searched for processes that escaped both parents."""


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the agent's tree as last seen. `depth`: 0 is the agent.

    `orphaned_for`: in how many snapshots, taken while the agent lived, its parent was outside the tree.
    """

    row: ProcessRow
    depth: int
    orphaned_for: int = 0

    @property
    def detached(self) -> bool:
        """Whether it left its parents long before the agent's end: twice seen as an orphan, so not in the moment
        in which an agent that is about to exit ends its own shells."""
        return self.orphaned_for >= 2


class ProcessTree:
    """Remembers the tree of one agent. `spared()` are pids that are never the agent's (see `Reaper.known`).

    Thread-safe; `capture` reads the process table, so call it in a thread (`watch` does).
    """

    def __init__(
        self,
        agent: ProcessId,
        session: str = "",
        *,
        spared: Callable[[], Collection[int]] = frozenset,
        table: ProcessTable | None = None,
    ) -> None:
        self.agent = agent
        self.session = session
        self.agent_session = agent.pid
        self.table = table or process_table()
        self._spared = spared
        self._members: dict[ProcessId, Member] = {}
        self._samples: dict[ProcessId, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._captures = 0
        self._ending = False

    def members(self) -> tuple[Member, ...]:
        """The agent and its processes as of the last snapshot, parents before children."""
        with self._lock:
            return tuple(sorted(self._members.values(), key=lambda member: member.depth))

    def pids(self) -> tuple[int, ...]:
        """Pids of the members."""
        return tuple(member.row.id.pid for member in self.members())

    def capture(self, *, thorough: bool = False) -> tuple[ProcessSeen, ...]:
        """Take a snapshot, in tree order. `thorough` also searches all environments for the session's mark.

        `cpu` is percent of one core since the last snapshot, 0.0 for a process seen for the first time.
        """
        with self._lock:
            self._captures += 1
            thorough = thorough or self._captures % THOROUGH_EVERY == 0
            found = self._walk(self._marked() if thorough else [])
            self._remember(found)
            return self._as_seen(found)

    async def watch(
        self, on_capture: Callable[[tuple[ProcessSeen, ...]], None] | None = None, *, seconds: float = 1.0
    ) -> None:
        """Capture every `seconds` until cancelled; `on_capture` runs on the loop."""
        while True:
            seen = await asyncio.to_thread(self.capture)
            if on_capture is not None:
                on_capture(seen)
            await asyncio.sleep(seconds)

    def agent_is_ending(self) -> None:
        """From now on a process that loses its parent lost it to the agent's end: it did not detach itself."""
        self._ending = True

    def _walk(self, marked: Iterable[int]) -> list[tuple[ProcessRow, int]]:
        """Rows with depth: the agent's descendants, then orphans and theirs, each process once."""
        known = sorted(self._members.values(), key=lambda member: -member.depth)
        stack: list[tuple[int, int, ProcessId | None]] = [(pid, 1, None) for pid in marked]
        stack += [(member.row.id.pid, member.depth, member.row.id) for member in known]
        stack += [(pid, 1, None) for pid in self._adopted()]
        stack.append((self.agent.pid, 0, self.agent))
        visited = {os.getpid(), 0, 1, *self._spared()} - {self.agent.pid}
        found: list[tuple[ProcessRow, int]] = []
        while stack and len(found) < MOST_PROCESSES:
            pid, depth, expected = stack.pop()
            row = None if pid in visited else self.table.row(pid)
            # Another start under a known number, or an older one than the agent's, is a stranger.
            if row is None or expected not in (None, row.id) or row.id.start < self.agent.start:
                continue
            visited.add(pid)
            found.append((row, depth))
            stack.extend((child, depth + 1, None) for child in self.table.children(pid))
        return found

    def _adopted(self) -> list[int]:
        """Orphans the supervisor took in; its own git, which a thread just started, shares its session."""
        mine = os.getsid(0)
        adopted = []
        for pid in self.table.children(os.getpid()):
            row = None if pid == self.agent.pid else self.table.row(pid)
            if row is not None and (row.session != mine or self._carries_mark(pid)):
                adopted.append(pid)
        return adopted

    def _carries_mark(self, pid: int) -> bool:
        return bool(self.session) and self.table.carries(pid, SESSION_VARIABLE, self.session)

    def _marked(self) -> list[int]:
        return self.table.marked(SESSION_VARIABLE, self.session) if self.session else []

    def _remember(self, found: list[tuple[ProcessRow, int]]) -> None:
        present = {row.id.pid for row, _depth in found}
        # Looked at again after the walk: had the agent died in its middle, all its children would seem detached.
        agent = self.table.row(self.agent.pid)
        lives = agent is not None and agent.id == self.agent and not agent.zombie and not self._ending
        members: dict[ProcessId, Member] = {}
        for row, depth in found:
            before = self._members.get(row.id)
            orphan = lives and row.id != self.agent and row.parent not in present
            orphaned_for = (before.orphaned_for if before else 0) + orphan
            known = _named(row, before.row) if before else row
            members[row.id] = Member(known, before.depth if before else depth, orphaned_for)
            if row.id == self.agent:
                self.agent_session = row.session
        self._members = members

    def _as_seen(self, found: list[tuple[ProcessRow, int]]) -> tuple[ProcessSeen, ...]:
        now, at = time.monotonic(), time.time()
        samples = {row.id: (now, row.cpu_seconds) for row, _depth in found}
        seen = tuple(
            ProcessSeen(
                channel="process",
                at=at,
                pid=row.id.pid,
                parent=row.parent,
                depth=depth,
                command=shown_command(row.command),
                started_at=row.started_at,
                cpu=_percent(self._samples.get(row.id), samples[row.id]),
                rss=row.rss,
            )
            for row, depth in found
            if not row.zombie
        )
        self._samples = samples
        return seen


def _named(row: ProcessRow, before: ProcessRow) -> ProcessRow:
    """A process in the middle of its exit has no command line any more: it is still who it was."""
    return replace(row, command=before.command) if row.command == f"[{row.name}]" else row


def _percent(before: tuple[float, float] | None, now: tuple[float, float]) -> float:
    if before is None or now[0] <= before[0]:
        return 0.0
    return round(max(0.0, 100.0 * (now[1] - before[1]) / (now[0] - before[0])), 1)
