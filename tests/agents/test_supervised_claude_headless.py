"""`engram run --headless claude` in scripts: the same streams and exit code as without Engram, and no old work told."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.agents.supervised import BYPASS, ENGRAM, Desk, desk, shell
from tests.fakes.scripted_llm import PlanScript, Reply, Request

pytestmark = [pytest.mark.agents, pytest.mark.slow]

CLOSING = re.compile(r"engram: claude (finished|auth); [^\n]*\n\Z")
OURS_TO_DIFFER = re.compile(
    r"(^|_)(id|uuid|ids|ms|cost|at|timestamp)$|^(duration|ttft|time)|usd|Cost|usage|Usage", re.I
)
"""Fields of stream-json and json that differ between two bare runs too."""


def answering(request: Request) -> Reply:
    """Runs one command, then says what was asked; always with the same token counts."""
    counted = {"input_tokens": 1000, "output_tokens": 10}
    plan = PlanScript(
        shell("look", "cat note.txt", "a note"),
        finish=Reply.say("the note says: a note", usage=counted),
    )
    return plan(request)


def streams(at: Desk, argv: Sequence[str | Path], out: Path) -> tuple[int, str, str]:
    """Exit code, stdout (a file) and stderr of a program whose stdin is a pipe."""
    with out.open("wb") as file:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=at.work,
            env=at.home.environment,
            input=b"and this came down the pipe",
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    return done.returncode, out.read_text(), done.stderr.decode()


def comparable(text: str, form: str) -> Any:
    """Output without what differs from run to run: ids, times, costs, and the init and hook lines of stream-json."""
    if form == "text":
        return text
    lines = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    return [_stripped(line) for line in lines if not str(line.get("subtype")).startswith(("init", "hook_"))]


def _stripped(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _stripped(value) for key, value in node.items() if not OURS_TO_DIFFER.search(key)}
    return [_stripped(value) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize("form", ["text", "json", "stream-json"])
def test_streams_and_exit_code_are_those_of_a_bare_claude(
    form: str, claude_cli: Path, tmp_path: Path
) -> None:
    arguments = ["-p", "read the note", BYPASS, "--output-format", form, "--verbose"]
    with desk(answering, claude_cli) as at, ThreadPoolExecutor() as both:
        (at.work / "note.txt").write_text("a note\n")
        bare = both.submit(streams, at, [claude_cli, *arguments], tmp_path / "bare")
        ours = both.submit(
            streams, at, [ENGRAM, "run", "--headless", "claude", "--", *arguments], tmp_path / "ours"
        )
        (code, out, err), (our_code, our_out, our_err) = bare.result(), ours.result()
        assert "the note says: a note" in out
        assert our_code == code == 0
        assert comparable(our_out, form) == comparable(out, form)
        assert CLOSING.search(our_err), our_err
        assert CLOSING.sub("", our_err) == err
        assert all(request.told("and this came down the pipe") for request in at.llm.main_requests)


def test_an_unrelated_print_run_is_told_nothing_of_interrupted_work(claude_cli: Path) -> None:
    with desk(lambda request: Reply.fail(401), claude_cli) as at:
        failed = at.engram("run", "--headless", "claude", "--", "-p", "Fix the login redirect", BYPASS)
        assert failed.returncode == 1 and CLOSING.search(failed.stderr)
        assert at.task()["interrupted"]
        at.llm.script = lambda request: Reply.say("it is noon")
        before = len(at.llm.requests)
        done = at.engram("run", "--headless", "claude", "--", "-p", "What time is it?", BYPASS)
        assert (done.returncode, done.stdout) == (0, "it is noon\n")
        later = at.llm.requests[before:]
        assert later
        for request in later:
            assert "<engram-briefing" not in request.text
            assert "login redirect" not in request.text
        other, first = at.ask("tasks")
        assert (other["goal"], other["interrupted"]) == ("What time is it?", False)
        assert (first["goal"], first["interrupted"]) == ("Fix the login redirect", True)


def test_a_conversation_continued_by_claude_itself_tells_only_what_is_new(claude_cli: Path) -> None:
    """`claude --continue` goes on with an old transcript: what stands there already is not of the new session."""
    with desk(answering, claude_cli) as at:
        (at.work / "note.txt").write_text("a note\n")
        at.engram("run", "--headless", "claude", "--", "-p", "read the note", BYPASS)
        first = at.session()
        at.llm.script = lambda request: Reply.say("that was all")
        done = at.engram("run", "--headless", "claude", "--", "-p", "and what else?", "--continue", BYPASS)
        assert (done.returncode, done.stdout) == (0, "that was all\n")
        assert at.llm.main_requests[-1].told("read the note")
        second = at.session()
        assert (first["first_prompt"], list(first["tools_used"])) == ("read the note", ["Bash"])
        assert (second["first_prompt"], list(second["tools_used"])) == ("and what else?", [])
        assert second["native_id"] == first["native_id"]
