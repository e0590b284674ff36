"""The agent's tool calls in time, and what their commands say: the ground on which a change is booked on someone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from engram_runtime.redaction import head
from engram_tui.watch.observations import ToolBegan, ToolEnded

READING_TOOLS = frozenset(
    "read grep glob ls notebookread webfetch websearch todowrite todoread taskcreate taskupdate tasklist taskget "
    "askuserquestion exitplanmode view_image update_plan think finish toolsearch bashoutput listmcpresources".split()
)
"""Tools that write no files of the project (lower case)."""
_READING_PROGRAMS = frozenset(
    "cat head tail less more wc ls ll tree grep egrep fgrep rg ag find fd file stat du df diff cmp pwd echo printf "
    "which type cd sleep true false test [ ps top date whoami id uname jq nl od xxd md5sum sha256sum basename "
    "dirname".split()
)
_READING_GIT = frozenset(
    "status diff log show blame branch remote rev-parse ls-files grep describe reflog".split()
)
_WRITES_ANYWAY = re.compile(r"-delete\b|-exec\b|\$\(|`|<\(")
_REDIRECTION = re.compile(r"\d?>&\d|&?\d?>{1,2}\|?\s*/dev/(null|stdout|stderr|tty)")
_SEGMENTS = re.compile(r"\|\||&&|[;|&\n]")
_NAME_CHARACTER = r"[\w.\-]"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call in time. `ended` None: running. `paths`: real absolute paths that it named as targets."""

    tool: str
    call_id: str
    began: float
    ended: float | None
    paths: frozenset[str]
    command: str
    summary: str

    def covers(self, at: float, before: float, after: float) -> bool:
        """Whether it ran at that time, with so many seconds of tolerance."""
        return self.began - before <= at and (self.ended is None or at <= self.ended + after)

    @property
    def label(self) -> str:
        """For evidence: the command, else the tool."""
        return shortened(self.command or self.summary or self.tool)


class ToolCalls:
    """Calls that run or ran lately, from observations in any order of arrival."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._calls: list[ToolCall] = []

    def began(self, observation: ToolBegan, at: float) -> None:
        """A call began; the same call told by a second channel is one call."""
        paths = frozenset(real_path(path) for path in observation.paths)
        for index, call in enumerate(self._calls):
            if observation.call_id and call.call_id == observation.call_id:
                command = call.command or observation.command
                earlier = min(call.began, at)
                self._calls[index] = replace(call, began=earlier, paths=call.paths | paths, command=command)
                return
        name, command, summary = observation.tool, observation.command, observation.summary
        self._calls.append(ToolCall(name, observation.call_id, at, None, paths, command, summary))

    def ended(self, observation: ToolEnded, at: float) -> None:
        """A call ended; one whose beginning was not seen began `duration_ms` ago."""
        paths = frozenset(real_path(path) for path in observation.paths)
        for index in reversed(range(len(self._calls))):
            call = self._calls[index]
            if _same(call, observation):
                ended = at if call.ended is None else min(call.ended, at)
                self._calls[index] = replace(call, ended=ended, paths=call.paths | paths)
                return
        began = at - (observation.duration_ms or 0) / 1000
        self._calls.append(
            ToolCall(observation.tool, observation.call_id, began, at, paths, "", observation.summary)
        )

    def all_ended(self, at: float) -> None:
        """The agent is idle or gone: calls whose end nobody told (interrupted ones) do not run any more."""
        self._calls = [call if call.ended is not None else replace(call, ended=at) for call in self._calls]

    def around(self, at: float, before: float, after: float) -> list[ToolCall]:
        """Calls that ran at that time and may have written files, oldest first."""
        return [call for call in self._calls if call.covers(at, before, after) and not _only_reads(call)]

    def forget_before(self, now: float) -> None:
        """Drop calls that ended too long ago to matter."""
        horizon = now - self._keep_seconds
        self._calls = [call for call in self._calls if call.ended is None or call.ended >= horizon]


def names_path(command: str, path: str) -> bool:
    """Whether a command's text names this absolute path: in full, by a longer or shorter end of it, or by name."""
    name = re.escape(Path(path).name)
    for found in re.finditer(rf"([\w.\-/]*/)?(?<!{_NAME_CHARACTER}){name}(?!{_NAME_CHARACTER})", command):
        folder = re.sub(r"^(\.{1,2}/)+", "", found[1] or "")
        if path == folder + Path(path).name or path.endswith(f"/{folder}{Path(path).name}"):
            return True
    return False


@lru_cache(maxsize=1024)
def only_reads(command: str) -> bool:
    """Whether every part of a shell command is a program known to only read, and nothing is redirected to a file."""
    plain = _REDIRECTION.sub(" ", command)
    if ">" in plain or _WRITES_ANYWAY.search(plain):
        return False
    segments = [segment.split() for segment in _SEGMENTS.split(plain) if segment.strip()]
    return bool(segments) and all(_reads(words) for words in segments)


def real_path(path: str) -> str:
    """Links in the folders above resolved, the last part as named (a link may be what was written)."""
    folder, name = os.path.split(path.rstrip("/"))
    return os.path.join(os.path.realpath(folder), name)


def shortened(text: str, most: int = 80) -> str:
    """One line for evidence."""
    line = " ".join(text.split())
    return line if len(line) <= most else head(line, most - 1) + "…"


def _same(call: ToolCall, observation: ToolEnded) -> bool:
    if observation.call_id and call.call_id:
        return call.call_id == observation.call_id
    return call.ended is None and call.tool == observation.tool


def _only_reads(call: ToolCall) -> bool:
    if call.tool.lower() in READING_TOOLS or call.tool.startswith("mcp__engram__"):
        return True
    return bool(call.command) and only_reads(call.command)


def _reads(words: list[str]) -> bool:
    if words[0] == "git":
        options = [word for word in words[1:] if not word.startswith("-")]
        return bool(options) and options[0] in _READING_GIT
    return words[0] in _READING_PROGRAMS
