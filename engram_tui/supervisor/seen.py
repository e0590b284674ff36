"""What only the supervisor knows when a checkpoint is written."""

from __future__ import annotations

from dataclasses import dataclass

from engram_runtime.journal.records import ContextFill, FileChange, GitFacts, TranscriptPlace


@dataclass(frozen=True, slots=True)
class Seen:
    """What only the supervisor knows when a checkpoint is written."""

    files: tuple[FileChange, ...] | None = None
    screen_tail: str = ""
    transcript: TranscriptPlace | None = None
    context: ContextFill | None = None
    git: GitFacts | None = None
