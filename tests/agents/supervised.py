"""Sessions of real agents under Engram, and asking Engram what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.agents.harness import AgentHome, PtyAgent
from tests.fakes.scripted_llm import Reply, Request, Script, ScriptedLLM, Step, any_of, tool_said, was_told
from tests.support import wait_until

ENGRAM: Final = Path(sys.executable).with_name("engram")
BYPASS: Final = "--dangerously-skip-permissions"
CONTINUE: Final = "Continue the interrupted task"
SIZE: Final = {"columns": 140, "rows": 40}
MCP: Final = "mcp__engram__"
ENGRAM_TOOLS: Final = (
    "recall_memory",
    "track_progress",
    "track_failure",
    "session_handoff",
    "restore_checkpoint",
)
WORKER: Final = "engram_runtime.memory.embed_worker"


@dataclass(frozen=True, slots=True)
class Desk:
    """A scripted model and a home in which `engram` and the agent are at hand."""

    llm: ScriptedLLM
    home: AgentHome

    @property
    def work(self) -> Path:
        """The project."""
        return self.home.work

    def engram(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run engram to its end."""
        return self.home.run([ENGRAM, *words], **options)

    def start(self, *words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start engram without a terminal."""
        return self.home.start([ENGRAM, *words], env=env)

    def open(self, *words: str | Path, env: Mapping[str, str] | None = None) -> PtyAgent:
        """Start engram on a terminal of 140×40."""
        return self.home.open_terminal([ENGRAM, *words], env=env, **SIZE)

    def ask(self, *words: str) -> Any:
        """What a reading command says as JSON."""
        done = self.engram(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def session(self) -> Any:
        """The newest session, as `engram sessions --json` tells it."""
        return self.ask("sessions")[0]

    def task(self) -> Any:
        """The only task of the project."""
        (task,) = self.ask("tasks")
        return task

    def checkpoints(self) -> Any:
        """The only task's checkpoints, newest first."""
        return self.ask("checkpoints", str(self.task()["id"]))

    def checkpoint(self) -> Any:
        """The only task's latest checkpoint in full."""
        return self.ask("show", str(self.checkpoints()[0]["id"]))

    def agent(self) -> psutil.Process:
        """The supervised agent's own process, once there is one."""
        found: list[psutil.Process] = []

        def seen() -> bool:
            found[:] = [p for p in self._ours() if "--settings=" in _line(p) and "sessions/" in _line(p)]
            return len(found) == 1

        wait_until(seen, 20)
        return found[0]

    def process(self, module: str) -> psutil.Process:
        """The one process of this home that runs a module of Engram's (`-m`)."""
        (found,) = [p for p in self._ours() if module in _line(p)]
        return found

    def busy(self) -> list[str]:
        """Command lines of what lives in this home, but for the embedding worker: that one serves the next session."""
        return [line for p in self._ours() if (line := _line(p)) and WORKER not in line]

    def _ours(self) -> list[psutil.Process]:
        return self.home.processes()


def _line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


@contextlib.contextmanager
def desk(
    script: Script, *agents: Path, env: Mapping[str, str] | None = None, model: str = "off"
) -> Iterator[Desk]:
    """A desk for one test. When the test is over nothing of its sessions may live on.

    `model` is ENGRAM_MODEL: loading a real one in every test would cost more than all else.
    """
    with ScriptedLLM(script) as llm, AgentHome(llm) as home:
        for agent in agents:
            home.put_on_path(agent)
        home.environment |= {"ENGRAM_MODEL": model, **(env or {})}
        here = Desk(llm, home)
        yield here
        left: list[str] = []
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not left.__setitem__(slice(None), here.busy()) and not left, 10)
        assert left == [], f"these outlived their session: {left}"


def shell(name: str, command: str, said: str, told: str = "no-such-words") -> Step:
    """The model runs a command until it sees its output, or is told that it is done."""
    call = Reply.call("Bash", command=command, description=name)
    return Step(name, call, done_when=any_of(tool_said("Bash", said), was_told(told)))


def forever(file: str) -> Step:
    """The model makes a file and then hangs in the same command."""
    return shell(f"hang after {file}", f"echo begun > {file}; tail -f /dev/null", "no-such-words")


def track(feature: str, status: str) -> Step:
    """The model tells Engram of a feature, unless it was told of it."""
    tool = f"{MCP}track_progress"
    done = any_of(tool_said(tool, feature), was_told(f"[claimed] {feature}"), was_told(f"[seen] {feature}"))
    return Step(f"{feature} {status}", Reply.call(tool, feature=feature, status=status), done_when=done)


def call_once(tool: str, /, **arguments: Any) -> Step:
    """The model calls one of Engram's tools once."""
    return Step(tool, Reply.call(f"{MCP}{tool}", **arguments), done_when=tool_said(f"{MCP}{tool}"))


def missing(request: Request, words: Sequence[str]) -> list[str]:
    """Which of these the model was not told."""
    return [word for word in words if not request.told(word)]


def exists(path: Path) -> bool:
    """Whether a file is there and has something in it."""
    return path.exists() and path.stat().st_size > 0


def kill(process: psutil.Process, number: int) -> None:
    """Send a signal to this process alone."""
    os.kill(process.pid, number)
