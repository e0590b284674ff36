"""A home as one file: consistent while others write, checked whole on arrival, and every question answered the same."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engram_runtime.database import connect_bare
from engram_runtime.errors import EngramError, StoreDamaged, StoreTooNew, StoreUnavailable, UsageError
from engram_runtime.journal.events import (
    CheckpointWritten,
    MemoryStored,
    PromptSubmitted,
    SessionStarted,
    TaskCreated,
)
from engram_runtime.journal.journal import Journal
from engram_runtime.journal.records import Checkpoint, GitFacts
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep import export
from engram_runtime.upkeep.export import export_home, import_home
from tests.support import rows_of

PROJECT = "/projects/shop"
SESSION = "s1sxf09ykq4c"


def open_home(home: Path) -> Runtime:
    return Runtime.open(home, project=PROJECT, settings=Settings(model="off"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with everything that is exported, and things that are not."""
    root = tmp_path / "home"
    with open_home(root) as runtime:
        diff = runtime.blobs.put("diff --git a b\n" * 100)
        runtime.append(SessionStarted(agent="demo"), session=SESSION)
        runtime.append(PromptSubmitted(text="Build the cart"), session=SESSION)
        (task,) = runtime.append(TaskCreated(name="cart", goal="Build the cart"))
        content = Checkpoint(goal="Build the cart", git=GitFacts(head="abc", diff=diff))
        runtime.append(CheckpointWritten(task=task, reason="MANUAL", content=content))
        runtime.append(MemoryStored(content="The cart lives in Redis", importance=0.7))
        runtime.memory.catch_up()
        runtime.catch_up()
    (root / "config.toml").write_text("theme = 'light'\n")
    for name in ("recording", "token", "lock"):
        (root / "sessions" / SESSION).mkdir(parents=True, exist_ok=True)
        (root / "sessions" / SESSION / name).write_bytes(b"bytes of " + name.encode())
    (root / "run").mkdir()
    (root / "run" / "mcp-token").write_text("secret token")
    return root


def test_every_question_is_answered_the_same_in_the_other_home(home: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "all.engram", tmp_path / "other"
    exported = export_home(HomeFiles(home), file)
    assert exported.events == 5
    import_home(file, other)
    with open_home(home) as here, open_home(other) as there:
        assert here.events() == there.events()
        assert here.verify() == there.verify()
        here.catch_up(), there.catch_up()
        assert rows_of(here.journal.files.state) == rows_of(there.journal.files.state)
        assert here.memory.rows() == there.memory.rows()
        assert [h.memory for h in here.memory.recall("cart redis").hits] == [
            h.memory for h in there.memory.recall("cart redis").hits
        ]
        (task,) = there.state.tasks()
        checkpoint = there.state.checkpoint_version(task.id)
        assert (
            checkpoint is not None and checkpoint.content is not None and checkpoint.content.git is not None
        )
        assert there.blobs.text(checkpoint.content.git.diff or "").startswith("diff --git")
        (position,) = there.append(MemoryStored(content="written there", importance=0.5))
        assert position > 5
    assert (other / "config.toml").read_text() == "theme = 'light'\n"
    assert (other / "sessions" / SESSION / "recording").read_bytes() == b"bytes of recording"


def test_what_belongs_to_the_machine_stays_behind(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.engram"
    export_home(HomeFiles(home), file)
    with tarfile.open(file) as tar:
        names = [name.split("/")[0] + ("/…" if "/" in name else "") for name in tar.getnames()]
        assert sorted(set(names)) == [
            "blobs/…",
            "config.toml",
            "journal.sqlite",
            "manifest.json",
            "sessions/…",
        ]
        assert f"sessions/{SESSION}/recording" in tar.getnames()
        assert not [name for name in tar.getnames() if name.endswith(("token", "lock"))]
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.engram", "home"]


def test_a_home_that_is_written_to_is_exported_as_of_one_moment(home: Path, tmp_path: Path) -> None:
    ends = threading.Event()
    with open_home(home) as runtime:

        def write() -> None:
            while not ends.is_set():
                runtime.append(MemoryStored(content="meanwhile", importance=0.1))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            exported = [export_home(HomeFiles(home), tmp_path / f"{n}.engram") for n in range(3)]
        finally:
            ends.set()
            writer.join()
    for number, done in enumerate(exported):
        manifest = import_home(Path(done.path), tmp_path / f"other{number}")
        assert manifest.position == done.events
    assert exported[0].events < exported[2].events


def test_sealed_segments_travel_too(home: Path, tmp_path: Path) -> None:
    with open_home(home) as runtime:
        for number in range(40):
            runtime.append(MemoryStored(content=f"fact {number}", importance=0.5))
        assert runtime.journal.seal(keep=5) is not None
    import_home(Path(export_home(HomeFiles(home), tmp_path / "a.engram").path), tmp_path / "other")
    with open_home(home) as here, open_home(tmp_path / "other") as there:
        assert here.events() == there.events() and len(there.events()) == 45
        assert there.verify().flaw == ""


def test_a_home_with_a_journal_is_not_overwritten(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.engram"
    export_home(HomeFiles(home), file)
    before = sorted(path.name for path in home.iterdir())
    with pytest.raises(UsageError, match="cannot be merged"):
        import_home(file, home)
    assert sorted(path.name for path in home.iterdir()) == before


def test_an_existing_file_is_not_replaced_unasked(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.engram"
    file.write_text("precious")
    with pytest.raises(UsageError, match="exists"):
        export_home(HomeFiles(home), file)
    assert file.read_text() == "precious"
    export_home(HomeFiles(home), file, replace=True)
    assert tarfile.is_tarfile(file)


def test_a_damaged_journal_is_not_exported(home: Path, tmp_path: Path) -> None:
    data = bytearray((home / "journal.sqlite").read_bytes())
    at = data.find(b"Build the cart")
    if at < 0:
        pytest.skip("the text is in the write-ahead log")
    data[at : at + 5] = b"XXXXX"
    (home / "journal.sqlite").write_bytes(bytes(data))
    with pytest.raises(StoreDamaged, match="recover"):
        export_home(HomeFiles(home), tmp_path / "all.engram")
    assert not (tmp_path / "all.engram").exists()


def _rewritten(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """The same archive with its members changed."""
    with tarfile.open(file) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members:
            if (changed := change(name, content)) is not None:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                tar.addfile(info, io.BytesIO(changed[1]))


def _flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: (name, _flip(content)) if name.startswith("blobs") else (name, content),
        lambda name, content: (name, _flip(content)) if name == "journal.sqlite" else (name, content),
        lambda name, content: None if name.startswith("blobs") else (name, content),
        lambda name, content: None if name == "manifest.json" else (name, content),
        lambda name, content: ("../evil", content) if name == "config.toml" else (name, content),
        lambda name, content: ("sessions/../../x", content) if name == "config.toml" else (name, content),
        lambda name, content: ("run/mcp-token", content) if name == "config.toml" else (name, content),
    ],
)
def test_a_file_that_was_altered_is_refused_and_nothing_is_put_in_place(
    home: Path, tmp_path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]
) -> None:
    file, other = tmp_path / "all.engram", tmp_path / "other"
    export_home(HomeFiles(home), file)
    _rewritten(file, change)
    with pytest.raises(EngramError):
        import_home(file, other)
    assert list(other.iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_a_forged_journal_with_a_fitting_manifest_is_found_by_its_chain(home: Path, tmp_path: Path) -> None:
    import hashlib
    import json

    file = tmp_path / "all.engram"
    export_home(HomeFiles(home), file)
    forged: dict[str, bytes] = {}

    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name == "journal.sqlite":
            assert b"Build the cart" in content
            content = forged["journal"] = content.replace(b"Build the cart", b"Steal the cart")
        if name == "manifest.json":
            told = json.loads(content)
            told["files"][0]["sha256"] = hashlib.sha256(forged["journal"]).hexdigest()
            content = json.dumps(told).encode()
        return name, content

    _rewritten(file, change)
    with pytest.raises(StoreDamaged, match="not sound"):
        import_home(file, tmp_path / "other")


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no tar"), gzip.compress(b"x" * 2000)[:-9]]
)
def test_what_is_no_exported_home_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(StoreDamaged, match="not a whole exported home"):
        import_home(file, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_killed_import_can_be_run_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "all.engram", tmp_path / "other"
    export_home(HomeFiles(home), file)
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name == "journal.sqlite":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        import_home(file, other)
    import_home(file, other)
    journal = Journal(HomeFiles(other))
    assert journal.head() == 5
    journal.close()


@pytest.mark.parametrize("place", ["journal.sqlite", "blobs/backup.tar.gz"])
def test_the_home_itself_is_no_place_to_export_to(home: Path, place: str) -> None:
    before = (home / "journal.sqlite").read_bytes()
    with pytest.raises(UsageError, match="in the home itself"):
        export_home(HomeFiles(home), home / place, replace=True)
    assert (home / "journal.sqlite").read_bytes() == before and not (
        home / "blobs" / "backup.tar.gz"
    ).exists()


def test_a_pipe_is_not_replaced(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="device or a pipe"):
        export_home(HomeFiles(home), tmp_path / "pipe", replace=True)
    assert (tmp_path / "pipe").is_fifo()


def test_a_home_that_comes_into_use_while_it_is_unpacked_is_not_overwritten(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "home.tar.gz", tmp_path / "other"
    export_home(HomeFiles(home), file)
    check = export._check

    def begun_meanwhile(staging: Path, manifest: export.Manifest) -> None:
        check(staging, manifest)
        with open_home(other) as runtime:
            runtime.append(MemoryStored(content="Said meanwhile", importance=0.7))

    monkeypatch.setattr(export, "_check", begun_meanwhile)
    with pytest.raises(UsageError, match="has a journal already"):
        import_home(file, other)
    with open_home(other) as runtime:
        assert [hit.memory.content for hit in runtime.memory.recall("said").hits] == ["Said meanwhile"]


def test_of_two_imports_at_once_one_is_refused(home: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "home.tar.gz", tmp_path / "other"
    export_home(HomeFiles(home), file)
    other.mkdir(mode=0o700)
    with export._alone(other), pytest.raises(UsageError, match="Another import"):
        import_home(file, other)
    assert import_home(file, other).position > 0


def test_a_member_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    file, other = tmp_path / "bomb.tar.gz", tmp_path / "other"
    member = tarfile.TarInfo("journal.sqlite")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "journal.sqlite",
        "GNU.sparse.size": str(1 << 24),
        "GNU.sparse.map": "0,0",
    }
    with tarfile.open(file, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(b""))
    with pytest.raises(StoreDamaged, match="does not belong there"):
        import_home(file, other)


def test_what_has_no_space_is_refused_before_it_is_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "home.tar.gz", tmp_path / "other"
    export_home(HomeFiles(home), file)
    monkeypatch.setattr(export, "_SPARE_BYTES", 1 << 62)
    with pytest.raises(StoreUnavailable, match="no space for journal"):
        import_home(file, other)
    assert list(other.iterdir()) == []


def test_a_home_of_a_newer_version_is_called_that(home: Path, tmp_path: Path) -> None:
    journal = connect_bare(HomeFiles(home).journal)
    journal.execute("PRAGMA user_version=999")
    journal.close()
    with pytest.raises(StoreTooNew) as refused:
        export_home(HomeFiles(home), tmp_path / "out.tar.gz")
    assert "newer Engram" in str(refused.value)
    assert "recover" not in refused.value.hint
    assert not (tmp_path / "out.tar.gz").exists()
