"""Claude's past conversations become sessions and tasks: with their times, once, and going on where they went on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.errors import UsageError
from engram_runtime.journal.events import NativeSessionSeen, SessionStarted
from engram_runtime.runtime import Runtime
from engram_tui.cli.past_conversations import import_claude

NATIVE = "e3f28b88-88ed-483e-8cad-2d86300659c3"


class Transcript:
    """A transcript as Claude Code 2.1.330 writes it."""

    def __init__(self, folder: Path, native: str = NATIVE, cwd: str = "/projects/shop") -> None:
        self.path = folder / "projects" / "-projects-shop" / f"{native}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._common = {"sessionId": native, "cwd": cwd, "version": "2.1.330", "gitBranch": "main"}
        self._second = 0

    def line(self, kind: str, content: Any, **more: Any) -> None:
        self._second += 1
        message = {"role": kind, "content": content, **more.pop("message", {})}
        said = {
            **self._common,
            "type": kind,
            "isSidechain": False,
            "timestamp": f"2026-02-03T10:00:{self._second:02}.000Z",
            "message": message,
            **more,
        }
        with self.path.open("a") as file:
            file.write(json.dumps(said) + "\n")

    def raw(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text + "\n")

    def work(self, prompt: str, call: str) -> None:
        """A prompt, an edit that is done, and an answer."""
        self.line("user", prompt)
        use = {
            "type": "tool_use",
            "id": call,
            "name": "Edit",
            "input": {"file_path": "/projects/shop/cart.py"},
        }
        usage = {"input_tokens": 10, "cache_read_input_tokens": 14_000, "output_tokens": 5}
        told = {"id": f"msg{call}", "model": "claude-sonnet-4", "usage": usage}
        self.line("assistant", [use], message=told)
        self.line("user", [{"type": "tool_result", "tool_use_id": call, "content": "edited"}])
        said = {"id": f"end{call}", "model": "claude-sonnet-4", "stop_reason": "end_turn"}
        self.line("assistant", [{"type": "text", "text": f"Done with {prompt}"}], message=said)


def test_a_conversation_becomes_a_session_with_its_task(runtime: Runtime, tmp_path: Path) -> None:
    Transcript(tmp_path).work("Build the cart\nwith care", "t1")
    taken = import_claude(runtime, tmp_path)
    assert (taken.conversations, taken.skipped, taken.unreadable_lines) == (1, [], 0)
    (session,) = runtime.state.sessions()
    assert (session.agent, session.agent_version, session.branch) == ("claude", "2.1.330", "main")
    assert (session.project, session.native_id) == ("/projects/shop", NATIVE)
    assert session.started_at == "2026-02-03T10:00:01.000000Z"
    assert session.ended_at == "2026-02-03T10:00:04.000000Z"
    assert session.last_said == "Done with Build the cart\nwith care"
    assert session.context is not None and session.context.used == 14_010
    (task,) = runtime.state.tasks()
    assert (task.name, task.goal, task.source) == ("Build the cart", "Build the cart\nwith care", "import")
    assert (task.created_at, task.last_session) == ("2026-02-03T10:00:01.000000Z", session.id)
    (change,) = runtime.state.files(session.id).changes
    assert (change.path, change.by) == ("cart.py", "agent")
    assert [t.fact.status for t in runtime.state.tools(session.id)] == ["succeeded"]


def test_past_work_is_no_interrupted_work(runtime: Runtime, tmp_path: Path) -> None:
    transcript = Transcript(tmp_path)
    transcript.line("user", "Do it")
    transcript.line(
        "assistant", [{"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "make"}}]
    )
    import_claude(runtime, tmp_path)
    (session,) = runtime.state.sessions()
    assert [t.fact.status for t in runtime.state.tools(session.id)] == ["interrupted"]
    assert session.verdict is not None and "within a turn" in session.verdict.evidence[0]
    assert runtime.state.interrupted_tasks("/projects/shop") == []


def test_a_second_import_takes_over_nothing(runtime: Runtime, tmp_path: Path) -> None:
    Transcript(tmp_path).work("Build", "t1")
    import_claude(runtime, tmp_path)
    head = runtime.journal.head()
    assert import_claude(runtime, tmp_path).known == 1
    assert runtime.journal.head() == head


def test_a_conversation_that_went_on_goes_on_here(runtime: Runtime, tmp_path: Path) -> None:
    transcript = Transcript(tmp_path)
    transcript.work("Build", "t1")
    import_claude(runtime, tmp_path)
    transcript.work("Now test it", "t2")
    taken = import_claude(runtime, tmp_path)
    assert (taken.conversations, taken.continued) == (0, 1)
    (session,) = runtime.state.sessions()
    assert (session.last_prompt, session.first_prompt) == ("Now test it", "Build")
    assert len(runtime.state.tools(session.id)) == 2
    assert len(runtime.state.tasks()) == 1


def test_unreadable_lines_are_counted_and_odd_files_named(runtime: Runtime, tmp_path: Path) -> None:
    transcript = Transcript(tmp_path)
    transcript.raw("{broken")
    transcript.work("Build", "t1")
    transcript.raw("\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + "}")
    agents = Transcript(tmp_path, native="0a0a0a0a-0000-4000-8000-000000000000")
    agents.line("user", "a sub-agent's task", isSidechain=True)
    (tmp_path / "projects" / "-projects-shop" / "notes.jsonl").write_text('{"hello": 1}\n')
    taken = import_claude(runtime, tmp_path)
    assert (taken.conversations, taken.unreadable_lines) == (1, 2)
    assert sorted(why for _, why in taken.skipped) == [
        "a sub-agent's own record",
        "no transcript of a conversation",
    ]


def test_what_a_supervisor_saw_is_not_taken_again(runtime: Runtime, tmp_path: Path) -> None:
    Transcript(tmp_path).work("Build", "t1")
    runtime.append(SessionStarted(agent="claude"), session="s1sxf09ykq4c")
    runtime.append(NativeSessionSeen(native_id=NATIVE), session="s1sxf09ykq4c")
    runtime.append(NativeSessionSeen(native_id="another"), session="s1sxf09ykq4c")
    taken = import_claude(runtime, tmp_path)
    assert (taken.conversations, taken.known) == (0, 1)


def test_each_conversation_belongs_to_its_own_project(runtime: Runtime, tmp_path: Path) -> None:
    Transcript(tmp_path).work("Build", "t1")
    Transcript(tmp_path, native="0a0a0a0a-0000-4000-8000-000000000000", cwd="/projects/other").work(
        "Fix", "t1"
    )
    import_claude(runtime, tmp_path)
    assert {t.project for t in runtime.state.tasks()} == {"/projects/shop", "/projects/other"}


def test_a_folder_without_transcripts_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no transcripts"):
        import_claude(runtime, tmp_path)


def test_no_half_of_a_secret_gets_into_the_name_of_a_task(runtime: Runtime, tmp_path: Path) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    Transcript(tmp_path).work(f"Use the new token for the deployment {secret}", "t1")
    import_claude(runtime, tmp_path)
    (task,) = runtime.state.tasks(project="/projects/shop")
    assert "ghp_" not in task.name + task.goal
