"""What cannot work ends at once: exit code 2, one line that says what to do, and nothing written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cli.runs import ENGRAM, Bench, Done, bench

pytestmark = pytest.mark.slow
WRONG = {
    "unknown agent": ("run --headless claud", "Did you mean claude?"),
    "agent not on PATH": ("run --headless claude", "not on your PATH"),
    "program not on PATH": ("run --headless -- no-such-program", "not on your PATH"),
    "program that is a file": ("run --headless -- ../a-file", "../a-file is not executable"),
    "program that is a folder": ("run --headless -- /etc", "/etc is a folder"),
    "program that is not there": ("run --headless -- ./nothing", "There is no program ./nothing"),
    "command for an agent's name": ("run --headless command -- echo hi", "Unknown agent 'command'"),
    "export to stdout": ("export -", "engram export FILE"),
    "folder that is not there": ("run --headless demo --cwd nowhere", "There is no folder"),
    "folder that is a file": ("run --headless demo --cwd ../a-file", "is not a folder"),
    "task that does not exist": ("run --headless demo --task 99", "no task 99"),
    "resume of such a task": ("resume 99 --headless", "no task 99"),
    "resume of nothing": ("resume --headless", "Nothing was interrupted"),
    "unknown option": ("run --headles demo", "--headless"),
    "unknown option of a reader": ("tasks --jsno", "--json"),
    "unknown command": ("taks", "Did you mean tasks?"),
    "argument without --": ("run --headless demo -p hello", "-p"),
    "nothing after --": ("run --headless --", "Nothing to run"),
    "no terminal": ("run demo", "--headless"),
    "attach without a terminal": ("attach", "needs a terminal"),
    "session that is not live": ("stop nobody", "No live session 'nobody'"),
    "checkpoint that does not exist": ("show 12345", "no checkpoint 12345"),
    "seal that keeps less than must stay": ("seal --keep 10", "64"),
    "events file that cannot be": ("run --headless demo --events nowhere/x", "--events"),
}


OF_A_FILE = ("run --headless demo", "tasks", "remember x")
READ = {
    "tasks": "No tasks yet",
    "recall anything": "Nothing found",
    "doctor": "0 events",
}
UNCLEAR = {
    "autosave_secnds = 60\n": "Did you mean 'autosave_seconds'?",
    "autosave_seconds = [": "Correct or remove the file",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what there was below its test's folder before and after."""

    done: Done
    before: list[str]
    after: list[str]


def outcome(words: str, prepare: Callable[[Bench], None]) -> Outcome:
    with bench() as at:
        prepare(at)
        before = at.written()
        # Without ENGRAM_MODEL: not even a model may be started.
        done = at.engram(*words.split(), without=("ENGRAM_MODEL",))
        return Outcome(done, before, at.written())


def outcomes(cases: Mapping[str, tuple[str, Callable[[Bench], None]]]) -> dict[str, Outcome]:
    """All cases at once, since most of each is Python's start; by their names."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        futures = {case: pool.submit(outcome, *given) for case, given in cases.items()}
        return {case: future.result() for case, future in futures.items()}


def a_file(at: Bench) -> None:
    (at.root / "a-file").touch()


def a_file_for_a_home(at: Bench) -> None:
    at.home.write_text("mine")


@pytest.fixture(scope="module")
def found() -> dict[str, Outcome]:
    def config(text: str) -> Callable[[Bench], None]:
        def write(at: Bench) -> None:
            at.home.mkdir()
            (at.home / "config.toml").write_text(text)

        return write

    return outcomes(
        {case: (words, a_file) for case, (words, _) in WRONG.items()}
        | {words: (words, a_file) for words in READ}
        | {f"file {words}": (words, a_file_for_a_home) for words in OF_A_FILE}
        | {text: ("run --headless -- touch started", config(text)) for text in UNCLEAR}
    )


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_one_line_and_nothing_is_written(found: dict[str, Outcome], case: str) -> None:
    done, said = found[case].done, WRONG[case][1]
    assert (done.code, done.out) == (2, b"")
    assert done.line.startswith("engram: ")
    assert said in done.line
    assert found[case].after == found[case].before


@pytest.mark.parametrize("words", OF_A_FILE)
def test_a_home_that_is_a_file_is_refused(found: dict[str, Outcome], words: str) -> None:
    done = found[f"file {words}"].done
    assert (done.code, done.out) == (2, b"")
    assert "is a file" in done.line
    assert found[f"file {words}"].after == found[f"file {words}"].before


@pytest.mark.parametrize("config", UNCLEAR)
def test_settings_that_cannot_be_understood_are_refused_before_anything_starts(
    found: dict[str, Outcome], config: str
) -> None:
    done = found[config].done
    assert done.code == 2
    assert "config.toml" in done.line
    assert UNCLEAR[config] in done.line
    assert found[config].after == found[config].before


@pytest.mark.parametrize("words", READ)
def test_reading_a_home_that_does_not_exist_yet_does_not_make_it(
    found: dict[str, Outcome], words: str
) -> None:
    done = found[words].done
    assert done.code == 0, done.said
    assert READ[words] in done.out.decode()
    assert found[words].after == found[words].before


def test_import_alone_prints_its_help(at: Bench) -> None:
    done = at.engram("import")
    assert (done.code, done.out) == (2, b"")
    assert "Usage: engram import" in done.said.splitlines()[0]
    assert any(line.strip().startswith("mcp-engram ") for line in done.said.splitlines())


def test_resuming_under_an_agent_that_is_gone_names_another(at: Bench) -> None:
    programs = at.root / "user"
    (programs / "openhands").write_text("#!/bin/sh\nexit 1\n")
    (programs / "openhands").chmod(0o700)
    env = {"PATH": f"{programs}:{at.environ['PATH']}"}
    at.engram("run", "--headless", "--task", "begun", "openhands", "--", "--headless", "-t", "x", env=env)
    (task,) = at.ask("tasks")
    (programs / "openhands").unlink()
    done = at.engram("resume", "--headless", str(task["id"]))
    assert done.code == 2
    assert done.line.startswith(
        f"engram: 'openhands', the last agent of task #{task['id']}, is not on your PATH."
    )
    assert f"engram resume {task['id']} --agent " in done.line


def test_a_task_of_another_project_is_refused_by_its_number(at: Bench) -> None:
    assert at.engram("run", "--headless", "--", "false").code == 1
    (task,) = at.ask("tasks")
    elsewhere = at.root / "user"
    number = str(task["id"])
    for words in (("run", "--headless", "demo", "--task", number), ("resume", number), ("restore", number)):
        done = at.engram(*words, cwd=elsewhere)
        assert done.code == 2
        assert "belongs to another project" in done.line
    assert not list(elsewhere.iterdir())
    assert len(at.ask("sessions", "--all")) == 1


@pytest.mark.parametrize(("words", "columns", "rows"), [("run demo", 39, 24), ("attach", 80, 9), ("", 39, 9)])
def test_a_terminal_that_is_too_small_is_refused(at: Bench, words: str, columns: int, rows: int) -> None:
    before = at.written()
    with at.open(*words.split(), columns=columns, rows=rows) as terminal:
        assert terminal.wait_exit(20) == 2
        said = " ".join(terminal.output.decode().split())
    assert f"The terminal is {columns}×{rows}; Engram needs 40×10." in said
    assert at.written() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_device_for_the_output_is_one_line(at: Bench) -> None:
    with open("/dev/full", "wb") as full:
        asked = at.start("tasks", "--json", stdout=full)
        _, said = asked.communicate(timeout=60)
    assert asked.returncode == 1
    assert said == b"engram: Reading or writing failed: No space left on device.\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_terminal_and_break_nothing(at: Bench, closed: str) -> None:
    script = (
        f'"$0" run --headless -- sh -c "cat; echo ran > ran; echo hi" {closed}; "$0" tasks --json {closed}'
    )
    done = subprocess.run(
        ["sh", "-c", script, str(ENGRAM)], cwd=at.work, env=at.environ, capture_output=True, timeout=60
    )
    assert (done.returncode, (at.work / "ran").read_text()) == (0, "ran\n")
    assert b"Traceback" not in done.stderr
    assert (b"hi\n" in done.stdout) == (">&-" not in closed.split())
