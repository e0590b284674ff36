"""Sealed segments: the same events, the same chain, in files that outlive the database's budget."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_runtime.database import connect_bare, driver
from engram_runtime.errors import StoreDamaged, StoreUnavailable
from engram_runtime.journal import background, maintenance, segments
from engram_runtime.journal import events as e
from engram_runtime.journal import journal as journal_module
from engram_runtime.journal.journal import Budget, Journal
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.support import rows_of, wait_until

pytestmark = pytest.mark.guarantee("G1", "G9")

EVENTS = 1000
KEEP = 100


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_EVENTS", 200)
    monkeypatch.setattr(segments, "BLOCK_EVENTS", 50)


def open_again(home: Path, **options: bool) -> Runtime:
    return Runtime.open(home, project="/p", session="s1", settings=Settings(), **options)


def fill(runtime: Runtime, count: int = EVENTS) -> None:
    """Prompts of ten sessions, one after another, in two projects; a task first."""
    runtime.append(e.TaskCreated(name="first"))
    for number in range(0, count - 1, 100):
        texts = [e.PromptSubmitted(text=f"prompt {n}") for n in range(number, min(number + 100, count - 1))]
        runtime.append(*texts, session=f"s{number // 100}", project=f"/p{number // 100 % 2}")


@pytest.fixture
def sealed(home: Path) -> Iterator[Runtime]:
    with open_again(home) as runtime:
        fill(runtime)
        assert runtime.journal.seal(KEEP) is not None
        yield runtime


def journal_rows(home: Path) -> int:
    connection = connect_bare(home / "journal.sqlite", access="read")
    try:
        return int(connection.execute("SELECT count(*) FROM journal").fetchone()[0])
    finally:
        connection.close()


def archive(home: Path) -> list[Path]:
    return sorted((home / "archive").iterdir())


def test_sealed_events_read_the_same(home: Path) -> None:
    with open_again(home) as runtime:
        fill(runtime)
        journal = runtime.journal
        asked = (
            lambda: journal.read_after(0, 10_000),
            lambda: journal.read_after(150, 300),
            lambda: journal.read_after(890, 20),
            lambda: journal.read_after(session="s3"),
            lambda: journal.read_after(kinds=("TaskCreated",)),
            lambda: journal.read_after(350, until=455),
            lambda: journal.read_last(250),
            lambda: journal.read_last(30, session="s2"),
            lambda: journal.read_last(600, project="/p0", until=950, after=30),
            lambda: [journal.hash_at(n) for n in (0, 1, 250, 900, 901, 1000, 1001)],
            lambda: journal.head(),
            lambda: journal.verify(),
        )
        before = [ask() for ask in asked]
        done = journal.seal(KEEP)
        assert done is not None and (done.segments, done.events) == (5, 900)
        assert [ask() for ask in asked] == before
        assert journal_rows(home) == KEEP
    with open_again(home) as runtime:
        assert runtime.health().writable
        journal = runtime.journal
        assert [ask() for ask in asked] == before
        assert runtime.append(e.TaskCreated(name="next")) == (EVENTS + 1,)


def test_a_segment_is_plain_gzip_with_every_column_and_private(sealed: Runtime, home: Path) -> None:
    first = archive(home)[0]
    assert first.name == "000000001-000000200.jsonl.gz"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    lines = [json.loads(line) for line in gzip.decompress(first.read_bytes()).splitlines()]
    assert [line["position"] for line in lines] == list(range(1, 201))
    assert set(lines[0]) == set(segments.Row._fields)
    assert json.loads(lines[0]["payload"])["name"] == "first"


def test_the_same_rows_give_the_same_bytes(sealed: Runtime, home: Path, tmp_path: Path) -> None:
    (segment, *_) = sealed.journal.segments()
    rows = list(segments.all_rows(home / "archive", segment))
    again = segments.write(tmp_path / "again", rows)
    assert again == segment


def test_sealing_again_does_nothing_and_sealing_more_goes_on(sealed: Runtime, home: Path) -> None:
    done = sealed.journal.seal(KEEP)
    assert done is not None and done.events == 0
    fill(sealed, 300)
    done = sealed.journal.seal(KEEP)
    assert done is not None and done.events == 300
    assert sealed.verify() == (EVENTS + 300, "")


def test_the_newest_events_always_stay(home: Path) -> None:
    with open_again(home) as runtime:
        fill(runtime, 200)
        runtime.journal.seal(0)
        assert journal_rows(home) == maintenance.LEAST_KEPT
        assert runtime.append(e.TaskCreated(name="t")) == (201,)
    with open_again(home) as runtime:
        assert runtime.health().writable and runtime.verify() == (201, "")


def test_the_state_is_the_same_from_the_archive(sealed: Runtime, home: Path) -> None:
    sealed.catch_up()
    before = rows_of(sealed.journal.files.state)
    sealed.rebuild_state()
    assert rows_of(sealed.journal.files.state) == before
    assert sealed.state.counts()["events"] == EVENTS


def test_the_space_is_given_back(home: Path) -> None:
    with open_again(home) as runtime:
        runtime.append(*(e.PromptSubmitted(text=os.urandom(300).hex()) for _ in range(900)))
        done = runtime.journal.seal(KEEP)
        assert done is not None and done.bytes_after < done.bytes_before / 5
        assert (home / "journal.sqlite-wal").stat().st_size == 0


def test_the_file_refuses_to_lose_rows_that_are_not_sealed(sealed: Runtime, home: Path) -> None:
    other = connect_bare(home / "journal.sqlite")
    for statement in (
        "DELETE FROM journal WHERE position = 950",
        "DELETE FROM segments",
        "UPDATE segments SET file = 'x'",
        "INSERT INTO segments SELECT last + 50, first, 1, previous_hash, hash, 'x', 1, '', '' FROM segments",
    ):
        with pytest.raises(driver().IntegrityError, match=r"append-only|seal"):
            other.execute(statement)
    other.execute("INSERT INTO maintenance VALUES ('seal')")
    with pytest.raises(driver().IntegrityError, match="append-only"):
        other.execute("DELETE FROM journal WHERE position = 950")
    other.execute("DELETE FROM maintenance")
    other.close()


def test_a_journal_of_the_first_version_is_brought_up_to_date(home: Path) -> None:
    with open_again(home) as runtime:
        fill(runtime, 300)
    old = connect_bare(home / "journal.sqlite")
    old.execute("DROP TABLE segments")
    old.execute("DROP TRIGGER journal_keeps_its_rows")
    old.execute(
        """CREATE TRIGGER journal_keeps_its_rows BEFORE DELETE ON journal
           BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"""
    )
    old.execute("PRAGMA user_version=1")
    old.close()
    with open_again(home, read_only=True) as runtime:
        assert len(runtime.events()) == 300
    with open_again(home) as runtime:
        assert runtime.append(e.TaskCreated(name="t")) == (301,)
        done = runtime.journal.seal(KEEP)
        assert done is not None and done.events == 201
        assert runtime.verify() == (301, "")


# --- what goes wrong ----------------------------------------------------------------------------------


def test_a_file_without_a_record_is_ignored_and_written_anew(home: Path) -> None:
    with open_again(home) as runtime:
        fill(runtime, 300)
        runtime.catch_up()
        (home / "archive").mkdir()
        stray = home / "archive" / "000000001-000000200.jsonl.gz"
        stray.write_bytes(b"half a file")
        (home / "archive" / "000000001-000000200.jsonl.gz.tmp").write_bytes(b"less")
        assert len(runtime.events()) == 300
        runtime.journal.seal(KEEP)
        assert [path.name for path in archive(home)] == [stray.name]
        assert runtime.verify() == (300, "")


@pytest.mark.parametrize("harm", ["missing", "shorter"])
def test_a_lost_segment_is_noticed_at_open_and_the_rest_is_read(
    sealed: Runtime, home: Path, harm: str
) -> None:
    sealed.catch_up()
    sealed.close()
    file = archive(home)[1]
    if harm == "missing":
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size // 2)
    with open_again(home) as runtime:
        with pytest.raises(StoreDamaged, match="engram recover"):
            runtime.append(e.TaskCreated(name="x"))
        positions = [at.position for at in runtime.events(limit=10_000)]
        assert positions[:200] == list(range(1, 201)) and positions[-600:] == list(range(401, 1001))
        assert len(positions) == 800 if harm == "missing" else 800 < len(positions) < 1000
        assert [task.name for task in runtime.state.tasks()] == ["first"]
        assert file.name in runtime.verify().flaw and runtime.verify().events == 200


def test_a_flipped_bit_in_a_segment_costs_one_block_at_most_and_is_noticed_when_it_is_read(
    sealed: Runtime, home: Path
) -> None:
    sealed.catch_up()
    sealed.close()
    file = archive(home)[2]
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    with open_again(home) as runtime:
        assert runtime.health().writable
        assert "altered" in runtime.verify().flaw
        found = runtime.events(limit=10_000)
        assert EVENTS - 50 <= len(found) < EVENTS
        with pytest.raises(StoreDamaged, match="engram recover"):
            runtime.append(e.TaskCreated(name="x"))


def test_a_forged_segment_does_not_pass_the_check(sealed: Runtime, home: Path) -> None:
    (segment, *_) = sealed.journal.segments()
    rows = list(segments.all_rows(home / "archive", segment))
    rows[7] = rows[7]._replace(payload='{"by":"user","text":"forged"}')
    forged = segments.write(home / "archive", rows, revision=9)
    other = connect_bare(home / "journal.sqlite")
    other.execute("DROP TRIGGER segments_keep_their_place")
    other.execute(
        "UPDATE segments SET file = ?, bytes = ?, sha256 = ?, contents = ? WHERE first = 1",
        (forged.file, forged.bytes, forged.sha256, forged.contents),
    )
    other.close()
    assert "event 8 is not what was written" in sealed.verify().flaw
    assert all("forged" not in str(at.payload) for at in sealed.events())
    assert not sealed.health().writable


@pytest.mark.parametrize("content", [None, b"garbage" * 10_000])
def test_the_archive_is_read_without_the_database(sealed: Runtime, home: Path, content: bytes | None) -> None:
    sealed.close()
    for suffix in ("", "-wal", "-shm"):
        (home / f"journal.sqlite{suffix}").unlink(missing_ok=True)
    if content is not None:
        (home / "journal.sqlite").write_bytes(content)
    with open_again(home) as runtime:
        assert not runtime.health().writable
        assert [at.position for at in runtime.events(limit=10_000)] == list(range(1, 901))
        assert [at.position for at in runtime.journal.read_last(250)] == list(range(651, 901))
        assert [task.name for task in runtime.state.tasks()] == ["first"]


def test_a_damaged_table_is_read_together_with_the_archive(sealed: Runtime, home: Path) -> None:
    sealed.close()
    journal = home / "journal.sqlite"
    os.truncate(journal, journal.stat().st_size - 8192)
    with open_again(home) as runtime:
        assert not runtime.health().writable
        positions = [at.position for at in runtime.events(limit=10_000)]
        assert positions[:900] == list(range(1, 901))


# --- forgetting ---------------------------------------------------------------------------------------


def test_sealed_and_unsealed_events_are_forgotten_alike(sealed: Runtime, home: Path) -> None:
    assert sealed.journal.forget([101, 250, 990, 5000]) == 3
    assert [at.position for at in sealed.events(limit=10_000) if at.payload is None] == [101, 250, 990]
    assert sealed.verify() == (EVENTS, "")
    assert sealed.journal.forget([101, 250, 990]) == 0
    names = [path.name for path in archive(home)]
    assert names[:2] == ["000000001-000000200.1.jsonl.gz", "000000201-000000400.1.jsonl.gz"]
    assert sealed.append(e.TaskCreated(name="next")) == (EVENTS + 1,)


def test_no_byte_of_what_was_forgotten_stays(home: Path) -> None:
    with open_again(home) as runtime:
        runtime.append(*(e.PromptSubmitted(text=f"qwertzuiop{n:03d}" + "y" * 3000) for n in range(300)))
        runtime.journal.seal(KEEP)
        runtime.journal.forget([*range(1, 11), *range(290, 301)])
        forgotten = [f"qwertzuiop{n:03d}".encode() for n in (*range(10), *range(289, 300))]
        kept = b"".join(path.read_bytes() for path in home.iterdir() if path.is_file())
        kept += b"".join(gzip.decompress(path.read_bytes()) for path in archive(home))
        assert not [word for word in forgotten if word in kept]
        assert b"qwertzuiop010" in kept and b"qwertzuiop288" in kept


def test_an_interrupted_forget_is_finished_by_the_next(
    sealed: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_is_gone(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(maintenance, "erase_file", power_is_gone)
    with pytest.raises(KeyboardInterrupt):
        sealed.journal.forget([101])
    assert len(archive(home)) == 6
    monkeypatch.undo()
    assert sealed.journal.forget([]) == 0
    assert len(archive(home)) == 5
    assert sealed.verify() == (EVENTS, "")
    assert sealed.events(100, 1)[0].payload is None


def test_another_process_reads_on_while_a_segment_is_rewritten(sealed: Runtime, home: Path) -> None:
    with open_again(home) as other:
        (segment, *_) = other.journal.segments()
        sealed.journal.forget([150])
        rows = other.journal._reader._block(segment, segment.index().blocks[2])
        assert [row.payload is None for row in rows].count(True) == 1
        assert other.health().writable


def test_another_process_reads_on_while_the_old_file_is_overwritten(
    sealed: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "erase_file", lambda path: path.write_bytes(bytes(path.stat().st_size)))
    with open_again(home) as other:
        (segment, *_) = other.journal.segments()
        sealed.journal.forget([150])
        rows = other.journal._reader._block(segment, segment.index().blocks[2])
        assert [row.position for row in rows] == [*range(101, 151)]
        assert other.health().writable


def test_a_reader_of_the_old_record_gets_each_event_once_from_other_blocks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_BLOCK_BYTES", 3000)
    with open_again(home) as runtime, open_again(home) as other:
        runtime.append(*(e.PromptSubmitted(text="x" * 500) for _ in range(300)))
        runtime.journal.seal(KEEP)
        (segment, *_) = other.journal.segments()
        runtime.journal.forget([*range(3, 40)])
        (now, *_) = other.journal.segments()
        assert len(now.index().blocks) < len(segment.index().blocks)
        read = [
            row.position for at in segment.index().blocks for row in other.journal._reader._block(segment, at)
        ]
        assert read == [*range(1, segment.last + 1)]
        assert other.health().writable


@pytest.mark.parametrize("check", ["missing_segment", "verify"])
def test_a_segment_that_is_written_anew_during_a_check_is_no_damage(
    sealed: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    look = segments.flaw_of_file

    def after_a_forget(*given: object, **options: bool) -> str:
        monkeypatch.setattr(segments, "flaw_of_file", look)
        sealed.journal.forget([150])
        return look(*given, **options)  # type: ignore[arg-type]

    with open_again(home) as other:
        monkeypatch.setattr(segments, "flaw_of_file", after_a_forget)
        assert getattr(other.journal._reader, check)() in ("", (EVENTS, ""))


def test_too_many_open_files_are_no_damage(
    sealed: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with open_again(home) as other:
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(StoreUnavailable, match="now"):
            other.journal.read_after(0, 10)
        monkeypatch.undo()
        assert len(other.journal.read_after(0, 10)) == 10 and other.health().writable


def test_the_archive_of_a_longer_journal_is_never_erased(sealed: Runtime, home: Path) -> None:
    longer = home / "archive" / f"{EVENTS - 99:09d}-{EVENTS + 100:09d}.jsonl.gz"
    longer.write_bytes(b"events that an older copy of the journal lacks")
    fill(sealed, 50)
    sealed.journal.seal(KEEP)
    assert longer.read_bytes().startswith(b"events")


def test_a_new_archive_is_durable_by_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(segments, "sync_folder", synced.append)
    with open_again(home) as runtime:
        fill(runtime, 300)
        runtime.journal.seal(KEEP)
    assert home in synced


# --- at the same time ---------------------------------------------------------------------------------


def test_readers_and_writers_notice_nothing_of_sealing(home: Path) -> None:
    with open_again(home) as runtime, open_again(home) as other:
        fill(runtime, 500)
        problems: list[BaseException] = []
        done = threading.Event()

        def read() -> None:
            try:
                while not done.is_set():
                    positions = [at.position for at in other.events(limit=10_000)]
                    assert positions == list(range(1, len(positions) + 1))
                    last = [at.position for at in other.journal.read_last(400)]
                    assert last == list(range(last[0], last[0] + 400))
                    assert other.verify().flaw == ""
            except BaseException as error:
                problems.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(6):
                fill(runtime, 120)
                assert (runtime if number % 2 else other).journal.seal(KEEP) is not None
        finally:
            done.set()
            reader.join()
        assert problems == []
        assert runtime.verify() == (1220, "")


def test_only_one_process_seals(sealed: Runtime, home: Path) -> None:
    with maintenance._maintaining(HomeFiles(home), wait=True), open_again(home) as other:
        assert other.journal.seal(KEEP) is None


def test_a_process_that_lives_long_seals_by_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(journal_module, "SEAL_SECONDS", 0.0)
    journal = Journal(HomeFiles(home), budget=Budget(events=300, keep=KEEP))

    def sealed_after_an_append() -> bool:
        journal.append([e.PromptSubmitted(text="x")] * 50, project="/p", session=None)
        return bool(journal.segments())

    wait_until(sealed_after_an_append, 5)
    journal.close()
    assert journal_rows(home) >= 100


def test_a_command_seals_nothing(home: Path) -> None:
    journal = Journal(HomeFiles(home), budget=Budget(events=100, keep=64))
    for _ in range(3):
        journal.append([e.PromptSubmitted(text="x")] * 100, project="/p", session=None)
    journal.close()
    assert not (home / "archive").exists()
