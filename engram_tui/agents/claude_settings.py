"""The settings and MCP files given to Claude Code for one session; the user's own files are never touched.

Facts (seen with 2.1.330): hooks of `--settings` are added to the user's own; of two `--settings` the last wins
silently, so the user's is merged into ours; HTTP hooks work on loopback for all events used here but
SessionStart, which must be a command hook; the status line of `--settings` would replace the user's, so none is set.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from engram_tui.agents.base import Endpoint

HTTP_EVENTS = (
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionRequest",
    "Notification",
    "Stop",
    "StopFailure",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
    "SessionEnd",
)
COMMAND_EVENTS = ("SessionStart",)
HOOK_TIMEOUT_S = 3
START_TIMEOUT_S = 15
SERVER_NAME = "engram"


def user_settings(value: str | None, cwd: Path) -> dict[str, Any] | None:
    """The user's `--settings` (a file's path or inline JSON) as an object, {} for none.

    None where Claude itself has something to say about it (missing, malformed): it must get it as typed.
    """
    if value is None:
        return {}
    try:
        text = value if value.lstrip().startswith("{") else (cwd / value).read_text(encoding="utf-8")
        settings = json.loads(text)
    except (OSError, ValueError):
        return None
    return settings if _can_be_merged(settings) else None


def _can_be_merged(settings: object) -> bool:
    """Whether hooks and permissions have the shapes that Engram adds to."""
    if not isinstance(settings, dict):
        return False
    hooks, permissions = settings.get("hooks", {}), settings.get("permissions", {})
    return (
        isinstance(hooks, dict)
        and all(isinstance(groups, list) for groups in hooks.values())
        and isinstance(permissions, dict)
        and isinstance(permissions.get("allow", []), list)
    )


def merged_settings(user: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """The user's `--settings` with Engram's hooks appended and its MCP tools allowed."""
    settings = dict(user)
    hooks: dict[str, Any] = {event: list(groups) for event, groups in dict(user.get("hooks") or {}).items()}
    for event in HTTP_EVENTS:
        hooks.setdefault(event, []).append({"hooks": [_http_hook(event, endpoint)]})
    for event in COMMAND_EVENTS:
        hooks.setdefault(event, []).append({"hooks": [_command_hook(event, endpoint)]})
    settings["hooks"] = hooks
    permissions = dict(user.get("permissions") or {})
    permissions["allow"] = [*(permissions.get("allow") or []), f"mcp__{SERVER_NAME}"]
    settings["permissions"] = permissions
    return settings


def mcp_config(endpoint: Endpoint) -> dict[str, Any]:
    """Engram's MCP server for this session; `alwaysLoad` puts its tools into the first request."""
    return {
        "mcpServers": {
            SERVER_NAME: {
                "type": "http",
                "url": endpoint.mcp_url,
                "headers": {"Authorization": f"Bearer {endpoint.token}"},
                "alwaysLoad": True,
            }
        }
    }


def _http_hook(event: str, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "type": "http",
        "url": endpoint.hook_url(event),
        "headers": {"Authorization": f"Bearer {endpoint.token}"},
        "timeout": HOOK_TIMEOUT_S,
    }


def _command_hook(event: str, endpoint: Endpoint) -> dict[str, Any]:
    script = Path(__file__).with_name("hook_command.py")
    words = [sys.executable, "-I", "-S", str(script), str(endpoint.port), str(endpoint.token_file), event]
    timeout = START_TIMEOUT_S if event == "SessionStart" else HOOK_TIMEOUT_S
    return {"type": "command", "command": shlex.join(words), "timeout": timeout}
