"""The journal's high-water mark: the last position that was acknowledged, kept beside the journal in its lock file.

It is written after COMMIT has returned, by whoever holds the lock, and never synced: so it may lag behind the
journal (after a power cut), but never tells more than was durable. A journal that ends before its mark has
lost acknowledged events, however it came to that: a write-ahead log that was removed, cut or altered, an older
copy of the file put in its place. Nothing else in the files would tell.

The lock file: the journal's id (16 hexadecimal digits, line feed), then the mark (20 digits, space, 8 hexadecimal
digits of its CRC-32, line feed).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from pathlib import Path

_ID_BYTES = 17
_DIGITS = 20
_MARK_BYTES = _DIGITS + 10


def new_id() -> bytes:
    """An id for a journal that is being made, as it begins the lock file."""
    return secrets.token_hex(8).encode() + b"\n"


def id_of(lock: Path) -> bytes:
    """The id of the journal that was made here; empty if none was (or the lock file is lost)."""
    try:
        return lock.read_bytes()[: _ID_BYTES - 1].strip()
    except OSError:
        return b""


def encoded(position: int) -> bytes:
    """A mark as it stands in the lock file."""
    digits = b"%0*d" % (_DIGITS, position)
    return b"%s %08x\n" % (digits, zlib.crc32(digits))


def set_mark(lock: int, position: int) -> None:
    """Note in the open lock file that everything up to `position` is durable. The caller holds the lock."""
    # The mark is a witness, not the truth: where it cannot be written the append is durable all the same.
    with contextlib.suppress(OSError):
        os.pwrite(lock, encoded(position), _ID_BYTES)


def mark_of(lock: Path) -> int:
    """The last position known to have been acknowledged; 0 where nothing (sound) tells."""
    try:
        content = lock.read_bytes()[_ID_BYTES : _ID_BYTES + _MARK_BYTES]
        position = int(content[:_DIGITS])
    except (OSError, ValueError):
        return 0
    return position if content == encoded(position) else 0
