"""Commands on running sessions, and showing one in this terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from engram_runtime import paths
from engram_runtime.errors import NotFound, UsageError
from engram_runtime.settings import Settings
from engram_tui.cli.face import load_face
from engram_tui.cli.output import json_option, note, plain, print_json
from engram_tui.cli.terminal import check_terminal
from engram_tui.client import request
from engram_tui.discovery import SessionEntry, live_session, sessions, state_of
from engram_tui.supervisor.spec import UNKEPT


@click.command("attach")
@click.argument("session", required=False, default="")
def attach_command(session: str) -> int:
    """Show a running session in this terminal (without SESSION the newest, of this project if it has one)."""
    return attach(session)


def attach(session: str) -> int:
    """Show a live session; the exit code. Raises UsageError where there is no terminal or no screen, NotFound."""
    check_terminal("attach", "`engram sessions --json` reads without one.")
    entry = _live(session)
    if entry.why_unseen:
        hint = f"`engram stop {entry.id}` ends it, `engram checkpoint {entry.id}` keeps its state."
        raise UsageError(f"Session {entry.id} cannot be shown: {entry.why_unseen}.", hint=hint)
    return show(entry.socket, entry.id, entry.directory.parent.parent)


def _live(session: str, *, sole: bool = False) -> SessionEntry:
    """A live session of the home, or one that runs without a home since its own cannot be used.

    `sole`: without a name, only the one live session of this project will do.
    """
    project = ""
    with contextlib.suppress(OSError):  # the folder is gone: no project is preferred
        project = paths.project_of(Path.cwd())
    try:
        return live_session(paths.home(), session, project=project, sole=sole)
    except NotFound:
        for home in Path(tempfile.gettempdir()).glob(f"{UNKEPT}*"):
            with contextlib.suppress(NotFound, OSError):
                if home.stat().st_uid == os.getuid():
                    return live_session(home, session, project=project, sole=sole)
        raise


@click.command("detach")
@click.argument("session", required=False, default="")
@json_option
def detach_command(session: str, as_json: bool) -> None:
    """Close every UI of a session; its agent goes on."""
    entry = _live(session)
    answer = request(entry.socket, "POST", "/detach", {})
    if as_json:
        print_json(answer)
        return
    print(f"{answer['detached']} UIs of {entry.id} closed; the agent goes on")


@click.command("stop")
@click.argument("session", required=False, default="")
@json_option
def stop_command(session: str, as_json: bool) -> None:
    """End a session's agent: TERM, after the grace KILL. Its work is checkpointed as at any end.

    Without SESSION the one live session of this project; where there are several, name it.
    """
    entry = _live(session, sole=True)
    answer = request(entry.socket, "POST", "/stop", {})
    if as_json:
        print_json(answer)
        return
    print(f"{entry.agent} of session {entry.id} is being ended")


@click.command("checkpoint")
@click.argument("session", required=False, default="")
@click.option("--note", "text", default="", help="A note kept with it.")
@json_option
def checkpoint_command(session: str, text: str, as_json: bool) -> int:
    """Write a checkpoint of a running session now."""
    entry = _live(session)
    answer = request(entry.socket, "POST", "/checkpoint", {"note": text}, timeout=60.0)
    if as_json:
        print_json(answer)
    elif answer["written"]:
        print(f"checkpoint {answer['checkpoint']}: task #{answer['task']} v{answer['version']} is durable")
    else:
        note(f"no checkpoint was written: {answer['why']}")
    return 0 if answer["written"] else 1


def show(socket: Path, session: str, home: Path) -> int:
    """The session's UI in this terminal until it is left; prints the one closing line."""
    load_face()
    from engram_tui.app import run_session_ui

    settings, warnings = Settings.load(home)
    outcome = run_session_ui(socket, settings=settings, state=partial(state_of, home / "sessions" / session))
    for warning in warnings:
        note(warning)
    return report(outcome, session)


def report(outcome: object, session: str) -> int:
    """Say how a UI was left; the exit code: the agent's where it ended, else 0 (detached) or 1."""
    from engram_tui.screens.outcome import Outcome

    assert isinstance(outcome, Outcome)
    if outcome.kind == "ended" and outcome.ended is not None:
        if outcome.ended.screen_tail:
            sys.stderr.write(plain(outcome.ended.screen_tail) + "\n")
        note(plain(outcome.ended.line))
        return outcome.ended.exit_code
    if outcome.kind == "ended":
        return _ended_unheard(session)
    if outcome.kind == "detached":
        note(
            f"detached; the agent goes on: `engram attach {session}` comes back, `engram stop {session}` ends it"
        )
        return 0
    if outcome.kind == "lost":
        note("the supervisor is gone; `engram resume` continues from the last checkpoint")
        return 1
    if outcome.kind == "failed":
        note(f"the screen failed: {outcome.error} The agent goes on: `engram attach {session}`")
        return 1
    return 0


def _ended_unheard(session: str) -> int:
    """The session was over before this screen could be told: its file says how."""
    from engram_tui.supervisor.spec import SessionFolder

    try:
        info = SessionFolder(paths.home(), session).read_info()
    except (OSError, ValueError):
        note("the session is over; `engram sessions` tells how")
        return 1
    note(f"{info.agent} {info.verdict}; `engram sessions` tells more")
    return info.exit_code if info.exit_code is not None else 1


def browse() -> int:
    """`engram` alone on a terminal: all sessions; Enter attaches to a live one or resumes its task."""
    check_terminal("The session browser", "`engram sessions` lists them without it.")
    load_face()
    from engram_tui.app import run_browser

    home = paths.home()
    settings, _ = Settings.load(home)
    outcome = run_browser(_entries(home), settings=settings, refresh=partial(_entries, home))
    entry = outcome.entry
    if outcome.kind != "chosen" or entry is None:
        return 0
    if entry.state == "live":
        return show(entry.socket, entry.id, home)
    if entry.task is None:
        note(f"session {entry.id} began no task: there is nothing to resume")
        return 1
    code: int = _resume(entry)
    return code


def _resume(entry: SessionEntry) -> int:
    from engram_tui.cli.run import resume_command

    result = resume_command.main(
        [str(entry.task), "--cwd", entry.cwd], standalone_mode=False, obj={"rest": None}
    )
    return result if isinstance(result, int) else 0


def _entries(home: Path) -> Sequence[SessionEntry]:
    """Sessions with what the journal says of them."""
    from engram_tui.cli.home import opened

    with opened() as runtime:
        known = {view.id: view for view in runtime.state.sessions(limit=200)}
        tasks = {view.id: view for view in runtime.state.tasks()}
        filled = []
        for entry in sessions(home):
            view = known.get(entry.id)
            task = tasks.get(view.task) if view and view.task is not None else None
            filled.append(
                dataclasses.replace(
                    entry,
                    task=task.id if task else None,
                    task_name=task.name if task else "",
                    goal=task.goal if task else "",
                    last_said=(view.last_said or view.last_prompt) if view else "",
                    last_at=view.last_event_at if view else entry.started_at,
                    context_used=view.context.used if view and view.context else None,
                    context_window=view.context.window if view and view.context else None,
                    verdict=str(view.verdict or "") if view else "",
                    interrupted=bool(task and task.interrupted),
                    preview=_preview(runtime, task.id) if task else (),
                )
            )
        return filled


def _preview(runtime: object, task: int) -> tuple[str, ...]:
    from engram_runtime.runtime import Runtime

    assert isinstance(runtime, Runtime)
    latest = runtime.state.checkpoint_version(task)
    if latest is None or latest.content is None:
        return ()
    return tuple(latest.content.screen_tail.splitlines()[-20:])
