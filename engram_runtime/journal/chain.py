"""The hash chain: what is hashed, in which order. Part of the journal's format.

    digest = H(salt ‖ payload)
    hash   = H(previous_hash ‖ digest ‖ header),  header = canonical JSON of
             [position, at, kind, version, project, session]

H is BLAKE2b with 32 bytes. A payload and its salt can be erased (forgotten): the digest stays and the
chain still verifies, and without the salt the digest tells nothing about the payload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from engram_runtime.journal.encoding import canonical

GENESIS = bytes(32)
"""What stands for the hash before the first event."""

SALT_BYTES = 16


class Draft(NamedTuple):
    """An event that is ready to be written, but has no position yet."""

    at: str
    kind: str
    version: int
    project: str
    session: str | None
    payload: str


class Row(NamedTuple):
    """A row of the journal table, in the order of its columns."""

    position: int
    at: str
    kind: str
    version: int
    project: str
    session: str | None
    payload: str | None
    salt: bytes | None
    digest: bytes
    previous_hash: bytes
    hash: bytes


def digest_of(salt: bytes, payload: str) -> bytes:
    """The payload's part of the chain."""
    return hashlib.blake2b(salt + payload.encode("utf-8"), digest_size=32).digest()


def hash_of(
    previous: bytes,
    digest: bytes,
    position: int,
    at: str,
    kind: str,
    version: int,
    project: str,
    session: str | None,
) -> bytes:
    """A row's hash: it covers everything before it."""
    header = canonical([position, at, kind, version, project, session])
    return hashlib.blake2b(previous + digest + header, digest_size=32).digest()


def new_row(
    previous: bytes,
    salt: bytes,
    position: int,
    at: str,
    kind: str,
    version: int,
    project: str,
    session: str | None,
    payload: str,
) -> Row:
    """The row that follows `previous`; `salt` is SALT_BYTES of fresh randomness."""
    digest = digest_of(salt, payload)
    seal = hash_of(previous, digest, position, at, kind, version, project, session)
    return Row(position, at, kind, version, project, session, payload, salt, digest, previous, seal)


def bound_rows(
    previous: bytes, position: int, salts: bytes, drafts: Iterable[Draft]
) -> list[tuple[Any, ...]]:
    """Rows that follow the event `position` with the hash `previous`, as parameters of INSERT.

    As `new_row`, in one loop: half the time of every append of many. The driver takes bytearray as it is and
    asks adapters about every bytes (1 µs each).
    """
    rows: list[tuple[Any, ...]] = []
    add, blake, encode = rows.append, hashlib.blake2b, canonical
    before, fresh, start = bytearray(previous), bytearray(salts), 0
    for at, kind, version, project, session, payload in drafts:
        position += 1
        salt = fresh[start : start + SALT_BYTES]
        start += SALT_BYTES
        digest = bytearray(blake(salt + payload.encode(), digest_size=32).digest())
        header = encode((position, at, kind, version, project, session))
        after = bytearray(blake(before + digest + header, digest_size=32).digest())
        add((position, at, kind, version, project, session, payload, salt, digest, before, after))
        before = after
    return rows


def flaw_of(row: Row) -> str:
    """What is wrong with a row by itself ("" if nothing)."""
    if row.payload is not None:
        if row.salt is None or digest_of(row.salt, row.payload) != row.digest:
            return f"event {row.position} is not what was written"
    elif row.salt is not None:
        return f"event {row.position} lost its payload"
    expected = hash_of(
        row.previous_hash, row.digest, row.position, row.at, row.kind, row.version, row.project, row.session
    )
    return "" if expected == row.hash else f"event {row.position} is not what was written"


def flaw_in(rows: Iterable[Row], previous: tuple[int, bytes] | None = None) -> str:
    """The first flaw in consecutive rows ("" if none); `previous` is (position, hash) before the first."""
    for row in rows:
        flaw = flaw_of(row)
        if flaw:
            return flaw
        if previous is not None:
            if row.position != previous[0] + 1:
                return f"events {previous[0] + 1} to {row.position - 1} are missing"
            if row.previous_hash != previous[1]:
                return f"event {row.position} does not follow event {previous[0]}"
        previous = (row.position, row.hash)
    return ""
