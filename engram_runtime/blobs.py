"""Large texts and bytes by their SHA-256: diffs, screen tails, transcripts. Durable before the digest is told."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path

from engram_runtime.errors import NotFound, StoreDamaged, StoreUnavailable
from engram_runtime.paths import PRIVATE_FILE, make_private_folder, sync_folder

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PLAIN, _DEFLATED = b"0", b"z"
_WORTH_DEFLATING = 512


class Blobs:
    """The blobs of a home. Thread-safe; a blob is written once and never changed."""

    def __init__(self, folder: Path, redact: Callable[[str], str]) -> None:
        """`redact` is applied to texts before they are written; nothing is created yet."""
        self._folder = folder
        self._redact = redact

    def put(self, content: bytes | str) -> str:
        """Keep content and give its digest (of what is kept: texts are redacted first); durable on return.

        Raises StoreUnavailable (disk full, no permission).
        """
        if isinstance(content, str):
            content = self._redact(content).encode("utf-8", "replace")
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if not path.exists():
                self._write(path, content)
        except OSError as error:
            raise StoreUnavailable(
                f"A blob cannot be written ({error.strerror or error}).", hint="Check the disk's free space."
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The content of a digest. Raises NotFound, and StoreDamaged where the file is not what was written."""
        path = self._path(digest)
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"There is no blob {digest}.") from None
        except OSError as error:
            raise StoreUnavailable(f"Blob {digest} cannot be read ({error.strerror or error}).") from error
        try:
            content = zlib.decompress(stored[1:]) if stored[:1] == _DEFLATED else stored[1:]
        except zlib.error:
            content = b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreDamaged(f"Blob {digest} is damaged.", hint="Run `engram recover`.")
        return content

    def text(self, digest: str) -> str:
        """The content as text. Raises as `get`."""
        return self.get(digest).decode("utf-8", "replace")

    def has(self, digest: str) -> bool:
        """Whether the blob is there (not whether it is sound)."""
        return self._path(digest).exists()

    def digests(self) -> list[str]:
        """Every blob there is, in order."""
        return sorted(path.name for path in self._folder.glob("??/*") if _DIGEST.fullmatch(path.name))

    def remove(self, digest: str) -> bool:
        """Erase a blob, its bytes overwritten (what was forgotten must be gone); False if there is none."""
        path = self._path(digest)
        if not path.exists():
            return False
        with path.open("r+b", buffering=0) as file:
            file.write(bytes(path.stat().st_size))
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
        return True

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NotFound(f"{digest[:80]!r} is not the digest of a blob.")
        return self._folder / digest[:2] / digest

    def _write(self, path: Path, content: bytes) -> None:
        deflated = zlib.compress(content, 6) if len(content) > _WORTH_DEFLATING else content
        stored = _DEFLATED + deflated if len(deflated) < len(content) else _PLAIN + content
        for folder in (self._folder, path.parent):
            if not folder.is_dir():
                make_private_folder(folder)
                sync_folder(folder.parent)
        # Under another name first: a name that is a digest always has the whole content.
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), PRIVATE_FILE)
                file.write(stored)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
