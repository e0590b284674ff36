"""What the tools do, called directly."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.journal.events import SessionEnded, TaskAttached, TaskCreated
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp import catalogue


def test_a_task_that_does_not_exist_is_named_and_the_agent_is_told_where_to_look(agent: Any) -> None:
    for tool, given in (
        ("get_task", {}),
        ("update_task", {"status": "done"}),
        ("restore_checkpoint", {}),
        ("list_checkpoints", {}),
        ("track_progress", {"feature": "x", "status": "done"}),
        ("track_failure", {"error": "x", "component": "y"}),
        ("session_handoff", {"summary": "x"}),
    ):
        before = agent.runtime.health().journal_position
        assert agent.refused(tool, task_id=4711, **given).startswith(
            "Task 4711 does not exist. Call list_tasks"
        )
        assert agent.runtime.health().journal_position == before


def test_a_task_of_another_project_is_refused(agent: Any) -> None:
    (other,) = agent.runtime.append(TaskCreated(name="theirs"), project="/projects/other")
    assert "another project" in agent.refused("get_task", task_id=other)


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("store_memory", {"content": "x"}, "importance"),
        ("store_memory", {"content": "x", "importance": 7}, "importance"),
        ("store_memory", {"content": "x", "importance": math.nan}, "importance"),
        ("store_memory", {"content": 5, "importance": 0.5}, "content"),
        ("store_memory", {"content": "x", "importance": 0.5, "category": "gossip"}, "category"),
        ("store_memory", {"content": "x" * 5_000_000, "importance": 0.5}, "content has 5,000,000 characters"),
        ("store_memory", {"content": " ", "importance": 0.5}, "empty"),
        ("store_memory", {"content": "x", "importance": 0.5, "metadata": {"n": math.inf}}, ""),
        (
            "store_memory",
            {"content": "x", "importance": 0.5, "metadata": {"n": {"n": "y" * 30_000}}},
            "metadata.n",
        ),
        ("recall_memory", {"query": "x", "top_k": 0}, "top_k"),
        ("recall_memory", {"query": "x", "limit": 3}, "unknown field `limit`"),
        ("get_task", {"task_id": "12"}, "task_id"),
        ("get_task", {"task_id": -1}, "task_id"),
        ("get_task", {"task_id": 10**30}, "task_id"),
        ("create_task", {"name": ""}, "name"),
        ("create_task", {"name": "x", "status": "nope"}, "status"),
        ("track_progress", {"feature": "x", "status": "done", "blockers": "none"}, "blockers"),
        ("session_handoff", {"summary": "x", "completed": ["a"] * 501}, "completed has 501 entries"),
        ("session_handoff", {"summary": "x", "must_not_redo": [{"reason": "y"}]}, "must_not_redo"),
        ("report_interruption", {"reason": "banana"}, "reason"),
        ("create_task", {"name": " "}, "name is blank"),
        ("track_progress", {"feature": "\n", "status": "done"}, "feature is blank"),
        ("track_failure", {"error": " ", "component": "c"}, "error is blank"),
        ("track_failure", {"error": "e", "component": "\t"}, "component is blank"),
        ("session_handoff", {"summary": " "}, "summary is blank"),
        ("detect_drift", {"task_id": 1, "current_goal": " "}, "current_goal is blank"),
        ("recall_memory", {"query": "x", "session_id": " "}, "session_id is blank"),
        ("get_runtime_health", {"colour": "red"}, "it takes no parameters"),
        ("update_task", {"task_id": 1}, "nothing to change"),
        ("update_memory", {"memory_id": 99, "new_content": "x"}, "99"),
        ("make_coffee", {}, "There is no tool"),
    ],
)
def test_wrong_arguments_are_one_clear_line_and_write_nothing(
    shared_agent: Any, tool: str, given: dict[str, Any], said: str
) -> None:
    before = shared_agent.runtime.health().journal_position
    line = shared_agent.refused(tool, **given)
    assert said in line
    assert len(line) < 600
    assert shared_agent.runtime.health().journal_position == before


def test_lists_that_arrive_as_json_text_are_read(agent: Any) -> None:
    agent.call("session_handoff", summary="x", completed='["a", "b"]', must_not_redo='[{"action": "c"}]')
    (handoff,) = agent.runtime.state.handoffs()
    assert handoff.completed == ("a", "b")
    assert handoff.must_not_redo[0].action == "c"


def test_json_looking_text_stays_text_where_text_is_wanted(agent: Any) -> None:
    agent.call("store_memory", content='{"invoice": 1}', importance=0.5)
    assert agent.call("recall_memory", query="invoice")["memories"][0]["content"] == '{"invoice": 1}'


def test_control_characters_become_visible_and_markup_stays_text(agent: Any) -> None:
    evil = "a\x00b \x1b]0;owned\x07 \x1b[31mred\x1b[0m [bold]not bold[/] line\r\nnext\ttab \x9b31m"
    task = agent.call("create_task", name=evil, goal=evil, metadata={evil: [evil]})["task_id"]
    agent.call("track_failure", error=evil, component=evil, task_id=task)
    agent.call("session_handoff", summary=evil, completed=[evil], must_not_redo=[evil], task_id=task)
    agent.call("store_memory", content=evil, importance=1)
    told = [agent.call(name, **given) for name, given in (
        ("get_task", {"task_id": task}),
        ("list_tasks", {}),
        ("recall_memory", {"query": "red"}),
        ("restore_checkpoint", {"task_id": task}),
    )]  # fmt: skip
    text = "".join(json.dumps(answer, ensure_ascii=False) for answer in told)
    for control in ("\\u0000", "\\u001b", "\x9b", "\\u0007", "\\r"):
        assert control not in text
    assert "[bold]not bold[/]" in text
    assert "a␀b" in text


def test_a_lone_surrogate_does_not_break_the_journal(agent: Any) -> None:
    assert agent.call("store_memory", content="half \ud800 pair", importance=0.5)["memory_id"] > 0


def test_calls_without_a_task_id_use_the_sessions_task(agent: Any) -> None:
    task = agent.call("create_task", name="login", goal="fix login")["task_id"]
    told = agent.call("track_progress", feature="form", status="in_progress", completion=40)
    assert told["task_id"] == task
    assert told["checkpoint_version"] == 1
    (row,) = agent.runtime.state.progress(task=task)
    assert row.completion == 0.4
    assert agent.call("session_handoff", summary="half way")["checkpoint_version"] == 2


def test_calls_without_any_task_are_kept_and_say_so(agent: Any) -> None:
    told = agent.call("track_failure", error="boom", component="db")
    assert told["task_id"] is None
    assert told["checkpoint_version"] is None
    assert agent.runtime.state.failures()[0].memory == told["memory_id"]


def test_the_same_feature_keeps_its_memory(agent: Any) -> None:
    agent.call("create_task", name="t")
    first = agent.call("track_progress", feature="form", status="in_progress")["memory_id"]
    assert agent.call("track_progress", feature="form", status="done")["memory_id"] == first


def test_a_task_that_began_with_a_prompt_is_named_instead_of_a_second_one_made(agent: Any) -> None:
    (prompted,) = agent.runtime.append(
        TaskCreated(name="please fix…", goal="please fix the login", source="prompt"),
        session=agent.context.session,
        project=agent.context.project,
    )
    agent.runtime.append(
        TaskAttached(task=prompted), session=agent.context.session, project=agent.context.project
    )
    assert agent.call("create_task", name="login", status="in_progress")["task_id"] == prompted
    view = agent.runtime.state.task(prompted)
    assert (view.name, view.goal, view.status) == ("login", "please fix the login", "in_progress")
    assert agent.call("create_task", name="another")["task_id"] != prompted
    assert agent.runtime.state.session(agent.context.session).task == prompted


def test_a_task_set_in_progress_becomes_the_sessions(agent: Any) -> None:
    first = agent.call("create_task", name="one")["task_id"]
    second = agent.call("create_task", name="two")["task_id"]
    assert agent.runtime.state.session(agent.context.session).task == first
    moved: list[int] = []
    watched = agent.session(on_task=moved.append)
    watched.call("update_task", task_id=second, status="in_progress")
    assert watched.runtime.state.session(watched.context.session).task == second
    assert moved == [second]


def test_an_interrupted_task_is_restored_with_everything_that_was_said(agent: Any) -> None:
    task = agent.call("create_task", name="login", goal="fix the login")["task_id"]
    agent.call("track_progress", feature="form", status="in_progress")
    agent.call(
        "session_handoff",
        summary="stopped here",
        completed=["read the code"],
        next_steps=["write the test"],
        must_not_redo=[
            {"action": "send the mail", "reason": "side_effect_emitted", "scope": "prod"},
            "drop table",
        ],
        must_preserve=["the public API"],
        working_set={"files": ["a.py"]},
    )
    for feature in ("docs", "api"):  # the second checkpoint of one reason is debounced, what was said is not
        agent.call("track_progress", feature=feature, status="in_progress")
    agent.runtime.append(
        SessionEnded(verdict=Verdict(kind="killed", signal=9)), session=agent.context.session
    )
    successor = agent.session()
    told = successor.call("restore_checkpoint", task_id=task)
    package = told["continuation"]
    assert package["goal"] == "fix the login"
    assert "read the code" in package["completed"]
    assert {"form", "docs", "api"} <= {text.split(" —")[0] for text in package["in_progress"]}
    assert package["preferred_next"] == ["write the test"]
    assert [p["action"] for p in package["must_not_redo"]] == ["send the mail", "drop table"]
    assert package["must_preserve"] == ["the public API"]
    assert package["working_set"]["files"] == ["a.py"]
    assert package["execution_position"]["in_execution"] is True
    assert successor.runtime.state.session(successor.context.session).task == task
    assert successor.runtime.state.interrupted_tasks(successor.context.project) == []


def test_a_task_without_a_checkpoint_says_what_there_is_instead(agent: Any) -> None:
    (task,) = agent.runtime.append(TaskCreated(name="bare"), project=agent.context.project)
    assert f"get_task(task_id={task})" in agent.refused("restore_checkpoint", task_id=task)
    agent.call("session_handoff", summary="x", task_id=task)
    assert "list_checkpoints" in agent.refused("restore_checkpoint", task_id=task, version=9)


def test_the_supervisor_composes_checkpoints_where_there_is_one(agent: Any) -> None:
    asked: list[tuple[str, str, int | None]] = []

    def write(reason: str, trigger: str, position: int | None) -> None:
        asked.append((reason, trigger, position))

    calls: list[tuple[str, str]] = []
    supervised = agent.session(write_checkpoint=write, on_call=lambda tool, said: calls.append((tool, said)))
    supervised.call("create_task", name="t")
    told = supervised.call("track_failure", error="boom\x1b[2J", component="db")
    assert asked == [("FAILURE", "track_failure", told["memory_id"])]
    assert calls[-1] == ("track_failure", "boom")


def test_a_fault_of_ours_is_a_result_and_not_the_end(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret inner detail")

    monkeypatch.setattr(agent.runtime.state, "tasks", fail, raising=False)
    line = agent.refused("list_tasks")
    assert "RuntimeError" in line
    assert "secret inner detail" not in line


def test_the_catalogue_fits_its_budget() -> None:
    shown = json.dumps(catalogue.listing(), separators=(",", ":"), ensure_ascii=False)
    assert len(shown.encode()) <= 12_000
    assert len(catalogue.INSTRUCTIONS) < 900


def test_the_version_on_the_wire_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
    assert catalogue.version() == project["version"]


def test_importance_is_shown_without_the_rest_of_a_sum(agent: Any) -> None:
    task = agent.call("create_task", name="t")["task_id"]
    content = "the port is 8400"
    agent.call("store_memory", content=content, importance=0.9500000000000001)
    agent.call("track_progress", feature="f", status="done", task_id=task)
    (recalled,) = [
        m for m in agent.call("recall_memory", query="port")["memories"] if m["content"] == content
    ]
    restored = agent.call("restore_checkpoint", task_id=task, memory_restore_mode="FULL")
    (related,) = [m for m in restored["related_memories"] if m["content"] == content]
    (listed,) = [m for m in agent.call("get_task", task_id=task)["other_memories"] if m["content"] == content]
    assert [recalled["importance"], related["importance"], listed["importance"]] == [0.95] * 3


def test_an_end_that_is_no_time_is_refused_and_one_of_another_zone_is_kept_in_utc(agent: Any) -> None:
    agent.call("create_task", name="queue")

    def handed_over(end: str) -> dict[str, Any]:
        return {"summary": "half way", "must_not_redo": [{"action": "restart it", "expires_at": end}]}

    refused = agent.refused("session_handoff", **handed_over("yesterday"))
    assert "expires_at is 'yesterday'" in refused and "2026-12-31T18:00:00Z" in refused
    agent.call("session_handoff", **handed_over("2099-03-01T13:30:00+02:00"))
    (checkpoint,) = agent.runtime.state.checkpoints(task=agent.call("list_tasks")["tasks"][0]["id"])
    (kept,) = agent.runtime.state.checkpoint(checkpoint.id).content.must_not_redo
    assert kept.expires_at == "2099-03-01T11:30:00Z"
