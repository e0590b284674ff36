"""`engram-http` and `engram-server`: the tools over HTTP, in the foreground or as a process of their own.

The server holds the lock `<home>/run/server.lock` for its whole life and writes `<home>/run/server.json`; liveness is
the lock, and a signal only goes to the pid whose start time is the one written down.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from engram_runtime import paths
from engram_runtime.errors import StoreUnavailable, UsageError
from engram_tui.cli.home import home
from engram_tui.cli.output import json_option, print_json
from engram_tui.discovery import is_locked

DEFAULT_PORT = 8900
START_SECONDS = 20.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_LOG_BYTES = 1_000_000

host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
port_option = click.option(
    "--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
token_option = click.option("--no-token", is_flag=True, help="Let any program of this machine in.")
project_option = click.option(
    "--project",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="Folder of the project that is served (default: this one).",
)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """`server.json`. `started` is the process's start in the process table's unit, to tell a reused pid."""

    pid: int
    started: float
    url: str
    project: str
    since: str


@click.command("engram-http")
@host_option
@port_option
@token_option
@project_option
def http_command(host: str, port: int, no_token: bool, folder: Path) -> int:
    """MCP over streamable HTTP (/mcp) and the tools as REST (/v1), until a signal comes."""
    return _serve("engram-http", host, port, no_token, folder)


@click.group("engram-server")
def server_group() -> None:
    """The HTTP server of this home as a process of its own."""


@server_group.command("run")
@host_option
@port_option
@token_option
@project_option
def run_command(host: str, port: int, no_token: bool, folder: Path) -> int:
    """Serve in the foreground (for launchd, systemd); one server a home."""
    with _held(home()) as ready:
        return _serve("engram-server", host, port, no_token, folder, ready)


@server_group.command("start")
@host_option
@port_option
@token_option
@project_option
def start_command(host: str, port: int, no_token: bool, folder: Path) -> int:
    """Start the server, if it does not run; returns once it answers."""
    root = home()
    if (card := running(root)) is not None:
        print(f"Already running (pid {card.pid}, {card.url}).")
        return 0
    paths.prepare_home(root)
    log = _log_file(root)
    words = ["run", "--host", host, "--port", str(port), "--project", str(folder.absolute())]
    words += ["--no-token"] if no_token else []
    with log.open("ab") as out:
        # A server started from inside a supervised session outlives it, so it must not count as the agent's.
        process = subprocess.Popen(
            [sys.executable, "-m", "engram_tui.cli.aliases", "engram-server", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "ENGRAM_SESSION"},
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        card = running(root)
        if card is not None and card.pid == process.pid:
            print(f"Started (pid {card.pid}, {card.url}). Token: {paths.HomeFiles(root).run / 'mcp-token'}")
            return 0
        if process.poll() is not None:
            break
        time.sleep(_POLL_SECONDS)
    else:
        process.terminate()
    raise UsageError(f"The server did not start: {_last_line(log)}", hint=f"See {log}.")


@server_group.command("stop")
def stop_command() -> int:
    """End the server: asked first (SIGTERM), ended after ten seconds."""
    from engram_tui.watch.process_table import ProcessId, identify, send_signal

    root = home()
    card = running(root)
    if card is None:
        print("Not running.")
        return 0
    process = ProcessId(card.pid, card.started)
    if identify(card.pid) != process:
        raise StoreUnavailable(
            f"The server's lock is held, but pid {card.pid} is not the process that wrote it down.",
            hint=f"See who uses {_lock_file(root)}.",
        )
    for number in (signal.SIGTERM, signal.SIGKILL):
        send_signal(process, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if not is_locked(_lock_file(root)):
                print(f"Stopped (pid {card.pid}).")
                return 0
            time.sleep(_POLL_SECONDS)
    raise StoreUnavailable(f"The server (pid {card.pid}) does not end.", hint="End it yourself.")


@server_group.command("status")
@json_option
def status_command(as_json: bool) -> int:
    """Whether the server runs: exit code 0, else 1."""
    card = running(home())
    if as_json:
        print_json({"running": card is not None, **(msgspec.to_builtins(card) if card else {})})
    elif card is None:
        print("Not running.")
    else:
        print(f"Running (pid {card.pid}, {card.url}, project {card.project}, since {card.since}).")
    return 0 if card is not None else 1


def running(root: Path) -> Card | None:
    """The card of the server that runs on this home, None where none does."""
    if not is_locked(_lock_file(root)):
        return None
    try:
        return msgspec.json.decode(_card_file(root).read_bytes(), type=Card)
    except (OSError, msgspec.MsgspecError):
        return None


def _serve(
    name: str,
    host: str,
    port: int,
    no_token: bool,
    folder: Path,
    on_ready: Callable[[str, str], None] | None = None,
) -> int:
    from engram_runtime.mcp.http import Service, serve

    project = paths.project_of(folder.absolute())

    def ready(url: str) -> None:
        if on_ready is not None:
            on_ready(url, project)

    service = Service(name=name, host=host, port=port, rest=True, needs_token=not no_token, on_ready=ready)
    code = serve(home(), project, service)
    return 0 if code == 128 + signal.SIGTERM else code


@contextlib.contextmanager
def _held(root: Path) -> Iterator[Callable[[str, str], None]]:
    """Hold the server's lock; what it gives writes the card (url, project). Raises UsageError if another holds it."""
    from engram_tui.watch.process_table import identify

    paths.prepare_home(root)
    file = _lock_file(root)
    paths.make_private_folder(file.parent)
    paths.make_private_file(file)
    lock = os.open(file, os.O_RDWR | os.O_CLOEXEC)

    def ready(url: str, project: str) -> None:
        me = identify(os.getpid())
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        card = Card(pid=os.getpid(), started=me.start if me else 0.0, url=url, project=project, since=since)
        draft = _card_file(root).with_suffix(".new")
        paths.make_private_file(draft)
        draft.write_bytes(msgspec.json.encode(card))
        draft.replace(_card_file(root))

    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "The server of this home runs already.", hint="`engram-server status`."
            ) from None
        try:
            _card_file(root).unlink(missing_ok=True)
            yield ready
        finally:
            _card_file(root).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _lock_file(root: Path) -> Path:
    return paths.HomeFiles(root).run / "server.lock"


def _card_file(root: Path) -> Path:
    return paths.HomeFiles(root).run / "server.json"


def _log_file(root: Path) -> Path:
    """The server's log (0600), begun anew when it is large."""
    file = paths.HomeFiles(root).run / "server.log"
    paths.make_private_folder(file.parent)
    if not paths.make_private_file(file) and file.stat().st_size > _LOG_BYTES:
        file.replace(file.with_suffix(".log.1"))
        paths.make_private_file(file)
    return file


def _last_line(file: Path) -> str:
    lines = file.read_text("utf-8", "replace").splitlines()
    return lines[-1].removeprefix("engram: ") if lines else "it said nothing."
