"""Looking after the home: doctor, recover, rebuild-cache."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engram_runtime.errors import EngramError, UsageError
from engram_tui.cli.home import home, is_new, opened
from engram_tui.cli.output import json_option, note, print_json

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime
    from engram_runtime.upkeep.doctor import Finding
    from engram_runtime.upkeep.recover import Recovery

_WHY = {
    "gone": "nothing of it was left",
    "altered": "what was there is not what was written",
    "words": "its text is lost, its place and kind are known",
    "retold": "told again from what had been made of it",
}
_MOST_SHOWN = 40


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Set permissions right and remove what ended sessions left over.")
@json_option
def doctor_command(fix: bool, as_json: bool) -> int:
    """Check the home: can it be written, is its journal whole, is everything there?"""
    findings = []
    for finding in _findings(fix):
        findings.append(finding)
        if not as_json:
            mark = {"ok": " ", "note": "·", "problem": "!"}[finding.standing]
            said = f"{finding.said.removesuffix('.')}. {finding.do}" if finding.do else finding.said
            print(f"{mark} {finding.about:12} {said}")
    sound = all(finding.standing != "problem" for finding in findings)
    if as_json:
        print_json({"ok": sound, "home": str(home()), "findings": findings})
    return 0 if sound else 1


def _findings(fix: bool) -> Iterator[Finding]:
    from engram_runtime.paths import HomeFiles
    from engram_runtime.upkeep import doctor

    root = home()
    files = HomeFiles(root)
    yield doctor.Finding("home", "ok", str(root))
    yield from doctor.of_machine(files)
    yield from doctor.of_files(files, fix=fix)
    if is_new(root) and not files.recovering.exists():
        yield doctor.Finding("journal", "ok", "0 events: the first session makes it")
    else:
        yield from _of_content(doctor.Finding)
    yield from of_sessions(root)
    yield _of_agents(doctor.Finding)


def _of_content(finding: type[Finding]) -> Iterator[Finding]:
    """What is inside the home, as far as it can be opened."""
    from engram_runtime.upkeep import doctor

    try:
        with opened(recover=False) as runtime:
            for warning in runtime.warnings:
                yield finding("settings", "note", warning)
            with _counted("verified") as progress:
                yield from doctor.of_journal(runtime.journal, progress)
            runtime.catch_up()
            yield from doctor.of_derived(runtime.journal.files, runtime.journal.head())
            unknown = runtime.state.unknown_kinds()
            if unknown:
                yield finding(
                    "vocabulary",
                    "note",
                    f"events of kinds that only a newer Engram knows: {', '.join(unknown)}",
                    "Update Engram: until then they are kept and passed over.",
                )
            yield doctor.of_blobs(runtime.journal, runtime.blobs)
            yield _of_model(runtime, finding)
    except EngramError as error:
        yield finding("home", "problem", str(error.args[0]), error.hint)


def _of_model(runtime: Runtime, finding: type[Finding]) -> Finding:
    """The embedding model: asked of what is stored, so that no worker is started for it."""
    stats = runtime.memory.stats()
    state = stats.embedder
    if state.startswith("failed"):
        return finding("model", "note", f"{runtime.settings.model}: {state}", "Recall goes by words alone.")
    waiting = f", {stats.lag:,} memories without a vector" if stats.lag else ""
    return finding("model", "ok", f"{runtime.settings.model}{waiting}")


def of_sessions(root: Path) -> Iterator[Finding]:
    """Sessions of a home that were lost, or of which nothing can be read."""
    from engram_runtime.upkeep.doctor import Finding
    from engram_tui.discovery import FACTS, FOLDER, facts_of, sessions

    folder = root / FOLDER
    if not folder.is_dir():
        return
    known = sessions(root)
    lost = [entry.id for entry in known if entry.state == "lost" and entry.mode != "mcp"]
    if lost:
        said = f"{len(lost)} lost with their supervisor: {', '.join(lost[:5])}"
        yield Finding("sessions", "note", said, "The next `engram` command closes them with a checkpoint.")
    unreadable = [path for path in sorted(folder.iterdir()) if (path / FACTS).exists() and not facts_of(path)]
    if unreadable:
        names = ", ".join(path.name for path in unreadable[:5])
        said = f"{len(unreadable)} say nothing that can be read ({FACTS}): {names}"
        yield Finding(
            "sessions", "note", said, "What they did is in the journal; the folders may be removed."
        )
    if not lost and not unreadable:
        live = sum(entry.state == "live" for entry in known)
        yield Finding("sessions", "ok", f"{live} live, {len(known) - live} ended")


def _of_agents(finding: type[Finding]) -> Finding:
    import os

    from engram_tui.agents.registry import adapter, names

    found = [name for name in names() if name != "demo" and adapter(name).find(os.environ)]
    if found:
        return finding("agents", "ok", ", ".join(found))
    return finding("agents", "note", "none on PATH", "Install one, or try `engram run demo`.")


@click.command("recover")
@click.option("--dry-run", is_flag=True, help="Only show what would be kept and what is lost.")
@click.option(
    "--begin-anew", is_flag=True, help="Begin an empty journal where nothing at all can be recovered."
)
@json_option
def recover_command(dry_run: bool, begin_anew: bool, as_json: bool) -> int:
    """Make a damaged journal anew from everything that is intact; the damaged files are kept."""
    from engram_runtime.upkeep.recover import recover

    root = home()
    if not root.is_dir():
        raise UsageError(f"There is no home {root}.", hint="Nothing to recover.")
    try:
        report = recover(root, dry_run=dry_run, anew=begin_anew)
    except OSError as error:
        raise _unusable(error) from error
    after = None if report is None or dry_run else _rebuilt()
    if as_json:
        print_json({"whole": report is None, "recovery": _plain(report), "after": after})
    elif report is None:
        print("The journal is whole: nothing to recover.")
    else:
        _say(report, after)
    return 0


def _plain(report: Recovery | None) -> dict[str, object] | None:
    """A report as JSON objects."""
    if report is None:
        return None
    losses = [{"first": first, "last": last, "why": why} for first, last, why in report.losses]
    return {**asdict(report), "losses": losses}


def _unusable(error: OSError) -> EngramError:
    from engram_runtime.errors import StoreUnavailable

    where = f" ({error.filename})" if error.filename else ""
    return StoreUnavailable(
        f"The home cannot be recovered: {error.strerror or error}{where}.",
        hint="Check its permissions and the disk's free space.",
    )


def _rebuilt() -> dict[str, object]:
    """Make anew what is derived, and look at the result."""
    from engram_runtime.upkeep.doctor import blob_faults

    with opened(recover=False) as runtime:
        position = runtime.memory.catch_up()
        runtime.catch_up()
        return {
            "events": position,
            "chain": runtime.verify()._asdict(),
            "writable": runtime.health().writable,
            "blobs_lost": blob_faults(runtime.journal, runtime.blobs),
        }


def _say(report: Recovery, after: dict[str, object] | None) -> None:
    would = "would be " if report.dry_run else ""
    print(f"Found: {report.flaw}")
    print(f"{report.kept:,} of {report.top:,} events {would}kept as they were.")
    for first, last, why in report.losses[:_MOST_SHOWN]:
        which = f"event {first}" if first == last else f"events {first} to {last}"
        print(f"  {which}: {_WHY[why]}")
    if len(report.losses) > _MOST_SHOWN:
        print(f"  and {len(report.losses) - _MOST_SHOWN} more ranges; --json has all")
    if after is None:
        print("Nothing was changed. `engram recover` does it, and keeps the damaged files.")
        return
    blobs = after["blobs_lost"]
    assert isinstance(blobs, list)
    for fault in blobs[:_MOST_SHOWN]:
        print(f"  text {fault.digest[:12]}… of event {fault.position} is {fault.what}")
    print(f"The damaged files are in {report.home}/{report.put_aside}; the home works again.")


@click.command("rebuild-cache")
@click.option("--reembed", is_flag=True, help="Also compute every vector again.")
@json_option
def rebuild_cache_command(reembed: bool, as_json: bool) -> int:
    """Delete what is derived from the journal (state, memory) and make it anew."""
    from engram_runtime.upkeep.rebuild import counts, drop_vectors

    if is_new(home()):
        if as_json:
            print_json({"position": 0, "before": {}, "after": {}, "waiting_for_vectors": 0})
        else:
            print("Nothing is kept here yet: nothing to rebuild.")
        return 0
    with opened(recover=False) as runtime:
        if not runtime.journal.writable and runtime.journal.trouble is not None:
            raise runtime.journal.trouble
        runtime.memory.catch_up()
        runtime.catch_up()
        before = counts(runtime.journal.files)
        if reembed:
            drop_vectors(runtime.journal.files)
        runtime.rebuild_state()
        runtime.memory.rebuild()
        after = counts(runtime.journal.files)
        position = runtime.journal.head()
        lag = 0 if runtime.settings.model == "off" else runtime.memory.stats().lag
    if as_json:
        print_json({"position": position, "before": before, "after": after, "waiting_for_vectors": lag})
        return 0
    for table in sorted({*before, *after}):
        was, is_ = before.get(table, 0), after.get(table, 0)
        print(f"{table:28} {was:>9,} → {is_:>9,}" + ("" if was == is_ else "  (differs)"))
    if lag:
        note(f"{lag:,} memories get their vectors in the background; until then recall finds them by words")
    return 0


@contextmanager
def _counted(what: str) -> Iterator[Callable[[int], None] | None]:
    """A running figure on a terminal, gone when it is done."""
    if not sys.stderr.isatty():
        yield None
        return
    yield lambda count: print(f"\r{count:,} events {what}", end="", file=sys.stderr, flush=True)
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
