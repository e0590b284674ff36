"""What is broken in mcp-engram 0.19, each as a case that holds here. The numbers are those of its list of faults."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from engram_runtime.continuity.prompt import prompt_section
from engram_runtime.database import connect_bare
from engram_runtime.ids import session_id
from engram_runtime.journal.events import (
    FilesObserved,
    MemoryStored,
    SessionStarted,
    TaskAttached,
    ToolFinished,
)
from engram_runtime.journal.records import FileChange
from engram_runtime.mcp import catalogue
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import run_tool
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep.recover import recover
from engram_tui.cli.main import COMMANDS
from tests.contract.servers import PROJECT, ROOT, server

OFF = Settings(model="off")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def opened(home: Path) -> Runtime:
    return Runtime.open(home, project=PROJECT, settings=OFF)


class Agent:
    """Calls tools as one session of a home."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.session = runtime, session_id()
        self.context = ToolContext(project=PROJECT, session=self.session)
        if runtime.health().writable:
            runtime.append(SessionStarted(agent="test"), session=self.session)

    def call(self, tool: str, /, **given: Any) -> dict[str, Any]:
        told, failed = self.ask(tool, **given)
        assert not failed, told
        return told

    def ask(self, tool: str, /, **given: Any) -> tuple[dict[str, Any], bool]:
        result = run_tool(self.runtime, self.context, ("test", "1"), tool, given)
        assert isinstance(result.structured_content, dict)
        return result.structured_content, bool(result.is_error)

    def saw(self, *events: Any) -> None:
        self.runtime.append(*events, session=self.session)


@pytest.fixture
def agent(home: Path) -> Iterator[Agent]:
    with opened(home) as runtime:
        yield Agent(runtime)


def test_01_a_fresh_install_gets_the_mcp_it_was_made_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {found.name: found.specifier for found in map(Requirement, project["dependencies"])}
    assert not wanted["mcp"].contains("3.0") and not wanted["mcp"].contains("1.30")
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    (version,) = re.findall(r"^mcp==(\S+)", pinned, re.MULTILINE)
    assert wanted["mcp"].contains(version)


@pytest.mark.slow
def test_02_the_first_recall_of_a_new_process_is_answered_at_once_and_costs_little(home: Path) -> None:
    with opened(home) as runtime:
        runtime.memory.store("the login uses JWT", importance=0.8)
    began = time.perf_counter()
    with server(home) as running:
        assert running.call("recall_memory", query="login")["memoriesFound"] == 1
        took = time.perf_counter() - began
        memory = _resident_megabytes(running.process.pid)
    assert took < 8  # it took 8.3–9.7 s on an idle machine; this one may be busy (benchmarks judge)
    assert memory is None or memory < 200


@pytest.mark.slow
def test_03_a_thousand_memories_survive_every_restart(home: Path) -> None:
    with opened(home) as runtime:
        texts = [f"fact {number} about module {number % 97}" for number in range(1200)]
        runtime.append(*(MemoryStored(content=text, importance=0.5) for text in texts))
    for _ in range(3):
        with opened(home) as runtime:
            agent = Agent(runtime)
            assert agent.call("memory_stats")["total"] >= 1200
            assert agent.call("recall_memory", query="fact 1177")["memories"][0]["content"] == texts[1177]
            agent.call("store_memory", content=f"restart {session_id()}", importance=0.5)


@pytest.mark.slow
def test_04_a_terminated_server_leaves_a_checkpoint_and_a_hint_everybody_sees(home: Path) -> None:
    with server(home) as running:
        task = running.call("create_task", name="login", goal="fix the login", status="in_progress")[
            "task_id"
        ]
        running.call("track_progress", feature="form", status="in_progress")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 143
    with opened(home) as runtime:
        section = prompt_section(runtime.state, project=PROJECT, user="default", now=datetime.now(UTC))
        assert f"restore_checkpoint(task_id={task})" in section
    with server(home) as running:
        (pin,) = running.call("recall_memory", query="login")["pinned"]
        assert pin["task_id"] == task
        health = running.call("get_runtime_health")
        assert health["ok"] and health["counts"]["tasks"] == 1 and health["counts"]["checkpoints"] >= 1
        assert running.call("list_checkpoints", task_id=task)["checkpoints"][0]["reason"] == "KILLED"
        told = running.call("restore_checkpoint", task_id=task)
        assert (
            told["continuation"]["in_progress"] == ["form"]
            and told["continuation"]["verdict"] == "killed(15)"
        )


@pytest.mark.slow
def test_05_two_servers_on_one_home_both_work_and_see_each_other(home: Path) -> None:
    with server(home, "one") as one, server(home, "two") as two:
        for number in range(5):
            one.call("store_memory", content=f"lexer fact {number}", importance=0.5)
            two.call("store_memory", content=f"parser fact {number}", importance=0.5)
        assert one.call("recall_memory", query="parser fact", top_k=20)["memoriesFound"] >= 5
        assert two.call("recall_memory", query="lexer fact", top_k=20)["memoriesFound"] >= 5


@pytest.mark.slow
def test_06_a_truncated_home_is_never_silently_empty_and_recovers_everything_readable(home: Path) -> None:
    with opened(home) as runtime:
        agent = Agent(runtime)
        first = agent.call("start_execution", goal="ship the parser")
        again = agent.call("retry_task", task_id=first["task_id"])["new_task_id"]
        part = agent.call("spawn_subtask", parent_task_id=again, name="docs")["new_task_id"]
        agent.call("track_failure", error="segfault", component="lexer")
        texts = (f"fact {number} {'x' * 200}" for number in range(300))
        runtime.append(*(MemoryStored(content=text, importance=0.5) for text in texts))
        head = runtime.health().journal_position
    files = HomeFiles(home)
    # Derived files are disposable: retried and spawned tasks come back as they were.
    for path in home.glob("state.v*"):
        path.unlink()
    with opened(home) as runtime:
        assert [task.id for task in runtime.state.tasks_of_execution(runtime.state.task(part).execution)] == [
            first["task_id"], again, part,
        ]  # fmt: skip
    with connect_bare(files.journal) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = files.journal.stat().st_size
    with files.journal.open("r+b") as journal:
        journal.truncate(size // 2)
    with opened(home) as runtime:
        agent = Agent(runtime)
        health = agent.call("get_runtime_health")
        assert not health["ok"] and health["readonly"] and "engram recover" in health["advice"][0]
        told, failed = agent.ask("store_memory", content="new", importance=0.5)
        assert failed and "engram recover" in told["error"] and told["code"]
    report = recover(home)
    assert report is not None and report.lost > 0
    with opened(home) as runtime:
        agent = Agent(runtime)
        assert agent.call("get_task", task_id=part)["task"]["name"] == "docs"
        made = agent.call("store_memory", content="after the recovery", importance=0.5)["memory_id"]
        assert made > head, "no id is given twice"
        assert agent.call("retry_task", task_id=again)["attempt"] == 3


def test_07_a_negation_is_no_repetition(agent: Agent) -> None:
    agent.call("store_memory", content="The billing service talks to Stripe", importance=0.7)
    agent.call("store_memory", content="The billing service does not talk to Stripe", importance=0.7)
    found = agent.call("recall_memory", query="billing service Stripe", top_k=10)["memories"]
    assert {
        "The billing service talks to Stripe",
        "The billing service does not talk to Stripe",
    } <= {entry["content"] for entry in found}


def test_08_progress_of_a_feature_stays_one_row(agent: Agent) -> None:
    task = agent.call("create_task", name="login")["task_id"]
    told = [
        agent.call("track_progress", feature="form", status=status, task_id=task)["memory_id"]
        for status in ("planning", "in_progress", "blocked", "done")
    ]
    assert len(set(told)) == 1
    (row,) = agent.call("get_task", task_id=task)["progress"]
    assert row["metadata"]["status"] == "done"
    assert agent.call("memory_stats")["engineering"]["features"]["total_tracked"] == 1


def test_09_a_recovery_of_nothing_is_not_scored(agent: Agent) -> None:
    told, failed = agent.ask("score_recovery", task_id=4711, goal="fix the login")
    assert failed and told["ok"] is False and "score" not in told
    task = agent.call("create_task", name="bare", goal="fix the login")["task_id"]
    told, failed = agent.ask("score_recovery", task_id=task, goal="fix the login")
    assert failed and told["score"] is None and told["details"] == {"no_checkpoint": True}
    assert "session_handoff" in told["error"]


def test_10_prohibitions_can_be_said_and_a_failure_drops_nothing_in_progress(agent: Agent) -> None:
    parameters = catalogue.tools()["session_handoff"].listing()["inputSchema"]["properties"]
    assert {"must_not_redo", "must_preserve", "working_set"} <= set(parameters)
    task = agent.call("create_task", name="login")["task_id"]
    agent.call("track_progress", feature="form", status="in_progress")
    agent.call(
        "session_handoff",
        summary="half way",
        must_not_redo=[{"action": "send the mail", "reason": "side_effect_emitted"}],
        in_progress=["style sheet"],
    )
    told = agent.call("track_failure", error="boom", component="db")
    package = agent.call("restore_checkpoint", task_id=task, version=told["checkpoint_version"])
    assert package["checkpoint_reason"] == "FAILURE"
    assert {"form", "style sheet"} <= set(package["continuation"]["in_progress"])
    assert "send the mail" in [entry["action"] for entry in package["continuation"]["must_not_redo"]]


def test_11_untracked_files_and_the_last_tool_are_the_real_ones(agent: Agent) -> None:
    task = agent.call("create_task", name="login")["task_id"]
    agent.saw(
        TaskAttached(task=task),
        FilesObserved(changes=(FileChange(path="new.py", change="added", by="agent", tracked=False),)),
        ToolFinished(tool="Bash", summary="pytest -x"),
    )
    agent.call("track_failure", error="boom", component="db")
    package = agent.call("restore_checkpoint", task_id=task)["continuation"]
    assert [(change["path"], change["tracked"]) for change in package["modified_files"]] == [
        ("new.py", False)
    ]
    assert (package["last_tool"]["tool"], package["last_tool"]["summary"]) == ("Bash", "pytest -x")


def test_12_the_list_is_short_typed_and_ranged_and_errors_are_errors(agent: Agent) -> None:
    listing = catalogue.listing()
    assert len(listing) == 26
    assert len(json.dumps(listing, separators=(",", ":"), ensure_ascii=False).encode()) <= 12_000
    for tool in listing:
        assert tool["outputSchema"]["required"] and tool["annotations"] and tool["description"]
    importance = catalogue.tools()["store_memory"].listing()["inputSchema"]["properties"]["importance"]
    assert (importance["minimum"], importance["maximum"]) == (0, 1)
    for tool, given in (
        ("store_memory", {"content": "x", "importance": 7}),
        ("get_task", {"task_id": 4711}),
        ("update_memory", {"memory_id": 4711, "new_content": "x"}),
    ):
        told, failed = agent.ask(tool, **given)
        assert failed and told["ok"] is False and told["error"]


def test_13_nothing_is_shouted(agent: Agent) -> None:
    task = agent.call("create_task", name="login", goal="fix the login")["task_id"]
    agent.call("session_handoff", summary="half way", in_progress=["form"])
    agent.call("store_memory", content="login uses cookies", importance=1.0)
    agent.call("report_interruption", reason="overflow")
    other = Agent(agent.runtime)
    spoken = [
        other.call("recall_memory", query="login"),
        other.call("restore_checkpoint", task_id=task),
        other.call("recommend_recovery", task_id=task),
        other.call("detect_drift", task_id=task, current_goal="write a newsletter"),
        other.call("retry_task", task_id=task),
    ]
    text = json.dumps(spoken, ensure_ascii=False) + catalogue.INSTRUCTIONS
    text += "".join(tool["description"] for tool in catalogue.listing())
    assert re.findall(r"[\u2600-\u27bf\U0001f000-\U0001faff]", text) == []
    words = set(re.findall(r"\b[A-Z]{4,}(?:_[A-Z]+)*\b", text))
    assert words <= {"FULL", "SELECTIVE", "NONE", "MANUAL_HANDOFF", "PLAN_UPDATE", "AUTO_SAVE", "OVERFLOW"}


def test_14_a_memory_more_costs_the_same_whatever_is_there(home: Path) -> None:
    written = {}
    with opened(home) as runtime:
        for many in (100, 3000):
            have = runtime.health().journal_position
            texts = (f"fact {number} about module {number % 97}" for number in range(have, many))
            runtime.append(*(MemoryStored(content=text, importance=0.5) for text in texts))
            runtime.memory.catch_up()
            file = HomeFiles(home).memory
            with connect_bare(file) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            runtime.memory.store(f"a new fact on topic {many}", importance=0.5)
            written[many] = file.with_name(file.name + "-wal").stat().st_size
    assert 0 < written[3000] < 4 * written[100]


def test_15_every_command_and_tool_that_is_named_exists() -> None:
    tools = set(catalogue.tools())
    commands = {*COMMANDS, "--help"}
    wrong = []
    for folder in ("engram_runtime", "engram_tui"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            named = re.findall(r"`engram ([a-z-]+)", text)
            wrong += [f"{path.name}: engram {name}" for name in named if name not in commands]
            called = re.findall(r"(?:[Cc]all|with|see) ([a-z]+_[a-z_]+)\((?:task_id|execution_id|…)", text)
            wrong += [f"{path.name}: {name}" for name in called if name not in tools]
    assert wrong == []
    hints = " ".join(catalogue.INSTRUCTIONS.split())
    assert set(re.findall(r"\b([a-z]+_[a-z]+)\b", hints)) - tools <= {"must_not_redo", "task_id"}


def _resident_megabytes(pid: int) -> float | None:
    status = Path(f"/proc/{pid}/status")
    if sys.platform != "linux" or not status.exists():
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text("utf-8"))
    return int(found[1]) / 1024 if found else None
