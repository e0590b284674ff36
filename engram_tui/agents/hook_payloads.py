"""Claude Code's hook inputs as observations; agents with the same payloads (codex, the demo) share this."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from engram_tui.agents.claude_transcript import ODD, condition_of
from engram_tui.agents.tool_calls import change, command, excerpt, summary, written_paths
from engram_tui.watch.observations import (
    CompactionBegan,
    CompactionEnded,
    NativeEnded,
    NativeSession,
    Observation,
    Prompted,
    ToolBegan,
    ToolEnded,
    TurnEnded,
    TurnFailed,
    Waiting,
)


def read_hook(event: str, payload: Mapping[str, Any]) -> Sequence[Observation]:
    """What a hook call tells; () for events that tell nothing."""
    reader = vars(HookReader).get(event)
    if not isinstance(reader, staticmethod):
        return ()
    try:
        return tuple(reader.__func__(payload))
    except ODD:
        return ()


class HookReader:
    """One static method per hook event, named as the event is."""

    @staticmethod
    def SessionStart(p: Mapping[str, Any]) -> Sequence[Observation]:
        return (
            NativeSession(
                native_id=str(p.get("session_id", "")),
                transcript_path=str(p.get("transcript_path", "")),
                source=str(p.get("source", "")),
                model=str(p.get("model", "")),
            ),
        )

    @staticmethod
    def UserPromptSubmit(p: Mapping[str, Any]) -> Sequence[Observation]:
        prompt = str(p.get("prompt", ""))
        # A finished background sub-agent submits a notification that no user typed.
        return () if prompt.lstrip().startswith("<task-notification>") else (Prompted(text=prompt),)

    @staticmethod
    def PreToolUse(p: Mapping[str, Any]) -> Sequence[Observation]:
        tool, given = str(p.get("tool_name", "")), dict(p.get("tool_input") or {})
        return (
            ToolBegan(
                tool=tool,
                call_id=str(p.get("tool_use_id", "")),
                summary=summary(tool, given),
                paths=written_paths(tool, given),
                command=command(tool, given),
                change=change(tool, given),
            ),
        )

    @staticmethod
    def PostToolUse(p: Mapping[str, Any], ok: bool = True) -> Sequence[Observation]:
        tool, given = str(p.get("tool_name", "")), dict(p.get("tool_input") or {})
        return (
            ToolEnded(
                tool=tool,
                call_id=str(p.get("tool_use_id", "")),
                summary=summary(tool, given),
                paths=written_paths(tool, given),
                ok=ok,
                error="" if ok else excerpt(p.get("error"), 800),
                output=_response_text(p.get("tool_response")) if ok else "",
                duration_ms=p.get("duration_ms"),
            ),
        )

    @staticmethod
    def PostToolUseFailure(p: Mapping[str, Any]) -> Sequence[Observation]:
        return HookReader.PostToolUse(p, ok=False)

    @staticmethod
    def PermissionRequest(p: Mapping[str, Any]) -> Sequence[Observation]:
        given = dict(p.get("tool_input") or {})
        tool = str(p.get("tool_name", ""))
        return (Waiting(text=f"permission for {tool}: {summary(tool, given)}"),)

    @staticmethod
    def Notification(p: Mapping[str, Any]) -> Sequence[Observation]:
        if p.get("notification_type") != "permission_prompt":
            return ()
        return (Waiting(text=str(p.get("message", ""))),)

    @staticmethod
    def Stop(p: Mapping[str, Any]) -> Sequence[Observation]:
        return (TurnEnded(text=excerpt(p.get("last_assistant_message"), 600)),)

    @staticmethod
    def StopFailure(p: Mapping[str, Any]) -> Sequence[Observation]:
        text = f"{p.get('last_assistant_message') or ''} {p.get('error_details') or ''}".strip()
        status = re.search(r"\b(4\d\d|5\d\d)\b", text)
        number = int(status[1]) if status else None
        kind = condition_of(str(p.get("error", "")), number, text)
        return (TurnFailed(condition=kind, text=excerpt(text, 500), status=number),)

    @staticmethod
    def PreCompact(p: Mapping[str, Any]) -> Sequence[Observation]:
        return (CompactionBegan(trigger=str(p.get("trigger", ""))),)

    @staticmethod
    def PostCompact(p: Mapping[str, Any]) -> Sequence[Observation]:
        return (CompactionEnded(trigger=str(p.get("trigger", ""))),)

    @staticmethod
    def SessionEnd(p: Mapping[str, Any]) -> Sequence[Observation]:
        return (NativeEnded(reason=str(p.get("reason", ""))),)


def _response_text(response: object) -> str:
    if isinstance(response, dict):
        text = "\n".join(str(response[k]) for k in ("stdout", "stderr") if response.get(k))
        return excerpt(text or json.dumps(response, default=str))
    return excerpt(response)
