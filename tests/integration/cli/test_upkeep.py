"""`engram doctor`, `recover` and `rebuild-cache`, as a user calls them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.integration.cli.runs import Bench, bench
from tests.support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G9", "G11")]


@pytest.fixture
def used() -> Iterator[Bench]:
    """A home with an interrupted task and a memory."""
    with bench() as at:
        assert at.engram("run", "--headless", "--", "false").code == 1
        assert at.engram("remember", "the port of staging is 5433").code == 0
        yield at


def break_it(at: Bench) -> None:
    """One letter of an early event is altered."""
    journal = at.home / "journal.sqlite"
    content = journal.read_bytes()
    assert content.count(b'"agent":"command"') == 1
    journal.write_bytes(content.replace(b'"agent":"command"', b'"agent":"c0mmand"'))


def kept(at: Bench) -> list[str]:
    """The home's files, but for those that SQLite itself makes beside a database that is read."""
    return [name for name in at.written() if not name.endswith(("-shm", "-wal"))]


def test_doctor_of_a_sound_home_and_of_none(at: Bench, used: Bench) -> None:
    assert at.engram("doctor").code == 0
    assert not at.home.exists()
    done = used.engram("doctor", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["ok"]
    by = {finding["about"]: finding for finding in told["findings"]}
    assert by["chain"]["standing"] == by["state"]["standing"] == by["permissions"]["standing"] == "ok"


def test_a_damaged_home_is_named_previewed_and_recovered(used: Bench) -> None:
    break_it(used)
    doctor = used.engram("doctor")
    assert doctor.code == 1
    assert "engram recover" in doctor.out.decode()
    assert ".." not in doctor.out.decode()
    before = kept(used)
    preview = used.engram("recover", "--dry-run")
    assert preview.code == 0
    assert "Nothing was changed" in preview.out.decode()
    assert kept(used) == before
    done = json.loads(used.engram("recover", "--json").out)
    assert [loss["why"] for loss in done["recovery"]["losses"]] in (["words"], ["retold"])
    assert done["after"]["writable"] and done["after"]["chain"]["flaw"] == ""
    assert used.engram("doctor").code == 0
    (task,) = used.ask("tasks")
    assert task["interrupted"]
    assert used.ask("recall", "staging port")["hits"]
    assert used.engram("remember", "it works again").code == 0
    again = used.engram("recover")
    assert (again.code, again.out) == (0, b"The journal is whole: nothing to recover.\n")


def test_a_home_with_a_running_session_is_not_recovered(used: Bench) -> None:
    (used.home / "journal.sqlite").write_bytes(b"\xff" * 20_000)
    run = used.start(
        "run", "--headless", "--no-resume", "--", "sh", "-c", "until [ -e go ]; do sleep 0.05; done"
    )
    try:
        wait_until(
            lambda: "live" in json.dumps(used.ask("sessions")) or list(used.home.glob("sessions/*/lock")), 20
        )
        wait_until(lambda: len(list(used.home.glob("sessions/*/lock"))) == 2, 20)
        refused = used.engram("recover")
        assert refused.code == 1
        assert refused.line.startswith("engram: The home is in use by session ")
    finally:
        (used.work / "go").touch()
        run.communicate(timeout=20)
    assert used.engram("recover").code == 0


def test_without_a_home_there_is_nothing_to_recover(at: Bench) -> None:
    done = at.engram("recover")
    assert done.code == 2 and "Nothing to recover" in done.line
    assert at.engram("rebuild-cache").code == 0
    assert not at.home.exists()


def test_rebuilding_the_cache_gives_the_same_rows(used: Bench) -> None:
    told = json.loads(used.engram("rebuild-cache", "--json").out)
    assert told["before"] == told["after"]
    assert told["after"]["memory.memories"] == 1
    cache = used.home / "vectors" / "abc.sqlite"
    cache.parent.mkdir(mode=0o700, exist_ok=True)
    mine = used.home / "vectors.txt"
    for file in (cache, mine):
        file.touch(mode=0o600)
    text = used.engram("rebuild-cache", "--reembed")
    assert text.code == 0 and "differs" not in text.out.decode()
    assert mine.exists() and not cache.exists()


def test_a_folder_in_the_place_of_the_state_is_put_aside_by_rebuilding(used: Bench) -> None:
    (state,) = used.home.glob("state.v*.sqlite")
    for path in used.home.glob("state.v*.sqlite*"):
        path.unlink()
    state.mkdir(mode=0o700)
    (state / "mine.txt").write_text("mine")
    (state / "mine.txt").chmod(0o600)
    doctor = used.engram("doctor")
    assert b"engram rebuild-cache" in doctor.out
    done = used.engram("rebuild-cache")
    assert (done.code, done.said) == (0, "")
    assert state.is_file()
    assert [path.read_text() for path in used.home.glob("damaged/*/mine.txt")] == ["mine"]
    assert used.engram("doctor").code == 0


def test_sealing_removes_folders_of_sessions_that_ended_long_ago(used: Bench) -> None:
    (card,) = used.home.glob("sessions/*/session.json")
    assert used.engram("seal").out == b"Nothing to seal.\n"
    assert card.exists()
    os.utime(card, (0, 0))
    done = used.engram("seal")
    assert done.out == b"1 folder of ended sessions removed\n"
    assert not card.parent.exists()
    assert [session["id"] for session in used.ask("sessions")] == [card.parent.name]
    assert used.ask("seal")["session_folders"] == 0
