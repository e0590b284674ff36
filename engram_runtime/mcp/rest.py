"""The tools as plain HTTP: mcp-engram's routes (`POST /v1/recall`, …), the list of them, and health.

Every tool also answers under its own name (`POST /v1/recall_memory`). Bodies and answers are JSON objects. An error is
`{"ok": false, "error": line, "code": word}` with the HTTP status of its code (`STATUS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import msgspec
from mcp_types import CallToolResult
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engram_runtime.errors import EngramError
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.clients import NAME_HEADER, ContextOf
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import run_tool

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

PATHS: Final[dict[str, str]] = {
    "recall_memory": "/v1/recall",
    "store_memory": "/v1/store",
    "update_memory": "/v1/update",
    "session_handoff": "/v1/handoff",
    "consolidate_memory": "/v1/consolidate",
    "memory_stats": "/v1/stats",
    "track_failure": "/v1/failure",
    "track_progress": "/v1/progress",
    "session_outcome": "/v1/session-outcome",
    "create_task": "/v1/tasks",
    "update_task": "/v1/tasks/update",
    "get_task": "/v1/tasks/get",
    "list_tasks": "/v1/tasks/list",
    "restore_checkpoint": "/v1/checkpoints/restore",
    "list_checkpoints": "/v1/checkpoints/list",
    "get_runtime_health": "/v1/runtime-health",
    "report_interruption": "/v1/report-interruption",
    "evaluate_continuity": "/v1/continuity",
}
"""mcp-engram 0.19's path of each tool it serves so; the others have their name as path."""
STATUS: Final[dict[str, int]] = {
    "not_found": 404,
    "store_unavailable": 503,
    "degraded_mode": 503,
    "store_too_new": 503,
    "internal": 500,
}
"""HTTP status by the error's code; any other code is 400, as mcp-engram answers."""
HEALTH_PATHS: Final = ("/v1/health", "/health")
LARGEST_BODY: Final = 16 * 1024 * 1024
_CLIENT_LENGTH: Final = 60


def path_of(tool: str) -> str:
    """Where a tool is found."""
    return PATHS.get(tool, f"/v1/{tool}")


def build_rest_app(runtime: Runtime, context: ToolContext | ContextOf) -> Starlette:
    """The routes as an ASGI app. Token, Host and Origin are the caller's to check; a request that came without the
    token has `scope["state"]["known"]` False and is told by /v1/health only whether all is well.
    """

    async def tool(request: Request) -> Response:
        name = _tool_at(request.url.path)
        if name is None:
            return failure(404, "not_found", f"Nothing at {request.url.path[:120]}. See GET /v1/tools.")
        given = await _body(request)

        def run() -> CallToolResult:
            own = context if isinstance(context, ToolContext) else context(request.headers, ("", ""))
            return run_tool(runtime, own, (_client(request), ""), name, given)

        result = await anyio.to_thread.run_sync(run)
        answer: Any = result.structured_content or {}
        if not result.is_error:
            return JSONResponse(answer)
        if answer.get("code") == "degraded_mode":
            answer["recover_command"] = "engram recover"
        return JSONResponse(answer, STATUS.get(str(answer.get("code")), 400))

    async def listing(_: Request) -> Response:
        return JSONResponse({"tools": listed_tools()})

    async def health(request: Request) -> Response:
        known = bool(request.scope.get("state", {}).get("known", True))
        return JSONResponse(await anyio.to_thread.run_sync(health_of, runtime, known))

    return Starlette(
        routes=[
            Route("/v1/tools", listing),
            *(Route(path, health) for path in HEALTH_PATHS),
            Route("/v1/{name:path}", tool, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refused},
    )


def listed_tools() -> list[dict[str, Any]]:
    """What GET /v1/tools lists: name, method, path and parameters with their types, as mcp-engram does."""
    tools = []
    for entry in catalogue.listing():
        schema = entry["inputSchema"]
        required = schema.get("required", ())
        params = {
            name: f"{_type_of(shape)} (required)" if name in required else _type_of(shape)
            for name, shape in schema.get("properties", {}).items()
        }
        tools.append(
            {"name": entry["name"], "method": "POST", "path": path_of(entry["name"]), "params": params}
        )
    return tools


def health_of(runtime: Runtime, known: bool) -> dict[str, Any]:
    """The health answer: mcp-engram's keys and ours; without the token only status and version."""
    store = runtime.health()
    status = "ok" if store.writable and not store.problem else "degraded"
    brief: dict[str, Any] = {"status": status, "version": catalogue.version()}
    if not known:
        return brief
    try:
        memory = runtime.memory.stats()
    except EngramError as error:
        memory, brief["memory_problem"] = None, str(error)
    embedder = memory.embedder if memory else "off"
    kept = runtime.journal.files.damaged
    return brief | {
        "db": not runtime.journal.damaged,
        "db_readonly": not store.writable,
        "graph": memory is not None,
        "fts": memory is not None,
        "embedding_degraded": embedder == "off" or embedder.startswith("failed"),
        "embedding_stale": bool(memory and memory.lag),
        "residue_files": sorted(path.name for path in kept.iterdir()) if kept.is_dir() else [],
        "engram_meta": {
            "home": store.home,
            "journal_position": str(store.journal_position),
            "sqlite": f"{store.sqlite_version} ({store.driver})",
            "embedder": embedder,
        },
        "transports": ["rest", "mcp-streamable-http"],
        "problem": store.problem,
        "hint": store.hint,
    }


def failure(status: int, code: str, line: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as every route answers it."""
    return JSONResponse({"ok": False, "error": line, "code": code}, status, headers)


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    line = error.detail if isinstance(error, HTTPException) else "Internal error."
    code = {404: "not_found", 405: "bad_method", 413: "too_large"}.get(status, "bad_arguments")
    return failure(status, code, line)


async def _body(request: Request) -> dict[str, Any]:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise HTTPException(413, f"The body is larger than {LARGEST_BODY:,} bytes.")
    except ClientDisconnect as error:
        raise HTTPException(400, "The body is not complete.") from error
    if not body.strip():
        return {}
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HTTPException(400, f"The body is not JSON: {error}.") from error
    if not isinstance(given, dict):
        raise HTTPException(400, "The body is not a JSON object: send the tool's parameters by name.")
    return given


def _tool_at(path: str) -> str | None:
    known = catalogue.tools()
    for name, at in PATHS.items():
        if at == path:
            return name if name in known else None
    name = path.removeprefix("/v1/")
    return name if name in known else None


def _client(request: Request) -> str:
    named = request.headers.get(NAME_HEADER, "").strip()
    agent = named or request.headers.get("user-agent", "").split("/", 1)[0].strip()
    return "".join(char for char in agent if char.isprintable())[:_CLIENT_LENGTH] or "rest client"


def _type_of(shape: dict[str, Any]) -> str:
    kind = shape.get("type", "string")
    return str(next((part for part in kind if part != "null"), "string") if isinstance(kind, list) else kind)
