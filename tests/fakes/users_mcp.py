"""A user's own MCP server on stdio, as small as one can be: one tool, `ping` (standard library only)."""

import json
import sys

PING = {"name": "ping", "description": "Answer pong.", "inputSchema": {"type": "object", "properties": {}}}


def answer(method: str, params: dict[str, object]) -> dict[str, object] | None:
    """The result of a request, None for a method that this server does not have."""
    if method == "initialize":
        version = params.get("protocolVersion", "2025-06-18")
        return {
            "protocolVersion": version,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "users", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [PING]}
    return {"content": [{"type": "text", "text": "pong"}]} if method == "tools/call" else None


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        body = (
            {"result": result}
            if result is not None
            else {"error": {"code": -32601, "message": "no such method"}}
        )
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
