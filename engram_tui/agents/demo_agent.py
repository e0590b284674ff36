"""A scripted agent to try Engram with: five small steps on a file of its own, then a prompt.

It works in `engram-demo/` below the current folder, asks no model, needs no network but loopback, and speaks to
Engram as a real agent does: hooks over HTTP, MCP tools over streamable HTTP. Kill it in the middle: `engram resume`
starts it again with a briefing, and it repeats no step that the briefing says is done. Standard library only.
"""

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

STEPS = (
    ("outline the report", "# Report\n\n1. Data\n2. Method\n3. Findings\n"),
    ("collect the data", "Data: 3 rows, checked twice.\n"),
    ("describe the method", "Method: count, then compare.\n"),
    ("write the findings", "Findings: the third row is the largest.\n"),
    ("proof-read", "Proof-read: no mistakes found.\n"),
)
GOAL = "Write engram-demo/report.md in five steps"
PACE_S = float(os.environ.get("ENGRAM_DEMO_PACE", "2.0"))
BOLD, DIM, GREEN, CYAN, OFF = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[36m", "\x1b[0m"


class Link:
    """Hooks and MCP calls to the supervisor; silent where there is none."""

    def __init__(self) -> None:
        self.port = int(os.environ.get("ENGRAM_DEMO_PORT", "0"))
        self.session = str(uuid.uuid4())
        self.mcp_session: str | None = None
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.calls = 0
        if self.port:
            name, _, value = Path(os.environ["ENGRAM_DEMO_TOKEN_FILE"]).read_text().strip().partition(": ")
            self.headers[name] = value

    def post(self, path: str, body: object, extra: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        """One POST; (b"", {}) where nobody answers."""
        if not self.port:
            return b"", {}
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            connection.request("POST", path, json.dumps(body), {**self.headers, **extra})
            answer = connection.getresponse()
            return answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        except (OSError, http.client.HTTPException):
            return b"", {}

    def hook(self, event: str, **fields: object) -> str:
        """Tell Engram of an event; what it wants the agent to know."""
        body = {"session_id": self.session, "cwd": str(Path.cwd()), "hook_event_name": event, **fields}
        data, _ = self.post(f"/hooks/{event}", body, {})
        try:
            return str(json.loads(data or b"{}").get("hookSpecificOutput", {}).get("additionalContext", ""))
        except ValueError:
            return ""

    def rpc(self, method: str, params: dict[str, object], notify: bool = False) -> object:
        """One JSON-RPC message over streamable HTTP (answers come as JSON or as one SSE event)."""
        self.calls += 1
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            message["id"] = self.calls
        extra = {"Accept": "application/json, text/event-stream"}
        if self.mcp_session:
            extra["Mcp-Session-Id"] = self.mcp_session
            extra["MCP-Protocol-Version"] = "2025-06-18"
        data, headers = self.post("/mcp", message, extra)
        self.mcp_session = headers.get("mcp-session-id", self.mcp_session)
        for line in data.decode(errors="replace").splitlines():
            text = line.removeprefix("data:").strip()
            if text.startswith("{"):
                return json.loads(text)
        return None

    def connect(self) -> None:
        """The MCP handshake."""
        client = {"name": "engram-demo", "version": "1"}
        self.rpc("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self.rpc("notifications/initialized", {}, notify=True)

    def tool(self, name: str, **arguments: object) -> None:
        """Call one of Engram's MCP tools."""
        self.rpc("tools/call", {"name": name, "arguments": arguments})


def say(text: str) -> None:
    """Print and flush."""
    print(text, flush=True)


def done_lines(briefing: str) -> str:
    """The list below the briefing's "Done already" line."""
    lines = briefing.partition("Done already")[2].splitlines()[1:]
    listed: list[str] = []
    for line in lines:
        if not line.startswith("- "):
            break
        listed.append(line)
    return "\n".join(listed)


def work(link: Link, briefing: str) -> None:
    """The steps, without those the briefing says are done."""
    folder = Path("engram-demo")
    folder.mkdir(exist_ok=True)
    report = folder / "report.md"
    done_part = done_lines(briefing)
    for number, (step, text) in enumerate(STEPS, 1):
        if step in done_part:
            say(f"  {DIM}{number}. {step}: already done, says the briefing{OFF}")
            continue
        say(f"  {CYAN}{number}. {step} …{OFF}")
        link.tool("track_progress", feature=step, status="in_progress", completion=0.5)
        line = f"sleep {PACE_S} && printf %s {json.dumps(text)} >> {report}"
        call = {"tool_name": "Bash", "tool_input": {"command": line}, "tool_use_id": uuid.uuid4().hex}
        link.hook("PreToolUse", **call)
        began = time.monotonic()
        code = subprocess.run(["/bin/sh", "-c", f"sleep {PACE_S}"], check=False).returncode
        with report.open("a", encoding="utf-8") as file:
            file.write(text)
        took = int((time.monotonic() - began) * 1000)
        link.hook("PostToolUse", **call, tool_response={"stdout": f"exit {code}"}, duration_ms=took)
        link.tool("track_progress", feature=step, status="done", completion=1.0)
        say(f"  {GREEN}✓ {step}{OFF}")
    link.hook("Stop", last_assistant_message="The report is written: engram-demo/report.md")
    say(f"{BOLD}The report is written: engram-demo/report.md{OFF}")


def main() -> int:
    """Start, work, then read prompts until `/exit`."""
    link = Link()
    say(f"{BOLD}Engram demo agent{OFF}  {DIM}a scripted agent; it asks no model{OFF}")
    briefing = link.hook("SessionStart", source="startup")
    if link.port:
        link.connect()
    prompt = " ".join(sys.argv[1:]).strip() or GOAL
    link.hook("UserPromptSubmit", prompt=prompt)
    say(f"> {prompt}")
    if briefing:
        say(f"{DIM}A briefing of {len(briefing)} characters came with the start.{OFF}")
    try:
        work(link, briefing)
        while sys.stdin.isatty():
            line = input(f"{DIM}/exit ends, anything else is echoed{OFF} > ").strip()
            if line in ("/exit", "exit", "quit"):
                break
            link.hook("UserPromptSubmit", prompt=line)
            say(f"  you said: {line}")
            link.hook("Stop", last_assistant_message=f"you said: {line}")
    except (EOFError, KeyboardInterrupt):
        link.hook("SessionEnd", reason="prompt_input_exit")
        return 0
    link.hook("SessionEnd", reason="prompt_input_exit" if sys.stdin.isatty() else "other")
    return 0


if __name__ == "__main__":
    sys.exit(main())
