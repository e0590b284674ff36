"""What an OpenHands conversation on disk tells, event by event, whole or half-written."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from engram_tui.agents.openhands_events import condition_of, seconds
from engram_tui.agents.openhands_transcript import OpenHandsTranscript
from engram_tui.watch.observations import (
    CompactionBegan,
    CompactionEnded,
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

STAMP = "2026-11-22T11:16:41.500000"


class Conversation:
    """Writes a conversation as OpenHands does."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder = folder
        self.work = work
        self._count = 0

    def begin(self) -> None:
        """As OpenHands does at the first message: the state, then the folder of events."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state("idle")
        (self.folder / "events").mkdir(exist_ok=True)

    def state(self, status: str, *usages: dict[str, int]) -> None:
        """Rewrite base_state.json."""
        state = {
            "id": self.folder.name,
            "agent": {"llm": {"model": "openai/scripted-model"}},
            "workspace": {"working_dir": str(self.work)},
            "execution_status": status,
            "stats": {"usage_to_metrics": {"agent": {"token_usages": list(usages)}}},
        }
        (self.folder / "base_state.json").write_text(json.dumps(state))

    def add(self, kind: str, **fields: Any) -> Path:
        """Write an event file."""
        event = {"id": "x", "timestamp": STAMP, "kind": kind, **fields}
        path = self.folder / "events" / f"event-{self._count:05}-{uuid.uuid4()}.json"
        path.write_text(json.dumps(event))
        self._count += 1
        return path

    def message(self, source: str, text: str) -> Path:
        """A message of the user or the agent."""
        return self.add(
            "MessageEvent", source=source, llm_message={"content": [{"type": "text", "text": text}]}
        )

    def action(self, tool: str, call_id: str, **action: Any) -> Path:
        """A tool call."""
        return self.add("ActionEvent", source="agent", tool_name=tool, tool_call_id=call_id, action=action)

    def result(self, tool: str, call_id: str, text: str, **observation: Any) -> Path:
        """A tool's result."""
        seen = {"content": [{"type": "text", "text": text}], "is_error": False, **observation}
        return self.add("ObservationEvent", tool_name=tool, tool_call_id=call_id, observation=seen)


@pytest.fixture
def talk(tmp_path: Path) -> Conversation:
    """A conversation that has begun."""
    conversation = Conversation(tmp_path / "conversations" / uuid.uuid4().hex, tmp_path)
    conversation.begin()
    return conversation


def read(talk: Conversation, **options: bool) -> list[Observation]:
    """Everything a new reader sees but the session's announcement."""
    seen = OpenHandsTranscript(talk.folder, talk.work, **options).read()
    return [o for o in seen if not isinstance(o, NativeSession)]


def test_a_turn_is_told_from_prompt_to_end(talk: Conversation, tmp_path: Path) -> None:
    talk.add("SystemPromptEvent", tools=[])
    talk.message("user", "write it")
    talk.action("terminal", "c1", command="echo hi", kind="TerminalAction")
    talk.result("terminal", "c1", "hi", exit_code=0)
    new = str(tmp_path / "new.txt")
    talk.action("file_editor", "c2", command="create", path=new, file_text="x", kind="FileEditorAction")
    talk.result("file_editor", "c2", "created")
    talk.action("finish", "c3", message="ALL-DONE", kind="FinishAction")
    talk.result("finish", "c3", "ALL-DONE")
    prompted, began, ended, edit, edited, turn = read(talk)
    assert prompted == Prompted(channel="transcript", at=seconds(STAMP), text="write it")
    assert isinstance(began, ToolBegan) and isinstance(ended, ToolEnded)
    assert (began.tool, began.call_id, began.command, began.summary) == (
        "terminal",
        "c1",
        "echo hi",
        "echo hi",
    )
    assert (ended.ok, ended.output, ended.summary, ended.duration_ms) == (True, "hi", "echo hi", 0)
    assert isinstance(edit, ToolBegan) and isinstance(edited, ToolEnded)
    assert (edit.paths, edit.summary, edit.command) == ((new,), f"create {new}", "")
    assert edited.paths == (new,)
    assert turn == TurnEnded(channel="transcript", at=seconds(STAMP), text="ALL-DONE")


def test_what_failed_is_told_with_its_reason(talk: Conversation) -> None:
    talk.action("terminal", "c1", command="false", kind="TerminalAction")
    talk.result("terminal", "c1", "no such file", exit_code=2)
    talk.action("file_editor", "c2", command="view", path="/gone", kind="FileEditorAction")
    talk.result("file_editor", "c2", "Invalid path", is_error=True)
    talk.add("ActionEvent", tool_name="nosuch", tool_call_id="c3")
    talk.add("AgentErrorEvent", tool_name="nosuch", tool_call_id="c3", error="Tool 'nosuch' not found")
    talk.action("terminal", "c4", command="rm -r x", kind="TerminalAction")
    talk.add("UserRejectObservation", tool_name="terminal", tool_call_id="c4", rejection_reason="too risky")
    talk.action("terminal", "c5", command="npm start", kind="TerminalAction")
    talk.result("terminal", "c5", "[no new output]", exit_code=-1, timeout=True)
    ended = [o for o in read(talk) if isinstance(o, ToolEnded)]
    assert [o.ok for o in ended] == [False, False, False, False, True]
    assert "exit code 2" in ended[0].error and "no such file" in ended[0].error
    assert [o.error for o in ended[1:4]] == ["Invalid path", "Tool 'nosuch' not found", "rejected: too risky"]
    views = [o for o in read(talk) if isinstance(o, ToolBegan) and o.call_id == "c2"]
    assert views[0].paths == ()


def test_an_mcp_call_is_told_by_what_it_was_asked(talk: Conversation) -> None:
    talk.action("recall_memory", "c1", kind="MCPToolAction", data={"query": "login"})
    heading = {"text": "[Tool 'recall_memory' executed.]"}
    seen = {"content": [heading, {"text": "two memories"}], "is_error": False}
    talk.add("ObservationEvent", tool_name="recall_memory", tool_call_id="c1", observation=seen)
    began, ended = read(talk)
    assert isinstance(began, ToolBegan) and began.summary == "login"
    assert isinstance(ended, ToolEnded) and ended.output == "two memories"


def test_the_task_tracker_is_the_agents_plan(talk: Conversation) -> None:
    tasks = [
        {"title": "A", "status": "done"},
        {"title": "B", "status": "in_progress"},
        {"title": "C", "status": "todo"},
    ]
    talk.action("task_tracker", "c1", command="plan", task_list=tasks, kind="TaskTrackerAction")
    talk.result("task_tracker", "c1", "updated", task_list=tasks)
    (plan,) = [o for o in read(talk) if isinstance(o, PlanSeen)]
    assert plan.items == (("A", "completed"), ("B", "in_progress"), ("C", "pending"))


def test_a_call_without_a_result_is_the_last_thing_a_killed_agent_did(talk: Conversation) -> None:
    talk.message("user", "go")
    talk.action("terminal", "c1", command="tail -f /dev/null", kind="TerminalAction")
    assert isinstance(read(talk)[-1], ToolBegan)


def test_a_condensation_is_a_compaction(talk: Conversation) -> None:
    talk.add("CondensationRequest")
    talk.add("Condensation", forgotten_event_ids=["a", "b"], summary="…")
    talk.message("agent", "done")
    began, ended, turn = read(talk)
    assert isinstance(began, CompactionBegan) and isinstance(ended, CompactionEnded)
    assert isinstance(turn, TurnEnded)


def test_a_condensation_that_fails_is_an_overflow(talk: Conversation) -> None:
    talk.add("CondensationRequest")
    talk.add("ConversationErrorEvent", code="SomethingNew", detail="cannot")
    failure = read(talk)[-1]
    assert isinstance(failure, TurnFailed) and failure.condition == "overflow"


@pytest.mark.parametrize(
    ("code", "detail", "condition"),
    [
        ("AuthenticationError", "litellm.AuthenticationError: Incorrect API key", "auth"),
        ("LLMAuthenticationError", "no", "auth"),
        ("APIError", "litellm.APIError: insufficient credits", "auth"),
        ("LLMRateLimitError", "litellm.RateLimitError: slow down", "rate_limit"),
        ("LLMServiceUnavailableError", "litellm.InternalServerError: boom", "api_error"),
        (
            "LLMServiceUnavailableError",
            "litellm.InternalServerError: AnthropicError - Overloaded",
            "overloaded",
        ),
        ("APIError", "litellm.APIError: no permission", "api_error"),
        ("LLMContextWindowExceedError", "too long", "overflow"),
        ("NoCondensationAvailableException", "Unable to compute forgotten events", "overflow"),
        ("MaxIterationsReached", "Agent reached maximum iterations limit (500).", None),
        ("KeyError", "'x'", None),
    ],
)
def test_errors_are_told_apart_by_exception_and_text(code: str, detail: str, condition: str | None) -> None:
    assert condition_of(code, detail) == condition


def test_only_what_is_new_is_read(talk: Conversation) -> None:
    reader = OpenHandsTranscript(talk.folder, talk.work)
    talk.message("user", "one")
    assert [type(o) for o in reader.read()] == [NativeSession, Prompted]
    assert reader.read() == []
    talk.message("user", "two")
    (second,) = reader.read()
    assert isinstance(second, Prompted) and second.text == "two"
    assert reader.offset == 2


def test_a_half_written_event_is_read_when_it_is_whole(talk: Conversation) -> None:
    reader = OpenHandsTranscript(talk.folder, talk.work)
    path = talk.message("user", "whole")
    whole = path.read_text()
    path.write_text(whole[:40])
    os.utime(path.parent, (1, 1))  # writing into a file leaves its folder's time as it is
    assert [type(o) for o in reader.read()] == [NativeSession]
    path.write_text(whole)
    assert [o.text for o in reader.read() if isinstance(o, Prompted)] == ["whole"]


def test_an_event_torn_by_a_kill_does_not_hide_the_next_run(talk: Conversation) -> None:
    reader = OpenHandsTranscript(talk.folder, talk.work)
    talk.message("user", "torn").write_text('{"id": ')
    talk.message("user", "after")
    assert [o.text for o in reader.read() if isinstance(o, Prompted)] == ["after"]


def test_a_quiet_conversation_is_not_listed_again(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - 60
    for path in (talk.folder / "events", talk.folder / "base_state.json"):
        os.utime(path, (long_ago, long_ago))
    reader = OpenHandsTranscript(talk.folder, talk.work)
    reader.read()

    def refuse(*_: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(json, "loads", refuse)
    assert reader.read() == []


def test_events_of_an_earlier_run_are_not_told_again(talk: Conversation) -> None:
    talk.message("user", "earlier")
    talk.action("terminal", "c1", command="x", kind="TerminalAction")
    talk.state("waiting_for_confirmation", {"prompt_tokens": 5, "completion_tokens": 1})
    reader = OpenHandsTranscript(talk.folder, talk.work, skip_present=True)
    (announced,) = reader.read()
    assert isinstance(announced, NativeSession) and announced.source == "resume"
    talk.add("AgentErrorEvent", tool_name="terminal", tool_call_id="c1", error="A restart occurred")
    talk.message("user", "now")
    (now,) = reader.read()
    assert isinstance(now, Prompted) and now.text == "now"


def test_waiting_for_a_confirmation_is_seen_with_what_is_asked(talk: Conversation) -> None:
    reader = OpenHandsTranscript(talk.folder, talk.work)
    talk.action("terminal", "c1", command="rm -r build", kind="TerminalAction")
    talk.state("waiting_for_confirmation")
    waiting = reader.read()[-1]
    assert isinstance(waiting, Waiting) and "rm -r build" in waiting.text
    talk.state("running")
    assert reader.read() == []


def test_a_loop_that_openhands_broke_off_is_a_failure(talk: Conversation) -> None:
    talk.state("stuck")
    (failure,) = read(talk)
    assert isinstance(failure, TurnFailed) and failure.condition == "stalled"


def test_context_is_that_of_the_last_answer(talk: Conversation) -> None:
    first = {"prompt_tokens": 3000, "completion_tokens": 10, "context_window": 0}
    second = {"prompt_tokens": 3100, "completion_tokens": 20, "context_window": 128_000}
    reader = OpenHandsTranscript(talk.folder, talk.work)
    talk.state("finished", first, second)
    context = reader.read()[-1]
    assert context == ContextSeen(channel="transcript", used=3120, window=128_000, tokens_out=30)
    talk.state("idle", first, second)
    assert reader.read() == []


@pytest.mark.parametrize("seen_between", [True, False])
def test_a_conversation_begun_by_new_is_followed(talk: Conversation, seen_between: bool) -> None:
    reader = OpenHandsTranscript(talk.folder, talk.work, follow_new=True)
    reader.read()
    other = Conversation(talk.folder.parent / uuid.uuid4().hex, talk.work)
    (other.folder / "events").mkdir(parents=True)
    if seen_between:
        assert reader.read() == []
    other.state("idle")
    other.message("user", "anew")
    announced, prompted = reader.read()
    assert isinstance(announced, NativeSession) and isinstance(prompted, Prompted)
    assert (announced.source, announced.transcript_path) == ("clear", str(other.folder))
    assert reader.path == other.folder


def test_conversations_of_others_are_not_followed(talk: Conversation, tmp_path: Path) -> None:
    reader = OpenHandsTranscript(talk.folder, talk.work, follow_new=True)
    reader.read()
    stranger = Conversation(talk.folder.parent / uuid.uuid4().hex, talk.work)
    stranger.folder.mkdir()
    stranger.state("idle")
    assert reader.read() == []
    stranger.begin()
    stranger.message("user", "of another terminal")
    another_session = uuid.uuid5(uuid.NAMESPACE_OID, "engram").hex
    elsewhere = uuid.uuid4().hex
    for name in (another_session, elsewhere):
        (talk.folder.parent / name / "events").mkdir(parents=True)
    assert reader.read() == []
    Conversation(talk.folder.parent / another_session, talk.work).begin()
    Conversation(talk.folder.parent / elsewhere, tmp_path / "elsewhere").begin()
    assert reader.read() == []
    assert reader.path == talk.folder
