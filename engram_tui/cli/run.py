"""`engram run` and `engram resume`: choosing agent and task, then a supervised session."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import click

from engram_runtime import ids, paths
from engram_runtime.errors import NotFound, StoreError, UsageError
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import TaskView
from engram_tui.agents.base import Adapter
from engram_tui.agents.registry import adapter, executable, first_found
from engram_tui.cli.home import find_task, opened
from engram_tui.cli.output import note
from engram_tui.supervisor.spec import SessionSpec

CONTINUE = "Continue the interrupted task"
SMALLEST = (40, 10)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    agent: Adapter
    executable: str
    args: tuple[str, ...]
    cwd: Path
    headless: bool
    task_name: str = ""
    events_file: str | None = None
    strict_exit: bool = False
    no_resume: bool = False

    @property
    def mode(self) -> Literal["interactive", "headless"]:
        """Interactive sessions have a detached supervisor."""
        return "headless" if self.headless else "interactive"


@click.command("run")
@click.argument("agent", required=False)
@click.argument("more", nargs=-1)
@click.option("--task", "task_name", default="", help="Name of the task (an existing one is continued).")
@click.option(
    "--headless", is_flag=True, help="In the foreground, without the terminal UI: for scripts and CI."
)
@click.option("--cwd", type=click.Path(path_type=Path), default=None, help="Folder to work in.")
@click.option("--no-resume", is_flag=True, help="Start fresh, whatever was interrupted here.")
@click.option(
    "--events",
    "events_file",
    type=click.Path(),
    default=None,
    help="Write Engram's events here (JSON lines).",
)
@click.option("--strict-exit", is_flag=True, help="Exit 70–77 by verdict, whatever the agent's own code.")
@click.pass_obj
def run_command(
    obj: dict[str, tuple[str, ...] | None],
    agent: str | None,
    more: tuple[str, ...],
    task_name: str,
    headless: bool,
    cwd: Path | None,
    no_resume: bool,
    events_file: str | None,
    strict_exit: bool,
) -> int:
    """Run an agent under supervision.

    \b
    engram run                         the first agent found (claude, openhands), else the demo agent
    engram run claude -- ARGS…         an agent, with its own arguments after --
    engram run -- COMMAND [ARGS…]      any other program
    """
    if more:
        own = shlex.join(more)
        hint = f"The agent's own arguments go after --: engram run {agent} -- {own}"
        raise UsageError(f"Unexpected {own}.", hint=hint)
    wish = _wish(agent, obj["rest"], cwd, headless, task_name, events_file, strict_exit, no_resume)
    if not wish.agent.supervises(wish.args):
        _become(wish)
    return _start(wish)


@click.command("resume")
@click.argument("task", required=False)
@click.option("--agent", default=None, help="Another agent than the one before.")
@click.option("--headless", is_flag=True, help="In the foreground, without the terminal UI.")
@click.option("--no-prompt", is_flag=True, help="Only give the briefing; submit no prompt.")
@click.option("--cwd", type=click.Path(path_type=Path), default=None, help="Folder to work in.")
@click.option(
    "--events",
    "events_file",
    type=click.Path(),
    default=None,
    help="Write Engram's events here (JSON lines).",
)
@click.option("--strict-exit", is_flag=True, help="Exit 70–77 by verdict, whatever the agent's own code.")
@click.pass_obj
def resume_command(
    obj: dict[str, tuple[str, ...] | None],
    task: str | None,
    agent: str | None,
    headless: bool,
    no_prompt: bool,
    cwd: Path | None,
    events_file: str | None,
    strict_exit: bool,
) -> int:
    """Continue TASK (the latest interrupted one of this project) with a briefing in the first request."""
    folder = _folder(cwd)
    with opened(folder) as runtime:
        view = find_task(runtime, task) if task else _latest_interrupted(runtime)
        if view.live:
            raise UsageError(
                f"Task #{view.id} is live in session {view.last_session}.",
                hint=f"`engram attach {view.last_session}` shows it.",
            )
        name = agent or (view.last_agent if view.last_agent not in (None, "command", "mcp") else None)
        rest = obj["rest"] or ()
        wish = _wish(name, rest, folder, headless, "", events_file, strict_exit, True)
        prompt = None if no_prompt else CONTINUE
        spec = _resumed(runtime, wish, view, prompt)
    return _launch(spec)


def _wish(
    agent: str | None,
    rest: tuple[str, ...] | None,
    cwd: Path | None,
    headless: bool,
    task_name: str,
    events_file: str | None,
    strict_exit: bool,
    no_resume: bool,
) -> Wish:
    """Check everything that can be wrong before anything is written."""
    if agent is None and rest:
        found, args = adapter("command", rest[0]), rest[1:]
    else:
        found, args = (adapter(agent) if agent else first_found(os.environ)), rest or ()
    if agent is None and rest is not None and not rest:
        raise UsageError("Nothing to run after --.", hint="engram run -- COMMAND [ARGS…]")
    folder = _folder(cwd)
    path = executable(found, os.environ)
    root = paths.home()
    if root.exists() and not root.is_dir():
        raise UsageError(f"The home {root} is a file.", hint="Set ENGRAM_HOME to a folder.")
    if not headless and found.supervises(args):
        _check_terminal()
    return Wish(found, path, args, folder, headless, task_name, events_file, strict_exit, no_resume)


def _folder(cwd: Path | None) -> Path:
    folder = (cwd or Path.cwd()).absolute()
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", hint="Give one that exists with --cwd.")
    return folder


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "This needs a terminal, and there is none here.",
            hint="Without one use --headless: engram run AGENT --headless -- ARGS…",
        )
    size = os.get_terminal_size()
    if size.columns < SMALLEST[0] or size.lines < SMALLEST[1]:
        raise UsageError(
            f"The terminal is {size.columns}×{size.lines}; Engram needs {SMALLEST[0]}×{SMALLEST[1]}.",
            hint="Enlarge it, or use --headless.",
        )


def _become(wish: Wish) -> NoReturn:
    """Not a session (`claude --version`, `claude mcp list`): Engram steps aside."""
    os.chdir(wish.cwd)
    os.execve(wish.executable, [wish.executable, *wish.args], os.environ)  # noqa: S606


def _start(wish: Wish) -> int:
    """Start the session. The journal is only opened first where a task must be looked up: it costs 0.3 s."""
    try:
        if not wish.task_name and (wish.headless or wish.no_resume or wish.agent.prints(wish.args)):
            return _launch(_spec(wish, str(paths.home()), paths.project_of(wish.cwd)))
        with opened(wish.cwd) as runtime:
            health = runtime.health()
            if not health.writable:
                return _launch(_unprotected(wish, f"{health.problem} {health.hint}".strip()))
            spec = _fresh(runtime, wish)
            if wish.task_name:
                named = _named(runtime, wish.task_name)
                if named is not None:
                    spec = _resumed(runtime, wish, named, CONTINUE if named.interrupted else None)
            elif not wish.headless and not wish.no_resume and not wish.agent.prints(wish.args):
                interrupted = runtime.state.interrupted_tasks(runtime.project)
                if interrupted:
                    from engram_tui.cli.ask import ask_to_resume

                    return ask_to_resume(runtime, wish, spec, interrupted[0])
    except StoreError as error:
        return _launch(_unprotected(wish, str(error)))
    return _launch(spec)


def _named(runtime: Runtime, name: str) -> TaskView | None:
    try:
        view = find_task(runtime, name)
    except NotFound:
        if name.lstrip("#").isdigit():
            raise
        return None
    if view.live:
        raise UsageError(
            f"Task {view.name!r} is live in session {view.last_session}.",
            hint=f"`engram attach {view.last_session}` shows it.",
        )
    return view


def _latest_interrupted(runtime: Runtime) -> TaskView:
    found = runtime.state.interrupted_tasks(runtime.project)
    if not found:
        raise NotFound("Nothing was interrupted in this project.", hint="`engram tasks` lists what there is.")
    return found[0]


def _fresh(runtime: Runtime, wish: Wish) -> SessionSpec:
    return _spec(wish, str(runtime.home), runtime.project)


def _spec(wish: Wish, home: str, project: str, unprotected: str = "") -> SessionSpec:
    columns, rows = _size()
    return SessionSpec(
        id=ids.session_id(),
        home=home,
        project=project,
        agent=wish.agent.name,
        executable=wish.executable,
        args=wish.args,
        cwd=str(wish.cwd),
        mode=wish.mode,
        task_name=wish.task_name,
        cols=columns,
        rows=rows,
        events_file=wish.events_file,
        strict_exit=wish.strict_exit,
        parent_session=os.environ.get("ENGRAM_SESSION"),
        unprotected=unprotected,
    )


def _resumed(runtime: Runtime, wish: Wish, view: TaskView, prompt: str | None) -> SessionSpec:
    """A session that goes on with a task: its briefing is made now, before the agent starts."""
    import msgspec

    from engram_tui.supervisor.briefings import briefing_for

    briefing = briefing_for(runtime, view.id, wish.cwd)
    latest = runtime.state.checkpoint_version(view.id)
    return msgspec.structs.replace(
        _fresh(runtime, wish),
        task=view.id,
        task_name="",
        checkpoint=latest.id if latest else None,
        briefing=briefing.text,
        prompt=prompt,
    )


def _unprotected(wish: Wish, why: str) -> SessionSpec:
    """The home cannot keep anything: the agent starts all the same, in a folder of its own, and it is said."""
    note(f"nothing will be kept: {why}")
    home = tempfile.mkdtemp(prefix="engram-")
    return _spec(wish, home, paths.project_of(wish.cwd), unprotected=why)


def _size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size()
    except OSError:
        return 80, 24
    return size.columns, size.lines


def _launch(spec: SessionSpec) -> int:
    from engram_tui.supervisor.launch import run_in_foreground, start_detached

    if spec.mode == "headless":
        return run_in_foreground(spec)
    socket = start_detached(spec)
    from engram_tui.cli.live import show

    return show(socket, spec.id, Path(spec.home))
