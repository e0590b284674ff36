"""The MCP server over the SDK's low-level server, whose schemas, errors and instructions are all ours."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from engram_runtime.continuity.inert import inert_line
from engram_runtime.errors import EngramError
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.context import Call, ToolContext
from engram_runtime.mcp.schema import read_arguments

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

logger = logging.getLogger(__name__)

MCPServer = Server[Any]
"""What `build_server` returns. The SDK's high-level server of that name is not used: it puts a handler and rich on
the root logger, titles on every schema field (three times the size) and its own words before every error."""

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


def build_server(runtime: Runtime, context: ToolContext) -> MCPServer:
    """A server with all tools, for one session. Tools run in worker threads; the event loop never waits for a disk."""

    async def list_tools(
        request: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        client, _ = client_of(request)
        context.on_listed(client)
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in catalogue.listing()])

    async def call_tool(
        request: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        client = client_of(request)
        return await anyio.to_thread.run_sync(
            run_tool, runtime, context, client, params.name, params.arguments or {}
        )

    return Server(
        catalogue.NAME,
        title=catalogue.TITLE,
        version=catalogue.version(),
        instructions=catalogue.INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def run_tool(
    runtime: Runtime,
    context: ToolContext,
    client: tuple[str, str],
    name: str,
    given: Mapping[str, Any],
) -> types.CallToolResult:
    """Run one tool. Every failure is a result with `is_error` and one line that says what to do."""
    tool = catalogue.tools().get(name)
    if tool is None:
        known = ", ".join(catalogue.tools())
        return _failed(f"There is no tool {inert_line(name, 60)!r}. Tools: {known}.")
    try:
        arguments = read_arguments(name, tool.arguments, given)
        context.before_call(*client)
        context.on_call(name, summary_of(given))
        return _answered(tool.run(Call(runtime, context, name, context.clock()), arguments))
    except EngramError as error:
        return _failed(str(error), getattr(error, "structured", None))
    except Exception as error:
        # The boundary to the agent: a fault of ours must not end its session. The journal keeps what was acknowledged.
        logger.exception("%s failed", name)
        return _failed(
            f"{name} failed inside Engram ({type(error).__name__}). Go on without it; `engram doctor` tells more."
        )


def summary_of(given: Mapping[str, Any]) -> str:
    """A call's main argument as one line, for those who watch."""
    for name in _SUMMARISED:
        value = given.get(name)
        if isinstance(value, (str, int)):
            return inert_line(str(value), 120)
    return ""


def client_of(request: ServerRequestContext[Any, Any]) -> tuple[str, str]:
    """Name and version the client gave itself, "" where it gave none."""
    params = request.session.client_params
    info = params.client_info if params is not None else None
    return (inert_line(info.name, 60), inert_line(info.version, 40)) if info is not None else ("", "")


def _answered(answer: Any) -> types.CallToolResult:
    text = catalogue.encoded(answer)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=msgspec.json.decode(text)
    )


def _failed(line: str, more: Mapping[str, Any] | None = None) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=line)],
        structured_content={"ok": False, "error": line, **(more or {})},
        is_error=True,
    )
