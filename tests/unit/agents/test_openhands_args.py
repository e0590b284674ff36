"""An OpenHands command line is read as OpenHands reads it, and stays as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_tui.agents.openhands import OpenHands
from engram_tui.agents.openhands_args import parse, with_file


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-t hello",
        "--headless --json --override-with-envs -t hello",
        "--resume 6f1c2c3e11115222833344445556666",
        "--resume --last",
        "--yolo --exit-without-confirmation",
        "--res x --task=hello",
    ],
)
def test_sessions_are_supervised(line: str) -> None:
    assert OpenHands().supervises(tuple(line.split()))


@pytest.mark.parametrize(
    "line",
    [
        "mcp list",
        "login",
        "serve --gpu",
        "web --port 3",
        "acp",
        "cloud -t hello",
        "view some-id",
        "--version",
        "-v",
        "--help",
        "--resume",
        "--last",
        "--no-such-flag",
        "--yolo --llm-approve",
        "-t",
    ],
)
def test_engram_steps_aside_for_what_is_no_session(line: str) -> None:
    assert not OpenHands().supervises(tuple(line.split()))


def test_headless_runs_print() -> None:
    assert OpenHands().prints(("--headless", "-t", "hello"))
    assert OpenHands().prints(("--headl", "-t", "hello"))
    assert not OpenHands().prints(("-t", "--headless-is-a-word-of-the-task"))


def test_a_file_wins_over_a_task(tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text("from the file")
    assert parse(("-t", "typed", "-f", "task.md")).prompt(tmp_path) == "from the file"
    assert parse(("-t", "typed")).prompt(tmp_path) == "typed"
    assert parse(("-f", "missing.md", "-t", "typed")).prompt(tmp_path) is None
    assert parse(()).prompt(tmp_path) is None


def test_a_seed_file_is_added_after_what_was_typed() -> None:
    path = Path("/s/seed.md")
    assert with_file(("--yolo", "-f", "mine"), path) == ("--yolo", "-f", "mine", "--file=/s/seed.md")
    assert with_file(("--resume", "--"), path) == ("--resume", "--file=/s/seed.md", "--")
    assert parse(with_file(("--yolo", "-f", "mine"), path)).file == "/s/seed.md"
