"""What other agents get: the MCP server, and the text for their instructions file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from engram_runtime import paths


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
def prompt_command(user: str) -> None:
    """Print the CLAUDE.md section for the current state."""
    from engram_runtime.continuity.prompt import prompt_section
    from engram_tui.cli.home import opened

    with opened() as runtime:
        print(prompt_section(runtime.state, project=runtime.project, user=user, now=datetime.now(UTC)))
