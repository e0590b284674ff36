"""Tool calls in words: the line a person reads, and the files a call names as its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engram_runtime.redaction import head, tail

EXCERPT = 2000
SUMMARY = 300
_LONGEST = 20_000
SHELL_TOOLS = frozenset(("Bash", "terminal", "shell", "execute_bash", "PowerShell"))
WRITING_TOOLS = frozenset(("Edit", "Write", "MultiEdit", "NotebookEdit", "file_editor", "str_replace_editor"))
PATH_KEYS = ("file_path", "notebook_path", "path", "filename")
SUMMARY_KEYS = (
    "command",
    "file_path",
    "notebook_path",
    "path",
    "pattern",
    "query",
    "url",
    "prompt",
    "description",
)


def excerpt(value: object, limit: int = EXCERPT) -> str:
    """Start and end of a long text, `limit` characters at most, without secrets where it was cut."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{head(text, half)}\n…\n{tail(text, half)}"


def summary(tool: str, tool_input: Mapping[str, Any]) -> str:
    """One line that says what the call does: its command, path or query."""
    for key in SUMMARY_KEYS:
        value = tool_input.get(key)
        if isinstance(value, str) and value.strip():
            return head(" ".join(value[:_LONGEST].split()), SUMMARY)
    return head(" ".join(f"{key}={value}" for key, value in list(tool_input.items())[:4]), SUMMARY)


def command(tool: str, tool_input: Mapping[str, Any]) -> str:
    """The shell command of a shell tool, else ""."""
    value = tool_input.get("command")
    return value if tool in SHELL_TOOLS and isinstance(value, str) else ""


def change(tool: str, tool_input: Mapping[str, Any]) -> str:
    """What an editing tool puts in place of what, as an excerpt; "" for other tools."""
    if tool not in WRITING_TOOLS:
        return ""
    edits = tool_input.get("edits")
    first = edits[0] if isinstance(edits, list) and edits and isinstance(edits[0], Mapping) else tool_input
    old, new = (_first_line(first.get(key)) for key in ("old_string", "new_string"))
    if not (old or new):
        old, new = (_first_line(first.get(key)) for key in ("old_str", "new_str"))
    if old or new:
        return f"{old!r} → {new!r}"
    return _first_line(tool_input.get("content") or tool_input.get("file_text"))


def _first_line(value: object) -> str:
    lines = value.strip().splitlines() if isinstance(value, str) else []
    return excerpt(lines[0].strip(), 120) + (" …" if len(lines) > 1 else "") if lines else ""


def written_paths(tool: str, tool_input: Mapping[str, Any]) -> tuple[str, ...]:
    """Files the call will write, as named in its input."""
    if tool not in WRITING_TOOLS or tool_input.get("command") == "view":
        return ()
    return tuple(v for key in PATH_KEYS if isinstance(v := tool_input.get(key), str) and v)
