"""mcp-engram's own commands: the server as a process, the session hook, and the aliases."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.journal.events import (
    HandoffRecorded,
    SessionEnded,
    SessionStarted,
    TaskAttached,
    TaskCreated,
)
from engram_runtime.journal.records import Verdict
from engram_runtime.paths import project_of
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_tui.cli.setup import connections
from tests.integration.cli.runs import Bench, Done
from tests.support import wait_until

ALIASES = [sys.executable, "-m", "engram_tui.cli.aliases"]


def run(at: Bench, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
    """One of the old commands, to its end."""
    done = subprocess.run(
        [*ALIASES, *words],
        input=stdin,
        capture_output=True,
        cwd=at.work,
        env={**at.environ, "ENGRAM_MODEL": "off", **(env or {})},
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


def ask(url: str, token: str = "", given: Any = None) -> tuple[int, Any]:
    body = None if given is None else json.dumps(given).encode()
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def server(at: Bench) -> Iterator[dict[str, Any]]:
    started = run(at, "engram-server", "start", "--port", "0")
    assert started.code == 0, started.said
    try:
        yield json.loads(run(at, "engram-server", "status", "--json").out)
    finally:
        run(at, "engram-server", "stop")


@pytest.mark.slow
@pytest.mark.guarantee("G7")
def test_a_server_is_started_used_and_stopped(at: Bench, server: dict[str, Any]) -> None:
    url, token_file = server["url"], at.home / "run" / "mcp-token"
    assert token_file.stat().st_mode & 0o777 == 0o600
    token = token_file.read_text()
    assert ask(f"{url}/v1/tasks", given={"name": "Cart"})[0] == 401
    status, made = ask(f"{url}/v1/tasks", token, {"name": "Cart", "goal": "Build"})
    assert status == 200
    assert ask(f"{url}/v1/tasks/get", token, {"task_id": made["task_id"]})[1]["task"]["name"] == "Cart"
    assert ask(f"{url}/v1/health")[1]["status"] == "ok"
    command = Path(f"/proc/{server['pid']}/cmdline")
    assert not command.exists() or token.encode() not in command.read_bytes()
    again = run(at, "engram-server", "start")
    assert (again.code, b"Already running" in again.out) == (0, True)
    held = run(at, "engram-server", "run")
    assert (held.code, "runs already" in held.line) == (2, True)
    stopped = run(at, "engram-server", "stop")
    assert (stopped.code, b"Stopped" in stopped.out) == (0, True)
    assert run(at, "engram-server", "status").code == 1
    assert run(at, "engram-server", "stop").code == 0


@pytest.mark.slow
def test_a_killed_server_is_not_taken_for_a_running_one(at: Bench, server: dict[str, Any]) -> None:
    os.kill(server["pid"], signal.SIGKILL)
    wait_until(lambda: run(at, "engram-server", "status").code == 1, 10)
    assert (at.home / "run" / "server.json").exists()
    restarted = run(at, "engram-server", "start", "--port", "0")
    assert restarted.code == 0, restarted.said


@pytest.mark.slow
def test_the_mcp_client_of_the_sdk_is_served_beside_the_routes(at: Bench, server: dict[str, Any]) -> None:
    listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    token = (at.home / "run" / "mcp-token").read_text()
    request = urllib.request.Request(
        f"{server['url']}/mcp",
        json.dumps(listed).encode(),
        {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-06-18",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        tools = json.load(answer)["result"]["tools"]
    assert {"recall_memory", "restore_checkpoint"} <= {tool["name"] for tool in tools}


@pytest.mark.slow
def test_other_machines_are_never_let_in_without_a_token(at: Bench) -> None:
    done = run(at, "engram-http", "--host", "0.0.0.0", "--port", "0", "--no-token")
    assert (done.code, "let anyone in" in done.line) == (2, True)


@pytest.mark.slow
def test_a_taken_port_is_one_clear_line(at: Bench) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(at, "engram-http", "--port", str(taken.getsockname()[1]))
    assert (done.code, "Choose another one" in done.line) == (2, True)


def interrupted(at: Bench) -> int:
    """Interrupted work in the project."""
    with Runtime.open(at.home, project=project_of(at.work), settings=Settings(model="off")) as runtime:
        session = "s1sxf09ykq4c"
        runtime.append(SessionStarted(agent="claude", cwd=str(at.work)), session=session)
        (task,) = runtime.append(TaskCreated(name="Cart", goal="Build the cart", status="in_progress"))
        runtime.append(TaskAttached(task=task), session=session)
        runtime.append(
            HandoffRecorded(summary="half way", in_progress=("totals",), task=task), session=session
        )
        runtime.append(SessionEnded(verdict=Verdict(kind="killed", signal=9)), session=session)
        runtime.catch_up()
        return task


def hook(at: Bench, source: str = "startup", **env: str) -> Done:
    return run(
        at,
        "engram-session-hook",
        stdin=json.dumps({"cwd": str(at.work), "source": source, "session_id": "x"}).encode(),
        env=env,
    )


@pytest.mark.slow
@pytest.mark.guarantee("G3")
def test_the_hook_gives_the_briefing_of_interrupted_work(at: Bench) -> None:
    task = interrupted(at)
    done = hook(at)
    said = json.loads(done.out)["hookSpecificOutput"]
    assert said["hookEventName"] == "SessionStart"
    assert f'<engram-briefing task="{task}"' in said["additionalContext"]
    assert "Build the cart" in said["additionalContext"]
    with at.runtime() as runtime:
        (given,) = runtime.events(kinds=("BriefingInjected",))
        assert given.payload is not None and given.payload["channel"] == "session-hook"


@pytest.mark.guarantee("G3")
def test_the_hook_is_silent_where_it_has_nothing_to_say(at: Bench) -> None:
    assert hook(at) == Done(0, b"", "")  # no home
    assert at.written() == []
    interrupted(at)
    assert hook(at, ENGRAM_SESSION="s1sxf09ykq4d") == Done(0, b"", "")  # supervised: the supervisor tells it
    assert hook(at, source="clear") == Done(0, b"", "")
    elsewhere = run(at, "engram-session-hook", stdin=json.dumps({"cwd": str(at.root)}).encode())
    assert elsewhere == Done(0, b"", "")


@pytest.mark.parametrize(
    "stdin", [b"{broken", b"[1]", b"\xff\xfe", b'{"cwd": 7, "source": {}}', b"1" * 100_000]
)
def test_a_hook_given_nonsense_is_silent_and_succeeds(at: Bench, stdin: bytes) -> None:
    interrupted(at)
    assert run(at, "engram-session-hook", stdin=stdin) == Done(0, b"", "")


def test_a_hook_on_a_home_that_is_a_file_is_silent(at: Bench) -> None:
    at.home.write_text("no home")
    assert hook(at) == Done(0, b"", "")


@pytest.mark.slow
def test_the_prompt_has_mcp_engrams_keys(at: Bench) -> None:
    nothing = json.loads(run(at, "engram-prompt", "--json").out)
    assert (nothing["task_id"], nothing["completed"]) == (None, [])
    task = interrupted(at)
    told = json.loads(run(at, "engram-prompt", "--user-id", "default", "--json").out)
    assert set(told) >= {
        "task_id", "goal", "checkpoint_version", "continuation_confidence", "completed", "in_progress", "blocked",
        "must_not_redo", "modified_files", "last_tool_called", "last_failure", "interrupt_reason",
    }  # fmt: skip
    assert (told["task_id"], told["goal"], told["interrupt_reason"]) == (task, "Build the cart", "killed(9)")
    plain = run(at, "engram-prompt").out.decode()
    assert plain.startswith("## Engram") and f"restore_checkpoint(task_id={task})" in plain


@pytest.mark.slow
def test_setup_says_what_it_did_and_does_it_once(at: Bench) -> None:
    first = json.loads(run(at, "engram-setup", "--json").out)
    assert (first["ok"], first["steps"][0]["outcome"]) == (True, "done")
    assert first["mcp_config"]["mcpServers"]["engram"]["args"] == ["mcp"]
    second = json.loads(run(at, "engram-setup", "setup", "--json").out)
    assert second["steps"][0]["outcome"] == "present"
    assert at.home.stat().st_mode & 0o777 == 0o700
    assert b"claude mcp add engram" in run(at, "engram-setup").out


def test_setup_tells_claude_of_the_same_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    monkeypatch.setenv("ENGRAM_HOME", str(home))
    monkeypatch.delenv("ENGRAM_MODEL", raising=False)
    told = connections()
    assert f"ENGRAM_HOME={home}" in shlex.split(told["claude_command"].split(" -- ")[0])
    hook = told["session_hook"]["hooks"]["SessionStart"][0]["hooks"][0]["command"]
    assert shlex.split(hook)[0] == shlex.split(told["claude_md"])[0] == f"ENGRAM_HOME={home}"


def test_setup_on_a_home_that_cannot_be_is_one_line_and_an_exit_code(at: Bench) -> None:
    at.home.write_text("a file")
    done = run(at, "engram-setup")
    assert (done.code, "is a file" in done.line) == (2, True)


@pytest.mark.slow
def test_stats_doctor_and_report_answer_under_their_old_names(at: Bench) -> None:
    interrupted(at)
    stats = json.loads(run(at, "engram-setup", "stats", "--days", "7", "--json").out)
    assert (stats["sessions"]["total"], stats["sessions"]["interrupted"]) == (1, 1)
    assert run(at, "engram-setup", "report", "--period", "monthly").out.startswith(b"# Engram report")
    assert json.loads(run(at, "engram-setup", "doctor").out)
