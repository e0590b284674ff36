"""The least an MCP server of the SDK can be: one tool that answers with its argument. Over stdio, or --http."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


async def list_tools(_: Any, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """The one tool."""
    return types.ListToolsResult(tools=[types.Tool(name="echo", description="Says it.", input_schema=SCHEMA)])


async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    """What was said."""
    said = str((params.arguments or {}).get("text", ""))
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=said)], structured_content={"text": said}
    )


SERVER: Server[Any] = Server("bare", on_list_tools=list_tools, on_call_tool=call_tool)


async def over_stdio() -> None:
    """Until the client closes its end."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (reading, writing):
        await SERVER.run(reading, writing, SERVER.create_initialization_options())


def over_http() -> None:
    """On a free port, which the first line on stderr tells, until a signal."""
    import socket

    import uvicorn

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(16)
    app = SERVER.streamable_http_app(json_response=True, stateless_http=True)
    sys.stderr.write(f"bare: http://127.0.0.1:{listening.getsockname()[1]}/mcp, no token\n")
    sys.stderr.flush()
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    if "--http" in sys.argv:
        over_http()
    else:
        anyio.run(over_stdio)
