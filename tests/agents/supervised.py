"""Sessions of real agents under Engram, and asking Engram what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from engram_runtime.paths import project_of
from engram_runtime.runtime import Runtime
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
PREPARER: Final = "engram_runtime.memory.onnx_export"


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
        """The newest session, as the journal tells it (read here: a command of its own costs half a second)."""
        with self._kept() as runtime:
            newest = runtime.state.sessions(project=runtime.project)[0]
            return {"standing": str(newest.verdict or "live"), **msgspec.to_builtins(newest)}

    def task(self) -> Any:
        """The only task of the project."""
        with self._kept() as runtime:
            (task,) = runtime.state.tasks(project=runtime.project)
            return msgspec.to_builtins(task)

    def checkpoints(self) -> Any:
        """The only task's checkpoints, newest first."""
        task = self.task()["id"]
        with self._kept() as runtime:
            return msgspec.to_builtins(runtime.state.checkpoints(task, limit=100))

    def checkpoint(self) -> Any:
        """What the only task's latest checkpoint holds."""
        task = self.task()["id"]
        with self._kept() as runtime:
            latest = runtime.state.checkpoint_version(task)
            assert latest is not None
            return msgspec.to_builtins(latest.content)

    def _kept(self) -> Runtime:
        return Runtime.open(self.home.engram, project=project_of(self.work), read_only=True)

    def has(self, file: str, terminal: PtyAgent | None = None, seconds: float = 30) -> None:
        """Wait until the agent has written a file of the project; fail with the screen where it does not."""
        path = self.work / file
        try:
            wait_until(lambda: path.exists() and path.stat().st_size > 0, seconds)
        except AssertionError:
            shown = terminal.screen if terminal else f"asked {len(self.llm.requests)} times"
            raise AssertionError(f"no {file} within {seconds} s:\n{shown}") from None

    def agent(self) -> psutil.Process:
        """The supervised agent's own process, once there is one."""
        found: list[psutil.Process] = []

        def seen() -> bool:
            found[:] = [p for p in self._ours() if "--settings=" in _line(p) and "sessions/" in _line(p)]
            return len(found) == 1

        wait_until(seen, 20)
        return found[0]

    def running(self, module: str) -> list[psutil.Process]:
        """Processes of this home that run a module of Engram's (`-m`)."""
        return [p for p in self._ours() if f"-m {module} " in _line(p)]

    def process(self, module: str) -> psutil.Process:
        """The one process of this home that runs a module of Engram's (`-m`)."""
        (found,) = self.running(module)
        return found

    def busy(self) -> list[str]:
        """Command lines of what lives in this home, but for the embedding worker and what prepares its model: they
        serve the next session."""
        lines = [_line(process) for process in self._ours()]
        return [line for line in lines if line and WORKER not in line and PREPARER not in line]

    def settled(self, seconds: float = 30) -> None:
        """Wait until nothing of any session lives; a detached supervisor looks at the tree once more after its UI."""
        until = time.monotonic() + seconds
        while left := self.busy():
            assert time.monotonic() < until, f"these outlived their session: {left}"
            time.sleep(0.05)

    def logs(self) -> str:
        """What the supervisors of this home had to complain about."""
        files = sorted(self.home.engram.glob("sessions/*/supervisor.log"))
        return "\n".join(f"{file.parent.name}: {file.read_text()[-3000:]}" for file in files)

    def _ours(self) -> list[psutil.Process]:
        return self.home.processes()


def _line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


@contextlib.contextmanager
def desk(
    script: Script, *agents: Path, env: Mapping[str, str] | None = None, model: str | None = "off"
) -> Iterator[Desk]:
    """A desk for one test. When the test is over nothing of its sessions may live on.

    `model` is ENGRAM_MODEL, None for the default one: loading that in every test would cost more than all else.
    """
    with ScriptedLLM(script) as llm, AgentHome(llm) as home:
        for agent in agents:
            home.put_on_path(agent)
        home.environment |= ({} if model is None else {"ENGRAM_MODEL": model}) | dict(env or {})
        here = Desk(llm, home)
        try:
            yield here
        except BaseException as error:
            error.add_note(here.logs())
            raise
        here.settled()


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


def kill(process: psutil.Process, number: int) -> None:
    """Send a signal to this process alone."""
    os.kill(process.pid, number)
