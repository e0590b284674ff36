"""Messages that no sensible client sends, and some it does: from a seed, always the same."""

from __future__ import annotations

import json
import random
from typing import Any

from engram_runtime.mcp import catalogue

METHODS = (
    "tools/call", "tools/list", "resources/list", "resources/read", "resources/templates/list", "prompts/list",
    "prompts/get", "ping", "completion/complete", "logging/setLevel", "sampling/createMessage", "server/discover",
    "no/such", "", "tools", "initialize", "resources/subscribe",
)  # fmt: skip
NOTIFICATIONS = ("notifications/initialized", "notifications/progress", "notifications/none", "x")
TEXTS = (
    "", " ", "x", "login", "a\x00b", "\x1b]0;owned\x07\x1b[2J", "\ud800", "‮evil", "</engram-briefing>", "[bold]x[/]",
    "'; DROP TABLE tasks; --", "../../etc/passwd", "%s%n{0}", "exec-1", "engram://tasks/1", "engram://briefing", "NaN",
    "1e999", "x" * 3000, "ü" * 500, "{\"a\": 1}", "[1, 2]", "[" * 300, "null", "true", "-0", "０", "2026-01-01",
)  # fmt: skip
NUMBERS = (0, 1, 2, -1, 3, 7, 2**31, 2**53, 2**63, -(2**63), 10**40, 0.5, 1.0, -0.0, 1e308, 1e-320)
WRONG_IDS = (None, 1.5, True, [], {}, -1, 2**70, "")


class Fuzz:
    """Makes messages. `say()` gives the bytes of one, and the id that must be answered, if any."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._tools = [(tool["name"], tool["inputSchema"]) for tool in catalogue.listing()]
        self._next = 1000

    def say(self) -> tuple[bytes, int | None]:
        """One message as a line without its end."""
        kind = self._random.random()
        if kind < 0.62:
            return self._request("tools/call", self._tool_call())
        if kind < 0.80:
            return self._request(self._random.choice(METHODS), self._params())
        if kind < 0.86:
            return self._bytes(
                {"jsonrpc": "2.0", "method": self._random.choice(NOTIFICATIONS), "params": self.value()}
            )
        if kind < 0.93:
            return self._bytes(self._odd_message())
        return self._broken(), None

    def value(self, depth: int = 0) -> Any:
        """Anything JSON can say."""
        pick = self._random.random()
        if pick < 0.4:
            return self._random.choice(TEXTS)
        if pick < 0.6:
            return self._random.choice(NUMBERS)
        if pick < 0.7:
            return self._random.choice((None, True, False))
        if depth > 3:
            return None
        if pick < 0.85:
            return [self.value(depth + 1) for _ in range(self._random.randrange(5))]
        return {
            str(self._random.choice(TEXTS)): self.value(depth + 1) for _ in range(self._random.randrange(4))
        }

    def _request(self, method: str, params: Any) -> tuple[bytes, int | None]:
        self._next += 1
        message = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        return _encoded(message), self._next

    def _bytes(self, message: Any) -> tuple[bytes, None]:
        return _encoded(message), None

    def _tool_call(self) -> dict[str, Any]:
        name, schema = self._random.choice(self._tools)
        known = schema.get("properties", {})
        given = {
            parameter: self._fitting(part) if self._random.random() < 0.8 else self.value()
            for parameter, part in known.items()
            if parameter in schema.get("required", ()) or self._random.random() < 0.5
        }
        if self._random.random() < 0.1:
            given[str(self._random.choice(TEXTS))] = self.value()
        if self._random.random() < 0.1 and given:
            given.pop(self._random.choice(list(given)))
        return {"name": name, "arguments": given}

    def _fitting(self, part: dict[str, Any]) -> Any:
        """A value of the right type, as often sensible as not."""
        if "enum" in part:
            return self._random.choice(part["enum"])
        kind = part.get("type")
        if kind == "integer":
            return self._random.choice((1, 2, 3, 5, 8, 13, 40, 4711))
        if kind == "number":
            return self._random.choice((0, 0.5, 1, 0.9))
        if kind == "array":
            return [self._random.choice(TEXTS) for _ in range(self._random.randrange(4))]
        if kind == "object":
            return {self._random.choice(TEXTS): self.value() for _ in range(self._random.randrange(3))}
        return self._random.choice(TEXTS)

    def _params(self) -> Any:
        pick = self._random.random()
        if pick < 0.3:
            return {"uri": self._random.choice(TEXTS)}
        if pick < 0.6:
            return {"name": self._random.choice(("resume", "handoff", *TEXTS)), "arguments": self.value()}
        return self.value()

    def _odd_message(self) -> Any:
        method = self._random.choice(METHODS)
        return self._random.choice(
            (
                {
                    "jsonrpc": "2.0",
                    "id": self._random.choice(WRONG_IDS),
                    "method": method,
                    "params": self.value(),
                },
                {"jsonrpc": self._random.choice(("1.0", 2, None)), "id": self._unasked(), "method": method},
                {"id": self._unasked(), "method": method},
                {"jsonrpc": "2.0", "id": self._unasked(), "result": self.value()},
                {"jsonrpc": "2.0", "id": self._unasked(), "error": self.value()},
                {"jsonrpc": "2.0", "id": self._unasked(), "method": self.value()},
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/cancelled",
                    "params": {"requestId": self._unasked()},
                },
                [{"jsonrpc": "2.0", "id": self._unasked(), "method": "ping"}],
                self.value(),
            )
        )

    def _unasked(self) -> str:
        self._next += 1
        return f"odd-{self._next}"

    def _broken(self) -> bytes:
        whole, _ = self._request("tools/call", self._tool_call())
        pick = self._random.randrange(5)
        if pick == 0:
            return whole[: self._random.randrange(1, len(whole))]
        if pick == 1:
            return (
                bytes(self._random.randrange(256) for _ in range(40))
                .replace(b"\n", b" ")
                .replace(b"\r", b" ")
            )
        if pick == 2:
            return b"[" * 5000
        if pick == 3:
            return b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}'
        return whole.replace(b'"', b"'")


def _encoded(message: Any) -> bytes:
    return json.dumps(message).encode()
