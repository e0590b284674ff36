"""Processes & files: what the agent runs, and which files changed by whom."""

from __future__ import annotations

from datetime import datetime

from engram_runtime.journal.records import FileChange
from engram_tui.messages import ProcessLine, Snapshot
from engram_tui.panes.paint import Row, Span
from engram_tui.panes.pane import PaneText
from engram_tui.panes.words import size

EMPTY = "No process of the agent is running, and no file has changed."
_LETTERS = {"added": "A", "modified": "M", "deleted": "D"}


def view(snapshot: Snapshot, now: datetime) -> PaneText:
    """The process tree, then the files."""
    rows = [_process(p) for p in snapshot.processes] + [file_row(f) for f in snapshot.files]
    counts = f"{len(snapshot.processes)} · {len(snapshot.files)}" if rows else "none"
    return PaneText(((counts, "dim"),), tuple(rows), EMPTY)


def _process(process: ProcessLine) -> Row:
    return Row(
        ((f"  {process.pid} ", "dim"), ("  " * process.depth + process.command, "plain")),
        ((f"{process.cpu:.0f} % ", "dim"), (f"{size(process.rss):>8}", "dim")),
        key=f"process {process.pid}",
    )


def file_row(file: FileChange, indent: str = "  ") -> Row:
    """`M src/auth/validator.py   +6 −2  agent`. Changes nobody was seen making say so."""
    letter = "?" if not file.tracked and file.change != "deleted" else _LETTERS[file.change]
    counts: list[Span] = []
    if file.lines_added is not None:
        counts.append((f"+{file.lines_added} ", "dim"))
    if file.lines_removed is not None:
        counts.append((f"−{file.lines_removed} ", "dim"))
    author = {"agent": "agent", "user": "you", "unattributed": "author unseen"}[file.by]
    left: tuple[Span, ...] = ((indent, "plain"), (f"{letter} ", "strong"), (file.path, "plain"))
    return Row(left, (*counts, (author, "dim")), key=f"file {file.path}")
