"""The demo agent: a scripted agent that ships with Engram, so that the main job runs on a machine without any agent."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engram_runtime.journal.records import Verdict
from engram_tui.agents.base import Adapter, ExitFacts, LaunchPlan, LaunchRequest, generic_verdict
from engram_tui.agents.hook_payloads import read_hook
from engram_tui.watch.observations import Observation


class Demo(Adapter):
    """Adapter of `demo_agent.py`, which speaks hooks and MCP over HTTP as Claude Code does."""

    name = "demo"
    title = "Demo agent"
    programs = ("python",)

    def find(self, environ: Mapping[str, str]) -> str | None:
        """Always there: this Python."""
        return sys.executable

    def version_argv(self, executable: str) -> tuple[str, ...]:
        """It has Engram's version."""
        return ()

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The script with the endpoint in its environment (the token in a 0600 file)."""
        script = Path(__file__).with_name("demo_agent.py")
        environ = {"ENGRAM_SESSION": request.session}
        if request.endpoint is not None:
            environ["ENGRAM_DEMO_PORT"] = str(request.endpoint.port)
            environ["ENGRAM_DEMO_TOKEN_FILE"] = str(request.endpoint.token_file)
        prompt = request.prompt if request.prompt and not request.args else ""
        tail = (prompt,) if prompt else ()
        return LaunchPlan(
            argv=(request.executable, "-I", "-S", str(script), *request.args, *tail),
            environ=environ,
            mcp=request.endpoint is not None,
            briefing_channel="hook" if request.endpoint is not None and request.briefing else "",
            prompt_submitted=prompt or " ".join(request.args),
        )

    def on_hook(self, event: str, payload: Mapping[str, Any]) -> Sequence[Observation]:
        """Its hooks are Claude's."""
        return read_hook(event, payload)

    def gives_briefing(self, event: str, payload: Mapping[str, Any]) -> bool:
        """At its start."""
        return event == "SessionStart"

    def hook_answer(self, event: str, payload: Mapping[str, Any], context: str | None) -> dict[str, Any]:
        """As Claude's."""
        if not context:
            return {}
        return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": context}}

    def classify(self, facts: ExitFacts) -> Verdict:
        """Quitting it at its prompt is the user's doing."""
        verdict = generic_verdict(facts)
        reason = facts.native_end.reason if facts.native_end else ""
        if verdict.kind == "finished" and reason == "prompt_input_exit":
            return Verdict(kind="user_quit", code=0, evidence=("exit code 0", f"SessionEnd({reason})"))
        return verdict
