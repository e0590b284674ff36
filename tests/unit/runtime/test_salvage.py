"""The high-water mark, rows found in raw pages, and the choice among them by the chain."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engram_runtime.database import connect_bare
from engram_runtime.errors import StoreDamaged
from engram_runtime.journal import high_water, segments
from engram_runtime.journal.candidates import Candidates, Loss
from engram_runtime.journal.chain import GENESIS, Row, digest_of, flaw_of, new_row
from engram_runtime.journal.encoding import decode
from engram_runtime.journal.events import MemoryStored, PromptSubmitted
from engram_runtime.journal.journal import Journal
from engram_runtime.journal.pages import Pages, Raw
from engram_runtime.journal.salvage import rows_of_segment
from engram_runtime.journal.table import COLUMNS
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep.recover import recover
from engram_runtime.upkeep.retell import retold

pytestmark = pytest.mark.guarantee("G1", "G9")

SIZES = (10, 200, 3000, 3900, 4061, 4100, 9000, 100_000)


def chain(count: int) -> list[Row]:
    rows: list[Row] = []
    for position in range(1, count + 1):
        previous = rows[-1].hash if rows else GENESIS
        rows.append(
            new_row(previous, os.urandom(16), position, "t", "K", 1, "/p", None, f'{{"n":{position}}}')
        )
    return rows


def chosen(
    tmp_path: Path, rows: list[Row], *, committed: bool = True
) -> tuple[list[Row], list[tuple[int, int, str]]]:
    candidates = Candidates(tmp_path / "found.sqlite")
    try:
        candidates.add(Raw(row, committed) for row in rows)
        losses = candidates.choose(candidates.top())
        return list(candidates.chosen()), [tuple(loss) for loss in losses]
    finally:
        candidates.close()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal with payloads on one page, on overflow pages, and in the log."""
    journal = Journal(HomeFiles(tmp_path / "home"))
    for number in range(40):
        texts = [PromptSubmitted(text=f"{number} " + "x" * SIZES[number % len(SIZES)])]
        journal.append(texts, project="/p", session="s" if number % 2 else None)
    return journal


def rows_in(files: HomeFiles) -> dict[int, Row]:
    return {raw.row.position: raw.row for raw in Pages.of(files.journal).rows() if not flaw_of(raw.row)}


def test_every_row_is_found_in_the_raw_pages_of_file_and_log(journal: Journal, tmp_path: Path) -> None:
    copies = HomeFiles(tmp_path / "copy")
    copies.root.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        (copies.root / name).write_bytes((journal.files.root / name).read_bytes())
    assert (copies.root / "journal.sqlite-wal").stat().st_size > 100_000
    journal.close()
    found = rows_in(copies)
    with connect_bare(journal.files.journal, access="read") as file:
        assert [found[position] for position in sorted(found)] == [
            Row._make(row) for row in file.execute(f"SELECT {COLUMNS} FROM journal ORDER BY position")
        ]
    file.close()
    assert sorted(found) == list(range(1, 41))
    assert Pages.of(copies.journal).last_given() == 40
    assert rows_in(journal.files) == found


def test_without_any_page_that_leads_to_them_rows_are_found(journal: Journal) -> None:
    journal.close()
    content = bytearray(journal.files.journal.read_bytes())
    content[:4096] = bytes(4096)
    journal.files.journal.write_bytes(content)
    assert sorted(rows_in(journal.files)) == list(range(1, 41))


def test_a_broken_frame_of_the_log_is_told_from_its_end(journal: Journal) -> None:
    log = journal.files.root / "journal.sqlite-wal"
    content = bytearray(log.read_bytes())
    journal.close()
    log.write_bytes(content)
    assert Pages.of(journal.files.journal).log_flaw == ""
    content[32 + 24 + 2000] ^= 1
    log.write_bytes(content)
    pages = Pages.of(journal.files.journal)
    assert "broken at frame 1" in pages.log_flaw and not pages.committed
    content[32 + 24 + 2000] ^= 1
    log.write_bytes(content[: 32 + 3 * 4120 - 100])
    assert Pages.of(journal.files.journal).log_flaw == ""


def test_a_row_that_the_next_one_does_not_attest_is_not_believed(tmp_path: Path) -> None:
    rows = chain(6)
    forged = new_row(rows[2].previous_hash, b"s" * 16, 3, "t", "K", 1, "/elsewhere", None, "{}")
    kept, losses = chosen(tmp_path, [*rows[:2], forged, *rows[3:]])
    assert [row.position for row in kept] == [1, 2, 4, 5, 6]
    assert losses == [(3, 3, "altered")]


def test_of_two_versions_of_a_row_the_attested_one_is_taken(tmp_path: Path) -> None:
    rows = chain(4)
    other = new_row(rows[1].hash, b"s" * 16, 3, "t", "K", 1, "/p", None, '{"never":"acknowledged"}')
    assert chosen(tmp_path, [other, *rows]) == (rows, [])


@pytest.mark.parametrize("column", ["hash", "previous_hash", "digest"])
def test_a_row_with_one_altered_column_of_the_chain_is_mended(tmp_path: Path, column: str) -> None:
    rows = chain(5)
    broken = rows[2]._replace(
        **{column: bytes([getattr(rows[2], column)[0] ^ 1]) + getattr(rows[2], column)[1:]}
    )
    assert chosen(tmp_path, [*rows[:2], broken, *rows[3:]]) == (rows, [])


def test_a_row_with_an_altered_payload_keeps_its_place_and_kind(tmp_path: Path) -> None:
    rows = chain(5)
    kept, losses = chosen(tmp_path, [*rows[:2], rows[2]._replace(payload='{"n":999}'), *rows[3:]])
    assert kept == [*rows[:2], rows[2]._replace(payload=None, salt=None), *rows[3:]]
    assert losses == [(3, 3, "words")]


def test_what_was_forgotten_wins_over_an_older_page_that_still_has_it(tmp_path: Path) -> None:
    rows = chain(3)
    forgotten = rows[1]._replace(payload=None, salt=None)
    assert chosen(tmp_path, [*rows, forgotten]) == ([rows[0], forgotten, rows[2]], [])


def test_missing_rows_are_told_as_ranges(tmp_path: Path) -> None:
    rows = chain(9)
    _, losses = chosen(tmp_path, [rows[2], rows[5], rows[8]])
    assert losses == [(1, 2, "gone"), (4, 5, "gone"), (7, 8, "gone")]


def test_uncommitted_rows_after_the_last_acknowledged_one_are_left_out(tmp_path: Path) -> None:
    rows = chain(5)
    candidates = Candidates(tmp_path / "found.sqlite")
    candidates.add([Raw(row, row.position <= 3) for row in rows])
    assert candidates.top(acknowledged=4) == 4
    assert candidates.choose(4) == []
    assert list(candidates.chosen()) == rows[:4]
    candidates.close()


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    rows = chain(3)
    odd = rows[1]._replace(payload='{"n":"\ud800"}', digest=digest_of(b"", "x"))
    kept, losses = chosen(tmp_path, [rows[0], odd, rows[2]])
    assert [row.position for row in kept] == [1, 3] and losses == [(2, 2, "altered")]


def test_the_mark_follows_every_append_and_tells_a_lost_end(tmp_path: Path) -> None:
    files = HomeFiles(tmp_path / "home")
    for number in range(1, 4):
        journal = Journal(files)
        assert journal.append([PromptSubmitted(text="x")], project="/p", session=None) == (number,)
        assert high_water.mark_of(files.journal_lock) == number
        journal.close()
        (tmp_path / f"{number}").write_bytes(files.journal.read_bytes())
    files.journal.write_bytes((tmp_path / "2").read_bytes())
    journal = Journal(files)
    assert not journal.writable and "ends at event 2, though 3 were written" in str(journal.trouble)
    with pytest.raises(StoreDamaged):
        journal.append([PromptSubmitted(text="x")], project="/p", session=None)
    journal.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 47, b"0123456789abcdef\n" + b"9" * 20 + b" 00000000\n"])
def test_a_mark_that_is_not_sound_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock").write_bytes(content)
    assert high_water.mark_of(tmp_path / "lock") == 0


def test_a_journal_without_its_lock_file_is_not_begun_anew_over_what_was_made_of_it(tmp_path: Path) -> None:
    files = HomeFiles(tmp_path / "home")
    journal = Journal(files)
    journal.append([PromptSubmitted(text="x")], project="/p", session=None)
    journal.close()
    files.state.write_bytes(b"rows")
    files.journal.unlink()
    files.journal_lock.unlink()
    again = Journal(files)
    assert again.damaged and not files.journal.exists()
    again.close()


@pytest.mark.parametrize("offset", [0, 3, 8])
def test_a_segment_with_a_broken_header_is_unpacked_all_the_same(tmp_path: Path, offset: int) -> None:
    rows = chain(50)
    segment = segments.write(tmp_path, rows)
    content = bytearray((tmp_path / segment.file).read_bytes())
    content[offset] ^= 0x10
    (tmp_path / segment.file).write_bytes(content)
    assert list(rows_of_segment(tmp_path / segment.file)) == rows


def test_of_a_segment_that_breaks_off_the_rows_before_are_read(tmp_path: Path) -> None:
    rows = chain(400)
    segment = segments.write(tmp_path, rows)
    path = tmp_path / segment.file
    path.write_bytes(path.read_bytes()[: segment.bytes // 2])
    found = list(rows_of_segment(path))
    assert 100 < len(found) < 400 and found == rows[: len(found)]


def test_nothing_is_acknowledged_into_a_file_that_was_put_aside_before_the_first_append(
    tmp_path: Path,
) -> None:
    files = HomeFiles(tmp_path / "home")
    journal = Journal(files)
    journal.append([PromptSubmitted(text="x")], project="/p", session=None)
    journal.close()
    (tmp_path / "copy").write_bytes(files.journal.read_bytes())
    journal = Journal(files)
    assert journal.head() == 1
    (tmp_path / "copy").replace(files.journal)
    with pytest.raises(StoreDamaged, match="replaced while it was open"):
        journal.append([PromptSubmitted(text="y")], project="/p", session=None)
    journal.close()


def test_events_after_a_break_in_the_log_are_kept_though_the_mark_lags(
    journal: Journal, tmp_path: Path
) -> None:
    home = tmp_path / "cut"
    shutil.copytree(journal.files.root, home)
    files = HomeFiles(home)
    log = home / "journal.sqlite-wal"
    content = bytearray(log.read_bytes())
    content[32 + 6 * 4120 + 100] ^= 1
    log.write_bytes(content)
    descriptor = os.open(files.journal_lock, os.O_RDWR)
    high_water.set_mark(descriptor, 20)  # what a power cut leaves of a file that is never synced
    os.close(descriptor)
    found = recover(home)
    assert found is not None and found.top == 40 and found.lost == 0


def test_a_memory_told_again_keeps_what_it_took_the_place_of(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Runtime.open(home, project="/p", session="s", settings=Settings(model="off")) as runtime:
        first = runtime.memory.store("The timeout is 30 seconds.", importance=0.5).memory
        second = runtime.memory.store("The timeout is 90 seconds.", importance=0.5).memory
        assert runtime.memory.row(first).superseded_by == second  # type: ignore[union-attr]
    told = retold(HomeFiles(home), [Loss(second, second, "gone")])
    event, _ = decode("MemoryStored", MemoryStored.VERSION, told[second].payload)
    assert isinstance(event, MemoryStored) and event.supersedes == (first,) and "90" in event.why
