"""`engram run -- COMMAND`: streams, exit code and terminal as without Engram; files, git and children are watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.runs import GIT, Bench
from tests.support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G5", "G11")]

TALKER = """
import os, signal, sys, tty
tty.setcbreak(0)
ints = 0
def interrupted(*_):
    global ints
    ints += 1
    print("interrupted", ints, flush=True)
def resized(*_):
    print("size", *os.get_terminal_size(), flush=True)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGWINCH, resized)
resized()
while True:
    key = os.read(0, 1)
    print("key", key, flush=True)
    if key == b"q":
        print("in all", ints, "interrupts", flush=True)
        sys.exit(7)
"""


def test_streams_pass_byte_by_byte_and_apart(at: Bench) -> None:
    data = os.urandom(10_000_000)
    done = at.engram("run", "--headless", "--", "sh", "-c", "printf told >&2; cat; exit 3", stdin=data)
    assert done.code == 3
    assert done.out == data
    assert done.said.startswith("toldengram: command crashed(3); checkpoint v")


@pytest.mark.parametrize(
    ("command", "options", "code", "verdict"),
    [
        ("exit 0", (), 0, "finished"),
        ("exit 3", ("--strict-exit",), 70, "crashed"),
        ("kill -9 $$", (), 137, "killed"),
        ("kill -15 $$", ("--strict-exit",), 143, "killed"),
    ],
)
def test_the_exit_code_is_the_commands(
    at: Bench, command: str, options: tuple[str, ...], code: int, verdict: str
) -> None:
    done = at.engram("run", "--headless", *options, "--", "sh", "-c", command)
    assert done.code == code
    assert done.line.startswith(f"engram: command {verdict}")
    with at.runtime() as runtime:
        (session,) = runtime.state.sessions()
        assert session.verdict is not None
        assert session.verdict.kind == verdict


def test_events_are_written_as_json_lines_without_secrets(at: Bench) -> None:
    secret = "ghp_" + "A1b2C3d4E5" * 4
    events = at.root / "tmp" / "events.jsonl"
    done = at.engram(
        "run", "--headless", "--events", events, "--", "sh", "-c", "echo $0 >&2", f"token={secret}"
    )
    assert done.code == 0
    assert secret in done.said  # the command's own words are not touched
    text = events.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds[:2] == ["SessionStarted", "AgentSpawned"]
    assert {"PromptSubmitted", "TaskCreated", "CheckpointWritten", "AgentExited"} <= set(kinds)
    assert kinds.count("SessionEnded") == 1
    assert [line["position"] for line in lines] == sorted({line["position"] for line in lines})
    assert secret not in text
    assert events.stat().st_mode & 0o777 == 0o600
    assert not any(secret.encode() in file.read_bytes() for file in at.home.rglob("*") if file.is_file())


def test_what_a_command_did_to_files_is_in_its_checkpoint(at: Bench) -> None:
    (at.work / "known").write_text("before\n")
    (at.work / "mine").write_text("dirty before\n")
    for name in ("known", "mine"):
        os.utime(at.work / name, (1, 1))
    command = "echo new > made; echo more >> known; sleep 60 & kill -9 $$"
    done = at.engram("run", "--headless", "--", "sh", "-c", command)
    assert done.code == 137
    content = at.checkpoint()["content"]
    changed = {f["path"]: (f["by"], f["tracked"]) for f in content["modified_files"]}
    assert changed == {"made": ("unattributed", False), "known": ("unattributed", False)}
    assert content["git"]["branch"] == "main"
    assert content["git"]["dirty"] is True
    assert at.processes() == []


def test_arguments_are_in_no_file_of_a_running_session(at: Bench) -> None:
    with at.open("run", "--no-resume", "--", "sh", "-c", "echo begun; read x", "a-word-of-the-user") as ui:
        ui.wait_screen("begun", 20)
        folder = at.session_file().parent
        assert not [f for f in folder.iterdir() if f.is_file() and b"a-word-of" in f.read_bytes()]
        ui.send("\r")
        assert ui.wait_exit(20) == 0


def test_a_shell_on_a_terminal_shows_its_screen_and_leaves_a_checkpoint(at: Bench) -> None:
    (at.work / "file").write_text("one\n")
    for words in (("add", "."), ("commit", "-qm", "file")):
        subprocess.run([*GIT, *words], cwd=at.work, check=True)
    with at.open("run", "--no-resume", "--", "bash", "--norc", env={"PS1": "$ "}) as ui:
        ui.wait_screen("$", 20)
        ui.submit("echo two >> file; sleep 99 &")
        ui.submit("echo $((6*7)) answers")
        ui.wait_screen("42 answers", 10)
        ui.submit("exit 5")
        assert ui.wait_exit(20) == 5
        assert "command crashed(5)" in " ".join(ui.screen.split())
    wait_until(lambda: not at.processes(), 10)
    content = at.checkpoint()["content"]
    assert [(f["path"], f["change"], f["by"]) for f in content["modified_files"]] == [
        ("file", "modified", "unattributed")
    ]
    assert "42 answers" in content["screen_tail"]


def test_headless_on_a_terminal_keys_sizes_and_one_ctrl_c_reach_the_agent(at: Bench) -> None:
    (at.work / "talker.py").write_text(TALKER)
    script = f"stty -g > before; engram run --headless -- {sys.executable} talker.py; echo code $?; stty -g > after"
    with at.open("-c", script, program=("/bin/sh",), columns=90, rows=20) as terminal:
        terminal.wait_screen("size 90 20", 20)
        terminal.send("x")
        terminal.wait_screen("key b'x'", 10)
        terminal.resize(70, 25)
        terminal.wait_screen("size 70 25", 10)
        terminal.send("\x03")
        terminal.wait_screen("interrupted 1", 10)
        terminal.send("q")
        terminal.wait_screen("in all 1 interrupts", 10)
        terminal.wait_screen("code 7", 20)
        wait_until((at.work / "after").exists, 10)
        assert terminal.wait_exit(10) == 0
    assert (at.work / "after").read_text() == (at.work / "before").read_text()


def test_a_run_inside_a_run_is_its_child_and_no_loop(at: Bench) -> None:
    inner = "engram run --headless --no-resume -- sh -c 'echo inner $ENGRAM_SESSION; exit 4'"
    done = at.engram("run", "--headless", "--", "sh", "-c", f"echo outer $ENGRAM_SESSION; {inner}")
    assert done.code == 4
    told = dict(line.split() for line in done.out.decode().splitlines())
    with at.runtime() as runtime:
        parents = {s.id: s.parent_session for s in runtime.state.sessions()}
    assert parents == {told["outer"]: None, told["inner"]: told["outer"]}


def test_a_program_that_cannot_be_started_is_one_line_and_no_lost_session(at: Bench) -> None:
    broken: Path = at.work / "broken"
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o755)
    done = at.engram("run", "--headless", "--", "./broken")
    assert (done.code, done.out) == (1, b"")
    assert "broken cannot be started" in done.line
    facts = json.loads(at.session_file().read_text())
    assert (facts["ended"], facts["verdict"]) == (True, "not started")


def test_without_a_utf8_locale_or_a_terminals_name_headless_runs_and_reading_work(at: Bench) -> None:
    bare = {
        "env": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        "without": ("TERM", "LANG"),
    }
    done = at.engram(
        "run", "--headless", "--", "printf", "caf\\303\\251 ✓", "a long title", "is cut short", **bare
    )
    assert (done.code, done.out) == (0, "café ✓".encode())
    shown = at.engram("tasks", **bare)
    assert shown.code == 0
    assert shown.out.isascii()
    assert b"printf" in shown.out


def test_arguments_and_folders_that_are_not_utf8_pass_as_they_are(at: Bench) -> None:
    folder = os.fsencode(at.root) + b"/tmp/caf\xe9"
    os.mkdir(folder)
    argument = os.fsdecode(b"\xff\xfe")
    done = at.engram("run", "--headless", "--", "sh", "-c", 'pwd; printf %s "$1"', "sh", argument, cwd=folder)
    assert (done.code, done.out) == (0, folder + b"\n\xff\xfe")
    with at.runtime() as runtime:
        (task,) = runtime.state.tasks()
        assert task.project.endswith("caf\\xe9")
