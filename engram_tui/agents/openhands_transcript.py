"""An OpenHands conversation (`conversations/<hex id>/`) as observations: its events, and the state it keeps.

Facts (seen with 1.16.0): `events/event-NNNNN-<id>.json`, one file per event, written in place, so one may be met
half-written; `base_state.json` is rewritten whenever the status changes (idle, running, waiting_for_confirmation,
paused, finished, error, stuck) and carries token counts as of then, so a headless run has none before its end; a
SIGKILL leaves "running".
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engram_tui.agents.base import TranscriptReader
from engram_tui.agents.openhands_events import OpenHandsEvents
from engram_tui.watch.observations import (
    ContextSeen,
    NativeSession,
    Observation,
    TurnFailed,
    Waiting,
)

_EVENT = re.compile(r"\Aevent-(\d+)-.*\.json\Z")
_SETTLED_NS = 1_000_000_000
"""A time of change stands still for some milliseconds: only an older one says that nothing was added since."""


class OpenHandsTranscript(TranscriptReader):
    """Incremental reader of a conversation. `offset` is the number of the next event.

    `skip_present`: events that are there already belong to an earlier run (`--resume`). `follow_new`: the terminal UI
    may begin another conversation (`/new`); it is followed when the one read so far is at rest. One that is only
    switched to in its history panel is not followed: nothing on disk tells who wrote to it.
    """

    def __init__(
        self, path: Path, work: Path | None = None, *, skip_present: bool = False, follow_new: bool = False
    ) -> None:
        self._work = work
        self._others = _Conversations(path.parent, work) if follow_new and work else None
        self._open(path)
        if skip_present and (state := _json(path / "base_state.json")):
            self.offset = max((number for number, _ in self._event_files()), default=-1) + 1
            self._usages = len(_usages(state))
            self._status = str(state.get("execution_status", ""))
            self._source = "resume"

    def _open(self, path: Path, source: str = "startup") -> None:
        self.path: Path | None = path
        self.offset: int = 0
        self._folder = _Changes(path / "events")
        self._file = _Changes(path / "base_state.json")
        self._state: dict[str, Any] = {}
        self._source = source
        self._announced = False
        self._events = OpenHandsEvents(self._work or Path("/"))
        self._usages = 0
        self._status = ""

    def read(self) -> list[Observation]:
        """Observations of everything new."""
        seen = self._read_current()
        if self._others is not None and self._status != "running" and (new := self._others.new()) is not None:
            self._open(new, "clear")
            seen += self._read_current()
        return seen

    def _read_current(self) -> list[Observation]:
        if self._file.seen():
            self._state = _json(self._file.path) or self._state
        seen = list(self._announce())
        seen += self._new_events()
        seen += self._tokens()
        seen += self._new_status()
        return seen

    # --- events -----------------------------------------------------------------------------------------

    def _new_events(self) -> Iterator[Observation]:
        files = self._event_files() if self._folder.seen() else []
        for position, (number, file) in enumerate(files):
            if number < self.offset:
                continue
            event = _json(file)
            if event is None and position == len(files) - 1:
                self._folder.look_again()  # being written
                return
            self.offset = number + 1
            if event is not None:
                yield from self._events.read(event)

    def _event_files(self) -> list[tuple[int, Path]]:
        folder = self._folder.path
        found = ((_EVENT.match(name), name) for name in _names(folder))
        return sorted((int(match[1]), folder / name) for match, name in found if match)

    # --- state ------------------------------------------------------------------------------------------

    def _announce(self) -> Iterator[Observation]:
        if self._state and not self._announced:
            self._announced = True
            yield NativeSession(
                channel="transcript",
                native_id=str(self._state.get("id", "")),
                transcript_path=str(self.path),
                source=self._source,
                model=str(((self._state.get("agent") or {}).get("llm") or {}).get("model", "")),
            )

    def _tokens(self) -> Iterator[Observation]:
        usages = _usages(self._state)
        new, self._usages = usages[self._usages :], max(self._usages, len(usages))
        if new:
            yield ContextSeen(
                channel="transcript",
                used=_number(new[-1], "prompt_tokens") + _number(new[-1], "completion_tokens"),
                window=_number(new[-1], "context_window") or None,
                tokens_out=sum(_number(usage, "completion_tokens") for usage in new),
            )

    def _new_status(self) -> Iterator[Observation]:
        status = str(self._state.get("execution_status", self._status))
        if status == self._status:
            return
        self._status = status
        if status == "waiting_for_confirmation":
            pending = self._events.pending
            text = f"{pending.tool}: {pending.summary}" if pending else "an action"
            yield Waiting(channel="transcript", text=f"confirmation of {text}")
        elif status == "stuck":
            why = "OpenHands stopped: the agent was repeating itself (stuck)"
            yield TurnFailed(channel="transcript", condition="stalled", text=why)


class _Changes:
    """Tells cheaply whether a file or folder may have changed since it was last looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = 0
        self._looked = 0

    def seen(self) -> bool:
        """Whether it is there and may be new; from then on it counts as looked at."""
        try:
            changed = self.path.stat().st_mtime_ns
        except OSError:
            return False
        if changed == self._changed and changed < self._looked - _SETTLED_NS:
            return False
        self._changed, self._looked = changed, time.time_ns()
        return True

    def look_again(self) -> None:
        """It was not complete."""
        self._looked = 0


class _Conversations:
    """The folder of all conversations: which new one did `/new` make?

    A conversation that another OpenHands begins has a state for a second before it has events; one of `/new` has them
    at once.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder = _Changes(folder)
        self._work = os.path.realpath(work)
        self._known = set(_names(folder))
        self._undecided: set[str] = set()
        self._begun: set[str] = set()

    def new(self) -> Path | None:
        """One that has begun since, in this working folder; each is told once."""
        if self._folder.seen():
            self._undecided |= {
                name for name in _names(self._folder.path) if _is_random_id(name)
            } - self._known
            self._known |= self._undecided
        for name in tuple(self._undecided):
            self._decide(name)
        for name in tuple(self._begun):
            folder = self._folder.path / name
            if (state := _json(folder / "base_state.json")) is not None:
                self._begun.discard(name)
                working = (state.get("workspace") or {}).get("working_dir")
                if working and os.path.realpath(working) == self._work:
                    return folder
        return None

    def _decide(self, name: str) -> None:
        folder = self._folder.path / name
        if (folder / "events").is_dir():
            self._begun.add(name)
        elif not (folder / "base_state.json").exists():
            return
        self._undecided.discard(name)


def _is_random_id(name: str) -> bool:
    """Whether OpenHands picked the id; those that Engram picks for its sessions are of another version."""
    try:
        return uuid.UUID(name).version == 4
    except ValueError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object, None while it is not (yet) one."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _usages(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Token counts of the agent's own model calls, oldest first (the condenser's are apart)."""
    by_use = (state.get("stats") or {}).get("usage_to_metrics") or {}
    found = (by_use.get("agent") or {}).get("token_usages") or []
    return [usage for usage in found if isinstance(usage, dict)]


def _number(values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    return int(value) if isinstance(value, int | float) else 0
