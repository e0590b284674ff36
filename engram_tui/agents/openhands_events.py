"""OpenHands' events (one JSON object each) as observations.

Facts (seen with 1.16.0): an ActionEvent is on disk before its tool ends; a result comes as ObservationEvent,
AgentErrorEvent (the call was wrong) or UserRejectObservation, all with the call's `tool_call_id`; a turn ends with the
`finish` tool or with a message of the agent; what ends a run early is a ConversationErrorEvent whose `code` is the name
of a Python exception; times are local, without a zone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from engram_runtime.journal.records import ConditionKind
from engram_tui.agents.openhands_prompt import spoken
from engram_tui.agents.tool_calls import change, command, excerpt, summary, written_paths
from engram_tui.watch.observations import (
    CompactionBegan,
    CompactionEnded,
    Observation,
    PlanSeen,
    Prompted,
    ToolBegan,
    ToolEnded,
    TurnEnded,
    TurnFailed,
)

FINISH = "finish"
PLAN_STATUS = {"todo": "pending", "in_progress": "in_progress", "done": "completed"}
STILL_RUNNING = -1
"""Exit code of a command that OpenHands no longer waits for; the agent may go on with it."""
PAUSED = "paused by the user"
_OVERFLOW = ("contextwindow", "nocondensation", "maximum context length", "prompt is too long")
_AUTH = ("authentication", "permissiondenied", "insufficient credits", "credit balance is too low")


def condition_of(code: str, detail: str, condensing: bool = False) -> ConditionKind | None:
    """The exception that ended a run as a condition; None where it is no error of the API.

    A condensation was asked for and could not be done: with OpenHands' own condenser that is what becomes of a
    context that is too long.
    """
    low = f"{code} {detail}".lower()
    if condensing or any(word in low for word in _OVERFLOW):
        return "overflow"
    if any(word in low for word in _AUTH):
        return "auth"
    if "ratelimit" in low or "budgetexceeded" in low:
        return "rate_limit"
    if "overloaded" in low or "error code: 529" in low:
        return "overloaded"
    if code.startswith("LLM") or "litellm." in low or "openaierror" in low:
        return "api_error"
    return None


class OpenHandsEvents:
    """Translates the events of one conversation, in their order. `folder`: against which relative paths are meant."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls: dict[str, ToolBegan] = {}
        self._condensing = False
        self._readers: dict[str, Callable[[Mapping[str, Any], float], Iterator[Observation]]] = {
            "MessageEvent": self._message,
            "ActionEvent": self._action,
            "ObservationEvent": self._result,
            "AgentErrorEvent": self._wrong_call,
            "UserRejectObservation": self._rejected,
            "PauseEvent": self._paused,
            "ConversationErrorEvent": self._error,
            "CondensationRequest": self._condensation_asked,
            "Condensation": self._condensed,
        }

    @property
    def pending(self) -> ToolBegan | None:
        """The oldest call without a result."""
        return next(iter(self._calls.values()), None)

    def read(self, event: Mapping[str, Any]) -> Iterator[Observation]:
        """What one event tells; nothing for kinds that tell nothing of the work (the system prompt, hook calls)."""
        reader = self._readers.get(str(event.get("kind", "")))
        if reader is not None:
            yield from reader(event, seconds(event.get("timestamp")))

    def _message(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        text = _text(_dict(event, "llm_message").get("content"))
        if event.get("source") == "user":
            yield Prompted(channel="transcript", at=at, text=spoken(text))
        elif event.get("source") == "agent":
            self._condensing = False
            yield TurnEnded(channel="transcript", at=at, text=excerpt(text, 600))

    def _action(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        self._condensing = False
        tool = str(event.get("tool_name", ""))
        if tool == FINISH:
            return
        given = _arguments(event)
        began = ToolBegan(
            channel="transcript",
            at=at,
            tool=tool,
            call_id=str(event.get("tool_call_id", "")),
            summary=_summary(tool, given),
            paths=tuple(os.path.join(self._folder, path) for path in written_paths(tool, given)),
            command=command(tool, given),
            change=change(tool, given),
        )
        self._calls[began.call_id] = began
        yield began

    def _result(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        seen = _dict(event, "observation")
        text = _text(seen.get("content"))
        if event.get("tool_name") == FINISH:
            yield TurnEnded(channel="transcript", at=at, text=excerpt(text, 600))
            return
        code = seen.get("exit_code")
        failed = bool(seen.get("is_error")) or code not in (None, 0, STILL_RUNNING)
        if failed and code not in (None, 0, STILL_RUNNING):
            text = f"exit code {code}\n{text}"
        yield self._ended(event, at, text, ok=not failed)
        tasks = seen.get("task_list")
        if isinstance(tasks, list):
            yield _plan(tasks, at)

    def _wrong_call(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        # A resumed conversation gets one for each call of the earlier run that has no result: not of this session.
        if event.get("tool_call_id") in self._calls:
            yield self._ended(event, at, str(event.get("error", "")), ok=False)

    def _rejected(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        yield self._ended(event, at, f"rejected: {event.get('rejection_reason', '')}", ok=False)

    def _ended(self, event: Mapping[str, Any], at: float, text: str, *, ok: bool) -> ToolEnded:
        call_id = str(event.get("tool_call_id", ""))
        began = self._calls.pop(call_id, None)
        return ToolEnded(
            channel="transcript",
            at=at,
            tool=str(event.get("tool_name", "")),
            call_id=call_id,
            summary=began.summary if began else "",
            paths=began.paths if began else (),
            ok=ok,
            error="" if ok else excerpt(text, 800),
            output=excerpt(text) if ok else "",
            duration_ms=max(0, round((at - began.at) * 1000)) if began else None,
        )

    def _paused(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        yield TurnEnded(channel="transcript", at=at, text=PAUSED)

    def _error(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        code, detail = str(event.get("code", "")), str(event.get("detail", ""))
        condition = condition_of(code, detail, self._condensing)
        self._condensing = False
        yield TurnFailed(
            channel="transcript",
            at=at,
            condition=condition or "api_error",
            text=excerpt(f"{code}: {detail}", 500),
        )

    def _condensation_asked(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        self._condensing = True
        yield CompactionBegan(channel="transcript", at=at, trigger="condensation request")

    def _condensed(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        self._condensing = False
        forgotten = event.get("forgotten_event_ids")
        count = len(forgotten) if isinstance(forgotten, list) else 0
        yield CompactionEnded(channel="transcript", at=at, trigger=f"{count} events condensed")


def seconds(stamp: object) -> float:
    """UTC seconds of an event's timestamp (local time where it names no zone), 0.0 where there is none."""
    try:
        return datetime.fromisoformat(stamp).timestamp() if isinstance(stamp, str) else 0.0
    except ValueError:
        return 0.0


def _plan(tasks: list[Any], at: float) -> PlanSeen:
    items = [task for task in tasks if isinstance(task, dict)]
    return PlanSeen(
        channel="transcript",
        at=at,
        items=tuple(
            (str(task.get("title", "")), PLAN_STATUS.get(str(task.get("status")), "pending"))
            for task in items
        ),
    )


def _arguments(event: Mapping[str, Any]) -> dict[str, Any]:
    """The call's arguments: the action's own fields, or an MCP tool's `data`; {} for a call that made no sense."""
    action = _dict(event, "action")
    if action.get("kind") == "MCPToolAction":
        return _dict(action, "data")
    return {key: value for key, value in action.items() if key != "kind"}


def _summary(tool: str, given: Mapping[str, Any]) -> str:
    if "path" in given and "command" in given:  # file_editor's command is one of view, create, str_replace, …
        return f"{given['command']} {given['path']}"
    if isinstance(given.get("task_list"), list):
        return f"{given.get('command', '')} of {len(given['task_list'])} tasks"
    return summary(tool, given)


def _dict(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(content: object) -> str:
    """The text of a list of content parts; OpenHands heads what an MCP tool said with a line of its own."""
    parts = content if isinstance(content, list) else []
    texts = [str(part.get("text", "")) for part in parts if isinstance(part, dict)]
    if len(texts) > 1 and texts[0].startswith("[Tool '"):
        texts = texts[1:]
    return "\n".join(texts)
