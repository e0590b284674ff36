"""Real agent CLIs in a home of their own, talking to a scripted LLM on loopback and to nobody else.

def test_something(claude_cli, agent_home):
    with ScriptedLLM(script) as llm:
        home = agent_home(llm)
        done = home.run([claude_cli, "-p", "hello"])
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import psutil
import pytest

from tests.agents.install import CLAUDE, OPENHANDS, Agent
from tests.agents.pty_agent import PtyAgent
from tests.fakes.scripted_llm import ScriptedLLM

__all__ = ["AgentHome", "PtyAgent", "find_claude", "find_openhands", "require_claude", "require_openhands"]

DUMMY_KEY: Final = "sk-ant-dummy-000000000000000000000000"
MARKER: Final = "AGENT_TEST_HOME"
"""Environment variable by which every process started in a home is known again, however it was detached."""
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@functools.cache
def find_claude() -> Path | None:
    """Claude Code of exactly the pinned version: from the cache, else from PATH, else None."""
    return _find(CLAUDE)


@functools.cache
def find_openhands() -> Path | None:
    """OpenHands of exactly the pinned version: from the cache, else from PATH, else None."""
    return _find(OPENHANDS)


def require_claude() -> Path:
    """Claude Code's executable; skips the test, with the reason, where there is none."""
    return find_claude() or pytest.skip(_reason("Claude Code", CLAUDE))


def require_openhands() -> Path:
    """OpenHands' executable; skips the test, with the reason, where there is none."""
    return find_openhands() or pytest.skip(_reason("OpenHands", OPENHANDS))


def _reason(title: str, agent: Agent) -> str:
    return f"{title} {agent.version} is neither in the cache ({agent.folder}) nor on PATH; run `make agents`"


def _find(agent: Agent) -> Path | None:
    if cached := agent.installed():
        return cached
    on_path = shutil.which(agent.name)
    if on_path is None:
        return None
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ.get("PATH", SYSTEM_PATH)}
        try:
            answer = subprocess.run(
                [on_path, "--version"],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    words = (answer.stdout + answer.stderr).split()
    return Path(on_path) if agent.version in words else None


class AgentHome:
    """A home, a configuration, a temporary folder and a git project with one commit, for agents to run in.

    Their environment is clean: dummy keys, base URLs on the scripted LLM, no other traffic, and the
    first-run dialogs are answered. The paths are short, as agents and Engram put Unix sockets below them.
    Leaving the context ends every process that was started in this home, also detached ones, and removes
    the folder.
    """

    def __init__(self, llm: ScriptedLLM | None = None, *, settings: Mapping[str, Any] | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ag", dir="/tmp")).resolve()
        self.home = self.root / "home"
        self.config = self.root / "claude"
        """Claude's CLAUDE_CONFIG_DIR: .claude.json, settings.json, projects/."""
        self.temporary = self.root / "t"
        self.work = self.root / "work"
        self.bin = self.root / "bin"
        """Leads the PATH; `put_on_path` links agents into it."""
        self.engram = self.root / "engram"
        """Engram's home (ENGRAM_HOME); made by Engram itself."""
        for folder in (self.home, self.config, self.temporary, self.work, self.bin):
            folder.mkdir(mode=0o700)
        self.environment = self._clean_environment(llm)
        self._started: list[subprocess.Popen[bytes]] = []
        self._answer_claude_dialogs(settings or {})
        self._make_project()

    def __enter__(self) -> AgentHome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put_on_path(self, binary: Path) -> None:
        """Makes the agent found under its own name, and nothing else of its folder."""
        (self.bin / binary.name).symlink_to(binary)

    def use_llm(self, llm: ScriptedLLM) -> None:
        """Points agents that start from now on at this scripted LLM."""
        self.environment |= {"ANTHROPIC_BASE_URL": llm.url, "LLM_BASE_URL": llm.openai_url}

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: str | None = None,
        seconds: float = 60,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end, no terminal; stdin is empty unless given. Raises TimeoutExpired."""
        return subprocess.run(
            [str(argument) for argument in argv],
            cwd=cwd or self.work,
            env=self.environment | dict(env or {}),
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def start(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a program, no terminal, and returns; stdout and stderr are pipes, stdin is empty."""
        process = subprocess.Popen(
            [str(argument) for argument in argv],
            cwd=self.work,
            env=self.environment | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(process)
        return process

    def open_terminal(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        columns: int = 120,
        rows: int = 40,
    ) -> PtyAgent:
        """Starts a program on a pty of its own, in the project."""
        environment = self.environment | dict(env or {})
        return PtyAgent(argv, cwd=self.work, env=environment, columns=columns, rows=rows)

    def git(self, *arguments: str) -> str:
        """Runs git in the project and returns what it said; raises CalledProcessError."""
        done = self.run(["git", *arguments])
        done.check_returncode()
        return done.stdout

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started in this home, detached and reparented ones included."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARKER) == str(self.root)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):  # it ended meanwhile, or is another user's
                continue
        return found

    def close(self) -> None:
        """Ends every process of this home and removes its folder; may be called twice."""
        while processes := self.processes():
            for process in processes:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(processes, timeout=5)
        for started in self._started:
            started.communicate()
        self._started.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def _clean_environment(self, llm: ScriptedLLM | None) -> dict[str, str]:
        """Nothing of the caller's environment: no key, no proxy, no configuration of a real agent."""
        environment = {
            MARKER: str(self.root),
            "HOME": str(self.home),
            "USER": "tester",
            "SHELL": "/bin/sh",
            "PATH": f"{self.bin}:{SYSTEM_PATH}",
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "ENGRAM_HOME": str(self.engram),
            "CLAUDE_CONFIG_DIR": str(self.config),
            "ANTHROPIC_API_KEY": DUMMY_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
            # Claude refuses --dangerously-skip-permissions to root outside a sandbox.
            "IS_SANDBOX": "1",
            "LLM_API_KEY": DUMMY_KEY,
            "LLM_MODEL": "openai/scripted-model",
            # Agents that look elsewhere than on loopback find nobody, at once, wherever the tests run.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
            # Without these OpenHands spends seconds on unreachable hosts and prints a banner.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "OPENHANDS_SUPPRESS_BANNER": "1",
            # OpenHands' tmux server would be one for the whole machine.
            "TMUX_TMPDIR": str(self.temporary),
        }
        if llm is not None:
            environment |= {"ANTHROPIC_BASE_URL": llm.url, "LLM_BASE_URL": llm.openai_url}
        return environment

    def _answer_claude_dialogs(self, settings: Mapping[str, Any]) -> None:
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        state = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [DUMMY_KEY[-20:]], "rejected": []},
            "projects": {str(self.work): trusted},
        }
        (self.config / ".claude.json").write_text(json.dumps(state))
        (self.config / "settings.json").write_text(
            json.dumps({"skipDangerousModePermissionPrompt": True, **settings})
        )

    def _make_project(self) -> None:
        (self.home / ".gitconfig").write_text(
            "[user]\n\tname = Tester\n\temail = tester@example.invalid\n[init]\n\tdefaultBranch = main\n"
        )
        (self.work / "README.md").write_text("# A project\n")
        self.git("init", "--quiet")
        self.git("add", "README.md")
        self.git("commit", "--quiet", "--message", "First commit")
