"""Sessions that nobody supervises: their ends, and what the next session is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engram_runtime.errors import StoreUnavailable
from engram_runtime.ids import session_id
from engram_runtime.journal.events import InterruptionReported, SessionStarted, TaskAttached, TaskCreated
from engram_runtime.journal.records import Verdict
from engram_runtime.mcp.presence import Presence, is_dead, sessions
from engram_runtime.mcp.server import run_tool
from engram_runtime.mcp.unsupervised import UnsupervisedSession, lost_sessions, record_the_dead

EOF = Verdict(kind="user_quit")
TERMINATED = Verdict(kind="killed", signal=15)


@pytest.fixture
def alone(runtime: Any) -> Any:
    return UnsupervisedSession(runtime, session_id(), Path.cwd())


def call(runtime: Any, session: UnsupervisedSession, tool: str, /, **given: Any) -> Any:
    result = run_tool(runtime, session.context(), ("cursor", "1.0"), tool, given)
    assert not result.is_error, result.content
    return result.structured_content


def successor_recalls(runtime: Any) -> list[dict[str, Any]]:
    successor = UnsupervisedSession(runtime, session_id(), Path.cwd())
    told = call(runtime, successor, "recall_memory", query="what was going on")
    successor.end(EOF)
    return list(told["pinned"])


def test_a_session_that_never_called_a_tool_leaves_no_trace(runtime: Any, alone: Any) -> None:
    alone.end(TERMINATED)
    assert runtime.health().journal_position == 0
    assert list(sessions(runtime.home)) == []


def test_a_session_begins_with_its_first_call_under_the_clients_name(runtime: Any, alone: Any) -> None:
    call(runtime, alone, "list_tasks")
    view = runtime.state.session(alone.id)
    assert (view.agent, view.agent_version, view.mode) == ("cursor", "1.0", "mcp")
    (found,) = sessions(runtime.home)
    assert (found.id, found.mode, is_dead(found)) == (alone.id, "mcp", False)
    assert found.folder.stat().st_mode & 0o777 == 0o700
    assert (found.folder / "session.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("verdict", [EOF, TERMINATED])
def test_an_end_in_open_work_is_pinned_with_what_to_do(runtime: Any, alone: Any, verdict: Verdict) -> None:
    task = call(runtime, alone, "create_task", name="login", goal="fix it", status="in_progress")["task_id"]
    call(runtime, alone, "track_progress", feature="form", status="in_progress")
    alone.end(verdict)
    assert runtime.state.session(alone.id).verdict.kind == verdict.kind
    checkpoint = runtime.state.checkpoint_version(task)
    assert checkpoint.content.verdict.kind == verdict.kind
    assert list(sessions(runtime.home)) == []
    (pin,) = successor_recalls(runtime)
    assert (pin["kind"], pin["task_id"]) == ("interruption", task)
    assert "cursor" in pin["text"] and "form" in pin["text"]
    assert f"restore_checkpoint(task_id={task})" in pin["what_to_do"]


def test_a_session_that_takes_the_task_up_ends_the_pin(runtime: Any, alone: Any) -> None:
    task = call(runtime, alone, "create_task", name="login", status="in_progress")["task_id"]
    alone.end(TERMINATED)
    successor = UnsupervisedSession(runtime, session_id(), Path.cwd())
    call(runtime, successor, "restore_checkpoint", task_id=task)
    assert call(runtime, successor, "recall_memory", query="login")["pinned"] == []
    call(runtime, successor, "update_task", task_id=task, status="done")
    successor.end(EOF)
    assert successor_recalls(runtime) == []


def test_work_without_a_task_is_pinned_too(runtime: Any, alone: Any) -> None:
    call(runtime, alone, "track_progress", feature="payment", status="in_progress")
    alone.end(EOF)
    (pin,) = successor_recalls(runtime)
    assert pin["task_id"] is None
    assert "payment" in pin["text"]


def test_a_handoff_is_pinned_in_plain_words_and_leads_the_memories(runtime: Any, alone: Any) -> None:
    call(runtime, alone, "track_failure", error="timeout", component="net", fix="retry")
    call(
        runtime,
        alone,
        "session_handoff",
        summary="parser half done",
        completed=["lexer"],
        in_progress=["parser"],
        next_steps=["printer", "lexer"],
        must_not_redo=["rewrite the lexer"],
    )
    alone.end(EOF)
    successor = UnsupervisedSession(runtime, session_id(), Path.cwd())
    told = call(runtime, successor, "recall_memory", query="zzz")
    kinds = [pin["kind"] for pin in told["pinned"]]
    assert kinds == ["interruption", "handoff"]
    said = told["pinned"][1]["text"]
    assert "parser half done" in said and "Must not be redone: rewrite the lexer" in said
    first = told["memories"][0]
    assert first["metadata"]["type"] == "handoff"
    assert first["handoff_validation"][0] == {"step": "parser", "status": "open"}
    assert first["related_failures"][0]["error"] == "timeout"


def test_a_session_that_only_looked_leaves_no_interruption(runtime: Any, alone: Any) -> None:
    call(runtime, alone, "recall_memory", query="x")
    alone.end(TERMINATED)
    assert successor_recalls(runtime) == []


def test_a_finished_task_leaves_no_interruption(runtime: Any, alone: Any) -> None:
    task = call(runtime, alone, "create_task", name="login")["task_id"]
    call(runtime, alone, "update_task", task_id=task, status="done")
    alone.end(EOF)
    assert successor_recalls(runtime) == []


def test_a_session_found_dead_is_recorded_once_as_lost(runtime: Any) -> None:
    name = session_id()
    runtime.append(SessionStarted(agent="cursor", mode="mcp"), session=name)
    (task,) = runtime.append(TaskCreated(name="login"), session=name)
    runtime.append(TaskAttached(task=task), session=name)
    card = {"agent": "cursor", "project": runtime.project, "mode": "mcp", "ended": False}
    presence = Presence(runtime.home, name, card)
    assert record_the_dead(runtime) == []
    presence.release()
    assert record_the_dead(runtime) == [name]
    assert record_the_dead(runtime) == []
    assert runtime.state.session(name).verdict.kind == "lost"
    assert runtime.state.checkpoint_version(task).reason == "LOST"
    (interruption,) = runtime.state.interruptions(project=runtime.project)
    assert (interruption.reason, interruption.source, interruption.task) == ("crash", "observed", task)
    assert "gone without a trace" in successor_recalls(runtime)[0]["text"]


def test_a_lost_supervised_session_is_named_but_left_to_a_supervisor(runtime: Any) -> None:
    name = session_id()
    runtime.append(SessionStarted(agent="claude"), session=name)
    (task,) = runtime.append(TaskCreated(name="login"), session=name)
    runtime.append(TaskAttached(task=task), session=name)
    card = {
        "agent": "claude",
        "project": runtime.project,
        "mode": "interactive",
        "task": task,
        "ended": False,
    }
    Presence(runtime.home, name, card).release()
    assert [lost.id for lost in lost_sessions(runtime)] == [name]
    assert runtime.state.session(name).ended_at is None
    (pin,) = successor_recalls(runtime)
    assert pin["task_id"] == task and "its supervisor" in pin["text"]


def test_a_reported_interruption_says_what_it_means(runtime: Any, alone: Any) -> None:
    call(runtime, alone, "create_task", name="login", status="in_progress")
    told = call(runtime, alone, "report_interruption", reason="overflow", context={"at": "95 %"})
    assert told["intelligence"]["memory_restore_mode"] == "SELECTIVE"
    (event,) = [at.event for at in runtime.events(kinds=("InterruptionReported",))]
    assert isinstance(event, InterruptionReported)
    assert event.task is not None
    (version,) = runtime.state.checkpoints(event.task)
    assert version.reason == "OVERFLOW"
    assert call(runtime, alone, "recall_memory", query="login")["pinned"] == []
    assert [pin["task_id"] for pin in successor_recalls(runtime)] == [event.task]


def test_a_home_that_cannot_be_written_still_answers_reads(runtime: Any, alone: Any) -> None:
    (runtime.home / "sessions").write_text("in the way", "utf-8")
    assert call(runtime, alone, "list_tasks")["total"] == 0
    alone.end(EOF)


def test_a_beginning_that_the_disk_refused_is_tried_again_and_blocks_nothing(
    runtime: Any, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("The journal cannot be written: the disk is full.", hint="Free some space.")

    with monkeypatch.context() as broken:
        broken.setattr(runtime, "append", full)
        call(runtime, alone, "list_tasks")
        # Its lock is held since: taking it once more would wait for itself.
        call(runtime, alone, "list_tasks")
    call(runtime, alone, "list_tasks")
    assert runtime.state.session(alone.id).mode == "mcp"
    alone.end(EOF)


def test_a_presence_that_could_not_be_made_lets_go_of_its_lock(runtime: Any) -> None:
    session = session_id()
    (runtime.home / "sessions" / session / "session.json.new").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(OSError, match="session"):
            Presence(runtime.home, session, {"agent": "cursor"})
