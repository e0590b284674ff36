"""Forgetting for good: a memory, a task, a text."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from engram_runtime.errors import EngramError, UsageError
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.upkeep.forget import Outcome, carry_out, files_put_aside, left_in_files
from engram_runtime.upkeep.forget_plan import Plan, plan_memory, plan_task, plan_text
from engram_runtime.upkeep.needles import Needles
from engram_tui.cli.home import find_task, is_new, opened
from engram_tui.cli.output import json_option, note, print_json
from engram_tui.client import request
from engram_tui.discovery import SessionEntry, sessions

Again = Callable[[Needles], Plan]
_NOTHING = "Nothing in this home holds it."


@click.command("forget")
@click.argument("memory", required=False)
@click.option("--task", metavar="TASK", help="A task (id or name) and all that was recorded for it.")
@click.option("--text", metavar="TEXT", help="Every occurrence of a text; `-` reads it from stdin, unseen.")
@click.option("--regex", is_flag=True, help="TEXT is a regular expression (Python's).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and change nothing.")
@json_option
def forget_command(
    memory: str | None,
    task: str | None,
    text: str | None,
    regex: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Remove a memory, a task or a text from this home for good, and check that nothing of it is left.

    Erased are journal, archive, blobs, logs and everything that was derived; what `engram recover` put
    aside goes with it. Exit codes: 0 nothing is left, 1 something is (it says where), 2 nothing was asked for.
    """
    if sum(given is not None for given in (memory, task, text)) != 1:
        raise UsageError("Say what to forget: MEMORY, --task TASK or --text TEXT.")
    if regex and text is None:
        raise UsageError("--regex goes with --text.")
    if not (yes or dry_run or sys.stdin.isatty()) or (text == "-" and not yes and not sys.stdin.isatty()):
        raise UsageError("Forgetting cannot be undone.", hint="Add --yes to do it without being asked.")
    said = _read_text() if text == "-" else text
    with opened() as runtime:
        if not is_new(runtime.home) and not dry_run and runtime.journal.trouble is not None:
            raise runtime.journal.trouble
        again = _planner(runtime, memory, task, said, regex)
        plan = again(Needles())
        put_aside = files_put_aside(HomeFiles(runtime.home))
        if dry_run:
            _show(plan, put_aside, as_json, dry_run=True)
            return 0
        if not as_json:
            _show(plan, put_aside, as_json)
        if is_new(runtime.home):
            return 0
        if not yes and not click.confirm("Forget this for good?", default=False, err=True):
            note("nothing was forgotten")
            return 1
        told = _tell_live_sessions(runtime, plan.needles)
        outcome = carry_out(
            plan, again, runtime.journal, runtime.blobs, runtime.project, partial(_live, runtime)
        )
        home, live = HomeFiles(runtime.home), _live(runtime)
    # Only now: reading database files by hand drops the locks of a process that has them open.
    left = [*outcome.headers, *left_in_files(home, outcome.words, live), *told]
    _report(plan, outcome, left, as_json)
    return 1 if left else 0


def _read_text() -> str:
    """The text, typed unseen or piped: it stays out of the shell's history."""
    if sys.stdin.isatty():
        return getpass.getpass("Text to forget: ")
    return sys.stdin.read().rstrip("\n")


def _planner(runtime: Runtime, memory: str | None, task: str | None, text: str | None, regex: bool) -> Again:
    """What plans, and plans again; finds the task or memory. Raises NotFound, UsageError."""
    if text is not None:
        try:
            re.compile(text if regex else "")
        except re.error as error:
            raise UsageError(f"The regular expression cannot be understood: {error}.") from None
        return lambda _: plan_text(runtime.journal, runtime.blobs, text, regex=regex)
    if memory is not None:
        digits = memory.removeprefix("#")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
            raise UsageError(f"{memory!r} is no memory's id.", hint="`engram recall` shows ids.")
        return lambda known: plan_memory(
            runtime.journal, runtime.blobs, int(digits), runtime.project, known if known.words else None
        )
    number = _task(runtime, task or "")
    busy = [
        entry.id for entry in _live_entries(runtime) if number in (entry.task, _works_on(runtime, entry.id))
    ]
    if busy:
        raise UsageError(
            f"Session {busy[0]} works on task #{number}.", hint=f"End it first: `engram stop {busy[0]}`."
        )
    return lambda _: plan_task(runtime.journal, number)


def _task(runtime: Runtime, given: str) -> int:
    digits = given.removeprefix("#")
    if digits.isascii() and digits.isdecimal() and 0 < len(digits) < 19:
        row = next(iter(runtime.journal.rows_after(int(digits) - 1, 1)), None)
        # Forgotten before, perhaps not to the end: no view shows it any more.
        if (
            row is not None
            and row.position == int(digits)
            and row.payload is None
            and row.project == runtime.project
        ):
            return row.position
    return find_task(runtime, given).id


def _works_on(runtime: Runtime, session: str) -> int | None:
    view = runtime.state.session(session)
    return None if view is None else view.task


def _live_entries(runtime: Runtime) -> list[SessionEntry]:
    return [entry for entry in sessions(runtime.home) if entry.state == "live"]


def _live(runtime: Runtime) -> frozenset[str]:
    return frozenset(entry.id for entry in _live_entries(runtime))


def _tell_live_sessions(runtime: Runtime, words: Needles) -> list[str]:
    """Supervisors keep in memory what they saw: they are told not to write it again. Gives those that do not answer.

    An MCP server without a supervisor has no socket, and keeps nothing but the request in hand.
    """
    silent = []
    supervised = [entry for entry in _live_entries(runtime) if entry.socket != Path()]
    for entry in supervised if words.pattern else []:
        try:
            request(entry.socket, "POST", "/forget", {"pattern": words.pattern})
        except EngramError:
            silent.append(f"session {entry.id}: does not answer; it may write it again until it ends")
    return silent


def _show(plan: Plan, put_aside: int, as_json: bool, *, dry_run: bool = False) -> None:
    if as_json:
        print_json({"dry_run": dry_run, **_facts(plan), "put_aside": put_aside})
        return
    total = sum(plan.kinds.values())
    if not total:
        print(
            f"No event of the journal holds it. Blobs: {len(plan.blobs)}. Files are looked through all the same."
        )
    else:
        kinds = ", ".join(f"{kind} {count}" for kind, count in plan.kinds.items())
        kept = sum(position in plan.erased for position in plan.retold)
        print(f"{_title(plan)}: {total} events ({kinds})")
        if kept:
            print(f"  of {kept} of them only the words; they keep the rest")
        for task, name in plan.tasks.items():
            print(f"  task #{task} will be gone: {name}" if name else f"  task #{task} will be gone")
        if plan.blobs:
            print(f"  {len(plan.blobs)} blobs")
        if plan.sessions:
            print(f"  the folders of {len(plan.sessions)} sessions")
    if put_aside:
        print(f"  {put_aside} files that `engram recover` put aside: they hold everything")


def _title(plan: Plan) -> str:
    return {"memory": f"memory #{plan.subject}", "task": f"task #{plan.subject}", "text": "the text"}[
        plan.what
    ]


def _facts(plan: Plan) -> dict[str, object]:
    return {
        "what": plan.what,
        "id": plan.subject,
        "events": plan.kinds,
        "retold": sum(position in plan.erased for position in plan.retold),
        "tasks": [{"id": task, "name": name} for task, name in plan.tasks.items()],
        "blobs": len(plan.blobs),
        "sessions": sorted(plan.sessions),
    }


def _report(plan: Plan, outcome: Outcome, left: list[str], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "dry_run": False,
                **_facts(plan),
                "erased": outcome.events,
                "files": outcome.files,
                "left": left,
            }
        )
        return
    print(
        f"{outcome.events} events erased, {outcome.blobs} blobs and {outcome.files} files removed or changed"
        if outcome.events or outcome.blobs or outcome.files
        else _NOTHING
    )
    for place in left:
        note(f"left: {place}")
    if not left:
        print("The whole home was searched: nothing of it is left.")
