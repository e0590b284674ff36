"""Moving what is remembered: a whole home as one file, and histories of other programs taken over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engram_runtime import paths
from engram_runtime.errors import UsageError
from engram_tui.cli.home import home, opened
from engram_tui.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_runtime.upkeep.importers.old_run import Report

MOST_LINES = 10
"""Broken lines that are named one by one."""


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file, if there is one.")
@json_option
def export_command(path: Path, force: bool, as_json: bool) -> None:
    """The whole home as one file, also while sessions run; `engram import home` puts it back."""
    from engram_runtime.upkeep.export import export_home

    if str(path) == "-":
        raise UsageError("An export is a file: it is not written to stdout.", hint="engram export FILE")
    done = export_home(paths.HomeFiles(home()), path.absolute(), replace=force)
    if as_json:
        print_json(done)
    else:
        print(
            f"{done.path}: {done.events:,} events, {done.files:,} files, {done.bytes:,} bytes, for you alone (0600)."
        )


@click.group("import")
def import_command() -> None:
    """Take over a home, or the history of another program."""


@import_command.command("home")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def home_command(path: Path, as_json: bool) -> None:
    """Put an exported home in place; this home must have no journal yet."""
    from engram_runtime.upkeep.export import import_home

    root = home()
    manifest = import_home(path, root)
    with opened(recover=False) as runtime:
        runtime.memory.catch_up()
        counts = runtime.state.counts()
    if as_json:
        print_json({"home": str(root), "counts": counts, "exported_at": manifest.created_at})
        return
    print(f"{root}: {manifest.position:,} events of {manifest.created_at[:16]}Z, the whole chain checked.")
    print(
        f"{counts['sessions']} sessions, {counts['tasks']} tasks, {counts['checkpoints']} checkpoints, "
        f"{counts['memories']} memories."
    )
    note("`engram setup` prepares the embedding model; until then recall goes by words")


@import_command.command("mcp-engram")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--scope",
    type=click.Choice(["global", "project"]),
    default="global",
    show_default=True,
    help="Where its memories are recalled: everywhere, as there, or in this project.",
)
@json_option
def mcp_engram_command(path: Path | None, scope: str, as_json: bool) -> None:
    """Take over an mcp-engram home (default: ~/.engram) into this project; nothing is changed there.

    Again, it takes over what is new. Its task ids go on answering.
    """
    from engram_runtime.upkeep.importers.mcp_engram import import_mcp_engram

    with opened(create=True, recover=False) as runtime, _alone(runtime):
        report = import_mcp_engram(
            runtime.journal,
            runtime.state,
            (path or Path.home() / ".engram").expanduser().absolute(),
            project=runtime.project,
            scope="project" if scope == "project" else "global",
        )
        runtime.catch_up()
        runtime.memory.catch_up()
    if as_json:
        print_json(report)
    else:
        _say(report)


@import_command.command("claude")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@json_option
def claude_command(path: Path | None, as_json: bool) -> None:
    """Take over Claude's past conversations (default: ~/.claude) as sessions and tasks of their projects.

    Again, it takes over what is new, also of conversations that went on.
    """
    from engram_tui.agents.claude_history import config_folder
    from engram_tui.cli.past_conversations import import_claude

    with opened(create=True, recover=False) as runtime, _alone(runtime):
        taken = import_claude(runtime, (path or config_folder()).expanduser().absolute())
        runtime.catch_up()
    if as_json:
        print_json(taken)
        return
    print(
        f"{taken.transcripts:,} transcripts: {taken.conversations:,} conversations taken over, {taken.continued:,} "
        f"that went on, {taken.known:,} known already; {taken.events:,} events in {len(taken.projects)} projects."
    )
    for name, why in taken.skipped[:MOST_LINES]:
        note(f"skipped {name}: {why}")
    if len(taken.skipped) > MOST_LINES:
        note(f"and {len(taken.skipped) - MOST_LINES} more files (--json lists them)")
    if taken.unreadable_lines:
        note(f"{taken.unreadable_lines} lines cannot be read, and were skipped")


@contextmanager
def _alone(runtime: Runtime) -> Iterator[None]:
    """One import at a time: two at once would not see what the other one takes over."""
    from engram_runtime.database import exclusive

    folder = paths.HomeFiles(runtime.home).run
    paths.make_private_folder(folder)
    with exclusive(folder / "import.lock"):
        yield


def _say(report: Report) -> None:
    new = sum(report.imported.values())
    print(f"{report.folder}: {report.read:,} events, {new:,} taken over, {report.known:,} were here already.")
    for kind, count in sorted(report.imported.items()):
        print(f"  {kind:24} {count:,}")
    if report.deleted_there:
        print(f"{report.deleted_there} memories were deleted there: kept, and not recalled.")
    if report.left:
        print("Left: " + ", ".join(f"{kind} ({count})" for kind, count in sorted(report.left.items())) + ".")
    if report.tasks:
        first = next(iter(report.tasks.items()))
        print(f"Old task ids go on answering: task {first[0]} is task {first[1]} here, and both name it.")
    if report.own_ids:
        named = ", ".join(map(str, report.own_ids[:MOST_LINES]))
        note(f"these numbers are tasks of this home too, and go on meaning those: {named}")
    for broken in report.broken[:MOST_LINES]:
        note(f"skipped {broken.where}: {broken.why}")
    if len(report.broken) > MOST_LINES:
        note(f"and {len(report.broken) - MOST_LINES} more lines that cannot be read (--json lists them)")
