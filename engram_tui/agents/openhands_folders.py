"""Where OpenHands keeps its things, and the private folder from which it reads Engram's MCP server beside the user's.

Facts (seen with 1.16.0): no flag names an MCP file; `mcp.json` lies in the persistence folder, which only
`OPENHANDS_PERSISTENCE_DIR` moves. So a session gets a persistence folder of its own: a merged mcp.json, and a symbolic
link for everything else of the user's. OpenHands opens `agent_settings.json` in place (no rename), so what is saved in
its settings dialog goes through the link to the user's file. Conversations stay where they are by
`OPENHANDS_CONVERSATIONS_DIR`; cli_config.json, hooks.json, skills and profiles are found by HOME and are not concerned.

The trade-offs: what the agent writes below `$OPENHANDS_PERSISTENCE_DIR` under a new name (`openhands mcp add` in its
own shell) stays in the session's folder; and with one server tools have bare names, with more `<server>_<tool>`, so a
user's only server has its tools renamed while Engram's is beside it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engram_tui.agents.base import Endpoint

SERVER_NAME = "engram"
MCP_FILE = "mcp.json"
SETTINGS_FILE = "agent_settings.json"
PRIVATE_FOLDER = "openhands"
CANNOT_READ_MCP = "your mcp.json cannot be read as OpenHands reads it, so Engram's tools are not given"
OWN_FOLDER = "its settings folder is one of links to yours: `openhands mcp add` run by the agent lasts for this session"
SOCKET_PATH_LIMIT = 100
"""AF_UNIX paths may have 107 bytes on Linux, 103 on macOS."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The user's own: `persistence` (settings, mcp.json), `conversations`, and `work`, where the agent works."""

    persistence: Path
    conversations: Path
    work: Path

    @classmethod
    def of(cls, environ: Mapping[str, str], cwd: Path) -> Folders:
        """From the environment and, as OpenHands does, from the `.env` of the folder it is started in."""
        home = environ.get("HOME") or str(Path.home())
        persistence = cwd / (_setting("OPENHANDS_PERSISTENCE_DIR", environ, cwd) or f"{home}/.openhands")
        conversations = _setting("OPENHANDS_CONVERSATIONS_DIR", environ, cwd)
        work = _setting("OPENHANDS_WORK_DIR", environ, cwd)
        return cls(
            persistence=persistence,
            conversations=cwd / conversations if conversations else persistence / "conversations",
            work=cwd / work if work else cwd,
        )

    def latest_conversation(self) -> Path | None:
        """The one that `--resume --last` means: with the latest first event."""
        latest: tuple[str, Path] | None = None
        for events in self.conversations.glob("*/events"):
            first = min(events.glob("event-*.json"), default=None)
            began = _timestamp(first) if first else ""
            if began and (latest is None or began > latest[0]):
                latest = (began, events.parent)
        return latest[1] if latest else None


@dataclass(frozen=True, slots=True)
class PrivateFolder:
    """A persistence folder for one session: what is to be written, what linked, and the environment that names it.

    All empty where there is none, and OpenHands uses the user's.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[Path, bytes], ...] = ()
    links: tuple[tuple[Path, Path], ...] = ()
    notes: tuple[str, ...] = ()


def private_folder(folders: Folders, session_dir: Path, endpoint: Endpoint | None) -> PrivateFolder:
    """The session's persistence folder; none without an endpoint, or where OpenHands refuses the user's mcp.json."""
    if endpoint is None:
        return PrivateFolder()
    config = merged_mcp(folders.persistence / MCP_FILE, endpoint)
    if config is None:
        return PrivateFolder(notes=(CANNOT_READ_MCP,))
    private = session_dir / PRIVATE_FOLDER
    names = {SETTINGS_FILE, *_names_in(folders.persistence)} - {MCP_FILE, "conversations"}
    return PrivateFolder(
        environ={
            "OPENHANDS_PERSISTENCE_DIR": str(private),
            "OPENHANDS_CONVERSATIONS_DIR": str(folders.conversations),
        },
        files=((private / MCP_FILE, json.dumps(config, indent=1).encode()),),
        links=tuple((private / name, folders.persistence / name) for name in sorted(names)),
        notes=(OWN_FOLDER, *_renamed(config["mcpServers"])),
    )


def _renamed(servers: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    theirs = [name for name, server in servers.items() if name != SERVER_NAME and server.get("enabled", True)]
    if len(theirs) != 1:
        return ()
    return (
        f"beside Engram's, the tools of your MCP server are named {theirs[0]}_… (OpenHands does so from two on)",
    )


def merged_mcp(path: Path, endpoint: Endpoint) -> dict[str, Any] | None:
    """The user's MCP servers and Engram's; None where the file is there and cannot be read as such."""
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        config = {"mcpServers": {}}
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    if "mcpServers" not in config:  # OpenHands takes servers at the root, too
        at_root = any(isinstance(v, dict) and ("command" in v or "url" in v) for v in config.values())
        config = {"mcpServers": config} if at_root else {**config, "mcpServers": {}}
    servers = config["mcpServers"]
    if not isinstance(servers, dict) or not all(isinstance(server, dict) for server in servers.values()):
        return None
    return {**config, "mcpServers": {**servers, SERVER_NAME: _server(endpoint)}}


def terminal_environ(session_dir: Path) -> dict[str, str]:
    """A tmux server of the session's own: OpenHands' (`tmux -L openhands`) is one for all its runs of a user else, and
    could not be ended with one of them. {} where the socket's path would be too long.
    """
    socket = session_dir / f"tmux-{os.getuid()}" / "openhands"
    return {"TMUX_TMPDIR": str(session_dir)} if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT else {}


def _server(endpoint: Endpoint) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    return {"url": endpoint.mcp_url, "transport": "http", "headers": headers}


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _setting(name: str, environ: Mapping[str, str], cwd: Path) -> str | None:
    """A variable as OpenHands sees it: of the environment, else of `.env`."""
    if name in environ:
        return environ[name]
    try:
        text = (cwd / ".env").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    found = re.findall(rf"^\s*(?:export\s+)?{name}\s*=\s*(.*?)\s*$", text, re.M)
    return found[-1].strip("'\"") or None if found else None


def _timestamp(event: Path) -> str:
    try:
        return str(json.loads(event.read_bytes()).get("timestamp") or "")
    except (OSError, ValueError, AttributeError):
        return ""
