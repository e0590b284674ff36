"""Taking over a real mcp-engram 0.19 home: whole, once, with its own times and ids, and without touching it."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.errors import UsageError
from engram_runtime.journal.events import TaskCreated
from engram_runtime.mcp.context import ToolContext
from engram_runtime.mcp.server import run_tool
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep.importers.mcp_engram import import_mcp_engram
from engram_runtime.upkeep.importers.old_run import Report
from tests.support import rows_of

PROJECT = "/projects/shop"
EXECUTION = "e7516b9c-6121-43f5-9db2-7f9972fa2ec3"


def take(runtime: Runtime, home: Path) -> Report:
    report = import_mcp_engram(runtime.journal, runtime.state, home, project=runtime.project)
    runtime.memory.catch_up()
    return report


def call(runtime: Runtime, tool: str, **given: Any) -> dict[str, Any]:
    result = run_tool(runtime, ToolContext(project=runtime.project), ("test", "1"), tool, given)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path): f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files
    }


def test_everything_of_an_old_home_arrives(runtime: Runtime, old_home: Path) -> None:
    report = take(runtime, old_home)
    assert (report.read, sum(report.imported.values()), report.known, report.broken) == (31, 31, 0, [])
    assert report.left == {}
    tasks = {t.name: t for t in runtime.state.tasks()}
    assert len(runtime.state.tasks()) == 5
    receiver = tasks["Webhook receiver"]
    assert (receiver.status, receiver.metadata["ticket"], receiver.checkpoints) == ("blocked", "PAY-12", 3)
    assert tasks["Old done task"].user == "alice"
    kinds = sorted(row.memory_type for row in runtime.memory.rows())
    assert kinds == ["failure"] * 2 + ["handoff"] * 2 + ["memory"] * 4 + ["progress"]
    (session,) = runtime.state.sessions()
    assert session.verdict is not None and session.verdict.kind == "overflow"


def test_times_and_recalls_are_those_of_the_old_home(runtime: Runtime, old_home: Path) -> None:
    take(runtime, old_home)
    (ledger,) = [row for row in runtime.memory.rows() if "ledger" in row.content]
    assert ledger.created_at == "2026-11-22T13:48:53.461181Z"
    assert ledger.content == "The ledger service listens on port 7444 and needs mTLS"
    assert (ledger.recalls, ledger.scope) == (1, "global")
    assert ledger.importance == pytest.approx(0.85)  # recalled in a session that succeeded
    (receiver,) = [t for t in runtime.state.tasks() if t.name == "Webhook receiver"]
    assert receiver.created_at == "2026-11-22T13:48:44.043399Z"


def test_the_old_home_is_not_touched(runtime: Runtime, old_home: Path) -> None:
    before = digests(old_home)
    take(runtime, old_home)
    assert digests(old_home) == before


def test_a_second_import_takes_over_nothing(runtime: Runtime, old_home: Path) -> None:
    take(runtime, old_home)
    head = runtime.journal.head()
    again = take(runtime, old_home)
    assert (sum(again.imported.values()), again.known, runtime.journal.head()) == (0, 31, head)


def test_what_was_added_there_since_is_taken_over(runtime: Runtime, old_home: Path) -> None:
    take(runtime, old_home)
    (day,) = (old_home / "events").glob("*.jsonl")
    update = {"task_id": 3, "status": "done", "goal": None, "metadata": None}
    line = {"ts": "2026-11-23T08:00:00.000000Z", "seq": 32, "kind": "task.update", "payload": update}
    with day.open("a") as file:
        file.write(json.dumps(line) + "\n")
    report = take(runtime, old_home)
    assert report.imported == {"task.update": 1}
    (task,) = [t for t in runtime.state.tasks() if t.name == "Old done task"]
    assert (task.status, task.updated_at) == ("done", "2026-11-23T08:00:00.000000Z")


def test_old_task_ids_answer_and_no_new_one_takes_their_number(runtime: Runtime, old_home: Path) -> None:
    report = take(runtime, old_home)
    assert list(report.tasks) == ["1", "2", "3", "4", "5"]
    assert min(report.tasks.values()) > 10  # ten memories have numbers too
    told = call(runtime, "get_task", task_id=2)
    assert (told["task"]["id"], told["task"]["name"]) == (report.tasks["2"], "Webhook receiver")
    assert len(told["failures"]) == 1 and len(told["handoffs"]) == 1 and len(told["progress"]) == 1
    package = call(runtime, "restore_checkpoint", task_id=2, version=3)
    assert package["continuation"]["in_progress"] == ["retry queue"]
    assert package["continuation"]["preferred_next"] == ["idempotency table"]


def test_retries_and_subtasks_keep_their_lineage(runtime: Runtime, old_home: Path) -> None:
    report = take(runtime, old_home)
    traced = call(runtime, "trace_execution", execution_id=EXECUTION)
    tasks = {task["task_id"]: task for task in traced["tasks"]}
    first, second, split = (report.tasks[old] for old in ("1", "4", "5"))
    assert set(tasks) == {first, second, split}
    assert (tasks[second]["attempt"], tasks[second]["retry_of_task_id"]) == (2, first)
    assert tasks[split]["parent_task_id"] == second
    assert (tasks[second]["name"], tasks[first]["status"]) == ("Ship the payment webhook", "cancelled")
    assert traced["execution"]["status"] == "completed"


def test_an_old_memory_id_can_be_updated(runtime: Runtime, old_home: Path) -> None:
    take(runtime, old_home)
    call(runtime, "update_memory", memory_id=3, new_content="The ledger service moved to port 9000")
    assert any(row.content.endswith("9000") for row in runtime.memory.rows())


def test_work_that_was_cut_off_there_is_offered_here(runtime: Runtime, old_home: Path) -> None:
    take(runtime, old_home)
    (task,) = runtime.state.interrupted_tasks(PROJECT)
    assert task.name == "Split the test suite"


def test_a_deleted_memory_does_not_come_back(runtime: Runtime, old_home: Path) -> None:
    report = take(runtime, old_home)
    assert report.deleted_there == 1
    assert not [
        hit for hit in runtime.memory.recall("sandbox nightly").hits if "sandbox" in hit.memory.content
    ]


def test_own_tasks_keep_their_numbers(runtime: Runtime, old_home: Path) -> None:
    (own,) = runtime.append(TaskCreated(name="mine"))
    report = take(runtime, old_home)
    assert (own, report.own_ids) == (1, [1])
    assert call(runtime, "get_task", task_id=1)["task"]["name"] == "mine"


def test_broken_lines_are_named_and_the_rest_arrives(runtime: Runtime, old_home: Path) -> None:
    (day,) = (old_home / "events").glob("*.jsonl")
    lines = day.read_bytes().splitlines()
    odd = [b'{"ts": "x", "kind": "task.create", "payload": {}}', b"\xff\xfe{", b'{"seq": 3}', lines[0][:40]]
    day.write_bytes(b"\n".join([odd[0], lines[0], odd[1], *lines[1:], odd[2], odd[3]]))
    (packed,) = (old_home / "events").glob("*.gz")
    packed.write_bytes(packed.read_bytes()[:-200])
    report = take(runtime, old_home)
    assert len(report.broken) == 5, report.broken
    assert {broken.where.split(":")[0] for broken in report.broken} == {day.name, packed.name}
    assert any(t.name == "Split the test suite" for t in runtime.state.tasks())


def test_a_folder_without_events_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no events of mcp-engram"):
        take(runtime, tmp_path)
    assert runtime.journal.head() == 0


def test_a_rebuild_gives_the_same_rows(runtime: Runtime, old_home: Path) -> None:
    take(runtime, old_home)
    runtime.catch_up()
    before = rows_of(runtime.journal.files.state)
    runtime.rebuild_state()
    assert rows_of(runtime.journal.files.state) == before
    assert runtime.verify().flaw == ""


@pytest.mark.slow
def test_a_large_home_is_written_in_few_transactions(tmp_path: Path) -> None:
    folder = tmp_path / "old" / "events"
    folder.mkdir(parents=True)
    stored = {"user_id": "default", "importance": 0.5, "category": "fact", "metadata": {}}
    with gzip.open(folder / "events-20260101.jsonl.gz", "wt") as file:
        for number in range(1, 2001):
            payload = {**stored, "memory_id": number, "content": f"fact number {number}"}
            line = {"ts": "2026-01-01T00:00:00Z", "seq": number, "kind": "memory.store", "payload": payload}
            file.write(json.dumps(line) + "\n")
    with Runtime.open(tmp_path / "home", project=PROJECT, settings=Settings(model="off")) as runtime:
        report = import_mcp_engram(runtime.journal, runtime.state, folder, project=PROJECT)
        assert report.imported == {"memory.store": 2000}
        kinds = [at.kind for at in runtime.events(limit=10_000)]
        assert kinds.count("RecordsImported") == 10
        assert runtime.memory.stats().total == 2000


def test_a_number_that_can_only_be_damage_is_not_kept_free(runtime: Runtime, old_home: Path) -> None:
    line = {
        "ts": "2026-11-22T13:00:00Z",
        "seq": 900,
        "kind": "task.create",
        "payload": {"task_id": 200_000, "name": "odd", "goal": "odd"},
    }
    with (old_home / "events" / "events-20261122.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    take(runtime, old_home)
    assert runtime.journal.head() < 1_000
    assert call(runtime, "get_task", task_id=200_000)["task"]["name"] == "odd"
