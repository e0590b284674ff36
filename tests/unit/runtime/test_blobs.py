"""Content by its digest."""

import hashlib
import stat
from pathlib import Path

import pytest

from engram_runtime.errors import NotFound, StoreDamaged
from engram_runtime.runtime import Runtime


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"x" * 100_000, bytes(range(256)) * 9], ids=range(4))
def test_bytes_come_back_by_their_sha256(runtime: Runtime, content: bytes) -> None:
    digest = runtime.blobs.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert runtime.blobs.get(digest) == content
    assert runtime.blobs.put(content) == digest


def test_texts_are_redacted_before_they_are_kept(runtime: Runtime) -> None:
    digest = runtime.blobs.put("export API_KEY=abc123def456\n" * 100)
    assert runtime.blobs.text(digest) == "export API_KEY=[redacted:key]\n" * 100


def test_what_repeats_takes_little_room_and_is_private(runtime: Runtime, home: Path) -> None:
    runtime.blobs.put(b"diff line\n" * 10_000)
    (file,) = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    assert file.stat().st_size < 1000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "blobs").stat().st_mode) == 0o700


def test_a_blob_that_is_not_there_or_not_what_was_written_is_an_error(runtime: Runtime, home: Path) -> None:
    with pytest.raises(NotFound):
        runtime.blobs.get("0" * 64)
    with pytest.raises(NotFound):
        runtime.blobs.get("../../etc/passwd")
    digest = runtime.blobs.put(b"x" * 1000)
    file = home / "blobs" / digest[:2] / digest
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(StoreDamaged):
        runtime.blobs.get(digest)


def test_a_removed_blob_is_gone(runtime: Runtime) -> None:
    digest = runtime.blobs.put(b"x")
    assert runtime.blobs.has(digest)
    assert runtime.blobs.remove(digest)
    assert not runtime.blobs.has(digest)
    assert not runtime.blobs.remove(digest)
