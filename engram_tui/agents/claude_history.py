"""Claude Code's past conversations on disk (`~/.claude/projects/<folder>/<session>.jsonl`), for taking them over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engram_runtime.errors import UsageError
from engram_tui.agents.claude_transcript import ClaudeTranscript
from engram_tui.watch.observations import Observation

HEAD_LINES = 200
"""Lines in which a conversation tells where it took place."""


@dataclass(frozen=True, slots=True)
class Place:
    """Who and where, as the transcript's first lines tell. `sidechain`: a sub-agent's own file, no conversation."""

    native_id: str
    cwd: str
    branch: str
    version: str
    sidechain: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a transcript says from an offset to another (bytes), and how many lines could not be read."""

    observations: tuple[Observation, ...]
    offset: int
    malformed: int


def config_folder() -> Path:
    """Claude's own folder: $CLAUDE_CONFIG_DIR, else ~/.claude."""
    named = os.environ.get("CLAUDE_CONFIG_DIR", "").strip()
    return Path(named).expanduser() if named else Path.home() / ".claude"


def transcripts(named: Path) -> list[Path]:
    """The transcripts of Claude's folder, of a project's folder in it, or the one file; the oldest first.

    Raises UsageError where there is none.
    """
    if named.is_file():
        return [named]
    folder = named / "projects" if (named / "projects").is_dir() else named
    found = [path for path in (*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")) if path.is_file()]
    if not found:
        raise UsageError(
            f"{named} holds no transcripts of Claude.", hint="Name ~/.claude or a folder in its projects/."
        )
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name))


def place_of(path: Path) -> Place | None:
    """Where a conversation took place; None for a file that is no transcript."""
    native_id = cwd = branch = version = ""
    lines = sidechains = 0
    for line in _head(path):
        said = line.get("sessionId")
        if not isinstance(said, str) or line.get("type") not in ("user", "assistant", "system"):
            continue
        lines += 1
        sidechains += bool(line.get("isSidechain"))
        native_id = native_id or said
        cwd = cwd or str(line.get("cwd") or "")
        branch = branch or str(line.get("gitBranch") or "")
        version = version or str(line.get("version") or "")
    if not native_id or not cwd:
        return None
    return Place(path.stem if _is_id(path.stem) else native_id, cwd, branch, version, sidechains == lines)


def read(path: Path, offset: int = 0) -> Conversation:
    """All that a transcript says after `offset`."""
    reader = ClaudeTranscript(path, offset)
    found: list[Observation] = []
    while True:
        before = reader.offset
        found += reader.read()
        if reader.offset == before:
            return Conversation(tuple(found), reader.offset, reader.malformed)


def _head(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for _, line in zip(range(HEAD_LINES), file, strict=False):
                try:
                    said = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(said, dict):
                    yield said
    except OSError:
        return


def _is_id(name: str) -> bool:
    return len(name) == 36 and name.count("-") == 4
