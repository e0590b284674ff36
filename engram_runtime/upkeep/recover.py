"""`engram recover`: a damaged journal made anew from every event that is intact, at its old position.

Looked at and built beside the old one (`recovering/`), then put in its place in steps of which each can be done
again: killed at any moment, the next run finishes what was ready or starts over. The damaged files are kept in
`damaged/<time>/`. What is derived is put aside with them and made anew by whoever opens the home next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engram_runtime import database
from engram_runtime.errors import StoreTooNew, StoreUnavailable
from engram_runtime.journal import high_water, salvage
from engram_runtime.journal.candidates import Candidates, Loss
from engram_runtime.journal.encoding import encode
from engram_runtime.journal.events import EventLost, JournalRecovered
from engram_runtime.journal.journal import Journal, stamp
from engram_runtime.journal.rewrite import write_journal
from engram_runtime.journal.writer import Draft
from engram_runtime.paths import HomeFiles, make_private_folder, sync_folder
from engram_runtime.upkeep.occupancy import users_of
from engram_runtime.upkeep.retell import retold
from engram_runtime.upkeep.untold import with_untold

_TOLD = 1000
"""Ranges of lost positions that the journal itself names; the report has all."""
_PROPORTION = 5_000_000
_RESERVE = 20_000_000
"""Bytes that must be free beside what the new journal takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a recovery found, and what it did (or, `dry_run`, would do)."""

    home: str
    flaw: str
    """What is wrong with the journal, as the check said."""
    top: int
    """The last position that was ever given, as far as anything tells."""
    kept: int
    """Events that are as they were."""
    losses: tuple[tuple[int, int, str], ...]
    """First and last position of what is not, and why: gone, altered, words (place and kind are known), retold."""
    put_aside: str
    """Folder of the damaged originals; "" where nothing was done."""
    dry_run: bool

    @property
    def lost(self) -> int:
        """How many events are not as they were."""
        return sum(last - first + 1 for first, last, _ in self.losses)


def recover(home: Path, *, dry_run: bool = False, anew: bool = False) -> Recovery | None:
    """Recover a home; None where its journal is whole.

    `dry_run` writes nothing in the home. `anew` allows an empty journal where nothing at all can be kept.
    Raises StoreUnavailable where a live process uses the home, the disk is full, or nothing is left to
    recover (without `anew`); OSError.
    """
    files = HomeFiles(home)
    if (files.recovering / "ready").exists() and not dry_run:
        with _alone(files):
            return _put_in_place(files)
    flaw = flaw_of(files)
    if not flaw:
        return None
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="engram-recover-") as folder:
            return _build(files, Path(folder), flaw, dry_run=True, anew=True)
    with _alone(files):
        shutil.rmtree(files.recovering, ignore_errors=True)
        make_private_folder(files.recovering)
        _require_space(files)
        try:
            _build(files, files.recovering, flaw, dry_run=False, anew=anew)
            # From now on (`ready`) nobody can open the home to write; who came meanwhile still could.
            _refuse_company(files)
        except BaseException:
            shutil.rmtree(files.recovering, ignore_errors=True)
            raise
        return _put_in_place(files)


def flaw_of(files: HomeFiles) -> str:
    """What is wrong with a home's journal ("" if nothing, or if there never was one). Everything is checked."""
    if (files.recovering / "ready").exists():
        return "A recovery was interrupted."
    journal = Journal(files, read_only=True)
    try:
        if isinstance(journal.trouble, StoreTooNew):
            raise journal.trouble
        if not files.journal.exists() and not journal.damaged:
            return _trace_of_a_journal(files)
        flaw = str(journal.trouble.args[0]) if journal.damaged and journal.trouble else journal.verify().flaw
    finally:
        journal.close()
    flaw = flaw or salvage.flaw_of_file(files.journal)
    # Without its mark only the log itself can tell that something is missing at its end.
    return flaw or ("" if high_water.mark_of(files.journal_lock) else salvage.flaw_of_log(files.journal))


def _trace_of_a_journal(files: HomeFiles) -> str:
    """A home without journal and without memory of one is new, unless something was made of one."""
    left = [path for path in (files.state, files.memory) if path.is_file() and path.stat().st_size]
    archived = files.archive.is_dir() and any(files.archive.iterdir())
    return "The journal is gone: its file is missing, though there was one." if left or archived else ""


# --- looking and building -------------------------------------------------------------------------------


def _build(files: HomeFiles, folder: Path, flaw: str, *, dry_run: bool, anew: bool) -> Recovery:
    """Find what is intact and make the new journal in `folder`."""
    scratch = folder / "found.sqlite"
    candidates = Candidates(scratch)
    try:
        acknowledged = high_water.mark_of(files.journal_lock)
        given = salvage.collect(files, candidates)
        # After a power cut the mark may lag: what a broken log committed after its break was told to somebody.
        broken = bool(salvage.flaw_of_log(files.journal))
        found = candidates.top(acknowledged=0 if broken else acknowledged)
        top = max(found, acknowledged, *_told_elsewhere(files, given, found))
        losses = candidates.choose(top)
        losses = with_untold(losses, candidates.chosen()) if losses else losses
        again = retold(files, losses) if losses else {}
        if not (found or again or anew):
            raise StoreUnavailable(
                "Nothing of the journal can be recovered.",
                hint="`engram recover --begin-anew` puts the damaged files aside and begins an empty one.",
            )
        report = _report(files, flaw, top, _without(losses, set(again)), dry_run)
        if not dry_run:
            now = stamp(datetime.now(UTC))
            write_journal(
                folder / files.journal.name,
                candidates.chosen(),
                top,
                lost=Draft(now, "EventLost", EventLost.VERSION, "", None, encode(EventLost())),
                retold=again,
                last=_told(report, now),
            )
    finally:
        candidates.close()
        for suffix in ("", "-wal", "-shm"):
            (folder / (scratch.name + suffix)).unlink(missing_ok=True)
    if not dry_run:
        _write_durably(folder / "ready", msgspec.json.encode(report))
    return report


def _told(report: Recovery, now: str) -> Draft:
    """The event that says in the journal itself what became of it."""
    event = JournalRecovered(
        flaw=report.flaw, kept=report.kept, losses=report.losses[:_TOLD], put_aside=report.put_aside
    )
    return Draft(now, event.kind, event.VERSION, "", None, encode(event))


def _report(
    files: HomeFiles, flaw: str, top: int, losses: tuple[tuple[int, int, str], ...], dry_run: bool
) -> Recovery:
    gone = sum(last - first + 1 for first, last, _ in losses)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return Recovery(
        home=str(files.root),
        flaw=flaw,
        top=top,
        kept=top - gone,
        losses=losses,
        put_aside="" if dry_run else f"{files.damaged.name}/{name}",
        dry_run=dry_run,
    )


def _without(losses: list[Loss], again: set[int]) -> tuple[tuple[int, int, str], ...]:
    """The losses, with positions told again from derived rows as such."""
    told: list[tuple[int, int, str]] = []
    for first, last, why in losses:
        inside = sorted(position for position in again if first <= position <= last)
        start = first
        for position in inside:
            if start < position:
                told.append((start, position - 1, why))
            told.append((position, position, "retold"))
            start = position + 1
        if start <= last:
            told.append((start, last, why))
    return tuple(told)


def _told_elsewhere(files: HomeFiles, given: int, found: int) -> Iterator[int]:
    """Last positions by SQLite's note and what was made of the journal; one out of all proportion is not believed."""
    places = (
        (files.state, "SELECT position FROM projection"),
        (files.memory, "SELECT value FROM meta WHERE key = 'position'"),
    )
    yield given if given <= found + _PROPORTION else 0
    for path, query in places:
        if not path.is_file():
            continue
        with (
            contextlib.suppress(*database.errors(TypeError, ValueError)),
            contextlib.closing(database.connect_bare(path, access="read")) as file,
        ):
            position = int(file.execute(query).fetchone()[0])
            if 0 <= position <= found + _PROPORTION:
                yield position


# --- putting it in place --------------------------------------------------------------------------------


def _put_in_place(files: HomeFiles) -> Recovery:
    """From `recovering/ready` on: old files aside, new journal in, the home as new. Each step can be done again."""
    report = msgspec.json.decode((files.recovering / "ready").read_bytes(), type=Recovery)
    aside = files.root / report.put_aside
    make_private_folder(aside)
    new = files.recovering / files.journal.name
    if new.exists():
        # The file first: without it nobody takes the rest for a journal.
        for name in (files.journal.name, *(files.journal.name + s for s in ("-wal", "-shm", "-journal"))):
            _move(files.root / name, aside)
        _move(files.archive, aside)
        for path in _derived(files):
            _move(path, aside)
        sync_folder(files.root)
        new.rename(files.journal)
        sync_folder(files.root)
    with contextlib.suppress(OSError):
        (aside / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
        (aside / "report.json").chmod(0o600)
    _renew_lock(files, report.top + 1)
    shutil.rmtree(files.recovering, ignore_errors=True)
    return report


def _derived(files: HomeFiles) -> list[Path]:
    """Files made of the journal, of whatever version: rows, snapshots of them, their locks excepted."""
    names = ("state.v*", "memory.v*", "snapshots")
    found = [path for name in names for path in files.root.glob(name)]
    return [path for path in found if path.suffix != ".lock"]


def _move(path: Path, folder: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    goal = folder / path.name
    if goal.exists():
        goal = folder / f"{path.name}.{os.getpid()}.{len(list(folder.iterdir()))}"
    path.rename(goal)


def _renew_lock(files: HomeFiles, position: int) -> None:
    """Another id: what remembers the old journal (a process, a snapshot) can tell that this is a new one."""
    descriptor = os.open(files.journal_lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, high_water.new_id() + high_water.encoded(position), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone(files: HomeFiles) -> Iterator[None]:
    """Nobody else has the home open, and nobody can write to it while the block runs. Raises StoreUnavailable."""
    make_private_folder(files.root)
    _lock_file(files)
    with database.exclusive(files.journal_lock):
        _refuse_company(files)
        yield


def _refuse_company(files: HomeFiles) -> None:
    users = users_of(files)
    if users:
        raise StoreUnavailable(
            f"The home is in use by {', '.join(users)}.", hint="End it, then run `engram recover` again."
        )


def _lock_file(files: HomeFiles) -> None:
    """A folder where the lock file belongs is put aside (an empty one is removed by who locks)."""
    lock = files.journal_lock
    if lock.is_dir() and any(lock.iterdir()):
        make_private_folder(files.damaged)
        lock.rename(files.damaged / f"{lock.name}.{os.getpid()}")


def _require_space(files: HomeFiles) -> None:
    sizes = [p.stat().st_size for p in (files.journal, Path(f"{files.journal}-wal")) if p.is_file()]
    sizes += [8 * p.stat().st_size for p in files.archive.glob("*.gz")] if files.archive.is_dir() else []
    needed = 3 * sum(sizes) + _RESERVE
    free = shutil.disk_usage(files.root).free
    if free < needed:
        raise StoreUnavailable(
            f"Recovering needs about {needed // 1_000_000} MB on the home's disk; {free // 1_000_000} MB are free.",
            hint="Free some space.",
        )


def _write_durably(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.rename(path)
    sync_folder(path.parent)
