"""Starts a screen process without blocking the event loop, and has its end told to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


async def launch(
    cols: int, rows: int, plain: bool
) -> tuple[subprocess.Popen[bytes], asyncio.Event, socket.socket]:
    """The process, an event set when it has been reaped, and our end of its socket.

    Raises OSError if there is no process or descriptor to be had.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    started: asyncio.Future[subprocess.Popen[bytes]] = loop.create_future()
    gone = asyncio.Event()
    threading.Thread(
        target=_run,
        args=(_command(theirs.fileno(), cols, rows, plain), theirs, loop, started, gone),
        name="engram-screen",
        daemon=True,
    ).start()
    try:
        return await started, gone, ours
    except BaseException:
        ours.close()  # a process that has been started ends by this
        raise


def _command(descriptor: int, cols: int, rows: int, plain: bool) -> list[str]:
    # -P: the current folder is the agent's project, whose files must not be imported
    command = [sys.executable, "-P", "-m", "engram_tui.terminal.screen_process"]
    command += [str(descriptor), str(cols), str(rows)]
    return [*command, "--plain"] if plain else command


def _environment() -> dict[str, str]:
    """Ours, with the folder this Engram was imported from, where that is not an installation's."""
    environment = dict(os.environ)
    if _ROOT.name not in ("site-packages", "dist-packages"):
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = str(_ROOT) + (os.pathsep + others if others else "")
    return environment


def _run(
    command: list[str],
    theirs: socket.socket,
    loop: asyncio.AbstractEventLoop,
    started: asyncio.Future[subprocess.Popen[bytes]],
    gone: asyncio.Event,
) -> None:
    """Start a process and wait for its end; runs in a thread of its own."""

    def tell(report: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(report)

    try:
        process = subprocess.Popen(
            command,
            env=_environment(),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the supervisor's terminal is not for it
        )
    except OSError as error:
        failure = error
        tell(lambda: None if started.done() else started.set_exception(failure))
        return
    finally:
        theirs.close()
    tell(lambda: None if started.done() else started.set_result(process))
    process.wait()
    tell(gone.set)
