"""Any other program: process, files, git and screen are watched; nothing is injected, nothing is expected."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from engram_tui.agents.base import Adapter, LaunchPlan, LaunchRequest


class Generic(Adapter):
    """Adapter of `engram run -- COMMAND`: the first argument is the program."""

    name = "command"
    title = "command"
    programs = ()
    reports_prompts = False
    tells_tools = False

    def __init__(self, program: str = "") -> None:
        self.program = program

    def find(self, environ: Mapping[str, str]) -> str | None:
        """The program as a shell would find it."""
        return shutil.which(self.program, path=environ.get("PATH")) if self.program else None

    def version_argv(self, executable: str) -> tuple[str, ...]:
        """Not asked: a program that does not know `--version` might do its work instead."""
        return ()

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The command as it is; its task and session are told in the environment."""
        environ = {"ENGRAM_SESSION": request.session}
        if request.briefing is not None:
            path = request.session_dir / "briefing.txt"
            note = f"briefing in {Path('$ENGRAM_BRIEFING')}: this program has no channel of its own for it"
            return LaunchPlan(
                argv=(request.executable, *request.args),
                environ={**environ, "ENGRAM_BRIEFING": str(path)},
                files=((path, request.briefing.encode()),),
                briefing_channel="file",
                prompt_submitted=shlex.join((request.executable, *request.args)),
                notes=(note,),
            )
        line = shlex.join((request.executable, *request.args))
        return LaunchPlan(argv=(request.executable, *request.args), environ=environ, prompt_submitted=line)
