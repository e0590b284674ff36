"""Whether a claim of the agent's is borne out, or contradicted, by what was seen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engram_runtime.journal.records import FileChange, Standing
from engram_runtime.state.views import ToolView

READING = frozenset(
    "cat ls head tail grep rg find less more wc pwd echo file stat tree which git-status".split()
)
READING_TOOLS = frozenset(("Read", "Grep", "Glob", "LS", "NotebookRead", "WebFetch", "WebSearch"))
ABOUT_WRITING = re.compile(r"\b(wrote|writ|creat|add|edit|updat|chang|renam|remov|delet|mov)", re.IGNORECASE)


class Sights:
    """What was seen in a session, ready to be asked about many claims. `tools` newest first."""

    def __init__(self, tools: Sequence[ToolView], files: Sequence[FileChange]) -> None:
        self._calls = [
            call
            for call in tools
            if call.fact.tool not in READING_TOOLS
            and len(call.fact.summary) > 3
            and call.fact.summary.split()[0] not in READING
        ]
        self._files: dict[str, FileChange] = {}
        for change in files:
            if change.by == "agent":
                self._files.setdefault(change.path.rsplit("/", 1)[-1], change)
                self._files[change.path] = change

    def standing(self, text: str) -> tuple[Standing, str]:
        """Whether the newest command that a claim names, or a file it says was written, bears it out.

        A command that only reads proves nothing; a changed file proves only that it was changed.
        """
        words = re.findall(r"[\w./-]{3,}", text)
        names = {w.strip("./") for w in words if "." in w or "/" in w} - {""}
        for call in self._calls:
            command = call.fact.summary
            if command not in text and not any(name in command for name in names):
                continue
            if call.fact.status == "failed":
                return "contradicted", f"`{command[:120]}` failed: {call.fact.error[:120]}"
            if call.fact.status == "succeeded" and not call.paths:
                return "verified", f"`{command[:120]}` was seen to succeed"
        for name in sorted(names):
            if change := self._files.get(name):
                evidence = f"{change.path} was seen {change.change} by the agent"
                return ("verified" if ABOUT_WRITING.search(text) else "claimed"), evidence
        return "claimed", ""
