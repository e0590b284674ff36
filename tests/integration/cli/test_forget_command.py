"""`engram forget` as a user calls it, also while a session runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engram_runtime.journal import events as e
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.integration.supervisor.demo_session import DemoSession
from tests.support import wait_until
from tests.unit.runtime.test_forget import traces

pytestmark = pytest.mark.guarantee("G7", "G11")

ENGRAM = str(Path(sys.executable).with_name("engram"))
WORD = "peregrine-4711"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    home = tmp_path / "home"
    with Runtime.open(
        home, project=str(tmp_path / "work"), session="s1", settings=Settings(model="off")
    ) as runtime:
        runtime.append(
            e.MemoryStored(content=f"the code of the gate is {WORD}", importance=0.9),
            e.TaskCreated(name=f"open it with {WORD}", goal="open the gate"),
            e.MemoryStored(content="gates are painted green", importance=0.9),
        )
    return tmp_path


def engram(
    place: Path, *words: str, stdin: str = "", environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENGRAM, *words],
        cwd=place / "work",
        env={**os.environ, "ENGRAM_HOME": str(place / "home"), "ENGRAM_MODEL": "off", **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_nothing_goes_without_a_yes(place: Path) -> None:
    for words in (["1"], ["--text", WORD], ["--task", "2"], ["--text", "-"]):
        refused = engram(place, "forget", *words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--yes" in refused.stderr
    shown = engram(place, "forget", "--text", WORD, "--dry-run", "--json")
    assert shown.returncode == 0
    told = json.loads(shown.stdout)
    assert (told["dry_run"], told["events"]) == (True, {"MemoryStored": 1, "TaskCreated": 1})
    assert told["tasks"] == []
    assert WORD not in shown.stdout
    task = engram(place, "forget", "--task", "2", "--dry-run")
    assert f"task #2 will be gone: open it with {WORD}" in task.stdout
    assert "journal.sqlite" in " ".join(traces(place / "home", WORD))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Say what to forget"),
        (["1", "--task", "2"], "Say what to forget"),
        (["one", "--yes"], "no memory's id"),
        (["99", "--yes"], "There is no memory 99"),
        (["--task", "none", "--yes"], "no task named"),
        (["--text", "ab", "--yes"], "stands everywhere"),
        (["--text", "(", "--regex", "--yes"], "cannot be understood"),
        (["--text", "a*", "--regex", "--yes"], "less than"),
        (["1", "--regex", "--yes"], "--regex goes with --text"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_line(place: Path, words: list[str], said: str) -> None:
    refused = engram(place, "forget", *words)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_text_from_stdin_is_forgotten_and_the_home_searched(place: Path) -> None:
    done = engram(place, "forget", "--text", "-", "--yes", "--json", stdin=WORD + "\n")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["erased"], told["retold"], told["left"]) == (2, 2, [])
    assert traces(place / "home", WORD) == []
    assert WORD not in engram(place, "recall", "gate code", "--json").stdout
    assert "open it with [redacted:forgotten]" in engram(place, "tasks").stdout
    again = engram(place, "forget", "--text", WORD, "--yes")
    assert again.returncode == 0
    assert "nothing of it is left" in again.stdout


@pytest.mark.slow
def test_what_is_left_is_told_and_makes_the_command_fail(place: Path) -> None:
    (place / "home" / "config.toml").write_text(f"# {WORD}\n")
    done = engram(place, "forget", "--text", WORD, "--yes")
    assert done.returncode == 1
    assert "left: config.toml" in done.stderr
    assert traces(place / "home", WORD) == ["config.toml"]
    others = place / "home" / "events" / "events-20261122.jsonl"
    others.parent.mkdir()
    others.write_text(WORD)
    done = engram(place, "forget", "--text", WORD, "--yes")
    assert done.returncode == 1
    assert "left: events/events-20261122.jsonl (not Engram's; remove it yourself)" in done.stderr
    assert others.read_text() == WORD


@pytest.mark.slow
def test_a_running_session_does_not_bring_it_back(tmp_path: Path) -> None:
    words = "outline the report"
    with DemoSession(tmp_path) as session:
        session.wait_working()
        wait_until(lambda: traces(session.home, words) != [], 10)
        (tmp_path / "work").mkdir(exist_ok=True)
        busy = engram(tmp_path, "tasks", "--json")
        task = json.loads(busy.stdout)[0]["id"]
        refused = engram(tmp_path, "forget", "--task", str(task), "--yes")
        assert refused.returncode == 2
        assert "engram stop" in refused.stderr
        done = engram(tmp_path, "forget", "--text", words, "--yes", "--json")
        assert json.loads(done.stdout)["erased"] > 0, done.stderr
        assert traces(session.home, words) == []
        assert engram(tmp_path, "checkpoint").returncode == 0
        assert session.run is not None
        engram(tmp_path, "stop")
        session.run.communicate(timeout=30)
    assert traces(session.home, words) == []
    ended = engram(tmp_path, "tasks", "--json")
    assert (
        "[redacted:forgotten]" in engram(tmp_path, "restore", str(json.loads(ended.stdout)[0]["id"])).stdout
    )
