"""Vectors and token codes by the digest of the text they were made of: what makes a rebuild a matter of seconds.

One file a model, written by that model's worker alone; others may delete it whole (`erase`). Vectors are kept as
16-bit floats, and every vector that leaves the worker was rounded so: one from here is bit for bit the one made new.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engram_runtime.database import connect_bare, driver
from engram_runtime.memory.wire import sendable
from engram_runtime.paths import HomeFiles, make_private_file, make_private_folder

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS texts(row INTEGER PRIMARY KEY, digest INTEGER NOT NULL UNIQUE,"
    " vector BLOB NOT NULL, codes BLOB NOT NULL)"
)
PAGE = 1024
"""Bytes. A row is some kilobytes; with large pages as much again would be empty."""

log = logging.getLogger("engram.vector_cache")

T = TypeVar("T")
Kept = tuple[bytes, bytes]
"""A vector as 16-bit floats, and the codes."""


def digest_of(text: str) -> int:
    """Key of a text: the first 63 bits of its SHA-256 (two of a million texts share one in 1 of 10⁷ homes)."""
    return int.from_bytes(hashlib.sha256(sendable(text).encode()).digest()[:8]) >> 1


def rounded(vector: NDArray[numpy.float32]) -> bytes:
    """A vector as it is kept."""
    import numpy

    return bytes(vector.astype("<f2").tobytes()) if vector.dtype == numpy.float32 else b""


def restored(kept: bytes) -> bytes:
    """A kept vector as a unit vector, float32 little-endian."""
    import numpy

    vector = numpy.frombuffer(kept, "<f2").astype("<f4")
    length = float(numpy.linalg.norm(vector))
    return bytes((vector / length if length else vector).astype("<f4").tobytes())


class VectorCache:
    """The file of one model. Thread-safe. Where it cannot be used nothing is found and nothing kept."""

    def __init__(self, home: Path, model: str) -> None:
        name = hashlib.sha256(model.encode()).hexdigest()[:12]
        self._file = HomeFiles(home).vectors / f"{name}.sqlite"
        self._lock = threading.Lock()
        self._connection: Any = None
        self._identity = (0, 0)

    def find(self, digests: Sequence[int]) -> dict[int, Kept]:
        """What is known of these texts."""

        def read(connection: Any) -> dict[int, Kept]:
            rows = connection.execute(
                "SELECT digest, vector, codes FROM texts WHERE digest IN (SELECT value FROM json_each(?))",
                (json.dumps(sorted(digests)),),
            )
            return {int(row[0]): (bytes(row[1]), bytes(row[2])) for row in rows}

        return self._using(read) or {}

    def keep(self, made: Iterable[tuple[int, Kept]]) -> None:
        """Keeps what was made of texts."""
        rows = [(digest, *kept) for digest, kept in made]

        def write(connection: Any) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO texts(digest, vector, codes) VALUES(?, ?, ?)", rows)
            connection.execute("COMMIT")

        self._using(write)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._close()

    def _using(self, call: Callable[[Any], T]) -> T | None:
        """The call's result, None where the file cannot be used; a damaged file is begun anew."""
        with self._lock:
            try:
                return call(self._open())
            except (OSError, driver().OperationalError) as error:
                log.warning("the vector cache cannot be used: %s", error)
                self._close()
            except driver().DatabaseError as error:
                log.warning("the vector cache is damaged and begun anew: %s", error)
                self._close()
                remove(self._file)
            return None

    def _open(self) -> Any:
        if self._connection is not None and self._identity == _identity(self._file):
            return self._connection
        self._close()
        make_private_folder(self._file.parent)
        make_private_file(self._file)
        self._connection = connect_bare(self._file)
        self._connection.execute(f"PRAGMA page_size={PAGE}")
        # `connect_bare` has made it a WAL file, whose page size only a VACUUM (of nothing, here) changes.
        if self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            self._connection.execute("PRAGMA journal_mode=DELETE")
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA secure_delete=ON")
        self._connection.execute(SCHEMA)
        self._identity = _identity(self._file)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(driver().Error):
                self._connection.close()
        self._connection = None


def erase(home: Path, texts: Iterable[str] | None = None) -> int:
    """Removes what was kept of these texts (None: everything), for good; the number of rows that went.

    Everything: the files go, and each worker begins new ones. What memories still need is embedded again.
    """
    folder = HomeFiles(home).vectors
    files = sorted(folder.glob("*.sqlite")) if folder.is_dir() else []
    if texts is None:
        for file in files:
            remove(file)
        return len(files)
    digests = [(digest_of(text),) for text in texts]
    gone = 0
    for file in files:
        connection = connect_bare(file)
        try:
            connection.execute("PRAGMA secure_delete=ON")
            gone += connection.executemany("DELETE FROM texts WHERE digest = ?", digests).rowcount
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
    return gone


def remove(file: Path) -> None:
    """Deletes a SQLite file with its write-ahead log."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _identity(file: Path) -> tuple[int, int]:
    try:
        now = file.stat()
    except OSError:
        return (0, 0)
    return (now.st_dev, now.st_ino)
