"""Running one tool, without the SDK: `engram mcp` answers calls before that is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from engram_runtime.continuity.inert import inert_line
from engram_runtime.errors import EngramError
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.context import Call, ToolContext
from engram_runtime.mcp.schema import read_arguments

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

logger = logging.getLogger(__name__)

_SUMMARISED = (
    "query",
    "feature",
    "error",
    "summary",
    "name",
    "content",
    "new_content",
    "reason",
    "task_id",
    "memory_id",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A tool's answer as the protocol has it: a text, the same as structure, and whether it is an error."""

    text: str
    structured: dict[str, Any]
    is_error: bool = False


def call_tool(
    runtime: Runtime,
    context: ToolContext,
    client: tuple[str, str],
    name: str,
    given: Mapping[str, Any],
) -> Outcome:
    """Run one tool. Every failure is an outcome with `is_error` and one line that says what to do."""
    tool = catalogue.tools().get(name)
    if tool is None:
        known = ", ".join(catalogue.tools())
        return _failed(f"There is no tool {inert_line(name, 60)!r}. Tools: {known}.", {"code": "not_found"})
    try:
        arguments = read_arguments(name, tool.arguments, given)
        context.before_call(*client)
        context.on_call(name, summary_of(given))
        call = Call(runtime, context, name, context.clock())
        answer = tool.run(call, arguments)
        return _answered(answer, _nudge(call))
    except EngramError as error:
        return _failed(str(error), {"code": error.code, **(getattr(error, "structured", None) or {})})
    except Exception as error:
        # The boundary to the agent: a fault of ours must not end its session. The journal keeps what was acknowledged.
        logger.exception("%s failed", name)
        return _failed(
            f"{name} failed inside Engram ({type(error).__name__}). Go on without it; `engram doctor` tells more.",
            {"code": "internal"},
        )


def summary_of(given: Mapping[str, Any]) -> str:
    """A call's main argument as one line, for those who watch."""
    for name in _SUMMARISED:
        value = given.get(name)
        if isinstance(value, (str, int)):
            return inert_line(str(value), 120)
    return ""


def _nudge(call: Call) -> str | None:
    """A line for an agent that has drifted; nothing that goes wrong with it may take the answer away."""

    def task_of() -> int | None:
        task = call.current_task()
        return task.id if task else None

    try:
        return call.context.drift.nudge(call.runtime, call.context, task_of)
    except EngramError:
        return None


def _answered(answer: Any, nudge: str | None) -> Outcome:
    structured = msgspec.to_builtins(answer)
    if nudge is not None:
        structured["nudge"] = nudge
    text = catalogue.encoded(structured)
    return Outcome(text, msgspec.json.decode(text))


def _failed(line: str, more: Mapping[str, Any] | None = None) -> Outcome:
    return Outcome(line, {"ok": False, "error": line, **(more or {})}, is_error=True)
