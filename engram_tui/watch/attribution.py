"""Who changed a file: the agent, the user, or nobody can say; always with the evidence.

A change is the agent's when one of its tools named the file as its target, when a process of its tree had the file
open for writing, or when a shell command that named the file ran. It is the user's when nothing of the agent's ran
that could have written it. Otherwise it stays unattributed, and the evidence says what ran. Files that were dirty
before the session and were not touched are nobody's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engram_runtime.journal.records import ChangeAuthor, ChangeKind, FileChange
from engram_tui.watch.git_watch import ChangedFile
from engram_tui.watch.observations import FileTouched, ProcessSeen, ToolBegan, ToolEnded
from engram_tui.watch.process_table import ProcessTable, process_table, writers_of
from engram_tui.watch.tool_calls import ToolCalls, names_path, shortened

BEFORE_SECONDS = 0.2
"""How much earlier than its told beginning a tool may have written the file it named (two clocks, two channels)."""
AFTER_SECONDS = 0.5
"""How much later than its end a tool's change may be seen."""
NAMED_AFTER_SECONDS = 2.0
"""The same for a file that the tool named as its target."""
BACKGROUND_SECONDS = 2.0
"""How long after the last snapshot a process still counts as running."""
SETTLE_SECONDS = 60.0
"""How long a change waits for tool calls told late (by a transcript) before its author is fixed."""

_STRENGTH: Mapping[ChangeAuthor, int] = {"user": 0, "unattributed": 1, "agent": 2}
_USER_EVIDENCE = "changed while nothing of the agent's was running that could have written it"
_Lines = Mapping[str, tuple[int | None, int | None]]


@dataclass(frozen=True, slots=True)
class Author:
    """Who made one change, and what shows it."""

    by: ChangeAuthor
    evidence: str


@dataclass(slots=True)
class _Touch:
    at: float
    change: ChangeKind
    writer: str


@dataclass(slots=True)
class _History:
    """All changes of one path: first and last, the strongest author so far, and touches not settled yet."""

    first: ChangeKind
    last: ChangeKind
    author: Author | None = None
    by_user: bool = False
    touches: list[_Touch] = field(default_factory=list)


class Attribution:
    """Books changes below `top`. Feed it on one thread; `find_writers` and `changes` may run in others.

    `sees_tools`: whether the adapter tells of tool calls at all; where it does not, silence proves nothing and no
    change is booked on the user. `tree_pids`: the agent's processes (`ProcessTree.pids`).
    """

    def __init__(
        self,
        top: str,
        *,
        sees_tools: bool = True,
        tree_pids: Callable[[], Iterable[int]] = tuple,
        table: ProcessTable | None = None,
    ) -> None:
        self.top = os.path.realpath(top)
        self.sees_tools = sees_tools
        self._tree_pids = tree_pids
        self._table = table
        self._calls = ToolCalls(keep_seconds=SETTLE_SECONDS * 2)
        self._background: dict[tuple[int, float], tuple[str, float]] = {}
        self._unsettled: set[str] = set()
        self._histories: dict[str, _History] = {}
        self._baseline: frozenset[str] = frozenset()

    def began(self, observation: ToolBegan) -> None:
        """A tool call began."""
        self._calls.began(observation, observation.at or time.time())

    def ended(self, observation: ToolEnded) -> None:
        """A tool call ended."""
        self._calls.ended(observation, observation.at or time.time())

    def idle(self, at: float = 0.0) -> None:
        """The agent ended its turn, or itself: no call runs any more, whatever was told."""
        self._calls.all_ended(at or time.time())

    def baseline(self, changed: Iterable[ChangedFile]) -> None:
        """What differed from HEAD when the session began: nobody's, until touched."""
        self._baseline = frozenset(file.path for file in changed)

    def processes(self, seen: Sequence[ProcessSeen]) -> None:
        """A snapshot of the agent's tree: what a shell tool started and left running may write later."""
        for process in seen:
            key = (process.pid, process.started_at)
            if key in self._background or (process.depth and self._started_by_a_command(process.started_at)):
                self._background[key] = (process.command, process.at or time.time())

    def find_writers(self, batch: Sequence[FileTouched]) -> dict[str, str]:
        """Which of these files a process of the tree has open for writing now: path → `command (pid)`.

        Reads the process table, so call it in a thread, at once; give the answer to `touched`.
        """
        found = writers_of((touch.path for touch in batch), self._tree_pids(), self._table)
        rows = {pid: (self._table or process_table()).row(pid) for pid in set(found.values())}
        commands = {
            pid: "a process" if row is None else shortened(row.command, 60) for pid, row in rows.items()
        }
        return {path: f"{commands[pid]} ({pid})" for path, pid in found.items()}

    def touched(self, batch: Sequence[FileTouched], writers: Mapping[str, str] | None = None) -> None:
        """Files changed. `writers` as from `find_writers`."""
        now = time.time()
        for touch in batch:
            path = self._relative(touch.path)
            if path is None:
                continue
            history = self._histories.setdefault(path, _History(touch.change, touch.change))
            history.last = touch.change
            history.touches.append(_Touch(touch.at or now, touch.change, (writers or {}).get(touch.path, "")))
            self._unsettled.add(path)
        self._settle(now)

    def author(self, path: str, at: float, writer: str = "") -> Author:
        """Who changed `path` (relative to the top) at that time, by all that is known now."""
        absolute = os.path.join(self.top, path).rstrip("/")
        around = self._calls.around(at, BEFORE_SECONDS, NAMED_AFTER_SECONDS)
        for call in around:
            if absolute in call.paths:
                return Author("agent", f"{call.tool} named it")
        running = [call for call in around if call.covers(at, 0.0, AFTER_SECONDS)]
        if writer:
            return Author("agent", f"a process of the agent's had it open for writing ({writer})")
        for call in running:
            if call.command and names_path(call.command, absolute):
                return Author("agent", f"`{call.label}` named it and ran")
        background = [
            command
            for (_pid, started_at), (command, last_seen) in tuple(self._background.items())
            if started_at <= at <= last_seen + BACKGROUND_SECONDS
        ]
        for command in background:
            if names_path(command, absolute):
                return Author("agent", f"`{shortened(command)}` named it and ran in the background")
        if running:
            return Author("unattributed", f"changed while `{running[-1].label}` ran")
        if background:
            return Author(
                "unattributed", f"changed while `{shortened(background[-1])}` ran in the background"
            )
        if not self.sees_tools:
            return Author("unattributed", "this agent does not tell when its tools run")
        return Author("user", _USER_EVIDENCE)

    def changes(
        self, now: Sequence[ChangedFile] | None = None, lines: _Lines | None = None
    ) -> tuple[FileChange, ...]:
        """Files changed since the session began, by path.

        `now`: what differs from HEAD at this moment (`changed_files`); None where there is no repository. Committed
        files stay in the list. `lines`: added and removed (`numstat`).
        """
        in_git = {file.path: file for file in now or ()}
        seen = tuple(self._histories)  # may be asked for in a thread, while changes come in on the loop
        gone_folders = [path for path in seen if path.endswith("/")]
        changes = [self._change(path, in_git, lines or {}, now is not None) for path in seen]
        for path in in_git.keys() - set(seen):
            folder = next((folder for folder in gone_folders if path.startswith(folder)), None)
            if folder is not None:
                changes.append(self._change(folder, in_git, lines or {}, True, path))
            elif path not in self._baseline:
                unseen = Author("unattributed", "differs from HEAD, but nobody saw it change")
                changes.append(
                    _file_change(path, in_git[path].change, unseen, in_git.get(path), lines or {}, True)
                )
        return tuple(
            sorted((change for change in changes if change is not None), key=lambda change: change.path)
        )

    def _change(
        self,
        seen: str,
        in_git: Mapping[str, ChangedFile],
        lines: _Lines,
        repository: bool,
        path: str | None = None,
    ) -> FileChange | None:
        """The record for a path as `seen`; `path`: a file below a folder that went away."""
        history = self._histories[seen]
        path = path or seen
        if path.endswith("/") and repository:
            return None
        file = in_git.get(path)
        if file is None and history.first == "added" and history.last == "deleted":
            return None
        return _file_change(path, _kind(history), self._overall(seen, history), file, lines, repository)

    def _overall(self, path: str, history: _History) -> Author:
        """The strongest author of all its changes; a change by the user besides is said."""
        author, by_user = history.author, history.by_user
        for touch in tuple(history.touches):
            this = self.author(path, touch.at, touch.writer)
            author, by_user = _stronger(author, this), by_user or this.by == "user"
        assert author is not None
        if by_user and author.by != "user":
            return Author(author.by, f"{author.evidence}; the user changed it too")
        return author

    def _settle(self, now: float) -> None:
        """Fix the authors of old changes, then forget the tool calls and processes that told them."""
        for path in tuple(self._unsettled):
            history = self._histories[path]
            waiting: list[_Touch] = []
            for touch in history.touches:
                if now - touch.at > SETTLE_SECONDS:
                    this = self.author(path, touch.at, touch.writer)
                    history.author = _stronger(history.author, this)
                    history.by_user = history.by_user or this.by == "user"
                elif not waiting or touch.writer or touch.at - waiting[-1].at >= BEFORE_SECONDS:
                    waiting.append(touch)
            history.touches = waiting
            if not waiting:
                self._unsettled.discard(path)
        horizon = now - SETTLE_SECONDS * 2
        self._calls.forget_before(now)
        self._background = {key: seen for key, seen in self._background.items() if seen[1] >= horizon}

    def _started_by_a_command(self, started_at: float) -> bool:
        around = self._calls.around(started_at, BEFORE_SECONDS, AFTER_SECONDS)
        return any(call.command for call in around)

    def _relative(self, path: str) -> str | None:
        prefix = self.top.rstrip("/") + "/"
        return path[len(prefix) :] if path.startswith(prefix) else None


def _stronger(one: Author | None, other: Author) -> Author:
    return other if one is None or _STRENGTH[other.by] > _STRENGTH[one.by] else one


def _kind(history: _History) -> ChangeKind:
    if history.last == "deleted":
        return "deleted"
    return "added" if history.first == "added" else "modified"


def _file_change(
    path: str, kind: ChangeKind, author: Author, file: ChangedFile | None, lines: _Lines, repository: bool
) -> FileChange:
    added, removed = lines.get(path, (None, None))
    return FileChange(
        path=path,
        change=kind if file is None else file.change,
        by=author.by,
        tracked=repository if file is None else file.tracked,
        evidence=author.evidence,
        lines_added=added,
        lines_removed=removed,
    )
