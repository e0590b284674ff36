"""Opening the home beside the running agent: journal, first events, MCP server; or saying that nothing is kept."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engram_runtime.errors import EngramError
from engram_runtime.journal import events as ev
from engram_tui.supervisor.hooks import briefing_injected
from engram_tui.supervisor.imports import heavy
from engram_tui.supervisor.rounds import Rounds
from engram_tui.supervisor.spec import SessionSpec

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_tui.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)

MOST_DIRTY = 500
FIRST_LOOK_S = 0.7
"""The session's record must not wait for a slow git: then it begins without branch, HEAD and dirty files."""


async def open_home(supervisor: Supervisor) -> None:
    """Open the home and keep the session there; whatever is wrong with it, the agent goes on and the user is told."""
    runtime = await _opened(supervisor)
    if runtime is None:
        if supervisor.plan.mcp:
            from engram_tui.supervisor.mcp_mount import serve_no_tools

            await serve_no_tools(supervisor)
        return
    await _record_start(supervisor)
    supervisor.protected(runtime)
    supervisor.keep(Rounds(supervisor).make(runtime))
    supervisor.keep(_look_after_others(runtime))
    if supervisor.events_file is not None:
        supervisor.keep(supervisor.events_file.follow(runtime))
    if supervisor.plan.mcp:
        from engram_tui.supervisor.mcp_mount import serve_mcp

        await serve_mcp(supervisor)


async def _opened(supervisor: Supervisor) -> Runtime | None:
    """The runtime; None, and said so, where nothing can be kept."""
    if supervisor.spec.unprotected:
        supervisor.unprotected(supervisor.spec.unprotected)
        return None
    try:
        return await asyncio.to_thread(_open, supervisor.spec)
    except EngramError as error:
        supervisor.unprotected(str(error))
    except Exception as error:
        # The boundary to the store: a home in whatever state may keep nothing, but never ends the session.
        logger.exception("the home cannot be opened")
        supervisor.unprotected(f"The home cannot be opened ({type(error).__name__}: {error}).")
    return None


@heavy()
def _open(spec: SessionSpec) -> Runtime:
    """SQLAlchemy is a quarter of a second of CPU: imported here, in a thread."""
    from engram_runtime.runtime import Runtime
    from engram_runtime.settings import Settings

    home = Path(spec.home)
    settings, _ = Settings.load(home, Path(spec.cwd))
    return Runtime.open(home, project=spec.project, session=spec.id, settings=settings)


async def _look_after_others(runtime: Runtime) -> None:
    """Close sessions that others lost: beside this one, which must not wait for their agents to end.

    Folders of sessions that ended long ago go too.
    """
    from engram_runtime.upkeep.session_folders import remove_old_folders
    from engram_tui.supervisor.lost import recover_lost

    await asyncio.to_thread(recover_lost, runtime)
    await asyncio.to_thread(remove_old_folders, runtime.journal, runtime.state, runtime.settings.keep_days)


async def _record_start(of: Supervisor) -> None:
    """The session's first events; what happened since the agent's start waits behind them."""
    spec = of.spec
    looking = of.keep(of.eyes.first_look())
    await asyncio.wait([looking], timeout=FIRST_LOOK_S)
    found = (
        looking.result() if looking.done() and not looking.cancelled() and not looking.exception() else None
    )
    facts = found.facts if found else None
    of.recorder.post_first(
        ev.SessionStarted(
            agent=spec.agent,
            argv=of.plan.argv,
            cwd=spec.cwd,
            worktree=of.eyes.top,
            branch=facts.branch if facts else None,
            head=facts.head if facts else None,
            dirty_files=tuple(f.path for f in found.changed[:MOST_DIRTY]) if found else (),
            mode=spec.mode,
            supervisor_pid=os.getpid(),
            parent_session=spec.parent_session,
            resumed_task=spec.task,
        ),
        ev.AgentSpawned(pid=of.process.pid, started_at=float(of.process.id.start)),
    )
    if spec.briefing is not None and spec.task is not None and of.plan.briefing_channel in ("prompt", "file"):
        of.recorder.post(
            briefing_injected(spec.briefing, spec.task, spec.checkpoint, of.plan.briefing_channel)
        )
