"""Every file of a home with every fault: what is detected, kept and said. Writes docs/damage.md (`python -m ...`).

The table in the docs is made by the same cells that are tested; ENGRAM_SOAK=1 flips bits at many more places.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.damage.faults import FAULTS, PARTS, READ_ONLY, Fault, Part, cells, flipped
from tests.integration.damage.probe import (
    REMEMBERED,
    Seen,
    copy,
    look,
    look_without_privileges,
    make_home,
)
from tests.support import rounds

DOCS = Path(__file__).parents[3] / "docs" / "damage.md"
SETTINGS = "config.toml"
QUICK = (
    ("journal.sqlite", "truncated to half"),
    ("journal.sqlite", "a forged event"),
    ("journal.sqlite-wal", "deleted"),
    ("archive/*.jsonl.gz", "a bit flipped at 55 %"),
    ("blobs/*", "zeroed"),
)

pytestmark = pytest.mark.guarantee("G1", "G8", "G9")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, object]]:
    """A home as a killed process leaves it, and its events."""
    home = tmp_path_factory.mktemp("damage") / "home"
    return home, make_home(home)


def damaged(template: Path, folder: Path, part: Part, fault: Fault) -> Seen:
    home = copy(template, folder / "home")
    fault.apply(part.place(home))
    return look_without_privileges(home) if fault.name == READ_ONLY else look(home)


def check(seen: Seen, written: dict[int, object], part: Part, fault: Fault) -> None:
    """What holds for every cell: nothing wrong is shown, no loss is silent, and afterwards everything works."""
    if seen.unusable:
        assert part.name == SETTINGS and "config.toml" in seen.unusable
        return
    assert [p for p, event in seen.readable.items() if written.get(p) != event] == []
    missing = set(written) - set(seen.readable)
    if missing:
        assert seen.after_reading and seen.refused, "events are missing, and writes are taken"
    assert bool(seen.after_reading) == bool(seen.refused)
    assert seen.tasks == ("first",)
    assert seen.recalled[:1] == (REMEMBERED,)
    if fault.name == READ_ONLY:
        assert not missing and not seen.recovery and any("not writable" in said for said in seen.doctor)
        return
    if seen.not_recovered:
        assert "Update Engram" in seen.not_recovered
        return
    assert bool(seen.recovery) == bool(seen.refused)
    check_after(seen, written)


def check_after(seen: Seen, written: dict[int, object]) -> None:
    after, losses = seen.after, seen.recovery.losses if seen.recovery else ()
    assert after is not None
    lost = {position for first, last, _ in losses for position in range(first, last + 1)}
    assert {p: e for p, e in written.items() if p not in lost and after.events.get(p) != e} == {}
    assert after.writable and not after.flaw
    assert after.tasks == ("first",)
    assert after.recalled[:1] == (REMEMBERED,)
    if seen.recovery:
        # A recovery never keeps less than could be read before it.
        assert not lost & {p for p in seen.readable if p in written} or len(lost) <= 3


@pytest.mark.slow
@pytest.mark.parametrize(("part_name", "fault_name"), QUICK)
def test_damage_is_detected_and_repaired(
    template: tuple[Path, dict[int, object]], tmp_path: Path, part_name: str, fault_name: str
) -> None:
    part = next(part for part in PARTS if part.name == part_name)
    fault = next(fault for fault in FAULTS if fault.name == fault_name)
    check(damaged(template[0], tmp_path, part, fault), template[1], part, fault)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_file_with_every_fault_and_the_docs_say_so(
    template: tuple[Path, dict[int, object]], tmp_path: Path
) -> None:
    lines = []
    for number, (part, fault) in enumerate(cells()):
        seen = damaged(template[0], tmp_path / str(number), part, fault)
        check(seen, template[1], part, fault)
        lines.append(line(part, fault, seen, template[1]))
    assert DOCS.read_text("utf-8") == document(lines), (
        f"run: python -m {__spec__.name if __spec__ else __name__}"
    )


@pytest.mark.slow
@pytest.mark.timeout(3600 if os.environ.get("ENGRAM_SOAK") else 120)
def test_a_bit_flipped_anywhere_in_the_journal_costs_few_events(
    template: tuple[Path, dict[int, object]], tmp_path: Path
) -> None:
    chance = random.Random(7)
    parts = [part for part in PARTS if part.name in ("journal.sqlite", "journal.sqlite-wal")]
    for number in range(rounds(12, 1000)):
        part, share = parts[number % 2], chance.random()
        fault = Fault(f"a bit flipped at {share:.6f}", flipped(share))
        try:
            seen = damaged(template[0], tmp_path / str(number), part, fault)
            check(seen, template[1], part, fault)
            lost = sum(last - first + 1 for first, last, _ in seen.recovery.losses) if seen.recovery else 0
            assert lost <= 2
        except AssertionError as error:
            raise AssertionError(f"{part.name}: {fault.name}: {error}") from error


# --- the docs ---------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of the table, with all faults of a file that end the same way."""

    part: str
    faults: tuple[str, ...]
    found: str
    kept: str
    said: str

    def __str__(self) -> str:
        return f"| `{self.part}` | {', '.join(self.faults)} | {self.found} | {self.kept} | {self.said} |"


def line(part: Part, fault: Fault, seen: Seen, written: dict[int, object]) -> Line:
    """What became of one cell."""
    name = re.sub(r" at \d+ %", "", fault.name)
    return Line(part.name, (name,), _found(seen), _kept(part, seen, written), _said(part, seen))


def joined(lines: list[Line]) -> list[Line]:
    """Lines that differ only in the fault become one."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for part, (fault,), *rest in lines:
        faults = groups.setdefault((part, *rest), [])
        faults += [] if fault in faults else [fault]
    return [Line(part, tuple(faults), *rest) for (part, *rest), faults in groups.items()]


def _found(seen: Seen) -> str:
    if seen.unusable or seen.at_open:
        return "at open"
    if seen.after_reading or seen.refused:
        return "when it is read" if seen.after_reading else "when it is written"
    return "by `engram doctor`" if seen.doctor else "no fault is left"


def _kept(part: Part, seen: Seen, written: dict[int, object]) -> str:
    losses = seen.recovery.losses if seen.recovery else ()
    lost = sum(last - first + 1 for first, last, _ in losses)
    if not lost:
        altered = any(finding.startswith("blobs") for finding in seen.doctor)
        return "everything but that text" if altered else "everything"
    if part.name.startswith("archive"):
        return "everything else; of the segment what can be unpacked, and what rows were made of"
    if lost <= 3:
        return "everything but what was hit"
    return "everything else, and what rows were made of"


def _said(part: Part, seen: Seen) -> str:
    if seen.unusable:
        return "the file and the line; nothing starts until it is corrected"
    text = seen.after_reading or seen.refused or (seen.doctor[0] if seen.doctor else "")
    text = re.sub(r"/\S*/home/", "", text)
    text = re.sub(r"\d{9}-\d{9}", "…", text)
    text = re.sub(r"[0-9a-f]{12}…", "…", text)
    text = re.sub(r"\d{8}-\d{6}-[0-9a-z]+", "…", text)
    text = re.sub(r"\.v\d+\.", ".vN.", text)
    return re.sub(r"\b\d+\b", "N", text).replace("|", "\\|") if text else _quietly(part)


def _quietly(part: Part) -> str:
    healed = any(word in part.what for word in ("derived", "rows", "lock", "index"))
    return "nothing: it is made anew" if healed else "nothing"


def document(lines: list[Line]) -> str:
    """The page of the docs."""
    parts = "\n".join(f"| `{part.name}` | {part.what} |" for part in PARTS)
    table = "\n".join(map(str, joined(lines)))
    return f"""# What damage does

Made by `tests/integration/damage`, which does each of these to a home that a killed process left behind (write-ahead
logs not folded in, part of the journal sealed), opens it, reads everything, writes, asks `engram doctor`, runs
`engram recover` and looks again. In every line: nothing is shown that was not written; where anything is missing,
writes are refused with the command to run; tasks and memories still answer; and after `engram recover` every intact
event is back at its place, the chain verifies and everything can be written again.

How damage is found: each process checks the journal's header, guards, last 32 events and its end when it opens the
home, before it could change anything. The end is told by a high-water mark in `journal.lock`, written after each
commit: a log that was cut, altered or removed, or an older copy of the journal, ends before it. Every event is
checked against its hash and its neighbour's when it is read (2 µs), so altered events never become rows; `engram
doctor` reads everything, sealed segments and texts included. What is derived is thrown away and made anew.

`engram recover` needs no sound b-tree: it looks for records in every page of the journal and its log, and in what can
be unpacked of sealed segments, and believes what the chain attests. Lost positions keep their place (`EventLost`), so
ids stay; tasks, executions, checkpoints, sessions, interruptions, imports and memories of lost events are told again
from the rows made of them, and the report says so; so are events whose rest, without forgotten words, a lost
`Forgotten` told. The damaged files are kept in `damaged/`.

| file | what it is |
|---|---|
{parts}

| file | fault | detected | kept after `engram recover` | what the user sees |
|---|---|---|---|---|
{table}
"""


def _lines(folder: Path) -> Iterator[Line]:
    home = folder / "template" / "home"
    home.parent.mkdir()
    written = make_home(home)
    for number, (part, fault) in enumerate(cells()):
        yield line(part, fault, damaged(home, folder / str(number), part, fault), written)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        DOCS.write_text(document(list(_lines(Path(scratch)))), "utf-8")
    sys.exit(0)
