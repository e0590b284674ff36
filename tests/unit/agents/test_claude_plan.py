"""What is injected into Claude Code, and that nothing of the user's is lost by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engram_tui.agents.base import Endpoint, ExitFacts, LaunchRequest
from engram_tui.agents.claude import Claude
from engram_tui.watch.observations import NativeEnded, TurnFailed

pytestmark = pytest.mark.guarantee("G5")


def request(tmp_path: Path, *args: str, **fields: object) -> LaunchRequest:
    """A request in a folder of the test."""
    return LaunchRequest(
        executable="/bin/claude",
        args=args,
        cwd=tmp_path,
        session="s1",
        session_dir=tmp_path / "session",
        environ={"HOME": str(tmp_path)},
        endpoint=Endpoint(4711, "secret-token", tmp_path / "token"),
        interactive=True,
        **fields,  # type: ignore[arg-type]
    )


def test_no_token_is_in_the_arguments(tmp_path: Path) -> None:
    plan = Claude().plan(request(tmp_path, "-p", "hello"))
    assert "secret-token" not in " ".join(plan.argv)
    assert any(b"secret-token" in data for _, data in plan.files)


def test_engrams_flags_come_before_the_users_arguments(tmp_path: Path) -> None:
    plan = Claude().plan(request(tmp_path, "-p", "--", "hello"))
    assert plan.argv[-3:] == ("-p", "--", "hello")
    assert all(word.startswith("--") and "=" in word for word in plan.argv[1:-3])


def test_the_users_settings_are_merged_not_replaced(tmp_path: Path) -> None:
    mine = {"model": "opus", "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "mine"}]}]}}
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    plan = Claude().plan(request(tmp_path, "--settings", "mine.json", "hello"))
    settings = json.loads({p.name: d for p, d in plan.files}["claude-settings.json"])
    assert settings["model"] == "opus"
    assert settings["hooks"]["Stop"][0] == mine["hooks"]["Stop"][0]  # type: ignore[index]
    assert len(settings["hooks"]["Stop"]) == 2
    assert "statusLine" not in settings
    assert settings["permissions"]["allow"] == ["mcp__engram"]


def test_settings_that_cannot_be_read_go_through_as_typed(tmp_path: Path) -> None:
    plan = Claude().plan(request(tmp_path, "--settings", "missing.json", "hello"))
    assert "--settings=missing.json" in plan.argv
    assert plan.notes


def test_a_resumed_session_is_given_its_prompt_only_where_the_user_gave_none(tmp_path: Path) -> None:
    assert Claude().plan(request(tmp_path, "-p", prompt="Continue")).argv[-2:] == ("--", "Continue")
    assert Claude().plan(request(tmp_path, "-p", "mine", prompt="Continue")).argv[-1] == "mine"


def test_a_session_chosen_by_the_user_gets_no_second_id(tmp_path: Path) -> None:
    plan = Claude().plan(request(tmp_path, "--resume", "abc"))
    assert not [w for w in plan.argv if w.startswith("--session-id")]
    assert plan.transcript is None


def facts(**fields: object) -> ExitFacts:
    """Facts of an end."""
    base: dict[str, object] = {"code": 0, "signal": None, "interactive": False}
    return ExitFacts(**{**base, **fields})  # type: ignore[arg-type]


def test_verdicts_of_claude() -> None:
    classify = Claude().classify
    assert str(classify(facts(signal=9, code=None))) == "killed(9)"
    assert str(classify(facts(code=143))) == "killed(15)"
    assert str(classify(facts(code=129))) == "killed(1)"
    assert str(classify(facts())) == "finished"
    assert (
        str(classify(facts(interactive=True, native_end=NativeEnded(reason="prompt_input_exit"))))
        == "user_quit"
    )
    assert str(classify(facts(interactive=True, native_end=NativeEnded(reason="other")))) == "killed(2)"
    assert str(classify(facts(signals=((2, "user"),)))) == "killed(2)"
    assert str(classify(facts(code=3))) == "crashed(3)"
    assert str(classify(facts(signal=9, code=None, oom_killed=True))) == "oom"
    failed = TurnFailed(condition="rate_limit", text="429")
    assert str(classify(facts(code=1, last_failure=failed))) == "rate_limit"


def test_every_verdict_has_evidence() -> None:
    for one in (facts(), facts(code=1), facts(signal=9, code=None), facts(code=143), facts(interactive=True)):
        assert Claude().classify(one).evidence
