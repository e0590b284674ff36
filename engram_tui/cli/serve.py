"""What other agents get: the MCP server, and the text for their instructions file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engram_runtime import paths
from engram_tui.cli.output import json_option, print_json

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime


def serve_stdio() -> int:
    """The MCP server on stdin and stdout; its handshake must not wait for anything heavy."""
    from engram_runtime.mcp.stdio import serve_stdio as serve

    return serve(paths.home(), paths.project_of(Path.cwd()))


@click.command("mcp")
@click.option(
    "--http",
    "port",
    type=click.IntRange(0, 65535),
    default=None,
    help="Streamable HTTP on this port.",
)
def mcp_command(port: int | None) -> int:
    """MCP server for any agent: on stdio, or streamable HTTP."""
    if port is None:
        return serve_stdio()
    from engram_runtime.mcp.http import serve_http

    return serve_http(paths.home(), paths.project_of(Path.cwd()), port)


@click.command("prompt")
@click.option("--user-id", "user", default="default", show_default=True, help="Whose memories.")
@json_option
def prompt_command(user: str, as_json: bool) -> None:
    """Print the CLAUDE.md section for the current state."""
    from engram_runtime.continuity.prompt import prompt_section
    from engram_tui.cli.home import opened

    with opened() as runtime:
        section = prompt_section(runtime.state, project=runtime.project, user=user, now=datetime.now(UTC))
        if as_json:
            print_json({**_open_work(runtime, user), "section": section})
        else:
            print(section)


def _open_work(runtime: Runtime, user: str) -> dict[str, object]:
    """The task to go on with (interrupted, else in progress) in mcp-engram's keys; None and empty without one."""
    from engram_runtime.journal.records import Checkpoint

    found = [t for t in runtime.state.interrupted_tasks(runtime.project) if t.user == user]
    found += runtime.state.tasks(project=runtime.project, user=user, status="in_progress", limit=1)
    task = found[0] if found else None
    latest = runtime.state.checkpoint_version(task.id) if task else None
    content = (latest.content if latest else None) or Checkpoint()
    return {
        "task_id": task.id if task else None,
        "goal": (content.goal or task.goal or task.name) if task else None,
        "checkpoint_version": latest.version if latest else None,
        "continuation_confidence": latest.confidence if latest else None,
        "completed": [item.text for item in content.completed],
        "in_progress": [item.text for item in content.in_progress],
        "blocked": [item.text for item in content.blocked],
        "must_not_redo": content.must_not_redo,
        "modified_files": [change.path for change in content.modified_files],
        "last_tool_called": f"{content.last_tool.tool} {content.last_tool.summary}"
        if content.last_tool
        else "",
        "last_failure": content.last_failure.text if content.last_failure else "",
        "interrupt_reason": str(task.last_verdict or "") if task else "",
    }
