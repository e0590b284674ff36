"""`engram run` and `engram resume`: choosing agent and task, then a supervised session."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from engram_runtime import ids, paths
from engram_runtime.errors import NotFound, StoreError, UsageError
from engram_runtime.settings import Settings
from engram_tui.agents.base import Adapter
from engram_tui.agents.registry import adapter, executable, first_found, named, names
from engram_tui.cli.face import load_face
from engram_tui.cli.home import find_task, home, is_new, nothing_interrupted, opened
from engram_tui.cli.output import note
from engram_tui.cli.terminal import check_terminal, is_terminal, terminal_size
from engram_tui.supervisor.spec import CONTINUE, UNKEPT, SessionSpec

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_runtime.state.views import TaskView


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

    @property
    def asks(self) -> bool:
        """Whether interrupted work of the project is offered first."""
        return not (self.headless or self.no_resume or self.agent.prints(self.args))


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
    try:
        with opened(folder) as runtime:
            view = _free(find_task(runtime, task)) if task else _latest_interrupted(runtime)
            name, rest = _as_before(runtime, view, agent, obj["rest"])
            wish = _wish(name, rest or None, folder, headless, "", events_file, strict_exit, True)
            spec = _resumed(runtime, wish, _spec(wish), view, None if no_prompt else CONTINUE)
    except TaskIsLive as live:
        return _attach_instead(live, headless)
    return _launch(spec)


def _as_before(
    runtime: Runtime, view: TaskView, agent: str | None, rest: tuple[str, ...] | None
) -> tuple[str | None, tuple[str, ...]]:
    """Agent and arguments to go on with: what was asked for, else the last agent; a command is run as it was."""
    if agent is not None or (rest and view.last_agent == "command"):
        return agent, rest or ()
    if view.last_agent == "command":
        return None, runtime.state.sessions_of_task(view.id)[-1].argv
    if view.last_agent not in names():
        return None, rest or ()
    if adapter(view.last_agent).find(os.environ) is None:
        raise _agent_gone(view)
    return view.last_agent, rest or ()


def _agent_gone(view: TaskView) -> UsageError:
    """The agent that worked on a task last is not installed any more."""
    others = (name for name in names() if name != view.last_agent and adapter(name).find(os.environ))
    other = next(others, "demo")
    return UsageError(
        f"{view.last_agent!r}, the last agent of task #{view.id}, is not on your PATH.",
        hint=f"Install it, or go on with another one: `engram resume {view.id} --agent {other}`.",
    )


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
        found, args = (named(agent) if agent else first_found(os.environ)), rest or ()
    if agent is None and rest is not None and not rest:
        raise UsageError("Nothing to run after --.", hint="engram run -- COMMAND [ARGS…]")
    folder = _folder(cwd)
    path = executable(found, os.environ)
    _, warnings = Settings.load(home(), folder)
    if not headless and found.supervises(args):
        check_terminal("This", "Without one: engram run AGENT --headless -- ARGS…")
    if events_file is not None:
        _check_events_file(Path(events_file))
    for warning in warnings:
        note(warning)
    return Wish(found, path, args, folder, headless, task_name, events_file, strict_exit, no_resume)


def _folder(cwd: Path | None) -> Path:
    folder = (cwd or Path.cwd()).absolute()
    if not folder.is_dir():
        what = f"{folder} is not a folder." if folder.exists() else f"There is no folder {folder}."
        raise UsageError(what, hint="Give one that exists with --cwd.")
    return folder


def _check_events_file(path: Path) -> None:
    """The file is opened by the supervisor, when it is too late to say so."""
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise UsageError(f"{path} cannot be written.", hint="Give another file with --events.")


def _become(wish: Wish) -> NoReturn:
    """Not a session (`claude --version`, `claude mcp list`): Engram steps aside."""
    os.chdir(wish.cwd)
    os.execve(wish.executable, [wish.executable, *wish.args], os.environ)  # noqa: S606


def _start(wish: Wish) -> int:
    """Start the session. The journal is only opened first where a task must be looked up: it costs 0.3 s."""
    spec = _spec(wish)
    try:
        if wish.task_name or (wish.asks and not nothing_interrupted(spec.project)):
            with opened(wish.cwd) as runtime:
                health = runtime.health()
                if not health.writable and not is_new(runtime.home):
                    spec = _unprotected(spec, f"{health.problem} {health.hint}".strip())
                if wish.task_name:
                    spec = _on_task(runtime, wish, spec)
                elif not spec.unprotected and (found := runtime.state.interrupted_tasks(runtime.project)):
                    from engram_tui.cli.ask import ask_to_resume

                    return ask_to_resume(runtime, wish, spec, found[0])
    except TaskIsLive as live:
        return _attach_instead(live, wish.headless)
    except StoreError as error:
        spec = _unprotected(spec, str(error))
    return _launch(spec)


def _on_task(runtime: Runtime, wish: Wish, spec: SessionSpec) -> SessionSpec:
    """The session on the task that `--task` names; a name that is not known yet begins one."""
    try:
        view = _free(find_task(runtime, wish.task_name))
    except NotFound:
        if wish.task_name.removeprefix("#").isdecimal():
            raise
        return spec
    return _resumed(runtime, wish, spec, view, CONTINUE if view.interrupted else None)


class TaskIsLive(UsageError):
    """A task has one agent at a time."""

    def __init__(self, view: TaskView) -> None:
        session = view.last_session or ""
        super().__init__(
            f"Task #{view.id} is live in session {session}.", hint=f"`engram attach {session}` shows it."
        )
        self.session = session


def _free(view: TaskView) -> TaskView:
    """The task, where no session works on it. Raises TaskIsLive."""
    if view.live:
        raise TaskIsLive(view)
    return view


def _attach_instead(live: TaskIsLive, headless: bool) -> int:
    """Offer to show the session that has the task; exit code 2 where that is not wanted. Raises `live` to scripts."""
    if headless or not is_terminal():
        raise live
    note(str(live.args[0]))
    if not click.confirm("attach?", default=True, err=True):
        return live.exit_code
    from engram_tui.cli.live import attach

    return attach(live.session)


def _latest_interrupted(runtime: Runtime) -> TaskView:
    found = runtime.state.interrupted_tasks(runtime.project)
    if not found:
        raise NotFound("Nothing was interrupted in this project.", hint="`engram tasks` lists what there is.")
    return found[0]


def _spec(wish: Wish) -> SessionSpec:
    """A fresh session."""
    columns, rows = terminal_size()
    return SessionSpec(
        id=ids.session_id(),
        home=str(paths.home()),
        project=paths.project_of(wish.cwd),
        agent=wish.agent.name,
        executable=wish.executable,
        args=wish.args,
        cwd=str(wish.cwd),
        mode=wish.mode,
        task_name=wish.task_name,
        cols=columns,
        rows=rows,
        events_file=str(Path(wish.events_file).absolute()) if wish.events_file else None,
        strict_exit=wish.strict_exit,
        parent_session=os.environ.get("ENGRAM_SESSION"),
    )


def _resumed(
    runtime: Runtime, wish: Wish, spec: SessionSpec, view: TaskView, prompt: str | None
) -> SessionSpec:
    """A session that goes on with a task: its briefing is made now, before the agent starts."""
    import msgspec

    from engram_tui.supervisor.briefings import briefing_for

    briefing = briefing_for(runtime, view.id, wish.cwd)
    latest = runtime.state.checkpoint_version(view.id)
    return msgspec.structs.replace(
        spec,
        task=view.id,
        task_name="",
        checkpoint=latest.id if latest else None,
        briefing=briefing.text,
        prompt=prompt,
    )


def _unprotected(spec: SessionSpec, why: str) -> SessionSpec:
    """The home cannot keep anything: the agent starts all the same, in a folder of its own, and it is said."""
    import tempfile

    import msgspec

    note(f"nothing will be kept: {why}")
    return msgspec.structs.replace(spec, home=tempfile.mkdtemp(prefix=UNKEPT), unprotected=why)


def _launch(spec: SessionSpec) -> int:
    from engram_tui.supervisor.launch import run_in_foreground, start_detached
    from engram_tui.supervisor.spec import FolderUnusable

    try:
        if spec.mode == "headless":
            return run_in_foreground(spec)
        socket = start_detached(spec, meanwhile=load_face)
    except FolderUnusable as error:
        if spec.unprotected:
            raise
        return _launch(_unprotected(spec, str(error)))
    from engram_tui.cli.live import show

    return show(socket, spec.id, Path(spec.home))
