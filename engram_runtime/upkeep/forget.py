"""Forgetting for good: the plan carried out in journal, archive, blobs, derived files and folders, and then checked.

Order: the tombstone with what events say from then on is durable first; then payloads are erased, then files; what
is derived is deleted and made anew from what is left. Interrupted at any moment, the same command finishes it. Other
processes notice by the files that are new: they hold rows of neither state nor memory from before.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engram_runtime.blobs import Blobs
from engram_runtime.database import exclusive
from engram_runtime.journal.encoding import canonical
from engram_runtime.journal.events import Forgotten
from engram_runtime.journal.journal import Journal
from engram_runtime.journal.maintenance import erase_file
from engram_runtime.journal.records import Retold
from engram_runtime.memory import vector_cache
from engram_runtime.paths import HomeFiles, make_private_file
from engram_runtime.upkeep.forget_plan import Plan, ranges
from engram_runtime.upkeep.needles import Needles, gunzipped, is_gzip

_TOMBSTONE_BYTES = 400_000
"""Retellings of one tombstone: an event has a limit."""
_LOGS = ("recording", ".log", ".jsonl")
"""In names of files that a running session only appends to: they can be changed under it."""
_OURS = frozenset(("config.toml", "trusted"))
"""Files of the user: told, never changed."""
_SEARCHED_BYTES = 1 << 30
_ROUNDS = 3
"""How often what was written meanwhile is forgotten too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done: events erased, how many of them say the rest from now on, blobs and files removed or changed.

    `words` is what the home should be looked through for, `headers` where the chain needs a name that holds it.
    """

    events: int
    retold: int
    blobs: int
    files: int
    words: Needles
    headers: tuple[str, ...] = ()


def carry_out(
    first: Plan,
    again: Callable[[Needles], Plan],
    journal: Journal,
    blobs: Blobs,
    project: str,
    live: Callable[[], frozenset[str]],
) -> Outcome:
    """Forget what a plan says, and what was written meanwhile (`again` plans anew, given the words that are known).

    `live` gives the sessions that run. Raises StoreError where the journal cannot be written, or something could not
    be overwritten yet: run it again.
    """
    files, words, plan = journal.files, first.needles, first
    events = retold = gone_blobs = 0
    for _ in range(_ROUNDS):
        if plan.erased:
            journal.append(_tombstones(plan), project=project, session=None)
        # Also without positions: it finishes what an interrupted one left.
        events += journal.forget(sorted(plan.erased))
        retold += sum(position in plan.erased for position in plan.retold)
        gone_blobs += sum(blobs.remove(digest) for digest in plan.blobs)
        _drop_derived(files)
        plan = again(words)
        if not plan.erased:
            break
    changed = _clean_files(files, words, first.sessions - live(), live())
    headers = tuple(_left_in_headers(journal, words))
    return Outcome(
        events=events, retold=retold, blobs=gone_blobs, files=changed, words=words, headers=headers
    )


def files_put_aside(files: HomeFiles) -> int:
    """How many files `engram recover` put aside: they hold everything, so they go with anything that is forgotten."""
    return sum(1 for folder in (files.damaged, files.recovering) for path in _files(folder) if path.is_file())


def _tombstones(plan: Plan) -> list[Forgotten]:
    """The plan as events; the last one names what was erased."""
    parts: list[list[Retold]] = [[]]
    size = 0
    for position, payload in sorted(plan.retold.items()):
        size += len(canonical(payload))
        if size > _TOMBSTONE_BYTES and parts[-1]:
            parts.append([])
            size = len(canonical(payload))
        parts[-1].append(Retold(position=position, payload=payload))
    # The ranges first: a reader drops what it knew of these events, then learns what they say now.
    first = Forgotten(
        what=plan.what, subject=plan.subject, ranges=ranges(plan.erased), retold=tuple(parts[0])
    )
    return [
        first,
        *(Forgotten(what=plan.what, subject=plan.subject, retold=tuple(part)) for part in parts[1:]),
    ]


# --- files ------------------------------------------------------------------------------------------------


def _drop_derived(files: HomeFiles) -> None:
    """Remove state, memory, snapshots and vectors, of every version: they are made anew when next asked for."""
    for lock, pattern in ((files.state_lock, "state.v*.sqlite*"), (files.memory_lock, "memory.v*.sqlite*")):
        with exclusive(lock):
            for path in filter(files.own, files.root.glob(pattern)):
                path.unlink(missing_ok=True)
            if lock == files.state_lock and files.snapshots.is_dir():
                for path in _files(files.snapshots):
                    path.unlink(missing_ok=True)
    vector_cache.erase(files.root)


def _clean_files(files: HomeFiles, words: Needles, whole: frozenset[str], live: frozenset[str]) -> int:
    """Take words out of session folders, run files and logs; how many files were changed or removed."""
    changed = 0
    for folder in (files.damaged, files.recovering, *(files.sessions / session for session in whole)):
        for path in _files(folder):
            if path.name != "lock":
                changed += _erase(path)
        with contextlib.suppress(OSError):
            _remove_empty(folder)
    for path in _others(files):
        if _in_live_session(files, path, live) and not _is_log(path):
            continue
        changed += _scrub(path, words)
    return changed


def _others(files: HomeFiles) -> Iterator[Path]:
    """Engram's files that nothing else here takes care of; no links, which may lead to the user's own files."""
    cared_for = {files.archive, files.snapshots, files.vectors, files.models}
    for path in filter(files.own, _files(files.root)):
        if path.name in _OURS or path.name.startswith((files.journal.name, "state.v", "memory.v")):
            continue
        if not cared_for & set(path.parents) and not path.is_symlink():
            yield path


def _scrub(path: Path, words: Needles) -> bool:
    """Overwrite words in place, so that whoever has the file open can go on; a gzip file is packed anew without them.

    Where that does not take them out (between terminal sequences), the file is erased.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= _SEARCHED_BYTES else b""
        if not words.is_in(data):
            return False
        if is_gzip(data):
            return _pack_anew(path, _overwritten(gunzipped(data), words), words)
        with path.open("r+b", buffering=0) as file:
            for start, end in words.spans(data):
                file.seek(start)
                file.write(b"x" * (end - start))
            os.fsync(file.fileno())
        return True if not words.is_in(path.read_bytes()) else _erase(path)
    except OSError:
        return False


def _overwritten(data: bytes, words: Needles) -> bytes:
    written = bytearray(data)
    for start, end in words.spans(data):
        written[start:end] = b"x" * (end - start)
    return bytes(written)


def _pack_anew(path: Path, data: bytes, words: Needles) -> bool:
    """Put a gzip file with this content in the place of one, whose bytes are overwritten."""
    old = path.with_name(f"{path.name}.old")
    packed = gzip.compress(data)
    if not data or words.is_in(packed):
        return _erase(path)
    path.rename(old)
    make_private_file(path)
    path.write_bytes(packed)
    _erase(old)
    return True


def _erase(path: Path) -> bool:
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            erase_file(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _remove_empty(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()


def _files(folder: Path) -> Iterator[Path]:
    """Every file under a folder, links not followed."""
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            yield Path(place) / name


def _in_live_session(files: HomeFiles, path: Path, live: frozenset[str]) -> bool:
    return any(files.sessions / session in path.parents for session in live)


def _is_log(path: Path) -> bool:
    return any(part in path.name for part in _LOGS)


# --- checking -----------------------------------------------------------------------------------------------


def _left_in_headers(journal: Journal, words: Needles) -> Iterator[str]:
    """Names of projects and sessions are hashed into the chain: they cannot be erased."""
    if not words.words and words.regex is None:
        return
    names: set[str] = set()
    after = 0
    while rows := journal.rows_after(after):
        names.update(name for row in rows for name in (row.project, row.session or ""))
        after = rows[-1].position
    for name in sorted(names):
        if words.cleaned(name) != name:
            yield "journal.sqlite: the name of a project or session holds it, which the chain needs"


def left_in_files(files: HomeFiles, words: Needles, live: frozenset[str]) -> Iterator[str]:
    """Every file of the home that still holds it, raw or packed, with the reason.

    Not in a process that has databases of the home open: to read them drops its locks.
    """
    for path in _files(files.root):
        if files.models in path.parents:
            continue
        name = str(path.relative_to(files.root))
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                continue
            held = words.is_in(path.read_bytes())
        except OSError as error:
            yield f"{name}: cannot be read ({error.strerror or error})"
            continue
        if not held:
            continue
        if not files.own(path):
            yield f"{name} (not Engram's; remove it yourself)"
        elif path.name in _OURS:
            yield f"{name}: yours, edit it yourself"
        elif _in_live_session(files, path, live):
            yield f"{name}: a running session needs it; it goes when the session ends"
        else:
            yield f"{name}: holds it again; run this once more"
