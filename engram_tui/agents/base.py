"""The contract every agent adapter keeps: finding, launching, reading and judging one agent CLI.

An adapter is pure of processes and of the journal: it makes plans and translates what was seen. Facts of each
CLI were measured against real runs; where an adapter relies on one, its docstring says so.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engram_runtime.journal.records import ConditionKind, Verdict
from engram_tui.watch.observations import NativeEnded, Observation, TurnFailed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The session's loopback endpoint. `token_file` (0600) holds `Authorization: Bearer …` as a header line."""

    port: int
    token: str
    token_file: Path

    @property
    def mcp_url(self) -> str:
        """Where the agent's MCP client connects."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def hook_url(self, event: str) -> str:
        """Where the agent's hooks post."""
        return f"http://127.0.0.1:{self.port}/hooks/{event}"


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What the supervisor wants started. `args` are the user's own, kept as typed.

    `prompt` is submitted by Engram on resume (None: nothing is typed for the user). `briefing` is the text to be
    put into the first request, None where this session is not about earlier work.
    """

    executable: str
    args: tuple[str, ...]
    cwd: Path
    session: str
    session_dir: Path
    environ: Mapping[str, str]
    endpoint: Endpoint | None
    interactive: bool
    briefing: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """How to start the agent. `files` are private (0600) and lie in the session's folder."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    """Added to the user's environment."""
    files: tuple[tuple[Path, bytes], ...] = ()
    links: tuple[tuple[Path, Path], ...] = ()
    """Symbolic links to make in the session's folder: (link, the user's file or folder, which need not exist yet)."""
    native_id: str | None = None
    transcript: Path | None = None
    mcp: bool = False
    """The agent was given Engram's MCP server."""
    briefing_channel: str = ""
    """How the briefing reaches the model: hook | prompt | "" (not at all)."""
    prompt_submitted: str = ""
    """The prompt of this run where argv tells it (the user's or Engram's)."""
    notes: tuple[str, ...] = ()
    """Trade-offs the user should know, one line each."""


@dataclass(frozen=True, slots=True)
class ExitFacts:
    """All that bears on the verdict. `signals` are those Engram sent: (signal, on whose behalf)."""

    code: int | None
    signal: int | None
    interactive: bool
    signals: tuple[tuple[int, str], ...] = ()
    busy: bool = False
    turns: int = 0
    prompts: int = 0
    last_failure: TurnFailed | None = None
    """The API error of the last turn, None once a later turn went well."""
    native_end: NativeEnded | None = None
    conditions: tuple[ConditionKind, ...] = ()
    oom_killed: bool = False
    transcript_tail: str = ""


class TranscriptReader(ABC):
    """Reads what the agent wrote of its own session, from where it last stopped."""

    path: Path | None
    offset: int

    @abstractmethod
    def read(self) -> list[Observation]:
        """Observations of everything new; never raises for malformed lines (they are skipped)."""


class Adapter(ABC):
    """One agent CLI."""

    name: str
    title: str
    programs: tuple[str, ...]
    verified: str = ""
    """Versions that the end-to-end tests ran with this adapter."""
    own_processes: tuple[str, ...] = ()
    """Regular expressions of command lines that are the agent's own daemons: ended with it."""
    hides_failures: bool = False
    """Its exit code is 0 for failures too, so Engram's own codes are used."""
    tells_tools: bool = True
    """Its tool calls are known, so that a change while none ran can be called the user's."""
    reports_prompts: bool = True
    """Hooks or transcript tell its prompts; where not, the command line counts as the first one."""

    suspends_itself: bool = False
    """Ctrl-Z makes it stop for the shell it was started from, and wait for SIGCONT."""

    def supervises(self, args: tuple[str, ...]) -> bool:
        """False for calls that are no session (`--version`, `mcp list`): Engram steps aside for them."""
        return True

    def prints(self, args: tuple[str, ...]) -> bool:
        """Whether these arguments make it answer once and end, without a terminal UI."""
        return False

    def find(self, environ: Mapping[str, str]) -> str | None:
        """Path of the executable on the user's PATH, None where it is not installed."""
        for program in self.programs:
            if found := shutil.which(program, path=environ.get("PATH")):
                return found
        return None

    def version_argv(self, executable: str) -> tuple[str, ...]:
        """Command that prints the version."""
        return (executable, "--version")

    @abstractmethod
    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """How to start the agent so that it stays as the user has it and Engram can see and serve it."""

    def on_hook(self, event: str, payload: Mapping[str, Any]) -> Sequence[Observation]:
        """What a hook call tells."""
        return ()

    def hook_answer(self, event: str, payload: Mapping[str, Any], context: str | None) -> dict[str, Any]:
        """The hook's JSON answer that hands `context` to the model; {} for none."""
        return {}

    def gives_briefing(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Whether the answer to this hook call is where the briefing goes."""
        return False

    def takes_advice(self, event: str) -> bool:
        """Whether the answer to this hook call of a failed tool reaches the model at once."""
        return False

    def holds_for_tools(self, event: str) -> bool:
        """Whether this hook is answered only once the agent's MCP client has listed the tools (bounded)."""
        return False

    def transcript(self, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path) -> TranscriptReader | None:
        """Reader of the agent's transcript, None where it has none."""
        return None

    def reopen_transcript(self, path: Path) -> TranscriptReader | None:
        """Reader of a transcript known by path (a lost session's)."""
        return None

    def classify(self, facts: ExitFacts) -> Verdict:
        """Why the session ended; see `generic_verdict` for what all agents share."""
        return generic_verdict(facts)


_SIGNAL_NAMES = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    6: "SIGABRT",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}


def signal_name(number: int) -> str:
    """SIGKILL for 9, and so on."""
    return _SIGNAL_NAMES.get(number, f"signal {number}")


def sent_by(facts: ExitFacts, number: int) -> str:
    """Evidence line on who sent a signal."""
    for sent, by in facts.signals:
        if sent == number:
            return f"{signal_name(number)} was sent by Engram on behalf of the {by}"
    return f"{signal_name(number)} did not come from Engram"


def generic_verdict(facts: ExitFacts) -> Verdict:
    """Verdict from exit status, signals and conditions alone: what holds for any program.

    A shell's 128 + n codes count as killed(n) for the signals a program commonly turns into such a code.
    """
    if facts.oom_killed:
        return Verdict(
            kind="oom", signal=9, evidence=("the kernel counted an out-of-memory kill in this group",)
        )
    if facts.signal is not None:
        return Verdict(
            kind="killed",
            signal=facts.signal,
            evidence=(f"wait status: ended by {signal_name(facts.signal)}", sent_by(facts, facts.signal)),
        )
    if facts.code is not None and facts.code - 128 in (1, 2, 3, 9, 15):
        number = facts.code - 128
        return Verdict(
            kind="killed",
            signal=number,
            evidence=(f"exit code {facts.code} = 128 + {number}", sent_by(facts, number)),
        )
    if facts.code == 0:
        return Verdict(kind="finished", code=0, evidence=("exit code 0",))
    return Verdict(kind="crashed", code=facts.code, evidence=(f"exit code {facts.code}",))


VERDICT_OF_CONDITION: dict[str, str] = {
    "rate_limit": "rate_limit",
    "overloaded": "overloaded",
    "overflow": "overflow",
    "auth": "auth",
    "api_error": "api_error",
}
