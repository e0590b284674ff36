"""Opening the home for a command: project, runtime, and sessions that were found dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engram_runtime import paths
from engram_runtime.errors import NotFound, UsageError
from engram_tui.cli.output import note

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_runtime.state.views import TaskView


def home() -> Path:
    """The home, as a folder or not there yet. Raises UsageError for a file."""
    root = paths.home()
    if root.exists() and not root.is_dir():
        raise UsageError(f"The home {root} is a file.", hint="Set ENGRAM_HOME to a folder.")
    return root


def is_new(root: Path) -> bool:
    """Whether nothing was ever kept in this home."""
    files = paths.HomeFiles(root)
    return not files.journal_lock.exists() and not files.journal.exists()


def nothing_interrupted(project: str) -> bool:
    """Whether it is certain, at a glance, that the project has no interrupted work to offer (costs milliseconds)."""
    from engram_runtime.state.preflight import look
    from engram_tui.discovery import state_of

    root = home()
    if is_new(root):
        return True
    seen = look(paths.HomeFiles(root), project)
    if seen is None or seen.interrupted:
        return False
    return all(state_of(root / "sessions" / session) == "live" for session in seen.unfinished)


@contextmanager
def opened(cwd: Path | None = None, *, recover: bool = True, create: bool = False) -> Iterator[Runtime]:
    """The runtime of the home for the project of `cwd`; lost sessions get their checkpoint first.

    A home that does not exist yet is only made with `create`; without, it reads as an empty one. What is read of a
    damaged home may not be all of it: that is said, but not with recover=False.
    """
    from engram_runtime.runtime import Runtime  # a quarter of a second: not every start needs it

    root = home()
    new = is_new(root)
    project = paths.project_of(cwd or Path.cwd())
    with Runtime.open(root, project=project, read_only=new and not create) as runtime:
        if recover and not new:
            from engram_tui.supervisor.lost import recover_lost

            for found in recover_lost(runtime):
                note(found)
        yield runtime
        damaged = runtime.journal.damaged and runtime.journal.trouble
        if recover and damaged:
            note(f"{damaged} What is shown may not be all.")


def find_task(runtime: Runtime, given: str) -> TaskView:
    """A task of this project by id or name (the newest of that name). Raises NotFound."""
    digits = given.removeprefix("#")
    if digits.isascii() and digits.isdecimal():
        task = runtime.state.task(int(digits)) if len(digits) < 19 else None
        if (
            task is None
            and (former := runtime.state.imported_id("task", digits, runtime.project)) is not None
        ):
            task = runtime.state.task(former)
        if task is None:
            raise NotFound(f"There is no task {given}.", hint="See `engram tasks`.")
        if task.project != runtime.project:
            raise NotFound(
                f"Task {given} belongs to another project ({task.project}).",
                hint="Go there, or see `engram tasks`.",
            )
        return task
    for task in runtime.state.tasks(project=runtime.project):
        if task.name == given:
            return task
    raise NotFound(f"There is no task named {given!r} in this project.", hint="See `engram tasks`.")
