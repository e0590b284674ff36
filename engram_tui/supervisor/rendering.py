"""A checkpoint as text for people; and what changed between two."""

from __future__ import annotations

import difflib

from engram_runtime.continuity.briefing import plain_reason
from engram_runtime.journal.records import Checkpoint, Item, Prohibition
from engram_runtime.state.views import CheckpointView

MARKS = {"verified": "✓ seen", "claimed": "· claimed", "contradicted": "✗ contradicted"}
AUTHORS = {"agent": "by the agent", "user": "by you", "unattributed": "author not seen"}


def checkpoint_text(view: CheckpointView) -> str:
    """All that a checkpoint says, most important first."""
    lines = [
        f"Checkpoint {view.id}: task #{view.task} v{view.version}, {view.reason}, {view.created_at}",
        f"confidence {view.confidence:.2f}"
        + (f", trigger {' '.join(view.trigger.split())}" if view.trigger else ""),
    ]
    content = view.content
    if content is None:
        return "\n".join(lines)
    lines += _section("Goal", [content.goal])
    lines += _section("Verdict", [str(content.verdict), *content.verdict.evidence] if content.verdict else [])
    lines += _section("Done", [_item(i) for i in content.completed])
    lines += _section("In progress", [_item(i) for i in content.in_progress])
    lines += _section("Blocked", [_item(i) for i in content.blocked])
    lines += _section("Next", [i.text for i in content.preferred_next])
    lines += _section("Must not be redone", [_prohibition(p) for p in content.must_not_redo])
    lines += _section("Must be preserved", [i.text for i in content.must_preserve])
    lines += _section("Last failure", [_item(content.last_failure)] if content.last_failure else [])
    lines += _section("Files", _files(content))
    lines += _section("Work", _work(content))
    lines += _section("Note", [content.note] if content.note else [])
    lines += _section("Screen", content.screen_tail.splitlines()[-12:])
    return "\n".join(lines)


def compared(view: CheckpointView, before: CheckpointView) -> str:
    """What changed from one version to the next, as a unified diff of their texts."""
    old, new = checkpoint_text(before).splitlines(), checkpoint_text(view).splitlines()
    diff = difflib.unified_diff(old, new, f"v{before.version}", f"v{view.version}", lineterm="", n=1)
    return "\n".join(diff) or "Nothing changed."


def _section(title: str, lines: list[str]) -> list[str]:
    # Lines within an agent's text stay below their own: they cannot pass for a section.
    return ["", title, *("  " + line.replace("\n", "\n    ") for line in lines)] if any(lines) else []


def _prohibition(prohibition: Prohibition) -> str:
    return prohibition.action + (f" ({plain_reason(prohibition.reason)})" if prohibition.reason else "")


def _item(item: Item) -> str:
    evidence = f": {item.evidence}" if item.evidence else ""
    return f"{item.text}  [{MARKS[item.standing]}{evidence}]"


def _files(content: Checkpoint) -> list[str]:
    letters = {"added": "A", "modified": "M", "deleted": "D"}
    lines = []
    for c in content.modified_files:
        evidence = f": {c.evidence}" if c.evidence else ""
        lines.append(f"{letters[c.change] if c.tracked else '?'} {c.path}  ({AUTHORS[c.by]}{evidence})")
    return lines


def _work(content: Checkpoint) -> list[str]:
    lines = []
    if content.last_tool:
        tool = content.last_tool
        lines.append(f"last tool: {tool.tool} `{tool.summary}` ({tool.status})")
    if content.git:
        lines.append(f"git: {content.git.branch or 'detached'} at {content.git.head or 'no commit'}")
    if content.context:
        window = f" of {content.context.window:,}" if content.context.window else ""
        lines.append(f"context: {content.context.used:,}{window} tokens")
    if content.last_prompt:
        lines.append(f"last prompt: {content.last_prompt}")
    if content.last_said:
        lines.append(f"last said: {content.last_said}")
    return lines
