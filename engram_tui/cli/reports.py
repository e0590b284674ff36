"""Looking back: figures, reports, the journal searched, and what a checkpoint knows of files."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from engram_runtime.errors import NotFound, UsageError
from engram_tui.cli.home import opened
from engram_tui.cli.output import age, json_option, note, one_line, plain, print_json, table

if TYPE_CHECKING:
    from engram_runtime.journal.chain import Row
    from engram_runtime.journal.events import Recorded
    from engram_runtime.runtime import Runtime
    from engram_runtime.state.views import ActivityLine, CheckpointView, SessionView
    from engram_runtime.upkeep.report import Report

PERIODS = {"weekly": 7.0, "monthly": 30.0}
SEARCHED_ROWS = 5000
"""Rows of the journal that are looked at in one go."""
EXCERPT = 60
"""Characters around a word that was found."""


def _number(_: click.Context, __: click.Parameter, given: float | None) -> float | None:
    if given is not None and math.isnan(given):
        raise click.BadParameter("nan is no number of days.")
    return given


days_option = click.option(
    "--days",
    callback=_number,
    type=click.FloatRange(0, 36_500, min_open=True),
    help="So many days back (default: 7).",
)
all_option = click.option("--all", "everywhere", is_flag=True, help="Of all projects.")


@click.command("stats")
@days_option
@all_option
@json_option
def stats_command(days: float | None, everywhere: bool, as_json: bool) -> None:
    """Figures of the last days: sessions, checkpoints, memories, failures, tools, files."""
    from engram_runtime.upkeep.report import period_report
    from engram_runtime.upkeep.stats import collect

    with opened() as runtime:
        project = None if everywhere else runtime.project
        stats = collect(
            runtime.journal, now=datetime.now(UTC), days=days or PERIODS["weekly"], project=project
        )
        if as_json:
            print_json(stats)
        else:
            _print_report(period_report(stats))


@click.command("report")
@click.argument("session", required=False)
@click.option("--period", type=click.Choice(list(PERIODS)), help="A week (default) or a month.")
@days_option
@click.option("--html", "as_html", is_flag=True, help="One HTML page that needs nothing else.")
@all_option
@json_option
def report_command(
    session: str | None,
    period: str | None,
    days: float | None,
    as_html: bool,
    everywhere: bool,
    as_json: bool,
) -> None:
    """A report of a period or of one session, as Markdown or HTML."""
    from engram_runtime.upkeep import report as reports
    from engram_runtime.upkeep.stats import collect

    if as_html and as_json:
        raise UsageError("--html and --json exclude each other.", hint="Leave one out.")
    if session is not None and (period or days):
        raise UsageError("A session has no period.", hint="Leave SESSION or the period out.")
    with opened() as runtime:
        if session is not None:
            view = _session(runtime, session)
            recorded = runtime.events(
                limit=1_000_000, session=view.id, kinds=("PromptSubmitted", "CheckpointWritten")
            )
            made = reports.session_report(view, runtime.state, recorded)
        else:
            span = days or PERIODS[period or "weekly"]
            project = None if everywhere else runtime.project
            made = reports.period_report(
                collect(runtime.journal, now=datetime.now(UTC), days=span, project=project)
            )
        if as_json:
            print_json(made)
        else:
            click.echo(reports.html(made) if as_html else reports.markdown(made), nl=False)


@click.command("search")
@click.argument("text")
@click.option("-n", "limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@all_option
@json_option
def search_command(text: str, limit: int, everywhere: bool, as_json: bool) -> None:
    """Find words in all that was recorded: prompts, tool calls, answers, failures, checkpoints."""
    words = text.casefold().split()
    if not words:
        raise UsageError("There is nothing to search for.", hint="Name a word.")
    with opened() as runtime:
        found, more = _found(runtime, words, limit, None if everywhere else runtime.project)
        if as_json:
            print_json({"query": text, "hits": found, "more": more})
            return
        if not found:
            print("Nothing found.")
            return
        rows = [[str(h.position), h.session or "-", h.kind, one_line(h.text, 80), age(h.at)] for h in found]
        table(["POSITION", "SESSION", "KIND", "WHAT", "AGE"], rows)
        if more:
            note(f"{more} older ones are not shown; -n shows more")


@click.command("files")
@click.argument("checkpoint", type=click.IntRange(0, 2**63 - 1))
@json_option
def files_command(checkpoint: int, as_json: bool) -> None:
    """Files that a checkpoint lists as changed, by whom."""
    with opened() as runtime:
        content = _checkpoint(runtime, checkpoint).content
        changes = content.modified_files if content else ()
        if as_json:
            print_json(changes)
            return
        if not changes:
            print("No changed files.")
            return
        rows = [
            [c.path, c.change, c.by, _lines(c.lines_added, c.lines_removed), one_line(c.evidence, 60)]
            for c in changes
        ]
        table(["FILE", "CHANGE", "BY", "LINES", "EVIDENCE"], rows)


@click.command("diff")
@click.argument("checkpoint", type=click.IntRange(0, 2**63 - 1))
@json_option
def diff_command(checkpoint: int, as_json: bool) -> None:
    """The git diff a checkpoint kept, as `git apply` takes it."""
    with opened() as runtime:
        content = _checkpoint(runtime, checkpoint).content
        git = content.git if content else None
        if git is None or git.diff is None:
            raise NotFound(
                f"Checkpoint {checkpoint} kept no diff.", hint="`engram files` lists what it knows of files."
            )
        text = runtime.blobs.text(git.diff)
        if as_json:
            print_json({"checkpoint": checkpoint, "head": git.head, "diff": text})
            return
        shown = plain(text) if sys.stdout.isatty() else text
        click.echo(shown, nl=not shown.endswith("\n"))


def _found(
    runtime: Runtime, words: list[str], limit: int, project: str | None
) -> tuple[list[ActivityLine], int]:
    """The newest events that hold all the words, newest first, and how many older ones hold them too."""
    from engram_runtime.state.activity import activity_line, checkpoint_ids

    # In the payload, quotes and what is no letter of JSON are escaped: looked for first is a word that is not.
    sure = [word for word in words if word.isalnum()]
    kept: deque[int] = deque(maxlen=limit)
    position = hits = 0
    until = time.monotonic() + 1.0
    while rows := runtime.journal.rows_after(position, SEARCHED_ROWS):
        position = rows[-1].position
        told = _told_again(runtime, rows)
        for row in rows:
            payload = row.payload if row.payload is not None else told.get(row.position)
            # What a forgetting tells again is found where it was said.
            if payload is None or row.kind == "Forgotten" or project not in (None, row.project):
                continue
            low = payload.casefold()
            if all(word in low for word in sure) and _holds(payload, words):
                kept.append(row.position)
                hits += 1
        if time.monotonic() > until:
            note(f"searched {position:,} events …")
            until = time.monotonic() + 5.0
    recorded: list[Recorded] = []
    for at in kept:
        recorded += runtime.events(after=at - 1, limit=1)
    versions = runtime.state.checkpoint_versions([id_ for at in recorded for id_ in checkpoint_ids(at)])
    lines = [_with_the_place(activity_line(at, versions), at, words) for at in reversed(recorded)]
    return lines, hits - len(kept)


def _told_again(runtime: Runtime, rows: list[Row]) -> dict[int, str]:
    """What events say since some of their words were forgotten, by position."""
    import msgspec

    erased = [row.position for row in rows if row.payload is None]
    if not erased:
        return {}
    wanted = frozenset(erased)
    recorded = runtime.journal.read_after(erased[0] - 1, len(rows), until=erased[-1])
    return {
        at.position: msgspec.json.encode(at.payload).decode()
        for at in recorded
        if at.payload is not None and at.position in wanted
    }


def _with_the_place(line: ActivityLine, at: Recorded, words: list[str]) -> ActivityLine:
    """The line, with the text around the first word where it does not hold it itself."""
    import msgspec

    if words[0] in line.text.casefold():
        return line
    said = next((text for text in _texts(at.payload) if words[0] in text.casefold()), "")
    start = max(0, said.casefold().find(words[0]) - EXCERPT // 3)
    around = ("…" if start else "") + said[start : start + EXCERPT]
    return msgspec.structs.replace(line, text=one_line(f"{line.text}: {around}", 4 * EXCERPT))


def _holds(payload: str, words: list[str]) -> bool:
    import msgspec

    said = " ".join(_texts(msgspec.json.decode(payload))).casefold()
    return all(word in said for word in words)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return []


def _session(runtime: Runtime, given: str) -> SessionView:
    view = runtime.state.session(given)
    if view is None:
        fitting = [s for s in runtime.state.sessions(limit=100_000) if s.id.startswith(given)]
        if len(fitting) != 1:
            said = "There is no session" if not fitting else "More than one session begins with"
            raise NotFound(f"{said} {given!r}.", hint="See `engram sessions --all`.")
        view = fitting[0]
    return view


def _checkpoint(runtime: Runtime, checkpoint: int) -> CheckpointView:
    view = runtime.state.checkpoint(checkpoint)
    if view is None:
        raise NotFound(f"There is no checkpoint {checkpoint}.", hint="See `engram checkpoints TASK`.")
    return view


def _lines(added: int | None, removed: int | None) -> str:
    return "-" if added is None else f"+{added} −{removed or 0}"


def _print_report(report: Report) -> None:
    print(f"{report.title} ({report.subtitle})")
    for section in report.sections:
        print(f"\n{section.title}")
        width = max(len(row[0]) for row in section.rows)
        for row in section.rows:
            print(f"  {plain(row[0]).ljust(width)}  {plain('  '.join(row[1:]))}")
