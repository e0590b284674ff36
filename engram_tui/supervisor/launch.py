"""Starting sessions: a detached supervisor for a terminal, one in the foreground for scripts."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engram_runtime.errors import AgentError
from engram_tui.supervisor.spec import SessionFolder, SessionSpec, drop_unkept

START_S = 20.0
END_S = 8.0


def start_detached(spec: SessionSpec, meanwhile: Callable[[], None] = lambda: None) -> Path:
    """Start the session's supervisor in a session of its own; its Unix socket, which answers.

    `meanwhile` is done while it comes up.
    Raises AgentError with the reason where it did not come up, FolderUnusable.
    """
    folder = SessionFolder(Path(spec.home), spec.id)
    folder.create()
    with folder.usable():
        folder.write_spec(spec)
    descriptor = os.open(folder.log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engram_tui.supervisor", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    try:
        meanwhile()
        return _answering(folder, process)
    except BaseException:
        # Ctrl-C, or no answer: nobody would see the agent work on.
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a supervisor that is still starting: TERM, which ends its agent too, after END_S KILL."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_in_foreground(spec: SessionSpec) -> int:
    """Supervise in this process (`--headless`); the exit code of `engram run`.

    Raises FolderUnusable (nothing was started), AgentError.
    """
    from engram_tui.supervisor.main import supervise

    folder = SessionFolder(Path(spec.home), spec.id)
    folder.create()
    code = supervise(spec, folder)
    drop_unkept(spec)
    return code


def _answering(folder: SessionFolder, process: subprocess.Popen[bytes]) -> Path:
    """Wait until the supervisor's socket takes connections."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if folder.info_path.exists():
            path = Path(folder.read_info().socket)
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
                return path
        if process.poll() is not None:
            raise AgentError(_failure(folder, process.returncode))
        time.sleep(0.005)
    raise AgentError(f"The supervisor did not answer within {START_S:.0f} s.", hint=f"See {folder.log_path}.")


def _failure(folder: SessionFolder, code: int) -> str:
    try:
        return (folder.path / "failed").read_text(encoding="utf-8")
    except OSError:
        return f"The supervisor ended at once (exit {code}); see {folder.log_path}."
