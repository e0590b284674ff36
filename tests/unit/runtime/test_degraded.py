"""A damaged or unwritable home: reads go on, writes are refused with a hint, nothing is silently empty."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from engram_runtime.database import connect_bare
from engram_runtime.errors import StoreDamaged, StoreTooNew, StoreUnavailable
from engram_runtime.journal.events import PromptSubmitted, TaskCreated
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

pytestmark = pytest.mark.guarantee("G9")

EVENTS = 300


def open_again(home: Path, **options: bool) -> Runtime:
    return Runtime.open(home, project="/p", session="s1", settings=Settings(), **options)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed home with a task and many prompts."""
    home = tmp_path_factory.mktemp("template") / "home"
    with open_again(home) as runtime:
        runtime.append(TaskCreated(name="first"))
        for number in range(0, EVENTS, 50):
            runtime.append(
                *(PromptSubmitted(text=f"prompt {n} " + "x" * 200) for n in range(number, number + 50))
            )
        assert len(runtime.state.tasks()) == 1
    return home


@pytest.fixture
def written(template: Path, home: Path) -> Path:
    """The journal of a copy of it."""
    shutil.copytree(template, home)
    return home / "journal.sqlite"


def overwrite(journal: Path, offset: int, content: bytes) -> None:
    with journal.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def assert_refuses_writes(runtime: Runtime, said: str = "") -> None:
    with pytest.raises(StoreDamaged, match="engram recover") as caught:
        runtime.append(PromptSubmitted(text="x"))
    assert said in str(caught.value)
    health = runtime.health()
    assert not health.writable
    assert health.problem and health.hint


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
@pytest.mark.parametrize("with_state", [True, False])
def test_a_truncated_journal_is_read_as_far_as_it_goes(written: Path, share: float, with_state: bool) -> None:
    os.truncate(written, int(written.stat().st_size * share) // 4096 * 4096)
    if not with_state:
        HomeFiles(written.parent).state.unlink()
    with open_again(written.parent) as runtime:
        assert_refuses_writes(runtime)
        found = runtime.events(limit=10_000)
        assert 0 < len(found) < EVENTS
        assert [task.name for task in runtime.state.tasks()] == ["first"]
        assert runtime.activity(5)
        assert runtime.verify().flaw


def test_a_journal_cut_within_a_page_is_read_as_far_as_it_goes(written: Path) -> None:
    os.truncate(written, int(written.stat().st_size * 0.6) + 123)
    with open_again(written.parent) as runtime:
        assert_refuses_writes(runtime)
        assert runtime.events()
        assert [task.name for task in runtime.state.tasks()] == ["first"]


def test_a_destroyed_page_in_the_middle_leaves_the_rest_readable(written: Path) -> None:
    overwrite(written, written.stat().st_size // 8192 * 4096, b"\xee" * 4096)
    with open_again(written.parent) as runtime:
        found = runtime.events(limit=10_000)
        assert EVENTS - 40 < len(found) < EVENTS
        assert found[-1].position == EVENTS + 1
        assert_refuses_writes(runtime)


def test_a_changed_letter_is_noticed_when_it_is_read(written: Path) -> None:
    content = written.read_bytes()
    overwrite(written, content.index(b"prompt 100 x"), b"PROMPT")
    with open_again(written.parent) as runtime:
        texts = [
            at.payload["text"] for at in runtime.events(limit=10_000) if at.payload and "text" in at.payload
        ]
        assert len(texts) == EVENTS - 1
        assert not any("PROMPT" in text for text in texts)
        assert_refuses_writes(runtime, "event 102")


def test_a_changed_last_event_is_noticed_at_open(written: Path) -> None:
    content = written.read_bytes()
    overwrite(written, content.index(f"prompt {EVENTS - 1} x".encode()), b"PROMPT")
    with open_again(written.parent) as runtime:
        assert_refuses_writes(runtime, f"event {EVENTS + 1}")


def test_a_full_check_finds_a_forged_chain(written: Path) -> None:
    forger = connect_bare(written)
    forger.execute("DROP TRIGGER journal_keeps_its_words")
    forger.execute("UPDATE journal SET project = '/elsewhere' WHERE position = 50")
    forger.execute(
        """CREATE TRIGGER journal_keeps_its_words BEFORE UPDATE ON journal
           BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"""
    )
    forger.close()
    with open_again(written.parent) as runtime:
        assert runtime.health().writable
        assert runtime.verify() == (49, "event 50 is not what was written")


def test_removed_last_events_are_noticed(written: Path) -> None:
    forger = connect_bare(written)
    forger.execute("DROP TRIGGER journal_keeps_its_rows")
    forger.execute("DELETE FROM journal WHERE position > 290")
    forger.execute(
        """CREATE TRIGGER journal_keeps_its_rows BEFORE DELETE ON journal
           BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"""
    )
    forger.close()
    with open_again(written.parent) as runtime:
        assert_refuses_writes(runtime, "lost events 291 to 301")


def test_an_older_copy_of_the_journal_is_noticed_by_what_was_made_of_it(home: Path) -> None:
    with open_again(home) as runtime:
        runtime.append(TaskCreated(name="old"))
    copy = (home / "journal.sqlite").read_bytes()
    with open_again(home) as runtime:
        runtime.append(TaskCreated(name="new"))
        assert len(runtime.state.tasks()) == 2
    (home / "journal.sqlite").write_bytes(copy)
    with open_again(home) as runtime:
        assert_refuses_writes(runtime, "ends at event 1, though 2 were written")
        assert [task.name for task in runtime.state.tasks()] == ["new", "old"]


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_vanished_journal_is_never_replaced_by_an_empty_one(
    written: Path, content: bytes | None, read_only: bool
) -> None:
    written.unlink()
    if content is not None:
        written.write_bytes(content)
    with open_again(written.parent, read_only=read_only) as runtime:
        assert_refuses_writes(runtime, "gone")
        assert [task.name for task in runtime.state.tasks()] == ["first"]
    assert written.exists() == (content is not None)


@pytest.mark.parametrize("content", [b"not a database at all" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_file_that_is_no_journal_is_left_alone(written: Path, content: bytes) -> None:
    written.write_bytes(content)
    with open_again(written.parent) as runtime:
        assert_refuses_writes(runtime)
        assert runtime.events() == []
        assert [task.name for task in runtime.state.tasks()] == ["first"]
    assert written.read_bytes() == content


def test_another_programs_database_is_left_alone(home: Path) -> None:
    home.mkdir()
    other = sqlite3.connect(home / "journal.sqlite")
    other.execute("CREATE TABLE theirs (a)")
    other.commit()
    other.close()
    with open_again(home) as runtime:
        assert_refuses_writes(runtime, "holds no journal")


def test_a_journal_of_a_newer_engram_is_not_written_to(written: Path) -> None:
    newer = connect_bare(written)
    newer.execute("PRAGMA user_version=999")
    newer.close()
    with open_again(written.parent) as runtime:
        with pytest.raises(StoreTooNew, match="Update Engram"):
            runtime.append(PromptSubmitted(text="x"))
        assert len(runtime.events(limit=10_000)) == EVENTS + 1


def test_a_home_that_cannot_be_made_is_the_only_thing_that_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="ENGRAM_HOME"):
        open_again(tmp_path / "file" / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_without_write_permission_can_be_read(written: Path) -> None:
    written.parent.chmod(0o500)
    written.chmod(0o400)
    try:
        with open_again(written.parent) as runtime:
            assert len(runtime.events(limit=10_000)) == EVENTS + 1
            assert not runtime.health().writable
            with pytest.raises(StoreUnavailable):
                runtime.append(PromptSubmitted(text="x"))
    finally:
        written.parent.chmod(0o700)


def test_a_lost_lock_file_is_made_again(written: Path) -> None:
    written.with_name("journal.lock").unlink()
    with open_again(written.parent) as runtime:
        assert runtime.append(PromptSubmitted(text="x")) == (EVENTS + 2,)
    assert written.with_name("journal.lock").read_bytes()
