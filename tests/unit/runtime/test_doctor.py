"""What `engram doctor` looks at."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from engram_runtime import paths
from engram_runtime.journal.events import CheckpointWritten, MemoryStored, PromptSubmitted, TaskCreated
from engram_runtime.journal.records import Checkpoint, GitFacts
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep import doctor
from engram_runtime.upkeep.rebuild import counts

pytestmark = pytest.mark.guarantee("G7", "G9")

MCP_ENGRAM_HOME = Path(__file__).parents[2] / "data" / "mcp_engram_home"


def said(findings: object, about: str) -> doctor.Finding:
    return next(finding for finding in findings if finding.about == about)  # type: ignore[attr-defined]


def test_what_others_can_read_is_found_and_set_right(runtime: Runtime) -> None:
    runtime.append(PromptSubmitted(text="x"))
    files = runtime.journal.files
    files.root.chmod(0o755)
    files.journal.chmod(0o644)
    found = said(doctor.of_files(files), "permissions")
    assert found.standing == "problem" and "the home itself, journal.sqlite" in found.said
    assert said(doctor.of_files(files, fix=True), "permissions").standing == "ok"
    assert files.journal.stat().st_mode & 0o777 == 0o600 and files.root.stat().st_mode & 0o777 == 0o700
    assert "set right" not in said(doctor.of_files(files), "permissions").said


def test_a_network_file_system_is_refused_with_a_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "file_system_of", lambda *_: "nfs4")
    found = said(doctor.of_machine(paths.HomeFiles(home)), "file system")
    assert (
        found.standing == "problem" and "locks cannot be trusted" in found.said and "ENGRAM_HOME" in found.do
    )


def test_permissions_of_files_that_are_not_engrams_are_nobodys_business_here(
    runtime: Runtime, home: Path
) -> None:
    runtime.append(PromptSubmitted(text="x"))
    others = home / "events"
    shutil.copytree(MCP_ENGRAM_HOME / "events", others)
    (home / "memories.duckdb").write_bytes(b"DUCK")
    for path in (others, *others.iterdir(), home / "memories.duckdb"):
        path.chmod(0o755)
    files = runtime.journal.files
    assert said(doctor.of_files(files), "permissions").said == "only yours"
    assert "set right" not in said(doctor.of_files(files, fix=True), "permissions").said
    assert (home / "memories.duckdb").stat().st_mode & 0o777 == others.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["state", "memory"])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_folder_in_the_place_of_a_derived_file_is_put_aside(home: Path, name: str, suffix: str) -> None:
    with Runtime.open(home, project="/p", settings=Settings(model="off")) as runtime:
        runtime.append(TaskCreated(name="kept"), MemoryStored(content="kept too", importance=0.5))
        runtime.catch_up()
        runtime.memory.catch_up()
    files = paths.HomeFiles(home)
    place = getattr(files, name)
    for end in ("", "-wal", "-shm"):
        place.with_name(place.name + end).unlink(missing_ok=True)
    place = place.with_name(place.name + suffix)
    place.mkdir(mode=0o700)
    (place / "mine.txt").write_text("mine")
    found = said(doctor.of_files(files), "files")
    assert place.name in found.said and "engram rebuild-cache" in found.do
    with Runtime.open(home, project="/p", settings=Settings(model="off")) as runtime:
        runtime.rebuild_state()
        runtime.memory.rebuild()
        assert [task.name for task in runtime.state.tasks()] == ["kept"]
        assert [row.content for row in runtime.memory.rows()] == ["kept too"]
        assert not runtime._state.in_memory
    (aside,) = files.damaged.iterdir()
    assert (aside / "mine.txt").read_text() == "mine"
    assert getattr(files, name).is_file()


def test_an_old_sqlite_is_named_with_its_bug(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.database, "sqlite_version", lambda: "3.40.1")
    found = said(doctor.of_machine(paths.HomeFiles(home)), "SQLite")
    assert found.standing == "note" and "3.51.3" in found.said


def test_a_full_disk_is_a_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert said(doctor.of_machine(paths.HomeFiles(home)), "disk").standing == "problem"


def test_texts_that_are_missing_or_altered_are_named(runtime: Runtime) -> None:
    (task,) = runtime.append(TaskCreated(name="t"))
    digests = [runtime.blobs.put(f"diff {n} " * 200) for n in range(3)]
    for digest in digests:
        content = Checkpoint(git=GitFacts(diff=digest))
        runtime.append(CheckpointWritten(task=task, reason="MANUAL", content=content))
    assert doctor.of_blobs(runtime.journal, runtime.blobs).standing == "ok"
    folder = runtime.journal.files.blobs
    (folder / digests[0][:2] / digests[0]).unlink()
    (folder / digests[1][:2] / digests[1]).write_bytes(b"z?")
    assert [(f.position, f.digest, f.what) for f in doctor.blob_faults(runtime.journal, runtime.blobs)] == [
        (2, digests[0], "missing"),
        (3, digests[1], "altered"),
    ]
    assert doctor.of_blobs(runtime.journal, runtime.blobs).standing == "problem"


def test_a_broken_page_that_no_event_is_read_from_is_found(runtime: Runtime, home: Path) -> None:
    runtime.append(*(PromptSubmitted(text="x" * 5000) for _ in range(20)))
    runtime.close()
    with Runtime.open(home, project="/p") as again:
        assert not [f for f in doctor.of_journal(again.journal) if f.standing != "ok"]
    content = bytearray((home / "journal.sqlite").read_bytes())
    sequence = content.rindex(b"\x03\x1b\x01journal")
    page = sequence // 4096 * 4096
    content[page + 5 : page + 7] = b"\x00\x20"
    (home / "journal.sqlite").write_bytes(content)
    with Runtime.open(home, project="/p") as again:
        found = list(doctor.of_journal(again.journal))
        assert any(f.standing == "problem" and "engram recover" in f.do for f in found)


def test_sockets_of_ended_sessions_are_removed(runtime: Runtime) -> None:
    runtime.append(PromptSubmitted(text="x"))
    files = runtime.journal.files
    files.run.mkdir(mode=0o700)
    for name in ("dead", "live"):
        server = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(files.run)  # socket paths are short
        server.bind(f"{name}.sock")
        os.chdir(here)
        if name == "dead":
            server.close()
    server.listen()
    try:
        assert said(doctor.of_files(files), "sockets").standing == "note"
        list(doctor.of_files(files, fix=True))
        assert [path.name for path in files.run.iterdir()] == ["live.sock"]
    finally:
        server.close()


def test_rebuilding_gives_the_same_counts_and_other_processes_go_on(runtime: Runtime, home: Path) -> None:
    runtime.append(TaskCreated(name="t"), PromptSubmitted(text="x"))
    runtime.catch_up()
    before = counts(runtime.journal.files)
    assert before["state.tasks"] == 1
    with Runtime.open(home, project="/project") as other:
        assert len(other.state.tasks()) == 1
        runtime.rebuild_state()
        runtime.append(TaskCreated(name="u"))
        assert len(other.state.tasks()) == 2
    runtime.rebuild_state()
    assert counts(runtime.journal.files)["state.tasks"] == 2
