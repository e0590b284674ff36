"""mcp-engram's event files as they are on disk: read, never written.

`events/events-YYYYMMDD.jsonl`, older ones gzipped; a line is `{ts, seq, kind, payload, …}`. Where a day has both files
the plain one counts, as there.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engram_runtime.errors import UsageError
from engram_runtime.journal.encoding import canonical
from engram_runtime.journal.journal import stamp

_FILE = re.compile(r"events-(\d+)\.jsonl(\.gz)?\Z")
_LONGEST_LINE = 64_000_000


@dataclass(frozen=True, slots=True)
class OldEvent:
    """One line. `at` is its time as the journal writes times; `key` is a digest of all it says."""

    at: str
    kind: str
    payload: dict[str, Any]
    key: str
    where: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that cannot be taken over, and why."""

    where: str
    why: str


def events_folder(named: Path) -> Path:
    """The folder with the event files of a home (or itself). Raises UsageError where there are none."""
    for folder in (named / "events", named / ".engram" / "events", named):
        if folder.is_dir() and any(_FILE.match(path.name) for path in folder.iterdir()):
            return folder
    raise UsageError(
        f"{named} holds no events of mcp-engram.", hint="Name its home, the folder with events/ (~/.engram)."
    )


def read_events(folder: Path) -> Iterator[OldEvent | Broken]:
    """All lines of all files, in their order."""
    days: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name, reverse=True):
        found = _FILE.match(path.name)
        if found and path.is_file():
            days[found[1]] = path  # names sorted backwards: the plain file comes after the gzipped one
    for day in sorted(days):
        yield from _lines(days[day])


def _lines(path: Path) -> Iterator[OldEvent | Broken]:
    number = 0
    last = ""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if not line.strip():
                    continue
                read = _event(line, f"{path.name}:{number}", last)
                if isinstance(read, OldEvent):
                    last = read.at
                yield read
    except (OSError, EOFError, zlib.error) as error:
        yield Broken(f"{path.name}:{number + 1}", f"the file cannot be read any further ({error})")


def _event(line: bytes, where: str, last: str) -> OldEvent | Broken:
    try:
        said = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return Broken(where, f"no JSON ({error})")
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
        return Broken(where, "no event")
    payload = said.get("payload")
    if not isinstance(payload, dict):
        return Broken(where, "an event without a payload")
    at = _time(said.get("ts")) or last
    if not at:
        return Broken(where, "an event without a time")
    whole = [said.get("ts"), said.get("seq"), said["kind"], payload]
    try:
        key = hashlib.sha256(canonical(whole)).hexdigest()[:32]
    except (UnicodeEncodeError, msgspec.MsgspecError) as error:
        return Broken(where, f"no text ({error})")
    return OldEvent(at, said["kind"], payload, key, where)


def _time(said: object) -> str:
    if not isinstance(said, str):
        return ""
    try:
        time = datetime.fromisoformat(said)
        return stamp(time if time.tzinfo else time.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return ""
