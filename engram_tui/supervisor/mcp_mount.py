"""Engram's MCP server inside the supervisor: imported late, in a thread, without long pauses of the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from engram_runtime.journal.records import CheckpointReason
from engram_runtime.state.views import CheckpointView
from engram_tui.supervisor.imports import heavy

if TYPE_CHECKING:
    from engram_tui.supervisor.supervisor import Supervisor


async def serve_mcp(supervisor: Supervisor) -> None:
    """Build the server, mount it, and keep its session manager running until cancelled."""
    app = await asyncio.to_thread(_build, supervisor)
    async with app.router.lifespan_context(app):
        supervisor.endpoint.mount_mcp(app)
        await asyncio.Event().wait()


async def serve_no_tools(supervisor: Supervisor) -> None:
    """Nothing can be kept: a server without tools, since an agent may not start where one it was given is missing."""

    def build() -> Any:
        with heavy():
            from mcp.server.lowlevel import Server

            from engram_runtime.mcp.http import build_http_app

        return build_http_app(Server("engram"), supervisor.endpoint.port)

    app = await asyncio.to_thread(build)
    async with app.router.lifespan_context(app):
        supervisor.endpoint.mount_mcp(app)
        await asyncio.Event().wait()


def _build(supervisor: Supervisor) -> Any:
    """The import is half a second of CPU."""
    with heavy():
        from engram_runtime.mcp.context import ToolContext
        from engram_runtime.mcp.http import build_http_app
        from engram_runtime.mcp.server import build_server

        assert supervisor.runtime is not None
        context = ToolContext(
            project=supervisor.spec.project,
            session=supervisor.spec.id,
            current_task=supervisor.task.for_tools,
            write_checkpoint=_checkpoint_writer(supervisor),
            on_call=lambda tool, summary: supervisor.mcp_called(tool, summary),
            on_listed=lambda client: supervisor.endpoint.note_listed(),
            on_task=supervisor.mcp_attached,
        )
        server = build_server(supervisor.runtime, context)
        return build_http_app(server, supervisor.endpoint.port)


def _checkpoint_writer(supervisor: Supervisor) -> Any:
    def write(reason: CheckpointReason, trigger: str, position: int | None) -> CheckpointView | None:
        assert supervisor.composer is not None
        return supervisor.composer.write(reason, trigger, position)

    return write
