"""All text enters journal, blobs and recordings at one place: nobody else writes what an agent said."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_runtime.journal import events as e
from engram_runtime.runtime import Runtime

pytestmark = pytest.mark.guarantee("G7")

ROOT = Path(__file__).parents[3]
RETELLERS = {"engram_runtime/upkeep/retell.py": "rows of the state: redacted when they became events"}

WRITERS = {
    # Of the rooms that see what agents say and do: who writes files, and why no text of theirs gets past redaction.
    "engram_runtime/mcp/http.py": "the server's own token",
    "engram_runtime/mcp/presence.py": "names and versions of clients",
    "engram_runtime/mcp/stdio.py": "answers to the client itself; descriptors",
    "engram_runtime/memory/embed_worker.py": "a lock",
    "engram_runtime/memory/embedder.py": "a lock, texts over a socket",
    "engram_runtime/memory/indexer.py": "a lock",
    "engram_runtime/memory/worker_client.py": "a lock, texts over a socket",
    "engram_runtime/memory/lifecycle.py": "a lock",
    "engram_runtime/memory/onnx_export.py": "a model's weights",
    "engram_runtime/memory/onnx_model.py": "a digest of weights",
    "engram_runtime/state/snapshots.py": "rows of the state, which are made of events",
    "engram_tui/supervisor/events_file.py": "events as the journal has them, redacted",
    "engram_tui/supervisor/foreground.py": "the user's own terminal",
    "engram_tui/supervisor/launch.py": "the supervisor's stderr, Python's own words",
    "engram_tui/supervisor/main.py": "warnings of libraries, private files of the launch",
    "engram_tui/supervisor/mcp_mount.py": "warnings of libraries",
    "engram_tui/supervisor/spec.py": "the launch's own facts; arguments until the supervisor took them",
    "engram_tui/supervisor/supervisor.py": "descriptors",
    "engram_tui/terminal/recording.py": "output, through the redaction it is given",
    "engram_tui/terminal/screen_host.py": "bytes for the screen process, over a pipe",
    "engram_tui/watch/pty_process.py": "the agent's own input",
}
ROOMS = tuple(
    f"engram_{room}/"
    for room in (
        *("runtime/continuity", "runtime/mcp", "runtime/memory", "runtime/state"),
        *("tui/supervisor", "tui/terminal", "tui/watch", "tui/panes", "tui/screens"),
    )
)
TELLING = ("Draft(", "Blobs(", "terminal.recording", "write", "O_WRONLY", "O_RDWR", ".open(", " open(")
_WRITING = {"write_text", "write_bytes", "write_private", "write"}


@functools.cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    found = sorted(path for room in ("engram_runtime", "engram_tui") for path in (ROOT / room).rglob("*.py"))
    texts = ((str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in found)
    return tuple((name, ast.parse(text)) for name, text in texts if any(word in text for word in TELLING))


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name in (
            getattr(node.func, "id", None),
            getattr(node.func, "attr", None),
        ):
            yield node


def named(node: ast.expr) -> str:
    return str(getattr(node, "id", None) or getattr(node, "attr", ""))


@pytest.mark.slow
def test_every_payload_of_the_journal_is_made_by_the_one_encoder() -> None:
    found = 0
    for name, tree in sources():
        for call in calls(tree, "Draft"):
            found += 1
            made = call.args[-1]
            encoded = isinstance(made, ast.Call) and named(made.func) == "encode"
            assert encoded or name in RETELLERS, f"{name}:{call.lineno} writes a payload that is not redacted"
    assert found


def test_blobs_and_recordings_are_made_with_the_redaction() -> None:
    for name, tree in sources():
        for call in calls(tree, "Blobs"):
            assert named(call.args[1]) == "redact", f"{name}:{call.lineno}"
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        if "engram_tui.terminal.recording" in imported:
            for call in calls(tree, "Recorder"):
                assert named(call.args[1]) == "redact_output", f"{name}:{call.lineno}"


def test_no_other_room_writes_what_it_sees() -> None:
    """Who opens a file for writing here says in WRITERS why nothing of an agent gets past redaction that way."""
    unknown = {
        name
        for name, tree in sources()
        if name.startswith(ROOMS) and name not in WRITERS and any(_writes(node) for node in ast.walk(tree))
    }
    assert unknown == set()


def _writes(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and node.attr in ("O_WRONLY", "O_RDWR"):
        return True
    if not isinstance(node, ast.Call):
        return False
    called = named(node.func)
    if called == "open":
        modes = [
            arg.value
            for arg in (*node.args, *(k.value for k in node.keywords))
            if isinstance(arg, ast.Constant)
        ]
        return any(isinstance(mode, str) and mode.strip("bt+") in ("w", "a", "x") for mode in modes)
    return called in _WRITING and named(getattr(node.func, "value", node.func)) not in ("stdout", "stderr")


def test_what_is_appended_is_redacted_wherever_it_stands(runtime: Runtime) -> None:
    token = "ghp_" + "a1B2" * 9
    runtime.append(
        e.TaskCreated(name=f"use {token}", metadata={"note": [token], token: 1, "api_key": "k" + "9a" * 12}),
        e.ToolFinished(tool="Bash", summary=f"curl -H 'Authorization: Bearer {token}'", output=token),
    )
    runtime.blobs.put(f"+{token}\n")
    runtime.journal.close()
    held = [p for p in runtime.home.rglob("*") if p.is_file() and token.encode() in p.read_bytes()]
    assert held == []
    assert (runtime.home / "journal.sqlite").exists()
