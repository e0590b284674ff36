"""Agent or supervisor killed at random moments: a checkpoint is durable, the next session goes on, nothing is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import rounds, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G2", "G3")]

ENGRAM = str(Path(sys.executable).with_name("engram"))
STEPS = ("outline the report", "collect the data", "describe the method", "write the findings", "proof-read")


class Bench:
    """A home, a repository, and the demo agent in it."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work = folder / "home", folder / "work"
        self.work.mkdir()
        subprocess.run(["git", "init", "-q", "."], cwd=self.work, check=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ENGRAM_")}
        self.environ = {
            **kept,
            "ENGRAM_HOME": str(self.home),
            "ENGRAM_DEMO_PACE": "0.25",
            "ENGRAM_MODEL": "off",
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A headless session."""
        return subprocess.Popen(
            [ENGRAM, *words, "--headless"],
            cwd=self.work,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def json(self, *words: str) -> Any:
        """What a reading command says."""
        done = subprocess.run(
            [ENGRAM, *words, "--json"],
            cwd=self.work,
            env=self.environ,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("ENGRAM_HOME") == str(self.home) and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def agent(self) -> psutil.Process | None:
        """The demo agent, where it runs."""
        return next((p for p in self.processes() if "demo_agent.py" in " ".join(p.cmdline())), None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench whose processes are gone afterwards."""
    made = Bench(tmp_path)
    yield made
    for process in made.processes():
        process.kill()


def test_whatever_is_killed_whenever_the_next_session_goes_on(bench: Bench) -> None:
    chance = random.Random(20261122)
    known: set[str] = set()
    for number in range(rounds(6, 200)):
        victim = chance.choice(("agent", "supervisor"))
        run = bench.start("run", "demo")
        wait_until(lambda: bench.agent() is not None, 20)
        time.sleep(chance.uniform(0.0, 2.0))  # the random moment is the test
        agent = bench.agent()
        if victim == "supervisor":
            run.kill()
        elif agent is not None:
            agent.kill()
        run.wait(30)
        session = next((s for s in bench.json("sessions", "-n", "3") if s["id"] not in known), None)
        if session is None:
            continue  # the supervisor died before anything of this session could be recorded
        known.update(s["id"] for s in bench.json("sessions"))
        assert session["ended_at"] is not None, (number, victim)
        kind = session["verdict"]["kind"]
        assert kind in {"agent": ("killed", "finished"), "supervisor": ("lost", "finished")}[victim], number
        wait_until(lambda: not bench.processes(), 10)
        if kind == "finished" or session["first_prompt"] == "":
            continue
        task = bench.json("tasks")[0]
        assert task["interrupted"], (number, victim)
        (latest, *_) = bench.json("checkpoints", str(task["id"]))
        content = bench.json("show", str(latest["id"]))["content"]
        assert content["verdict"]["kind"] == kind
        done = [item["text"] for item in content["completed"]]
        assert done == [step for step in STEPS if step in done]
        resumed = bench.start("resume")
        assert resumed.wait(60) == 0, number
        known.update(s["id"] for s in bench.json("sessions"))
        report = (bench.work / "engram-demo" / "report.md").read_text()
        assert "Proof-read" in report
        (bench.work / "engram-demo" / "report.md").unlink()
    assert bench.json("doctor")["ok"]


def test_a_killed_supervisor_leaves_no_agent_that_nobody_watches(bench: Bench) -> None:
    run = bench.start("run", "demo")
    wait_until(lambda: bench.agent() is not None, 20)
    os.kill(run.pid, signal.SIGKILL)
    run.wait(10)
    wait_until(lambda: bench.agent() is None, 10)
