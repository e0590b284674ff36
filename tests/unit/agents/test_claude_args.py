"""Claude's command line is read as Claude reads it, and kept as typed."""

from __future__ import annotations

import pytest

from engram_tui.agents.claude_args import parse


@pytest.mark.parametrize(
    ("args", "prompt"),
    [
        (("fix it",), "fix it"),
        (("-p", "fix it"), "fix it"),
        (("fix it", "-p"), "fix it"),
        (("-p", "--allowedTools", "Bash", "Edit", "--", "fix it"), "fix it"),
        (("--model", "opus", "fix it"), "fix it"),
        (("--resume", "some-id", "fix it"), "fix it"),
        (("--debug", "-p", "fix it"), "fix it"),
        (("-p",), ""),
    ],
)
def test_the_prompt_is_told_from_the_values_of_options(args: tuple[str, ...], prompt: str) -> None:
    assert " ".join(parse(args).positional) == prompt


def test_everything_but_the_settings_stays_as_typed() -> None:
    args = ("--settings", "a.json", "-p", "--mcp-config", "x.json", "y.json", "--", "--odd prompt")
    found = parse(args)
    assert found.settings == "a.json"
    assert found.rest == ("-p", "--mcp-config", "x.json", "y.json", "--", "--odd prompt")


def test_of_two_settings_the_last_counts_as_in_claude() -> None:
    assert parse(("--settings=a.json", "--settings", "b.json")).settings == "b.json"


@pytest.mark.parametrize(
    "args", [("mcp", "list"), ("--version",), ("doctor",), ("-h",), ("--bg", "x"), ("update",)]
)
def test_calls_that_are_no_session_are_left_alone(args: tuple[str, ...]) -> None:
    assert not parse(args).injectable


def test_a_prompt_that_is_a_subcommands_word_is_a_prompt_in_print_mode() -> None:
    assert parse(("-p", "update")).injectable


@pytest.mark.parametrize(
    "args", [("-r",), ("--continue",), ("--session-id=u",), ("-c", "x"), ("--fork-session", "-r", "x")]
)
def test_a_user_who_chooses_the_session_is_not_overruled(args: tuple[str, ...]) -> None:
    assert parse(args).chooses_session


def test_joined_short_options_are_seen() -> None:
    assert parse(("-cp", "go on")).print_mode
