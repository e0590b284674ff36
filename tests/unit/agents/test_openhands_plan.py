"""What OpenHands is started with: Engram beside the user's own, whose files stay theirs."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.journal.records import VerdictKind
from engram_tui.agents.base import Endpoint, ExitFacts, LaunchPlan, LaunchRequest
from engram_tui.agents.openhands import CANNOT_READ_FILE, NO_PROMPT_NO_BRIEFING, OpenHands
from engram_tui.agents.openhands_folders import CANNOT_READ_MCP, SOCKET_PATH_LIMIT
from engram_tui.agents.openhands_prompt import SEED_NAME, spoken
from engram_tui.agents.registry import adapter, first_found
from engram_tui.supervisor.main import put_in_place
from engram_tui.watch.observations import TurnFailed

USER_SERVER = {"command": "tickets", "args": ["--stdio"], "env": {}, "enabled": False}


def request(tmp_path: Path, *args: str, **fields: Any) -> LaunchRequest:
    """A request in a folder of the test."""
    given: dict[str, Any] = {
        "session_dir": tmp_path / "s",
        "environ": {"HOME": str(tmp_path)},
        "endpoint": Endpoint(4711, "secret-token", tmp_path / "token"),
        **fields,
    }
    return LaunchRequest(
        executable="/bin/openhands", args=args, cwd=tmp_path, session="s1", interactive=True, **given
    )


def user_folder(tmp_path: Path) -> Path:
    """An OpenHands folder with settings, a login and an MCP server of the user's."""
    folder = tmp_path / ".openhands"
    (folder / "cloud").mkdir(parents=True)
    (folder / "cloud" / "api_key.txt").write_text("key")
    (folder / "agent_settings.json").write_text('{"llm": {}}')
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"tickets": USER_SERVER}, "extra": 1}))
    return folder


def written(plan: LaunchPlan, name: str) -> bytes:
    """The content of a planned file."""
    (data,) = [data for path, data in plan.files if path.name == name]
    return data


def test_the_arguments_stay_as_typed_behind_the_conversations_id(tmp_path: Path) -> None:
    typed = ("--headless", "--json", "-t", "do it")
    plan = OpenHands().plan(request(tmp_path, *typed))
    assert plan.argv == ("/bin/openhands", f"--resume={plan.native_id}", *typed)
    assert plan.transcript == tmp_path / ".openhands" / "conversations" / uuid.UUID(plan.native_id).hex
    assert plan.prompt_submitted == "do it"
    assert plan.briefing_channel == ""


def test_the_users_own_resume_is_left_alone(tmp_path: Path) -> None:
    chosen = "6f1c2c3e-1111-4222-8333-444455556666"
    plan = OpenHands().plan(request(tmp_path, "--resume", chosen))
    assert plan.argv == ("/bin/openhands", "--resume", chosen)
    assert plan.native_id == chosen
    assert OpenHands().plan(request(tmp_path, "--resume", "no-uuid")).transcript is None


def test_the_last_conversation_is_the_one_that_began_last(tmp_path: Path) -> None:
    for name, stamp in (("a" * 32, "2026-11-22T10:00:00"), ("b" * 32, "2026-11-22T11:00:00")):
        events = tmp_path / ".openhands" / "conversations" / name / "events"
        events.mkdir(parents=True)
        (events / "event-00000-x.json").write_text(json.dumps({"timestamp": stamp}))
    plan = OpenHands().plan(request(tmp_path, "--resume", "--last"))
    assert plan.native_id == str(uuid.UUID("b" * 32))
    assert plan.argv == ("/bin/openhands", "--resume", "--last")


def test_the_users_servers_stay_beside_engrams(tmp_path: Path) -> None:
    user_folder(tmp_path)
    plan = OpenHands().plan(request(tmp_path))
    config = json.loads(written(plan, "mcp.json"))
    assert config["mcpServers"]["tickets"] == USER_SERVER
    assert config["extra"] == 1
    assert config["mcpServers"]["engram"]["url"] == "http://127.0.0.1:4711/mcp"
    assert config["mcpServers"]["engram"]["headers"] == {"Authorization": "Bearer secret-token"}
    assert plan.mcp
    assert "secret-token" not in " ".join(plan.argv)
    assert "secret-token" not in " ".join(plan.environ.values())


def test_servers_at_the_root_of_the_users_file_count_too(tmp_path: Path) -> None:
    (user_folder(tmp_path) / "mcp.json").write_text(json.dumps({"tickets": USER_SERVER}))
    config = json.loads(written(OpenHands().plan(request(tmp_path)), "mcp.json"))
    assert set(config["mcpServers"]) == {"tickets", "engram"}


def test_the_user_is_told_that_tools_of_an_only_server_get_its_name(tmp_path: Path) -> None:
    folder = user_folder(tmp_path)
    assert not any("tickets_" in note for note in OpenHands().plan(request(tmp_path)).notes)
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"tickets": {"command": "tickets"}}}))
    assert any("tickets_" in note for note in OpenHands().plan(request(tmp_path)).notes)


@pytest.mark.parametrize("content", ["{", "[]", '{"mcpServers": []}', '{"mcpServers": {"a": 1}}', ""])
def test_a_broken_mcp_file_is_left_to_openhands(tmp_path: Path, content: str) -> None:
    (user_folder(tmp_path) / "mcp.json").write_text(content)
    plan = OpenHands().plan(request(tmp_path))
    assert "OPENHANDS_PERSISTENCE_DIR" not in plan.environ
    assert CANNOT_READ_MCP in plan.notes
    assert not plan.mcp and not plan.files and not plan.links


def test_everything_else_of_the_users_is_linked(tmp_path: Path) -> None:
    folder = user_folder(tmp_path)
    plan = OpenHands().plan(request(tmp_path))
    put_in_place(plan)
    private = Path(plan.environ["OPENHANDS_PERSISTENCE_DIR"])
    assert (private / "cloud" / "api_key.txt").read_text() == "key"
    (private / "agent_settings.json").write_text("saved in OpenHands' dialog")
    assert (folder / "agent_settings.json").read_text() == "saved in OpenHands' dialog"
    assert json.loads((folder / "mcp.json").read_text())["mcpServers"] == {"tickets": USER_SERVER}
    assert plan.environ["OPENHANDS_CONVERSATIONS_DIR"] == str(folder / "conversations")
    assert (private / "mcp.json").stat().st_mode & 0o777 == 0o600


def test_settings_of_a_first_run_land_with_the_user(tmp_path: Path) -> None:
    plan = OpenHands().plan(request(tmp_path))
    put_in_place(plan)
    (Path(plan.environ["OPENHANDS_PERSISTENCE_DIR"]) / "agent_settings.json").write_text("first")
    assert (tmp_path / ".openhands" / "agent_settings.json").read_text() == "first"


def test_folders_that_the_user_moved_are_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\nexport OPENHANDS_CONVERSATIONS_DIR='/elsewhere/talks'\n")
    environ = {"HOME": str(tmp_path), "OPENHANDS_PERSISTENCE_DIR": str(tmp_path / "mine")}
    plan = OpenHands().plan(request(tmp_path, environ=environ))
    assert plan.environ["OPENHANDS_CONVERSATIONS_DIR"] == "/elsewhere/talks"
    assert (
        tmp_path / "s" / "openhands" / "agent_settings.json",
        tmp_path / "mine" / "agent_settings.json",
    ) in plan.links


def test_the_briefing_comes_before_the_prompt_in_a_private_file(tmp_path: Path) -> None:
    plan = OpenHands().plan(request(tmp_path, "--headless", briefing="<briefing>", prompt="Continue"))
    path = tmp_path / "s" / SEED_NAME
    assert plan.argv[2:] == ("--headless", f"--file={path}")
    assert "briefing>" not in " ".join(plan.argv)
    text = written(plan, SEED_NAME).decode()
    assert text.startswith("<briefing>\n") and text.endswith("\nContinue\n")
    assert (plan.briefing_channel, plan.prompt_submitted) == ("prompt", "Continue")


@pytest.mark.parametrize("typed", [("-t", "my words"), ("-f", "words.md")])
def test_the_users_own_prompt_follows_the_briefing(tmp_path: Path, typed: tuple[str, str]) -> None:
    (tmp_path / "words.md").write_text("my words")
    plan = OpenHands().plan(request(tmp_path, *typed, briefing="<briefing>", prompt="Continue"))
    text = written(plan, SEED_NAME).decode()
    assert "my words" in text and "Continue" not in text
    assert plan.argv[2:4] == typed
    assert plan.prompt_submitted == "my words"


def test_without_a_prompt_there_is_no_briefing_and_the_user_is_told(tmp_path: Path) -> None:
    plan = OpenHands().plan(request(tmp_path, briefing="<briefing>"))
    assert plan.argv[2:] == ()
    assert plan.briefing_channel == ""
    assert NO_PROMPT_NO_BRIEFING in plan.notes
    unreadable = OpenHands().plan(
        request(tmp_path, "-f", "missing", briefing="<briefing>", prompt="Continue")
    )
    assert unreadable.argv[2:] == ("-f", "missing")
    assert CANNOT_READ_FILE in unreadable.notes


def as_sent(path: str, content: str) -> str:
    """The message that OpenHands makes of a file."""
    rule = "-" * 20
    opening = "Starting this session with file context."
    return f"{opening}\n\nFile path: {path}\n\nFile contents:\n{rule}\n{content}\n{rule}\n"


def test_the_users_words_are_found_again_in_the_message(tmp_path: Path) -> None:
    plan = OpenHands().plan(
        request(tmp_path, "-t", "my\nwords", briefing="# Old\n\n## What to do now\n\nnot this")
    )
    sent = as_sent(f"/home/{SEED_NAME}", written(plan, SEED_NAME).decode())
    assert spoken(sent) == "my\nwords"
    assert spoken(as_sent("/home/task.md", "from a file")) == "from a file"
    assert spoken("typed words") == "typed words"


def test_its_tmux_server_is_the_sessions_own_where_the_path_allows(tmp_path: Path) -> None:
    assert OpenHands().plan(request(tmp_path)).environ["TMUX_TMPDIR"] == str(tmp_path / "s")
    deep = tmp_path / ("d" * SOCKET_PATH_LIMIT)
    assert "TMUX_TMPDIR" not in OpenHands().plan(request(tmp_path, session_dir=deep)).environ


def test_without_an_endpoint_nothing_of_the_users_is_moved(tmp_path: Path) -> None:
    plan = OpenHands().plan(request(tmp_path, "-t", "x", endpoint=None))
    assert set(plan.environ) == {"TMUX_TMPDIR"}
    assert not plan.mcp and not plan.files


def failed(condition: str, text: str) -> TurnFailed:
    """A turn that ended in an error."""
    return TurnFailed(condition=condition, text=text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (ExitFacts(code=0, signal=None, interactive=False, turns=1), "finished"),
        (ExitFacts(code=0, signal=None, interactive=False), "crashed"),
        (ExitFacts(code=2, signal=None, interactive=False), "crashed"),
        (ExitFacts(code=0, signal=None, interactive=True), "user_quit"),
        (ExitFacts(code=None, signal=9, interactive=True, turns=1), "killed"),
        (
            ExitFacts(
                code=0,
                signal=None,
                interactive=False,
                turns=1,
                last_failure=failed("auth", "AuthenticationError: no"),
            ),
            "auth",
        ),
        (
            ExitFacts(code=0, signal=None, interactive=False, last_failure=failed("stalled", "stuck")),
            "hang",
        ),
        (
            ExitFacts(
                code=0,
                signal=None,
                interactive=False,
                last_failure=failed("api_error", "MaxIterationsReached: 500"),
            ),
            "crashed",
        ),
        (
            ExitFacts(
                code=0,
                signal=None,
                interactive=False,
                last_failure=failed("api_error", "LLMServiceUnavailableError: litellm.InternalServerError"),
            ),
            "api_error",
        ),
        (
            ExitFacts(code=0, signal=None, interactive=True, last_failure=failed("auth", "x")),
            "user_quit",
        ),
        (
            ExitFacts(
                code=0,
                signal=None,
                interactive=True,
                last_failure=failed("auth", "x"),
                conditions=("auth",),
            ),
            "auth",
        ),
    ],
)
def test_endings_are_judged_by_events_not_by_the_exit_code(facts: ExitFacts, kind: VerdictKind) -> None:
    assert OpenHands().classify(facts).kind == kind


def test_openhands_is_known_by_name_and_found_on_the_path(tmp_path: Path) -> None:
    assert isinstance(adapter("openhands"), OpenHands)
    program = tmp_path / "openhands"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert isinstance(first_found({"PATH": str(tmp_path)}), OpenHands)
