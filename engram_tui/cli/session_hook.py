"""`engram-session-hook`: for Claude without supervision, the briefing of interrupted work in the first request.

It is a hook: whatever goes wrong, it says nothing and exits with 0. It is silent too inside a supervised session, where
the supervisor gives the briefing, and where nothing of this project is interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

SOURCES = ("startup", "resume", "")
"""SessionStart's sources at which work can be taken up; a cleared or compacted session goes on with its own."""
LARGEST_INPUT = 1_000_000


def answer() -> int:
    """Read the hook's input, print the hook's answer if there is one; the exit code is 0."""
    try:
        if os.environ.get("ENGRAM_SESSION"):
            return 0
        given = _given()
        if given is not None and str(given.get("source", "")) in SOURCES:
            text = _briefing(_folder(given))
            if text:
                said = {"hookEventName": "SessionStart", "additionalContext": text}
                print(json.dumps({"hookSpecificOutput": said}))
    except Exception:  # noqa: BLE001
        # The boundary to the user's agent: no fault of ours may show up in its session.
        return 0
    return 0


def _given() -> dict[str, Any] | None:
    if sys.stdin is None or sys.stdin.isatty():
        return {}
    read = sys.stdin.buffer.read(LARGEST_INPUT)
    if not read.strip():
        return {}
    given = json.loads(read)
    return given if isinstance(given, dict) else None


def _folder(given: dict[str, Any]) -> Path:
    named = given.get("cwd")
    return Path(named) if isinstance(named, str) and Path(named).is_dir() else Path.cwd()


def _briefing(folder: Path) -> str:
    """The briefing of the project's latest interrupted task, "" for none; that it was given is recorded."""
    from engram_runtime.paths import project_of
    from engram_tui.cli.home import nothing_interrupted, opened

    if nothing_interrupted(project_of(folder)):
        return ""
    from engram_runtime.errors import EngramError
    from engram_runtime.journal.events import BriefingInjected
    from engram_tui.supervisor.briefings import briefing_for
    from engram_tui.supervisor.lost import recover_lost

    with opened(folder, recover=False) as runtime:
        recover_lost(runtime)
        tasks = runtime.state.interrupted_tasks(runtime.project)
        if not tasks:
            return ""
        briefing = briefing_for(runtime, tasks[0].id, folder)
        latest = runtime.state.checkpoint_version(tasks[0].id)
        given = BriefingInjected(
            task=tasks[0].id,
            checkpoint=latest.id if latest else None,
            channel="session-hook",
            tokens=briefing.tokens,
            digest=briefing.digest,
        )
        with contextlib.suppress(EngramError):
            runtime.append(given)
        return briefing.text
