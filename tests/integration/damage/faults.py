"""The files of a home and what can happen to each: the two sides of the damage matrix."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engram_runtime.database import connect_bare
from engram_runtime.journal.chain import Row, hash_of
from engram_runtime.paths import HomeFiles

READ_ONLY = "read-only"
FORGED = "/forged"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a home: how it is called in the docs, what it is, and where."""

    name: str
    what: str
    place: Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can happen to a file. `needs` limits it to parts of which it makes sense."""

    name: str
    apply: Callable[[Path], None]
    needs: tuple[str, ...] = ()


def _only(folder: str) -> Callable[[Path], Path]:
    """The first file below a folder of the home."""
    return lambda home: sorted(path for path in (home / folder).rglob("*") if path.is_file())[0]


def _beside(name: str) -> Callable[[Path], Path]:
    """A file of the home; `vN` stands for the present schema version."""
    files = HomeFiles(Path())
    name = name.replace("state.vN", files.state.stem).replace("memory.vN", files.memory.stem)
    return lambda home: home / name


STATE, MEMORY = "state.vN.sqlite", "memory.vN.sqlite"

PARTS = (
    Part("journal.sqlite", "the journal", _beside("journal.sqlite")),
    Part("journal.sqlite-wal", "its newest events", _beside("journal.sqlite-wal")),
    Part("journal.sqlite-shm", "index of the log", _beside("journal.sqlite-shm")),
    Part("journal.lock", "lock, id, high-water mark", _beside("journal.lock")),
    Part("archive/*.jsonl.gz", "sealed events", _only("archive")),
    Part("blobs/*", "large texts", _only("blobs")),
    Part(STATE, "state, derived", _beside(STATE)),
    Part(f"{STATE}-wal", "its newest rows", _beside(f"{STATE}-wal")),
    Part(MEMORY, "memory, derived", _beside(MEMORY)),
    Part(f"{MEMORY}-wal", "its newest rows", _beside(f"{MEMORY}-wal")),
    Part(STATE.replace(".sqlite", ".lock"), "lock of the state", _beside(STATE.replace(".sqlite", ".lock"))),
    Part(
        MEMORY.replace(".sqlite", ".lock"), "lock of the memory", _beside(MEMORY.replace(".sqlite", ".lock"))
    ),
    Part("sessions/*/session.json", "what a session was", _only("sessions")),
    Part("run/*", "token of an ended server", _only("run")),
    Part("config.toml", "the user's settings", _beside("config.toml")),
)


# --- faults of any file -----------------------------------------------------------------------------------


def emptied(path: Path) -> None:
    """Truncated to nothing."""
    os.truncate(path, 0)


def halved(path: Path) -> None:
    """Truncated to half."""
    os.truncate(path, path.stat().st_size // 2)


def flipped(share: float) -> Callable[[Path], None]:
    """One bit flipped, at this share of the file's length."""

    def apply(path: Path) -> None:
        size = path.stat().st_size
        if size:
            with path.open("r+b") as file:
                file.seek(min(size - 1, int(size * share)))
                (byte,) = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 0x10]))

    return apply


def zeroed(path: Path) -> None:
    """Every byte zero."""
    path.write_bytes(bytes(path.stat().st_size))


def deleted(path: Path) -> None:
    """Gone."""
    path.unlink()


def read_only(path: Path) -> None:
    """Not writable any more."""
    path.chmod(0o400)


def a_folder(path: Path) -> None:
    """A folder in its place."""
    path.unlink()
    path.mkdir(mode=0o700)


def torn(path: Path) -> None:
    """The last bytes missing, as after a write that did not finish."""
    os.truncate(path, max(0, path.stat().st_size - 100))


# --- faults of what is inside -----------------------------------------------------------------------------


def of_another_version(path: Path) -> None:
    """As another Engram would have written it."""
    if path.suffix == ".sqlite":
        file = connect_bare(path)
        if path.name.startswith("journal"):
            file.execute("PRAGMA user_version=999")
        else:
            for (name,) in file.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('tasks', 'memories')"
            ).fetchall():
                file.execute(f"ALTER TABLE {name} RENAME COLUMN project TO place")
        file.close()
    elif path.suffix == ".json":
        path.write_text('{"schema": 99, "who": ["knows"]}')
    else:
        path.write_text("not_a_key_of_this_version = 1\n")


def a_gap(path: Path) -> None:
    """One event taken out of the chain."""
    _edit(path, lambda rows: [row for row in rows if row.position != _victim(rows)])


def a_forged_row(path: Path) -> None:
    """One event altered with its own hash made to fit."""

    def forge(rows: list[Row]) -> list[Row]:
        return [_forged(row) if row.position == _victim(rows) else row for row in rows]

    _edit(path, forge)


def _forged(row: Row) -> Row:
    changed = row._replace(project=FORGED)
    seal = hash_of(
        changed.previous_hash,
        changed.digest,
        changed.position,
        changed.at,
        changed.kind,
        changed.version,
        changed.project,
        changed.session,
    )
    return changed._replace(hash=seal)


def _victim(rows: list[Row]) -> int:
    return rows[len(rows) // 2].position


def _edit(path: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    if path.suffix == ".gz":
        _edit_archive(path, change)
    else:
        _edit_table(path, change)


def _edit_table(path: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    file = connect_bare(path)
    guards = file.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'journal'"
    ).fetchall()
    rows = [Row._make(row) for row in file.execute("SELECT * FROM journal ORDER BY position")]
    for name, _ in guards:
        file.execute(f"DROP TRIGGER {name}")
    after = {row.position: row for row in change(rows)}
    for row in rows:
        now = after.get(row.position)
        if now is None:
            file.execute("DELETE FROM journal WHERE position = ?", (row.position,))
        elif now != row:
            file.execute(
                "UPDATE journal SET project = ?, hash = ? WHERE position = ?",
                (now.project, now.hash, row.position),
            )
    for _, sql in guards:
        file.execute(sql)
    file.close()


def _edit_archive(path: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    binary = ("salt", "digest", "previous_hash", "hash")
    rows = [
        Row(**{k: base64.b64decode(v) if k in binary and v is not None else v for k, v in line.items()})
        for line in lines
    ]
    text = "".join(
        json.dumps(
            {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row._asdict().items()}
        )
        + "\n"
        for row in change(rows)
    )
    path.write_bytes(gzip.compress(text.encode()))


SQLITE = ("journal.sqlite", STATE, MEMORY)
CHAIN = ("journal.sqlite", "archive/*.jsonl.gz")

FAULTS = (
    Fault("truncated to nothing", emptied),
    Fault("truncated to half", halved),
    Fault(
        "last record torn", torn, ("journal.sqlite", "journal.sqlite-wal", "archive/*.jsonl.gz", "blobs/*")
    ),
    Fault("a bit flipped at 30 %", flipped(0.30)),
    Fault("a bit flipped at 55 %", flipped(0.55)),
    Fault("a bit flipped at 80 %", flipped(0.80)),
    Fault("zeroed", zeroed),
    Fault("deleted", deleted),
    Fault("a folder in its place", a_folder),
    Fault(READ_ONLY, read_only, ("journal.sqlite", "journal.lock", STATE, MEMORY)),
    Fault("of another version", of_another_version, (*SQLITE, "sessions/*/session.json", "config.toml")),
    Fault("a gap in the chain", a_gap, CHAIN),
    Fault("a forged event", a_forged_row, CHAIN),
)


def cells() -> list[tuple[Part, Fault]]:
    """Every file with every fault that can happen to it."""
    return [
        (part, fault) for part in PARTS for fault in FAULTS if not fault.needs or part.name in fault.needs
    ]
