"""Claude Code (facts from runs of 2.1.330).

Engram's flags go first and in `--flag=value` form: variadic flags then cannot eat the user's prompt, and what follows a
`--` stays the user's. Hooks, MCP server and permission for it come in a private settings file into which a
`--settings` of the user is merged. The briefing goes through the SessionStart hook, which is held until the MCP
client has listed the tools, so that tools, instructions and briefing are all in the first request.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engram_runtime.journal.records import Verdict
from engram_tui.agents.base import (
    Adapter,
    ExitFacts,
    LaunchPlan,
    LaunchRequest,
    TranscriptReader,
    generic_verdict,
    sent_by,
)
from engram_tui.agents.claude_args import parse
from engram_tui.agents.claude_settings import mcp_config, merged_settings, user_settings
from engram_tui.agents.claude_transcript import ClaudeTranscript
from engram_tui.agents.hook_payloads import read_hook
from engram_tui.watch.observations import Observation


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where Claude keeps sessions and transcripts: `$CLAUDE_CONFIG_DIR`, else `~/.claude`."""
    if configured := environ.get("CLAUDE_CONFIG_DIR"):
        return Path(configured)
    return Path(environ.get("HOME") or Path.home()) / ".claude"


def transcript_path(environ: Mapping[str, str], cwd: Path, native_id: str) -> Path:
    """The transcript of a session: every character of the folder but letters and digits becomes `-`."""
    folder = re.sub(r"[^A-Za-z0-9]", "-", os.path.realpath(cwd))
    return config_folder(environ) / "projects" / folder / f"{native_id}.jsonl"


class Claude(Adapter):
    """Adapter of Claude Code."""

    name = "claude"
    title = "Claude Code"
    programs = ("claude",)
    verified = "2.1.330"
    suspends_itself = True

    def supervises(self, args: tuple[str, ...]) -> bool:
        """Not subcommands, --help, --version, nor runs that leave this terminal."""
        return parse(args).injectable

    def prints(self, args: tuple[str, ...]) -> bool:
        """`-p`."""
        return parse(args).print_mode

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Injected settings, MCP and session id before the user's own arguments."""
        args = parse(request.args)
        if not args.injectable:
            return LaunchPlan(argv=(request.executable, *request.args))
        flags, files, notes = _injected(request, args.settings)
        native_id = args.values.get("--session-id")
        if not args.chooses_session:
            native_id = str(uuid.uuid4())
            flags.append(f"--session-id={native_id}")
        prompt = " ".join(args.positional)
        tail: tuple[str, ...] = ()
        if request.prompt and not prompt:
            prompt, tail = request.prompt, ("--", request.prompt)
        return LaunchPlan(
            argv=(request.executable, *flags, *args.rest, *tail),
            files=tuple(files),
            native_id=native_id,
            transcript=transcript_path(request.environ, request.cwd, native_id) if native_id else None,
            mcp=request.endpoint is not None,
            briefing_channel="hook" if request.endpoint is not None and request.briefing else "",
            prompt_submitted=prompt,
            notes=notes,
        )

    def transcript(self, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path) -> TranscriptReader | None:
        """Reader of the planned session's transcript; None until a hook tells which one it is."""
        return ClaudeTranscript(plan.transcript) if plan.transcript else None

    def reopen_transcript(self, path: Path) -> TranscriptReader | None:
        """Reader from the transcript's start."""
        return ClaudeTranscript(path)

    def on_hook(self, event: str, payload: Mapping[str, Any]) -> Sequence[Observation]:
        """Hook inputs as observations."""
        return read_hook(event, payload)

    def holds_for_tools(self, event: str) -> bool:
        """SessionStart waits for the MCP client: 0 of 2 first requests had the tools without, all with it."""
        return event == "SessionStart"

    def gives_briefing(self, event: str, payload: Mapping[str, Any]) -> bool:
        """At start, resume, after a compaction and after /clear: what the model knew is gone or was never there."""
        return event == "SessionStart"

    def takes_advice(self, event: str) -> bool:
        """`additionalContext` of both reaches the model's next request."""
        return event in ("PostToolUse", "PostToolUseFailure")

    def hook_answer(self, event: str, payload: Mapping[str, Any], context: str | None) -> dict[str, Any]:
        """`additionalContext` reaches the model from these events."""
        if not context:
            return {}
        return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": context}}

    def classify(self, facts: ExitFacts) -> Verdict:
        """Claude's own ways to end; else the generic verdict.

        Seen: /exit, Ctrl-C twice and Ctrl-D twice give SessionEnd(prompt_input_exit) and 0; SIGINT gives
        SessionEnd(other) and 0; SIGTERM 143, SIGHUP 129; `-p` ends in 1 on an API error.
        """
        verdict = generic_verdict(facts)
        if verdict.kind in ("killed", "oom"):
            return verdict
        reason = facts.native_end.reason if facts.native_end else None
        failure = facts.last_failure
        if failure is not None and (not facts.interactive or facts.conditions):
            evidence = (f"last turn failed: {failure.text}", f"exit code {facts.code}")
            return Verdict(kind=failure.condition, code=facts.code, evidence=evidence)  # type: ignore[arg-type]
        if facts.code != 0:
            return verdict
        if any(number == 2 for number, _ in facts.signals):
            return Verdict(kind="killed", signal=2, code=0, evidence=("exit code 0", sent_by(facts, 2)))
        if reason == "other" and (facts.interactive or facts.busy):
            evidence = ("exit code 0 with SessionEnd(other): Claude ends so on SIGINT", sent_by(facts, 2))
            return Verdict(kind="killed", signal=2, code=0, evidence=evidence)
        if facts.interactive:
            evidence = ("exit code 0", f"SessionEnd({reason})" if reason else "no SessionEnd seen")
            return Verdict(kind="user_quit", code=0, evidence=evidence)
        return verdict


def _injected(
    request: LaunchRequest, theirs: str | None
) -> tuple[list[str], list[tuple[Path, bytes]], tuple[str, ...]]:
    """Flags, private files and notes: hooks and MCP server, with the user's `--settings` merged in."""
    as_typed = [] if theirs is None else [f"--settings={theirs}"]
    if request.endpoint is None:
        return as_typed, [], ()
    mcp = request.session_dir / "claude-mcp.json"
    files = [(mcp, json.dumps(mcp_config(request.endpoint), indent=1).encode())]
    flags = [f"--mcp-config={mcp}"]
    user = user_settings(theirs, request.cwd)
    if user is None:
        note = (
            "your --settings cannot be read, so Engram's hooks are not set: it follows the transcript instead"
        )
        return [*as_typed, *flags], files, (note,)
    settings = request.session_dir / "claude-settings.json"
    files.append((settings, json.dumps(merged_settings(user, request.endpoint), indent=1).encode()))
    off = user.get("disableAllHooks") is True
    notes = ("your --settings turn hooks off, so no briefing can be given",) if off else ()
    return [f"--settings={settings}", *flags], files, notes
