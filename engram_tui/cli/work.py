"""Reading what is kept: sessions, tasks, checkpoints, continuation packages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import click

from engram_runtime.continuity.continuation import continuation
from engram_runtime.errors import NotFound, StoreError
from engram_runtime.journal.events import CheckpointRestored
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import CheckpointView
from engram_tui.cli.home import find_task, opened
from engram_tui.cli.output import age, json_option, note, one_line, plain, print_json, table
from engram_tui.discovery import state_of


@click.command("sessions")
@click.option("--all", "everywhere", is_flag=True, help="Of all projects.")
@click.option("-n", "limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@json_option
def sessions_command(everywhere: bool, limit: int, as_json: bool) -> None:
    """Sessions of this project: live, lost, ended."""
    with opened() as runtime:
        found = runtime.state.sessions(project=None if everywhere else runtime.project, limit=limit)
        standing = {s.id: _standing(runtime, s.id, s.ended_at, str(s.verdict or "")) for s in found}
        if as_json:
            print_json([{"standing": standing[s.id], **_fields(s)} for s in found])
            return
        if not found:
            print("No sessions yet. `engram run` starts one.")
            return
        rows = [
            [
                s.id,
                standing[s.id],
                s.agent,
                one_line(s.last_said or s.first_prompt or "-", 48),
                age(s.started_at),
            ]
            for s in found
        ]
        table(["SESSION", "STATE", "AGENT", "LAST SAID", "AGE"], rows)


def _standing(runtime: Runtime, session: str, ended_at: str | None, verdict: str) -> str:
    if ended_at is not None:
        return verdict or "ended"
    return state_of(runtime.home / "sessions" / session)


def _fields(value: object) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(value)
    return fields


@click.command("tasks")
@click.option("--all", "everywhere", is_flag=True, help="Of all projects.")
@json_option
def tasks_command(everywhere: bool, as_json: bool) -> None:
    """Tasks of this project."""
    with opened() as runtime:
        found = runtime.state.tasks(project=None if everywhere else runtime.project)
        if as_json:
            print_json(found)
            return
        if not found:
            print(
                "No tasks yet. One begins with the first prompt of a session, or with `engram run --task NAME`."
            )
            return
        rows = [
            [
                f"#{t.id}",
                "interrupted" if t.interrupted else "live" if t.live else t.shown_status,
                one_line(t.name, 44),
                f"{t.features_done}/{t.features_done + t.features_open}",
                str(t.attempts),
                str(t.checkpoints),
                age(t.updated_at),
            ]
            for t in found
        ]
        table(["TASK", "STATE", "NAME", "DONE", "ATTEMPTS", "CHECKPOINTS", "AGE"], rows)


@click.command("checkpoints")
@click.argument("task")
@click.option("-n", "limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@json_option
def checkpoints_command(task: str, limit: int, as_json: bool) -> None:
    """Checkpoints of a task, newest first."""
    with opened() as runtime:
        view = find_task(runtime, task)
        found = runtime.state.checkpoints(view.id, limit=limit)
        if as_json:
            print_json(found)
            return
        if not found:
            print("No checkpoints yet. One is written at the first plan, failure, or when the agent ends.")
            return
        rows = [
            [
                str(c.id),
                f"v{c.version}",
                c.reason,
                f"{c.confidence:.2f}",
                f"{c.changed_files} files",
                one_line(c.trigger, 40),
                age(c.created_at),
            ]
            for c in found
        ]
        table(["CHECKPOINT", "VERSION", "REASON", "CONFIDENCE", "CHANGED", "TRIGGER", "AGE"], rows)


@click.command("show")
@click.argument("checkpoint", type=click.IntRange(0, 2**63 - 1))
@json_option
def show_command(checkpoint: int, as_json: bool) -> None:
    """A checkpoint in full."""
    with opened() as runtime:
        view = _checkpoint(runtime, checkpoint)
        if as_json:
            print_json(view)
            return
        print(plain(render(view)))


def _checkpoint(runtime: Runtime, checkpoint: int) -> CheckpointView:
    view = runtime.state.checkpoint(checkpoint)
    if view is None:
        raise NotFound(f"There is no checkpoint {checkpoint}.", hint="See `engram checkpoints TASK`.")
    return view


def render(view: CheckpointView) -> str:
    """A checkpoint as text for people."""
    from engram_tui.supervisor.rendering import checkpoint_text

    return checkpoint_text(view)


@click.command("restore")
@click.argument("task")
@click.option("--version", type=click.IntRange(1), help="Which version; the latest by default.")
@click.option(
    "--mode", type=click.Choice(["FULL", "SELECTIVE", "NONE"]), default="SELECTIVE", show_default=True
)
@json_option
def restore_command(task: str, version: int | None, mode: str, as_json: bool) -> None:
    """The continuation package of a task, as an agent gets it."""
    with opened() as runtime:
        view = find_task(runtime, task)
        found = runtime.state.checkpoint_version(view.id, version)
        if found is None or found.content is None:
            which = f"version {version}" if version else "checkpoint"
            raise NotFound(f"Task {view.id} has no {which}.", hint=f"See `engram checkpoints {view.id}`.")
        kind = cast(Literal["FULL", "SELECTIVE", "NONE"], mode)
        try:
            runtime.append(CheckpointRestored(task=view.id, checkpoint=found.id, mode=kind, to="user"))
        except StoreError as error:
            note(f"that this was restored is not kept: {error}")
        if as_json:
            package = continuation(found, now=datetime.now(UTC))
            print_json(
                {
                    "task_id": view.id,
                    "version": found.version,
                    "reason": found.reason,
                    "continuation": package,
                }
            )
            return
        from engram_tui.supervisor.briefings import briefing_for

        print(plain(briefing_for(runtime, view.id, Path.cwd(), version=version).text))
