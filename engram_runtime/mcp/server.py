"""The MCP server over the SDK's low-level server, whose schemas, errors and instructions are all ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from engram_runtime.continuity.inert import inert_line
from engram_runtime.errors import EngramError, UsageError
from engram_runtime.mcp import calling, catalogue, prompts, resources
from engram_runtime.mcp.clients import ContextOf
from engram_runtime.mcp.context import Call, ToolContext

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

logger = logging.getLogger(__name__)

_Read = TypeVar("_Read")

MCPServer = Server[Any]
"""What `build_server` returns. The SDK's high-level server of that name is not used: it puts a handler and rich on
the root logger, titles on every schema field (three times the size) and its own words before every error."""


def build_server(runtime: Runtime, context: ToolContext | ContextOf) -> MCPServer:
    """A server with all tools, for one session or, over HTTP, for each client's own. Tools run in worker threads; the
    event loop never waits for a disk.
    """

    def context_of(request: ServerRequestContext[Any, Any]) -> ToolContext:
        if isinstance(context, ToolContext):
            return context
        return context(getattr(request.request, "headers", {}), client_of(request))

    async def list_tools(
        request: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        client, _ = client_of(request)
        (await anyio.to_thread.run_sync(context_of, request)).on_listed(client)
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in catalogue.listing()])

    async def call_tool(
        request: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        client = client_of(request)

        def run() -> types.CallToolResult:
            return run_tool(runtime, context_of(request), client, params.name, params.arguments or {})

        return await anyio.to_thread.run_sync(run)

    async def read(
        request: ServerRequestContext[Any, Any], what: str, reading: Callable[[Call], _Read]
    ) -> _Read:
        return await anyio.to_thread.run_sync(lambda: _reading(runtime, context_of(request), what, reading))

    async def list_resources(
        request: Any, _: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        found = await read(request, "resources/list", resources.listed)
        return types.ListResourcesResult(resources=[types.Resource.model_validate(entry) for entry in found])

    async def list_templates(
        _: Any, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        templates = [types.ResourceTemplate.model_validate(entry) for entry in resources.TEMPLATES]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(
        request: Any, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        mime, text = await read(request, "resources/read", lambda call: resources.read(call, str(params.uri)))
        content = types.TextResourceContents(uri=params.uri, mime_type=mime, text=text)
        return types.ReadResourceResult(contents=[content])

    async def list_prompts(_: Any, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(
            prompts=[types.Prompt.model_validate(entry) for entry in prompts.PROMPTS]
        )

    async def get_prompt(request: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        said, text = await read(
            request,
            "prompts/get",
            lambda call: prompts.prompt_text(call, params.name, params.arguments or {}),
        )
        message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
        return types.GetPromptResult(description=said, messages=[message])

    return Server(
        catalogue.NAME,
        title=catalogue.TITLE,
        version=catalogue.version(),
        instructions=catalogue.INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


def _reading(runtime: Runtime, context: ToolContext, what: str, reading: Callable[[Call], _Read]) -> _Read:
    """Answer what is no tool; a failure is an error of the protocol with one line that says what to do."""
    try:
        return reading(Call(runtime, context, what, context.clock()))
    except EngramError as error:
        code = types.INVALID_PARAMS if isinstance(error, UsageError) else types.INTERNAL_ERROR
        raise MCPError(code, str(error), {"code": error.code}) from error
    except Exception as error:
        # The boundary to the agent, as in `run_tool`.
        logger.exception("%s failed", what)
        raise MCPError(
            types.INTERNAL_ERROR, f"{what} failed inside Engram ({type(error).__name__})."
        ) from error


def run_tool(
    runtime: Runtime,
    context: ToolContext,
    client: tuple[str, str],
    name: str,
    given: Mapping[str, Any],
) -> types.CallToolResult:
    """Run one tool. Every failure is a result with `is_error` and one line that says what to do."""
    outcome = calling.call_tool(runtime, context, client, name, given)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=outcome.text)],
        structured_content=outcome.structured,
        is_error=outcome.is_error,
    )


def client_of(request: ServerRequestContext[Any, Any]) -> tuple[str, str]:
    """Name and version the client gave itself, "" where it gave none."""
    params = request.session.client_params
    info = params.client_info if params is not None else None
    return (inert_line(info.name, 60), inert_line(info.version, 40)) if info is not None else ("", "")
