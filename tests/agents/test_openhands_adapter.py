"""The OpenHands adapter against real OpenHands: what it plans runs, and what OpenHands writes is understood."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engram_tui.agents.base import Endpoint, ExitFacts, LaunchPlan, LaunchRequest
from engram_tui.agents.openhands import OpenHands
from engram_tui.supervisor.main import put_in_place
from engram_tui.watch.observations import (
    ContextSeen,
    NativeSession,
    Observation,
    PlanSeen,
    Prompted,
    ToolBegan,
    ToolEnded,
    TurnEnded,
    TurnFailed,
    Waiting,
)
from tests.agents.harness import AgentHome
from tests.agents.pty_agent import PtyAgent
from tests.fakes.scripted_llm import Reply, Request, ScriptedLLM
from tests.support import wait_until

pytestmark = [pytest.mark.agents, pytest.mark.slow, pytest.mark.timeout(240)]

MakeHome = Callable[[ScriptedLLM], AgentHome]
ENGRAM = Path(sys.executable).with_name("engram")
HEADLESS = ("--headless", "--json", "--override-with-envs")
TICKETS = """
from mcp.server import MCPServer
server = MCPServer("tickets")
@server.tool()
def open_tickets() -> str:
    return "ticket 7"
server.run("stdio")
"""


def call(tool: str, **arguments: Any) -> Reply:
    """A tool call as OpenHands wants it: with a risk."""
    return Reply.call(tool, **arguments, security_risk="LOW")


def in_order(*replies: Reply) -> Callable[[Request], Reply]:
    """The model takes these steps, one for each tool result it has seen since it was last spoken to."""

    def script(request: Request) -> Reply:
        return (
            replies[min(len(request.tool_results()), len(replies) - 1)] if request.tools else Reply.say("s")
        )

    return script


@dataclass(frozen=True)
class Run:
    """A planned run: how it is started, and what its transcript tells."""

    home: AgentHome
    plan: LaunchPlan
    reader: Any

    @classmethod
    def of(cls, home: AgentHome, cli: Path, *args: str, **fields: Any) -> Run:
        """Plan it, put its files in place."""
        adapter = OpenHands()
        request = LaunchRequest(
            executable=str(cli),
            args=args,
            cwd=home.work,
            session=f"s{time.time_ns()}",
            session_dir=home.root / "s",
            environ=home.environment,
            endpoint=None,
            interactive="--headless" not in args,
        )
        plan = adapter.plan(replace(request, **fields))
        put_in_place(plan)
        reader = adapter.transcript(plan, home.environment, home.work)
        return cls(home, plan, reader)

    def to_end(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self.home.run(self.plan.argv, env=self.plan.environ, seconds=150)

    def verdict(self, code: int, seen: list[Observation]) -> str:
        """What the adapter makes of an end."""
        failures = [o for o in seen if isinstance(o, TurnFailed)]
        turns = sum(isinstance(o, TurnEnded) for o in seen)
        facts = ExitFacts(
            code=code,
            signal=None,
            interactive=False,
            turns=turns,
            last_failure=failures[-1] if failures else None,
        )
        return str(OpenHands().classify(facts))


def user_settings(home: AgentHome, llm: ScriptedLLM) -> Path:
    """Settings as saved by the user in OpenHands' dialog: model, key, few retries."""
    folder = home.home / ".openhands"
    folder.mkdir(exist_ok=True)
    model = {
        "model": "openai/scripted-model",
        "api_key": "sk-dummy",
        "base_url": llm.openai_url,
        "num_retries": 1,
        "retry_min_wait": 1,
        "retry_max_wait": 1,
    }
    condenser = {"kind": "LLMSummarizingCondenser", "llm": {**model, "usage_id": "condenser"}}
    tools: list[dict[str, Any]] = [
        {"name": name, "params": {}} for name in ("terminal", "file_editor", "task_tracker")
    ]
    settings = {
        "kind": "Agent",
        "llm": {**model, "usage_id": "agent"},
        "tools": tools,
        "condenser": condenser,
    }
    path = folder / "agent_settings.json"
    path.write_text(json.dumps(settings))
    return path


def engram_endpoint(home: AgentHome) -> Endpoint:
    """Engram's MCP server over HTTP."""
    server = home.start([ENGRAM, "mcp", "--http", "0"])
    assert server.stderr is not None
    said = server.stderr.readline().decode()
    match = re.search(r":(\d+)/mcp, bearer token in (.+)$", said.strip())
    assert match, said
    token_file = Path(match[2])
    return Endpoint(int(match[1]), token_file.read_text().strip(), token_file)


def test_a_planned_run_has_engram_beside_the_users_own_and_is_understood(
    openhands_cli: Path, agent_home: MakeHome
) -> None:
    tasks = [{"title": "A", "status": "done", "notes": ""}, {"title": "B", "status": "todo", "notes": ""}]
    with ScriptedLLM(lambda _: Reply.say("not yet")) as llm:
        home = agent_home(llm)
        new = home.work / "new.txt"
        llm.script = in_order(
            call("terminal", command="echo one >> log.txt && echo wrote-one"),
            call("terminal", command="ls /not/there"),
            call("task_tracker", command="plan", task_list=tasks),
            call("file_editor", command="create", path=str(new), file_text="new\n"),
            call("tickets_open_tickets"),
            call("engram_memory_stats"),
            call("finish", message="ALL-DONE"),
        )
        settings = user_settings(home, llm)
        servers = home.home / ".openhands" / "mcp.json"
        (home.root / "tickets.py").write_text(TICKETS)
        own = {"command": sys.executable, "args": [str(home.root / "tickets.py")]}
        servers.write_text(json.dumps({"mcpServers": {"tickets": own}}))
        before = settings.read_bytes(), servers.read_bytes()
        run = Run.of(
            home,
            openhands_cli,
            "--headless",
            "--json",
            endpoint=engram_endpoint(home),
            briefing="<engram-briefing>what was done</engram-briefing>",
            prompt="Continue the interrupted task",
        )
        done = run.to_end()
        assert done.returncode == 0, done.stderr
        first = llm.main_requests[0]
        assert first.told("what was done") and first.told("Continue the interrupted task")
        assert {"engram_restore_checkpoint", "tickets_open_tickets"} <= set(first.tools)
        assert llm.main_requests[-1].told("ticket 7")
        assert (settings.read_bytes(), servers.read_bytes()) == before
        assert (
            run.plan.transcript is not None
            and run.plan.transcript.parent == home.home / ".openhands" / "conversations"
        )
        seen = run.reader.read()
        assert isinstance(seen[0], NativeSession) and seen[0].native_id == run.plan.native_id
        assert [o.text for o in seen if isinstance(o, Prompted)] == ["Continue the interrupted task"]
        tools = [o for o in seen if isinstance(o, ToolEnded)]
        assert [(o.tool, o.ok) for o in tools] == [
            ("terminal", True),
            ("terminal", False),
            ("task_tracker", True),
            ("file_editor", True),
            ("tickets_open_tickets", True),
            ("engram_memory_stats", True),
        ]
        assert tools[3].paths == (str(new),)
        assert [o.items for o in seen if isinstance(o, PlanSeen)] == [(("A", "completed"), ("B", "pending"))]
        assert [o.text for o in seen if isinstance(o, TurnEnded)] == ["ALL-DONE"]
        assert [o.used > 0 for o in seen if isinstance(o, ContextSeen)] == [True]
        assert run.verdict(done.returncode, seen) == "finished"

        llm.script = lambda _: Reply.say("GOES-ON")
        bare: list[str | Path] = [
            openhands_cli,
            "--headless",
            "--json",
            "--resume",
            str(run.plan.native_id),
            "-t",
            "and now?",
        ]
        again = home.run(bare, seconds=150)
        assert "GOES-ON" in again.stdout
        assert llm.main_requests[-1].told("wrote-one")
        assert "engram_restore_checkpoint" not in llm.main_requests[-1].tools


TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (Reply.fail(401, "Incorrect API key provided"), "auth"),
        (Reply.fail(429, "Rate limit reached"), "rate_limit"),
        (Reply.fail(500, "boom"), "api_error"),
        (Reply.fail(400, TOO_LONG), "overflow"),
        (call("terminal", command="echo same"), "hang"),
    ],
    ids=["401", "429", "500", "overflow", "loop"],
)
def test_failures_that_its_exit_code_hides_are_seen(
    openhands_cli: Path, agent_home: MakeHome, reply: Reply, verdict: str
) -> None:
    with ScriptedLLM(lambda _: reply) as llm:
        home = agent_home(llm)
        user_settings(home, llm)
        run = Run.of(home, openhands_cli, "--headless", "--json", "-t", "do it")
        done = run.to_end()
        assert done.returncode == 0
        assert run.verdict(done.returncode, run.reader.read()) == verdict


def test_a_run_that_never_began_has_crashed(openhands_cli: Path, agent_home: MakeHome) -> None:
    with ScriptedLLM(lambda _: Reply.say("hello")) as llm:
        home = agent_home(llm)
        user_settings(home, llm)
        nobody = Endpoint(9, "token", home.root / "token")
        run = Run.of(home, openhands_cli, "--headless", "--json", "-t", "do it", endpoint=nobody)
        done = run.to_end()
        assert done.returncode == 0 and not llm.requests
        assert run.verdict(done.returncode, run.reader.read()) == "crashed(0)"


def test_after_a_kill_the_running_command_is_known_and_so_is_what_survives(
    openhands_cli: Path, agent_home: MakeHome
) -> None:
    with ScriptedLLM(in_order(call("terminal", command="echo begun > long.txt; tail -f /dev/null"))) as llm:
        home = agent_home(llm)
        run = Run.of(home, openhands_cli, *HEADLESS, "-t", "do it")
        process = home.start(run.plan.argv, env=run.plan.environ)
        wait_until((home.work / "long.txt").exists, 90)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        last = run.reader.read()[-1]
        assert isinstance(last, ToolBegan) and last.command.endswith("tail -f /dev/null")
        left = home.processes()
        servers = [p for p in left if re.search(OpenHands.own_processes[0], " ".join(p.cmdline()))]
        assert len(servers) == 1, [p.cmdline() for p in left]
        assert servers[0].environ()["TMUX_TMPDIR"] == str(home.root / "s")
        family = {servers[0].pid, *(p.pid for p in servers[0].children(recursive=True))}
        assert {p.pid for p in left} == family
        servers[0].terminate()
        wait_until(lambda: not home.processes(), 10)


def test_what_is_saved_in_its_settings_goes_to_the_users_file(
    openhands_cli: Path, agent_home: MakeHome
) -> None:
    save = (
        "from openhands_cli.stores import AgentStore; store = AgentStore(); agent = store.load_from_disk();"
        "store.save(agent.model_copy(update={'llm': agent.llm.model_copy(update={'model': 'openai/other'})}))"
    )
    with ScriptedLLM(lambda _: Reply.say("hello")) as llm:
        home = agent_home(llm)
        settings = user_settings(home, llm)
        endpoint = Endpoint(9, "secret-token", home.root / "token")
        run = Run.of(home, openhands_cli, endpoint=endpoint)
        python = openhands_cli.parent / "python"
        home.run([python, "-W", "ignore", "-c", save], env=run.plan.environ).check_returncode()
        assert json.loads(settings.read_text())["llm"]["model"] == "openai/other"
        assert "secret-token" not in settings.read_text()
        link = Path(run.plan.environ["OPENHANDS_PERSISTENCE_DIR"]) / "agent_settings.json"
        assert link.is_symlink() and link.resolve() == settings


class Watcher:
    """Reads a transcript as the supervisor does, from the start."""

    def __init__(self, reader: Any) -> None:
        self.seen: list[Observation] = []
        self._reader = reader
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def has(self, kind: type[Observation], count: int = 1) -> Callable[[], bool]:
        """Whether so many of a kind were seen."""
        return lambda: sum(isinstance(o, kind) for o in self.seen) >= count

    def _watch(self) -> None:
        while not self._over.is_set():
            self.seen += self._reader.read()
            self._over.wait(0.3)


def type_command(terminal: PtyAgent, command: str) -> None:
    """A slash command: its menu takes the first Enter."""
    terminal.send(command)
    terminal.wait_screen(f"{command} ", 10)
    terminal.send("\r")
    terminal.wait_screen(f"│ {command}", 10)
    terminal.send("\r")


def test_its_screen_is_as_without_engram_and_a_new_conversation_is_followed(
    openhands_cli: Path, agent_home: MakeHome
) -> None:
    with ScriptedLLM(in_order(call("terminal", command="echo hi > hi.txt"), Reply.say("THAT-IS-ALL"))) as llm:
        home = agent_home(llm)
        run = Run.of(home, openhands_cli, "--override-with-envs", "-t", "say hi")
        with (
            Watcher(run.reader) as watcher,
            home.open_terminal(run.plan.argv, env=run.plan.environ) as terminal,
        ):
            screen = terminal.wait_screen("Confirm 1 action(s)?", 90)
            assert "Initialized conversation" in screen and "Resum" not in screen
            wait_until(watcher.has(Waiting), 10)
            terminal.send("\r")
            terminal.wait_screen("THAT-IS-ALL", 60)
            wait_until(watcher.has(TurnEnded), 10)
            type_command(terminal, "/new")
            terminal.wait_screen(lambda text: "THAT-IS-ALL" not in text, 20)
            llm.script = lambda _: Reply.say("IN-THE-NEW-ONE")
            terminal.submit("once more")
            terminal.wait_screen("IN-THE-NEW-ONE", 60)
            wait_until(watcher.has(TurnEnded, 2), 10)
            terminal.send("\x03")
            terminal.wait_screen("Yes, proceed", 20)
            terminal.send("\x03")
            assert terminal.wait_exit(30) == 0
        announced = [o for o in watcher.seen if isinstance(o, NativeSession)]
        assert [o.source for o in announced] == ["startup", "clear"]
        assert announced[0].native_id == run.plan.native_id != announced[1].native_id
        assert [o.text for o in watcher.seen if isinstance(o, Prompted)] == ["say hi", "once more"]
        assert (home.work / "hi.txt").exists()
        facts = ExitFacts(code=0, signal=None, interactive=True, turns=2, prompts=2)
        assert OpenHands().classify(facts).kind == "user_quit"
