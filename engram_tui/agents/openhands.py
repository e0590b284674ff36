"""OpenHands CLI (facts from runs of 1.16.0).

- The user's arguments stay as typed. `--resume=<uuid>` before them picks the conversation's id: an id that is not there
  begins a new conversation under it, without a word, headless and in the terminal UI.
- MCP comes from a private persistence folder (see `openhands_folders`, which says what that costs). A server that does
  not answer would end the run, with exit code 0: the endpoint must answer MCP whatever has become of the journal.
- Hooks: OpenHands reads them from the worktree or the home only, of two files one, and shows each call on its screen.
  Engram writes to neither, so there are none: the conversation's event files tell the same within a fraction of a
  second. What is lost: nothing can be injected after a condensation, and nothing without a prompt.
- The briefing is the first message, by `--file`, and so is Engram's prompt (see `openhands_prompt`).
- The exit code is 0 whatever happened: the verdict comes from events, and Engram's own codes are used.
- A SIGKILL leaves its tmux server, with shell and command: the session has a tmux server of its own, ended with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engram_runtime.journal.records import Verdict
from engram_tui.agents.base import (
    Adapter,
    ExitFacts,
    LaunchPlan,
    LaunchRequest,
    TranscriptReader,
    generic_verdict,
)
from engram_tui.agents.openhands_args import OpenHandsArgs, parse, with_file
from engram_tui.agents.openhands_events import condition_of
from engram_tui.agents.openhands_folders import Folders, private_folder, terminal_environ
from engram_tui.agents.openhands_prompt import SEED_NAME, seed
from engram_tui.agents.openhands_transcript import OpenHandsTranscript
from engram_tui.watch.observations import TurnFailed

NO_PROMPT_NO_BRIEFING = (
    "OpenHands takes a briefing only with a prompt: the agent gets it by asking (restore_checkpoint)"
)
CANNOT_READ_FILE = "your --file cannot be read, so no briefing is put before it"
NO_HOOKS = (
    "OpenHands reads hooks only from your own files, so none are set: its event files are followed instead"
)


class OpenHands(Adapter):
    """Adapter of the OpenHands CLI."""

    name = "openhands"
    title = "OpenHands"
    programs = ("openhands",)
    verified = "1.16.0"
    own_processes = (r"\btmux -L ?openhands\b",)
    hides_failures = True
    reports_prompts = True

    def supervises(self, args: tuple[str, ...]) -> bool:
        """Not subcommands, --help, --version, nor `--resume` without an id, which prints a list."""
        return parse(args).is_session

    def prints(self, args: tuple[str, ...]) -> bool:
        """`--headless`."""
        return parse(args).headless

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """A conversation of a known id, Engram's MCP server beside the user's, the briefing as first message."""
        args = parse(request.args)
        if not args.is_session:
            return LaunchPlan(argv=(request.executable, *request.args))
        folders = Folders.of(request.environ, request.cwd)
        private = private_folder(folders, request.session_dir, request.endpoint)
        first = _first_message(request, args)
        conversation = _conversation(request.session, args, folders)
        flags: tuple[str, ...] = () if args.resume is not None else (f"--resume={conversation}",)
        return LaunchPlan(
            argv=(request.executable, *flags, *first.line),
            environ={**terminal_environ(request.session_dir), **private.environ},
            files=(*private.files, *first.files),
            links=private.links,
            native_id=str(conversation) if conversation else None,
            transcript=folders.conversations / conversation.hex if conversation else None,
            mcp=bool(private.files),
            briefing_channel="prompt" if first.briefed else "",
            prompt_submitted=first.prompt,
            notes=(NO_HOOKS, *private.notes, *first.notes),
        )

    def transcript(self, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path) -> TranscriptReader | None:
        """Reader of the planned conversation, from what this run adds to it."""
        if plan.transcript is None:
            return None
        work = Folders.of(environ, cwd).work
        interactive = not parse(plan.argv[1:]).headless
        return OpenHandsTranscript(plan.transcript, work, skip_present=True, follow_new=interactive)

    def reopen_transcript(self, path: Path) -> TranscriptReader | None:
        """Reader from the conversation's first event."""
        return OpenHandsTranscript(path)

    def classify(self, facts: ExitFacts) -> Verdict:
        """By events: the exit code is 0 for a refused key, for an overflow, and for a run that never began.

        Seen: SIGTERM and SIGKILL end it by the signal; Ctrl-C twice, Ctrl-Q and /exit give 0.
        """
        verdict = generic_verdict(facts)
        if verdict.kind in ("killed", "oom"):
            return verdict
        failure = facts.last_failure
        if failure is not None and (not facts.interactive or facts.conditions):
            return _failed(failure, facts.code)
        if facts.code != 0:
            return verdict
        if facts.interactive:
            return Verdict(kind="user_quit", code=0, evidence=("exit code 0",))
        if not facts.turns:
            return Verdict(kind="crashed", code=0, evidence=("exit code 0, but no turn of the agent ended",))
        return Verdict(kind="finished", code=0, evidence=("exit code 0", "the agent ended its turn"))


def _failed(failure: TurnFailed, code: int | None) -> Verdict:
    """An error of the API by its kind; a loop that OpenHands broke off; else OpenHands itself failed."""
    evidence = (f"the run ended in an error: {failure.text}", f"exit code {code}")
    if failure.condition == "stalled":
        return Verdict(kind="hang", code=code, evidence=evidence)
    name, _, detail = failure.text.partition(": ")
    if failure.condition == "api_error" and condition_of(name, detail) is None:
        return Verdict(kind="crashed", code=code, evidence=evidence)
    return Verdict(kind=failure.condition, code=code, evidence=evidence)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _FirstMessage:
    """What the conversation begins with, as the user's line says it or with a file added to it."""

    line: tuple[str, ...]
    prompt: str = ""
    files: tuple[tuple[Path, bytes], ...] = ()
    briefed: bool = False
    notes: tuple[str, ...] = ()


def _first_message(request: LaunchRequest, args: OpenHandsArgs) -> _FirstMessage:
    own = args.prompt(request.cwd)
    briefing = request.briefing or ""
    if own is None and args.file is not None:
        return _FirstMessage(request.args, notes=(CANNOT_READ_FILE,) if briefing else ())
    prompt = own or request.prompt or ""
    if not prompt:
        return _FirstMessage(request.args, notes=(NO_PROMPT_NO_BRIEFING,) if briefing else ())
    if own and not briefing:
        return _FirstMessage(request.args, prompt)
    path = request.session_dir / SEED_NAME
    content = seed(briefing, prompt)
    return _FirstMessage(with_file(request.args, path), prompt, ((path, content),), briefed=bool(briefing))


def _conversation(session: str, args: OpenHandsArgs, folders: Folders) -> uuid.UUID | None:
    """The conversation of this run; of version 5 where Engram picks it (OpenHands picks version 4)."""
    if args.resume is None:
        return uuid.uuid5(uuid.NAMESPACE_OID, f"engram session {session}")
    named = args.resume
    if args.last:
        latest = folders.latest_conversation()
        named = latest.name if latest else ""
    try:
        return uuid.UUID(named)
    except ValueError:
        return None
