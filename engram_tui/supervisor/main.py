"""Starting a supervisor: sockets bound and agent spawned first, before any thread or heavy import.

asyncio and logging count as heavy: a third of the time to the agent's start. What is imported above stays free of them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engram_runtime.errors import AgentError, EngramError
from engram_runtime.paths import make_private_folder
from engram_tui.agents.base import Endpoint, LaunchPlan, LaunchRequest
from engram_tui.agents.registry import adapter
from engram_tui.supervisor.imports import heavy, share_fairly
from engram_tui.supervisor.listeners import Listeners
from engram_tui.supervisor.spec import SessionFile, SessionFolder, SessionSpec, drop_unkept, write_private
from engram_tui.watch.child_start import SESSION_VARIABLE
from engram_tui.watch.pty_process import AgentProcess, PtyProcess
from engram_tui.watch.reaper import become_subreaper

LOG_BYTES = 1_000_000


def main(argv: list[str]) -> int:
    """Entry of the detached supervisor: `python -m engram_tui.supervisor FOLDER`."""
    path = Path(argv[0])
    folder = SessionFolder(path.parent.parent, path.name)
    spec = folder.take_spec()
    try:
        code = supervise(spec, folder)
        drop_unkept(spec)
        return code
    except (EngramError, OSError) as error:
        # The launcher waits for the socket; this is what it tells the user instead.
        write_private(folder.path / "failed", str(error).encode())
        sys.stderr.write(f"engram: {error}\n")
        return 1


def supervise(spec: SessionSpec, folder: SessionFolder) -> int:
    """Run one session to its end; the exit code for `engram run`.

    Raises FolderUnusable or AgentError, with nothing started.
    """
    on_terminal = spec.mode == "interactive" or (sys.stdin.isatty() and sys.stdout.isatty())
    known = adapter(spec.agent, spec.executable)
    with folder.usable():
        os.close(os.open(folder.log_path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        folder.lock()
        if spec.task is not None:
            folder.hold_task(spec.task)
        socket_path = folder.socket_path()
        listeners = Listeners.bind(socket_path)
        token = os.urandom(24).hex()
        write_private(folder.token_path, f"Authorization: Bearer {token}".encode())
        info = _info(spec, socket_path, on_pipes=not on_terminal)
        folder.write_info(info)
        plan = known.plan(
            LaunchRequest(
                executable=spec.executable,
                args=spec.args,
                cwd=Path(spec.cwd),
                session=spec.id,
                session_dir=folder.path,
                environ=os.environ,
                endpoint=Endpoint(listeners.port, token, folder.token_path),
                interactive=on_terminal,
                briefing=spec.briefing,
                prompt=spec.prompt,
            )
        )
        put_in_place(plan)
    become_subreaper()
    try:
        process = _spawn(spec, plan, on_terminal)
    except OSError as error:
        listeners.close()
        folder.write_info(msgspec.structs.replace(info, ended=True, verdict="not started"))
        raise AgentError(f"{plan.argv[0]} cannot be started: {error.strerror or error}.") from error
    with heavy():
        import asyncio

        from engram_tui.supervisor.supervisor import Supervisor

    share_fairly()
    _log_to(folder.log_path)

    async def run() -> int:
        return await Supervisor(spec, folder, info, known, plan, process, listeners, token).run()

    return asyncio.run(run())


def _info(spec: SessionSpec, socket_path: Path, *, on_pipes: bool) -> SessionFile:
    return SessionFile(
        id=spec.id,
        agent=spec.agent,
        project=spec.project,
        cwd=spec.cwd,
        mode=spec.mode,
        pid=os.getpid(),
        socket=str(socket_path),
        started_at=_stamp(time.time()),
        task=spec.task,
        on_pipes=on_pipes,
    )


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
    if spec.mode == "interactive":  # the terminal is ours; headless it is the user's
        if environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
            environ["TERM"] = "xterm-256color"
        environ.setdefault("COLORTERM", "truecolor")
    return PtyProcess(plan.argv, cwd=spec.cwd, env=environ, rows=spec.rows, columns=spec.cols)


def _log_to(path: Path) -> None:
    """Warnings of libraries go to the session's log (0600), never to the user's stderr."""
    import logging
    from logging.handlers import RotatingFileHandler

    logging.raiseExceptions = (
        False  # a log that cannot be written (disk full) must not reach the user's screen
    )
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
