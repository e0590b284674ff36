"""What can be read without calling a tool: the briefing, tasks, checkpoints, memories, the tools' whole schemas.

Reading is looking: it begins no session and strengthens no memory. Plain data and text here; `server`
puts it on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from engram_runtime.continuity.briefing import render_briefing
from engram_runtime.continuity.inert import inert_line
from engram_runtime.continuity.interruptions import pins
from engram_runtime.continuity.lineage import failures_of_all_attempts
from engram_runtime.errors import NotFound
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.context import Call
from engram_runtime.mcp.described import brief_task, memory_entry, package
from engram_runtime.mcp.schema import input_schema, whole_output_schema
from engram_runtime.state.views import TaskView

TEXT, JSON = "text/plain", "application/json"
MOST_LISTED = 20
"""Tasks, and memories, that resources/list names; the lists themselves are resources."""
MOST_ROWS = 200
BRIEFING_FAILURES = 5
_URI = re.compile(r"engram://([a-z]+)(?:/([^/?#]{1,100}))?/?")

TEMPLATES: tuple[dict[str, str], ...] = (
    {
        "uriTemplate": "engram://tasks/{id}",
        "name": "task",
        "description": "A task with hand-offs, failures, progress and latest checkpoint.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": "engram://checkpoints/{task_id}",
        "name": "checkpoints",
        "description": "Checkpoints of a task and the continuation package of the latest.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": "engram://memories/{id}",
        "name": "memory",
        "description": "One memory.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": "engram://tools/{name}",
        "name": "tool",
        "description": "A tool's whole schema: parameters with limits, and every key of its answer.",
        "mimeType": JSON,
    },
)
_FIXED: tuple[dict[str, str], ...] = (
    {
        "uri": "engram://briefing",
        "name": "briefing",
        "description": "Where the work stands: of this session's task, else of the latest interrupted one.",
        "mimeType": TEXT,
    },
    {"uri": "engram://tasks", "name": "tasks", "description": "Tasks of this project.", "mimeType": JSON},
    {"uri": "engram://memories", "name": "memories", "description": "Newest memories.", "mimeType": JSON},
)


def listed(call: Call) -> list[dict[str, str]]:
    """What resources/list shows: the fixed ones, then the latest tasks and memories of this project."""
    found = list(_FIXED)
    for task in call.runtime.state.tasks(project=call.context.project, limit=MOST_LISTED):
        name = inert_line(task.name, 80)
        found.append(
            {"uri": f"engram://tasks/{task.id}", "name": f"task {task.id}: {name}", "mimeType": JSON}
        )
        if task.checkpoints:
            uri = f"engram://checkpoints/{task.id}"
            found.append({"uri": uri, "name": f"checkpoints of task {task.id}: {name}", "mimeType": JSON})
    for row in call.runtime.memory.rows(project=call.context.project, limit=MOST_LISTED):
        name = f"memory {row.id}: {inert_line(row.content, 80)}"
        found.append({"uri": f"engram://memories/{row.id}", "name": name, "mimeType": JSON})
    return found


def read(call: Call, uri: str) -> tuple[str, str]:
    """A resource's MIME type and text. Raises NotFound, which names what there is."""
    parts = _URI.fullmatch(uri)
    reader = _READERS.get((parts[1], parts[2] is not None)) if parts is not None else None
    if parts is None or reader is None:
        known = ", ".join([fixed["uri"] for fixed in _FIXED] + [entry["uriTemplate"] for entry in TEMPLATES])
        raise NotFound(f"There is no resource {inert_line(uri, 100)}.", hint=f"There are {known}.")
    return reader(call, parts[2] or "")


def briefing_text(call: Call, task: TaskView | None = None) -> str:
    """The briefing of a task (default: the session's, else the latest interrupted one), or that nothing is open."""
    state, project = call.runtime.state, call.context.project
    if task is None:
        task = call.current_task()
    if task is None:
        interrupted = state.interrupted_tasks(project)
        task = interrupted[0] if interrupted else None
    if task is None:
        open_work = pins(state, project=project, user=call.context.user, now=call.now)
        said = "\n\n".join(f"{pin.text}\n{pin.what_to_do}" for pin in open_work)
        return said or "Nothing of this project is interrupted."
    sessions = state.sessions_of_task(task.id)
    return render_briefing(
        task,
        state.checkpoint_version(task.id),
        now=call.now,
        budget_tokens=call.runtime.settings.briefing_tokens,
        session=sessions[-1] if sessions else None,
        failures=failures_of_all_attempts(state, task.id)[:BRIEFING_FAILURES],
    ).text


def _briefing(call: Call, _: str) -> tuple[str, str]:
    return TEXT, briefing_text(call)


def _tasks(call: Call, _: str) -> tuple[str, str]:
    found = call.runtime.state.tasks(project=call.context.project, limit=MOST_ROWS)
    return _json({"tasks": [brief_task(task) for task in found], "total": len(found)})


def _task(call: Call, given: str) -> tuple[str, str]:
    from engram_runtime.mcp.task_tools import GetTask, get_task

    return _json(get_task(call, GetTask(task_id=_number(given, "task"))))


def _checkpoints(call: Call, given: str) -> tuple[str, str]:
    from engram_runtime.mcp.continuity_tools import ListCheckpoints, list_checkpoints

    told = list_checkpoints(call, ListCheckpoints(task_id=_number(given, "task"), limit=MOST_ROWS))
    latest = call.runtime.state.checkpoint_version(told.task_id)
    return _json({**msgspec.to_builtins(told), "latest": package(latest, call.now) if latest else None})


def _memories(call: Call, _: str) -> tuple[str, str]:
    rows = call.runtime.memory.rows(project=call.context.project, limit=MOST_ROWS)
    return _json({"memories": [memory_entry(row) for row in rows], "total": len(rows)})


def _memory(call: Call, given: str) -> tuple[str, str]:
    number = _number(given, "memory")
    row = call.runtime.memory.row(number)
    if row is None or (row.project != call.context.project and row.scope != "global"):
        raise NotFound(f"There is no memory {number} in this project.", hint="engram://memories lists them.")
    return _json(row)


def _tool(_: Call, given: str) -> tuple[str, str]:
    tool = catalogue.tools().get(given)
    if tool is None:
        raise NotFound(f"There is no tool {inert_line(given, 60)}.", hint="tools/list names them.")
    return _json(
        {
            "name": tool.name,
            "description": tool.description,
            "inputSchema": input_schema(tool.arguments),
            "outputSchema": whole_output_schema(tool.answer),
        }
    )


def _json(value: Any) -> tuple[str, str]:
    return JSON, catalogue.encoded(value)


def _number(given: str, what: str) -> int:
    if not given.isdecimal() or len(given) > 15:
        raise NotFound(f"There is no {what} {inert_line(given, 40)!r}.", hint="An id is a number.")
    return int(given)


_READERS: dict[tuple[str, bool], Callable[[Call, str], tuple[str, str]]] = {
    ("briefing", False): _briefing,
    ("tasks", False): _tasks,
    ("tasks", True): _task,
    ("checkpoints", True): _checkpoints,
    ("memories", False): _memories,
    ("memories", True): _memory,
    ("tools", True): _tool,
}
"""By kind, and whether an id is named."""
