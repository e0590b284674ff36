"""Stops, signals, stalls, autosaves and live tasks: the work is checkpointed, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.integration.cli.runs import Bench
from tests.support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G2")]

WAIT = "echo begun > begun; until [ -e go ]; do sleep 0.05; done"


def begun(at: Bench, *kinds: str) -> Path:
    """The events file of a session, once events of all these kinds are durable."""
    events = at.root / "tmp" / "events"
    wait_until(lambda: events.exists() and all(kind in events.read_text() for kind in kinds), 20)
    return events


def start_demo(at: Bench, **variables: str) -> subprocess.Popen[bytes]:
    """A headless demo run that is in the middle of its first tool call."""
    run = at.start(
        *("run", "--headless", "--events", at.root / "tmp" / "events", "demo"),
        env={"ENGRAM_DEMO_PACE": "60", **variables},
        start_new_session=True,
    )
    begun(at, "ToolStarted", "ProgressTracked", "TaskAttached")
    return run


def test_attaching_to_a_run_on_pipes_says_where_its_output_is(at: Bench) -> None:
    run = start_demo(at)
    with at.open("attach") as terminal:
        assert terminal.wait_exit(20) == 2
        said = " ".join(terminal.output.decode().split())
    assert "runs on pipes and has no screen; its output goes to its own stdout." in said
    assert at.engram("stop").code == 0
    run.communicate(timeout=20)


def test_stop_in_the_middle_ends_the_agent_and_checkpoints_its_work(at: Bench) -> None:
    run = start_demo(at)
    assert at.engram("stop").out.startswith(b"demo of session ")
    out, said = run.communicate(timeout=20)
    assert b"outline the report" in out
    assert run.returncode == 143
    assert b"demo killed(15); checkpoint v" in said
    content = at.checkpoint()["content"]
    assert "sleep 60" in content["last_tool"]["summary"]
    assert "outline the report" in [i["text"] for i in content["in_progress"]]
    assert any("user" in line for line in content["verdict"]["evidence"])
    assert at.ask("tasks")[0]["interrupted"]
    assert at.processes() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_to_a_headless_run_reaches_the_agent_and_leaves_a_checkpoint(
    at: Bench, number: signal.Signals
) -> None:
    run = at.start(
        *("run", "--headless", "--events", at.root / "tmp" / "events", "--", "sh", "-c", f"{WAIT} & wait"),
        start_new_session=True,
    )
    wait_until((at.work / "begun").exists, 20)
    begun(at, "TaskAttached")
    os.kill(run.pid, number)
    _, said = run.communicate(timeout=20)
    assert run.returncode == 128 + number
    assert f"command killed({number.value}); checkpoint v".encode() in said
    view = at.checkpoint()
    assert view["reason"] == "KILLED"
    assert any(number.name in line for line in view["content"]["verdict"]["evidence"])
    assert at.processes() == []


def test_an_agent_that_says_and_does_nothing_stalls_and_one_that_was_stopped_does_not(at: Bench) -> None:
    run = start_demo(at, ENGRAM_STALL_SECONDS="1")
    events = begun(at, "ConditionRaised")
    begun(at, '"reason":"HANG"')
    (agent,) = [p for p in psutil.Process(run.pid).children() if "demo_agent.py" in " ".join(p.cmdline())]
    (tool,) = agent.children()
    tool.suspend()
    begun(at, "ConditionCleared")
    tool.resume()
    wait_until(lambda: events.read_text().count("ConditionRaised") == 2, 20)
    agent.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=20)
    assert run.returncode == 143
    assert b"demo hang; checkpoint v" in said
    verdict = at.checkpoint()["content"]["verdict"]
    assert verdict["evidence"][0].startswith("nothing was heard of it for ")
    assert "in Bash: sleep 60" in verdict["evidence"][0]


def test_work_without_a_checkpoint_is_saved_after_a_while(at: Bench) -> None:
    run = start_demo(at, ENGRAM_AUTOSAVE_SECONDS="1")
    begun(at, '"reason":"AUTO_SAVE"', "1 s without a checkpoint")
    run.terminate()
    run.communicate(timeout=20)


def test_a_live_task_is_not_worked_on_twice(at: Bench) -> None:
    """To scripts it is an error that names the session; on a terminal attaching to it is offered."""
    with at.open("run", "--task", "big", "--no-resume", "--", "sh", "-c", f"echo I am here; {WAIT}") as ui:
        ui.wait_screen("I am here", 20)
        ui.wait_screen("journal", 20)
        (session,) = at.ask("sessions")
        attach = f"`engram attach {session['id']}`"
        for words in ("run --headless --task big demo", "resume big"):
            done = at.engram(*words.split())
            assert (done.code, done.out) == (2, b"")
            assert "is live in session" in done.line
            assert attach in done.line
        with at.open("run", "--task", "big", "demo") as second:
            second.wait_screen("attach? [Y/n]", 20)
            second.send("n\r")
            assert second.wait_exit(10) == 2
        with at.open("run", "--task", "big", "demo") as second:
            second.wait_screen("attach? [Y/n]", 20)
            second.send("\r")
            second.wait_screen(lambda text: "I am here" in text and "attach?" not in text, 20)
            # Other work in the same project goes on beside it, and is offered no task that is live.
            beside = at.engram("run", "--headless", "--", "true")
            assert (beside.code, "finished" in beside.line) == (0, True)
            (at.work / "go").touch()
            assert second.wait_exit(20) == 0
        assert ui.wait_exit(20) == 0
