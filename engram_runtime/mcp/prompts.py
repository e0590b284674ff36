"""Prompts a user can pick in their client: go on with interrupted work, and hand it over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engram_runtime.continuity.inert import inert_line
from engram_runtime.errors import UsageError
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.resources import briefing_text
from engram_runtime.state.views import TaskView

PROMPTS: tuple[dict[str, Any], ...] = (
    {
        "name": "resume",
        "title": "Continue interrupted work",
        "description": "Go on with the latest interrupted task of this project, or with the one named.",
        "arguments": [
            {"name": "task_id", "description": "default: the latest interrupted", "required": False}
        ],
    },
    {
        "name": "handoff",
        "title": "Hand over to the next session",
        "description": "Have everything the next session needs written down with session_handoff.",
        "arguments": [{"name": "note", "description": "what else to hand over", "required": False}],
    },
)


def prompt_text(call: Call, name: str, given: Mapping[str, str]) -> tuple[str, str]:
    """A prompt's description and text. Raises UsageError for an unknown prompt or argument, NotFound for a task."""
    known = next((prompt for prompt in PROMPTS if prompt["name"] == name), None)
    if known is None:
        names = ", ".join(prompt["name"] for prompt in PROMPTS)
        raise UsageError(f"There is no prompt {inert_line(name, 60)!r}.", hint=f"Prompts: {names}.")
    allowed = [argument["name"] for argument in known["arguments"]]
    for argument in given:
        if argument not in allowed:
            raise UsageError(
                f"{name}: there is no argument {inert_line(argument, 60)!r}.",
                hint=f"Arguments: {', '.join(allowed)}.",
            )
    text = _resume(call, given) if name == "resume" else _handoff(call, given)
    return str(known["description"]), text


def _resume(call: Call, given: Mapping[str, str]) -> str:
    wanted = given.get("task_id", "").strip()
    task = None
    if wanted:
        if not wanted.isdecimal() or len(wanted) > 15:
            raise UsageError(
                f"resume: task_id {inert_line(wanted, 40)!r} is no number.", hint="See list_tasks."
            )
        task = call.task(int(wanted))
    text = briefing_text(call, task)
    return f"Continue the interrupted work.\n\n{text}"


def _handoff(call: Call, given: Mapping[str, str]) -> str:
    task = call.current_task()
    lines = [
        "Stop here and call session_handoff now, so that another session can go on: a summary, what is completed, in "
        "progress and blocked, the next steps, must_not_redo (what would do harm if it were done again, and what "
        "failed and is not worth another try), must_preserve, and in working_set the files that matter.",
    ]
    if task is not None:
        lines.append(_known(call, task))
    note = given.get("note", "").strip()
    if note:
        lines.append(f"The user adds: {inert_line(note, 2000)}")
    return "\n\n".join(lines)


def _known(call: Call, task: TaskView) -> str:
    still_open = [
        inert_line(row.feature, 120)
        for row in call.runtime.state.progress(task=task.id)
        if row.status != "done"
    ]
    said = f"The task is {task.id}, “{inert_line(task.name, 120)}”."
    return said + (f" Tracked and not done: {'; '.join(still_open[:20])}." if still_open else "")
