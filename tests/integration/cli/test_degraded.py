"""A home that cannot keep anything, a full disk, a long path: the agent starts all the same, and it is said."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.integration.cli.runs import Bench, bench
from tests.support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.guarantee("G1", "G9")]

WORK = ("run", "--headless", "--no-resume", "--", "sh", "-c", "echo worked; exit 6")


@pytest.fixture(scope="module")
def used() -> Iterator[Bench]:
    """A home with an interrupted task, to be copied, and its project."""
    with bench() as at:
        assert at.engram("run", "--headless", "--", "false").code == 1
        yield at


def truncated(journal: Path) -> None:
    os.truncate(journal, 8192)


def zeroed(journal: Path) -> None:
    journal.write_bytes(bytes(journal.stat().st_size))


def a_directory(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


def removed(journal: Path) -> None:
    journal.unlink()


@pytest.mark.parametrize("damage", [truncated, zeroed, a_directory, removed])
def test_on_a_damaged_home_the_agent_runs_and_nothing_is_said_to_be_kept(
    at: Bench, used: Bench, damage: Callable[[Path], None]
) -> None:
    shutil.copytree(used.home, at.home)
    damage(at.home / "journal.sqlite")
    done = at.engram(*WORK)
    assert (done.code, done.out) == (6, b"worked\n")
    first, last = done.said.splitlines()
    assert first.startswith("engram: nothing is being kept: The journal")
    assert last.startswith("engram: command crashed(6); nothing was kept: The journal")


def test_a_damaged_home_can_still_be_read_and_says_so(at: Bench, used: Bench) -> None:
    shutil.copytree(used.home, at.home)
    zeroed(at.home / "journal.sqlite")
    (task,) = at.ask("tasks", cwd=used.work)
    assert task["interrupted"]
    restored = at.engram("restore", str(task["id"]), cwd=used.work)
    assert restored.code == 0
    assert "false" in restored.out.decode()
    assert restored.said.startswith("engram: that this was restored is not kept: ")
    doctor = at.engram("doctor")
    assert doctor.code == 1
    assert "engram recover" in doctor.out.decode()


@pytest.mark.parametrize("place", ["/proc/nowhere", "{root}/user/file/home"])
def test_without_a_home_the_agent_runs_unprotected_and_leaves_no_litter(at: Bench, place: str) -> None:
    (at.root / "user" / "file").touch()
    before = at.written()
    home = place.format(root=at.root)
    done = at.engram(*WORK, env={"ENGRAM_HOME": home})
    assert (done.code, done.out) == (6, b"worked\n")
    first, last = done.said.splitlines()
    assert first.startswith("engram: nothing will be kept: ")
    assert home in first
    assert last.startswith("engram: command crashed(6); nothing was kept: ")
    assert at.written() == before


def test_the_screen_says_that_nothing_is_kept_and_the_session_can_be_attached_to(at: Bench) -> None:
    """Also on a terminal without a name, and without a UTF-8 locale."""
    poor = {"ENGRAM_HOME": "/proc/nowhere", "TERM": "dumb", "LANG": "C"}
    with at.open("run", "demo", env={**poor, "ENGRAM_DEMO_PACE": "0"}) as ui:
        ui.wait_screen("/exit ends", 30)
        ui.wait_screen("not protected: The session folder", 10)
        with at.open("attach", env=poor) as other:
            other.wait_screen("/exit ends", 20)
            ui.submit("/exit")
            assert ui.wait_exit(20) == 0
            assert other.wait_exit(20) == 0
    # TMPDIR: where the folder was that stood in for the home.
    wait_until(lambda: not list((at.root / "tmp").glob("engram-unkept-*")), 10)


def test_the_screen_says_that_a_home_is_damaged(at: Bench, used: Bench) -> None:
    shutil.copytree(used.home, at.home)
    zeroed(at.home / "journal.sqlite")
    with at.open("run", "demo", env={"ENGRAM_DEMO_PACE": "0"}) as ui:
        ui.wait_screen("not protected: The journal is damaged", 20)
        ui.wait_screen("/exit ends", 20)
        ui.submit("/exit")
        assert ui.wait_exit(20) == 0


def test_a_home_with_a_path_too_long_for_sockets_serves_attach(at: Bench) -> None:
    home = at.root / ("long-" * 24)
    assert len(str(home)) > 120
    with at.open("run", "--", "sh", "-c", "echo here I am; read x", env={"ENGRAM_HOME": str(home)}) as ui:
        ui.wait_screen("here I am", 20)
        with at.open("attach", env={"ENGRAM_HOME": str(home)}) as other:
            other.wait_screen("here I am", 20)
            ui.send("\r")
            assert other.wait_exit(20) == 0
        assert ui.wait_exit(20) == 0
    assert at.ask("sessions", env={"ENGRAM_HOME": str(home)})[0]["verdict"]["kind"] == "finished"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own of 60 MB; skips where that may not be had."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m,mode=700", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the file system to the last byte; the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    assert shutil.disk_usage(folder).free == 0
    return filler


def test_what_happens_while_the_disk_is_full_is_written_when_space_is_back(at: Bench) -> None:
    said, events = at.root / "tmp" / "said", at.root / "tmp" / "events"
    wait = "until [ -e {} ]; do sleep 0.05; done"
    script = f"echo 1 > one; {wait.format('../tmp/full')}; echo 2 > two; {wait.format('../tmp/go')}"
    with small_disk(at.home):
        with said.open("wb") as stderr:
            run = at.start("run", "--headless", "--events", events, "--", "sh", "-c", script, stderr=stderr)
        wait_until(lambda: events.exists() and b"TaskAttached" in events.read_bytes(), 20)
        filler = fill(at.home)
        (at.root / "tmp" / "full").touch()
        wait_until(lambda: b"nothing is being kept: " in said.read_bytes(), 20)
        assert b"disk is full" in said.read_bytes()
        filler.unlink()
        wait_until(lambda: b"the journal can be written again" in events.read_bytes(), 20)
        (at.root / "tmp" / "go").touch()
        assert run.wait(20) == 0
        run.communicate()
        assert "what is seen is being kept again" in said.read_text()
        assert said.read_text().splitlines()[-1].startswith("engram: command finished; checkpoint v")
        kept = [json.loads(line) for line in events.read_text().splitlines()]
        seen = [c["path"] for e in kept if e["kind"] == "FilesObserved" for c in e["payload"]["changes"]]
        assert set(seen) == {"one", "two"}
        (saved,) = [e for e in kept if e["payload"].get("trigger") == "the journal can be written again"]
        assert "two" in [f["path"] for f in saved["payload"]["content"]["modified_files"]]
        assert at.engram("doctor").code == 0


def test_a_disk_that_is_full_before_the_start_keeps_no_agent_from_its_work(at: Bench) -> None:
    with small_disk(at.home):
        filler = fill(at.home)
        done = at.engram(*WORK)
        assert (done.code, done.out) == (6, b"worked\n")
        assert "nothing w" in done.said
        filler.unlink()
        assert at.engram(*WORK).line.startswith("engram: command crashed(6); checkpoint v")


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of other processes: Linux only")
def test_a_session_whose_end_could_not_be_kept_is_closed_by_the_next_command(at: Bench) -> None:
    events = at.root / "tmp" / "events"
    script = "until [ -e quota ]; do sleep 0.05; done; exit 3"
    run = at.start("run", "--headless", "--events", events, "--", "sh", "-c", script)
    wait_until(lambda: events.exists() and b"TaskAttached" in events.read_bytes(), 20)
    # As a quota does it: the journal cannot grow, small files can be written.
    size = (at.home / "journal.sqlite-wal").stat().st_size
    psutil.Process(run.pid).rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    (at.work / "quota").touch()
    _, said = run.communicate(timeout=30)
    assert run.returncode == 3
    assert b"its end was not kept: " in said.splitlines()[-1]
    found = at.engram("tasks")
    assert "was lost with its supervisor; checkpoint v1 of task" in found.said
    assert "interrupted" in found.out.decode()


def test_a_read_only_home_is_read_and_not_written(at: Bench, used: Bench) -> None:
    with small_disk(at.home):
        shutil.copytree(used.home, at.home, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(at.home)], check=True)
        words = ("resume", "--headless", "--agent", "demo")
        resumed = at.engram(*words, cwd=used.work, env={"ENGRAM_DEMO_PACE": "0"})
        assert resumed.code == 0
        assert "A briefing of" in resumed.out.decode()
        assert resumed.said.startswith("engram: nothing will be kept: ")
