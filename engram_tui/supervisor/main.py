"""Starting a supervisor: sockets bound and agent spawned first, before any thread or heavy import."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from engram_runtime.errors import EngramError
from engram_runtime.paths import make_private_folder
from engram_tui.agents.base import Endpoint, LaunchPlan, LaunchRequest
from engram_tui.agents.registry import adapter
from engram_tui.supervisor.endpoint import Listeners
from engram_tui.supervisor.spec import SessionFile, SessionFolder, SessionSpec, write_private
from engram_tui.watch.process_tree import SESSION_VARIABLE
from engram_tui.watch.pty_process import AgentProcess, PtyProcess
from engram_tui.watch.reaper import become_subreaper

LOG_BYTES = 1_000_000


def main(argv: list[str]) -> int:
    """Entry of the detached supervisor: `python -m engram_tui.supervisor FOLDER`."""
    path = Path(argv[0])
    folder = SessionFolder(path.parent.parent, path.name)
    spec = folder.read_spec()
    try:
        return supervise(spec, folder)
    except (EngramError, OSError) as error:
        # The launcher waits for the socket; this is what it tells the user instead.
        write_private(folder.path / "failed", str(error).encode())
        sys.stderr.write(f"engram: {error}\n")
        return 1


def supervise(spec: SessionSpec, folder: SessionFolder) -> int:
    """Run one session to its end; the exit code for `engram run`."""
    _log_to(folder.log_path)
    folder.lock()
    socket_path = folder.socket_path()
    listeners = Listeners.bind(socket_path)
    token = os.urandom(24).hex()
    write_private(folder.token_path, f"Authorization: Bearer {token}".encode())
    endpoint = Endpoint(listeners.port, token, folder.token_path)
    started = time.time()
    info = SessionFile(
        id=spec.id,
        agent=spec.agent,
        project=spec.project,
        cwd=spec.cwd,
        mode=spec.mode,
        pid=os.getpid(),
        socket=str(socket_path),
        started_at=_stamp(started),
        task=spec.task,
    )
    folder.write_info(info)
    become_subreaper()
    known = adapter(spec.agent, spec.executable)
    on_terminal = spec.mode == "interactive" or (sys.stdin.isatty() and sys.stdout.isatty())
    plan = known.plan(
        LaunchRequest(
            executable=spec.executable,
            args=spec.args,
            cwd=Path(spec.cwd),
            session=spec.id,
            session_dir=folder.path,
            environ=os.environ,
            endpoint=endpoint,
            interactive=on_terminal,
            briefing=spec.briefing,
            prompt=spec.prompt,
        )
    )
    put_in_place(plan)
    process = _spawn(spec, plan, on_terminal)
    from engram_tui.supervisor.supervisor import Supervisor

    async def run() -> int:
        return await Supervisor(spec, folder, info, known, plan, process, listeners, token).run()

    return asyncio.run(run())


def put_in_place(plan: LaunchPlan) -> None:
    """Write the plan's private files and make its links. A link may point to what the agent has yet to make; that
    needs the folder it lies in.
    """
    for path, data in plan.files:
        make_private_folder(path.parent)
        write_private(path, data)
    for link, target in plan.links:
        make_private_folder(link.parent)
        with contextlib.suppress(OSError):  # a home that cannot be written: the agent says so itself
            make_private_folder(target.parent)
        link.symlink_to(target)


def _spawn(spec: SessionSpec, plan: LaunchPlan, on_terminal: bool) -> AgentProcess:
    environ = {**os.environ, **plan.environ, SESSION_VARIABLE: spec.id}
    if not on_terminal:
        from engram_tui.watch.pipe_process import PipeProcess

        return PipeProcess(plan.argv, cwd=spec.cwd, env=environ)
    if environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        environ["TERM"] = "xterm-256color"
    environ.setdefault("COLORTERM", "truecolor")
    return PtyProcess(plan.argv, cwd=spec.cwd, env=environ, rows=spec.rows, columns=spec.cols)


def _log_to(path: Path) -> None:
    """Warnings of libraries go to the session's log (0600), never to the user's stderr."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
