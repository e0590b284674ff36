"""Opening the home for a command: project, runtime, and sessions that were found dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engram_runtime import paths
from engram_runtime.errors import NotFound, UsageError
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import TaskView
from engram_tui.cli.output import note


@contextmanager
def opened(cwd: Path | None = None, *, recover: bool = True) -> Iterator[Runtime]:
    """The runtime of the home for the project of `cwd`; lost sessions get their checkpoint first."""
    root = paths.home()
    if root.exists() and not root.is_dir():
        raise UsageError(f"The home {root} is a file.", hint="Set ENGRAM_HOME to a folder.")
    with Runtime.open(root, project=paths.project_of(cwd or Path.cwd())) as runtime:
        if recover:
            from engram_tui.supervisor.lost import recover_lost

            for found in recover_lost(runtime):
                note(found)
        yield runtime


def find_task(runtime: Runtime, given: str) -> TaskView:
    """A task of this project by id or name (the newest of that name). Raises NotFound."""
    if given.lstrip("#").isdigit():
        task = runtime.state.task(int(given.lstrip("#")))
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
