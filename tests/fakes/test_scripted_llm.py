"""The scripted LLM itself: what it understands, what it answers, and that it lets go."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import plan_script
from tests.fakes.scripted_llm import (
    PlanScript,
    Reply,
    Request,
    ScriptedLLM,
    ScriptError,
    Step,
    ToolResult,
    any_of,
    tool_said,
    was_told,
)
from tests.support import wait_until

TOOLS = [{"name": "Bash", "description": "runs", "input_schema": {"type": "object"}}]
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "<system-reminder>BRIEFING</system-reminder>"}]},
    {"role": "system", "content": "REMINDER"},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "MY-PLAN"},
            {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "echo MY-COMMAND"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "is_error": True,
                "content": [{"type": "text", "text": "NO"}],
            }
        ],
    },
]


def ask(url: str, body: dict[str, Any], path: str = "/v1/messages") -> str:
    """Posts a body as agents do; returns the answer's text."""
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def main_body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A turn of a main conversation in Anthropic's format."""
    said = list(messages) or [{"role": "user", "content": "go"}]
    return {"model": "m", "system": "SYSTEM", "messages": said, "tools": TOOLS, **more}


def request_of(body: dict[str, Any], headers: dict[str, str] | None = None) -> Request:
    """A request as a script gets it."""
    return Request(1, "/v1/messages", headers or {}, body, 0.0)


def events(stream: str) -> Iterator[Any]:
    """The data of each server-sent event."""
    for line in stream.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def test_a_request_tells_what_others_said_apart_from_what_the_model_said() -> None:
    request = request_of(main_body(*HISTORY))
    assert all(request.told(text) for text in ("SYSTEM", "BRIEFING", "REMINDER", "NO"))
    assert not request.told("MY-PLAN")
    assert not request.told("MY-COMMAND")
    assert "MY-PLAN" in request.text
    assert "MY-COMMAND" in request.text
    assert "REMINDER" in request.system
    assert request.tools == ("Bash",)
    assert request.tool_results() == [ToolResult("Bash", "NO", True, {"command": "echo MY-COMMAND"})]


def test_tool_results_of_chat_completions_are_understood_too() -> None:
    call = {"id": "c1", "function": {"name": "terminal", "arguments": '{"command": "ls"}'}}
    body = {
        "messages": [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "README.md"},
        ],
        "tools": [{"type": "function", "function": {"name": "terminal"}}],
    }
    request = request_of(body)
    assert request.tool_results() == [ToolResult("terminal", "README.md", False, {"command": "ls"})]
    assert request.tools == ("terminal",)


def test_side_requests_are_no_turns_of_the_main_conversation() -> None:
    summary = "Do NOT call any tools. Answer with an <analysis> block and a <summary> block."
    assert request_of(main_body()).is_main
    assert not request_of({"messages": [{"role": "user", "content": "a title?"}]}).is_main
    assert not request_of(main_body({"role": "user", "content": summary})).is_main
    assert not request_of(main_body(), {"x-claude-code-agent-id": "a1"}).is_main


def test_a_stream_and_a_document_carry_the_same_text_calls_and_usage() -> None:
    reply = Reply(text="x" * 100, calls=Reply.call("Bash", command="ls").calls, usage={"input_tokens": 7})
    with ScriptedLLM(lambda request: reply) as llm:
        whole = json.loads(ask(llm.url, main_body()))
        stream = list(events(ask(llm.url, main_body(stream=True))))
    assert [block["type"] for block in whole["content"]] == ["text", "tool_use"]
    assert whole["stop_reason"] == "tool_use"
    assert whole["usage"]["input_tokens"] == 7
    deltas = [event["delta"] for event in stream if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "x" * 100
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == {"command": "ls"}
    assert stream[-1]["type"] == "message_stop"
    assert stream[-2]["usage"]["input_tokens"] == 7


def test_chat_completions_carry_text_calls_and_usage_both_ways() -> None:
    reply = Reply(text="hello", calls=Reply.call("terminal", command="ls").calls, usage={"input_tokens": 7})
    path = "/v1/chat/completions"
    with ScriptedLLM(lambda request: reply) as llm:
        whole = json.loads(ask(llm.url, main_body(), path))
        stream = list(events(ask(llm.url, main_body(stream=True), path)))
    message = whole["choices"][0]["message"]
    assert message["content"] == "hello"
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"command": "ls"}
    assert whole["usage"]["prompt_tokens"] == 7
    deltas = [event["choices"][0]["delta"] for event in stream if event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "hello"
    assert [delta["tool_calls"][0]["function"]["name"] for delta in deltas if "tool_calls" in delta] == [
        "terminal"
    ]


def test_an_error_reply_has_its_status_type_message_and_headers() -> None:
    with (
        ScriptedLLM(lambda request: Reply.fail(429, "slow down", headers={"retry-after": "3"})) as llm,
        pytest.raises(urllib.error.HTTPError) as raised,
    ):
        ask(llm.url, main_body())
    with raised.value as answer:
        assert (answer.code, answer.headers["retry-after"]) == (429, "3")
        assert json.loads(answer.read())["error"] == {"type": "rate_limit_error", "message": "slow down"}


def test_models_and_token_counts_are_answered_without_the_script() -> None:
    with ScriptedLLM(lambda request: Reply.fail(500)) as llm:
        with urllib.request.urlopen(f"{llm.url}/v1/models", timeout=10) as answer:
            assert json.load(answer)["data"]
        assert json.loads(ask(llm.url, main_body(), "/v1/messages/count_tokens"))["input_tokens"] > 0
        assert llm.requests == ()


@pytest.mark.parametrize("stream", [True, False])
def test_a_held_reply_comes_when_it_is_released(stream: bool) -> None:
    release = threading.Event()
    answers: list[str] = []
    with ScriptedLLM(lambda request: Reply.say("AT-LAST", hold=release)) as llm:
        asking = threading.Thread(target=lambda: answers.append(ask(llm.url, main_body(stream=stream))))
        asking.start()
        llm.wait_for(lambda request: request.is_main, 5)
        asking.join(0.2)
        assert asking.is_alive()
        release.set()
        asking.join(5)
    assert "AT-LAST" in answers[0]


def test_closing_lets_go_of_a_client_whose_reply_is_held() -> None:
    failures: list[Exception] = []

    def asking() -> None:
        try:
            ask(llm.url, main_body())
        except OSError as error:
            failures.append(error)

    threads = threading.active_count()
    with ScriptedLLM(lambda request: Reply.say("never", hold=threading.Event())) as llm:
        client = threading.Thread(target=asking)
        client.start()
        llm.wait_for(lambda request: request.is_main, 5)
        before = time.monotonic()
    client.join(5)
    assert time.monotonic() - before < 3
    assert failures != []
    wait_until(lambda: threading.active_count() == threads, 3)


def test_a_failing_script_fails_the_test_and_not_only_the_agent() -> None:
    def script(request: Request) -> Reply:
        raise KeyError("typo")

    with (
        pytest.raises(ScriptError, match="typo"),
        ScriptedLLM(script) as llm,
        pytest.raises(urllib.error.HTTPError) as answer,
    ):
        ask(llm.url, main_body())
    answer.value.close()


def test_only_the_last_requests_are_kept() -> None:
    with ScriptedLLM(lambda request: Reply.say("ok"), keep=2) as llm:
        for _ in range(3):
            ask(llm.url, main_body())
        assert [request.number for request in llm.requests] == [2, 3]


def test_waiting_for_a_request_that_does_not_come_says_so() -> None:
    with ScriptedLLM(lambda request: Reply.say("ok")) as llm, pytest.raises(TimeoutError, match="0 requests"):
        llm.wait_for(lambda request: True, 0.05)


def test_a_plan_repeats_a_step_until_it_is_told_that_it_is_done() -> None:
    plan = PlanScript(
        Step(
            "one",
            Reply.call("Bash", command="1"),
            done_when=any_of(was_told("one: done"), tool_said("Bash", "NO")),
        ),
        Step(
            "two", lambda request: Reply.call("Bash", command=request.model), done_when=was_told("two: done")
        ),
        finish=Reply.say("END"),
    )
    nothing = request_of(main_body())
    assert plan(nothing).calls[0].input == {"command": "1"}
    assert plan(nothing).calls[0].input == {"command": "1"}
    assert plan(request_of(main_body(*HISTORY))).calls[0].input == {"command": "1"}
    assert plan(request_of(main_body({"role": "user", "content": "one: done"}))).calls[0].input == {
        "command": "m"
    }
    assert plan(request_of(main_body({"role": "user", "content": "one: done two: done"}))).text == "END"
    assert plan.taken == ("one", "one", "one", "two")


def test_a_plan_gives_up_on_a_step_that_is_never_done() -> None:
    plan = PlanScript(Step("one", Reply.call("Bash", command="1"), done_when=was_told("one: done")))
    replies = [plan(request_of(main_body())) for _ in range(plan_script.STUCK_AFTER + 1)]
    assert all(reply.calls for reply in replies[:-1])
    assert "give up" in (replies[-1].text or "")


def test_a_plan_answers_side_requests_apart() -> None:
    plan = PlanScript(Step("one", Reply.call("Bash", command="1"), done_when=was_told("one: done")))
    assert plan(request_of({"messages": [{"role": "user", "content": "a title?"}]})).text == "Done."
    assert plan.taken == ()
