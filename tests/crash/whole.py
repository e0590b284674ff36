"""Whether a home is whole after whatever happened to it: everything acknowledged, nothing twice, all as a rebuild."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from engram_runtime.database import connect_bare
from engram_runtime.journal.events import TaskCreated
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.crash.stream import PROJECT, UNKNOWN
from tests.support import rows_of

_FIELDS = {
    "MemoryStored": "content",
    "MemoryUpdated": "content",
    "ProgressTracked": "feature",
    "TaskCreated": "name",
    "CheckpointWritten": "trigger",
    "FailureTracked": "error",
    "PromptSubmitted": "text",
}
_WORD = re.compile(r"w\w+n\d+[tp]?")


def memory_rows(home: Path) -> list[str]:
    """The memory file's own tables. Those inside a text index or of vectors are laid out by chance; the index is
    compared with the texts by FTS5 itself.
    """
    file = connect_bare(HomeFiles(home).memory)
    try:
        file.execute("INSERT INTO words(words, rank) VALUES('integrity-check', 1)")
        virtual = [
            name
            for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'")
        ]
        tables = [
            name
            for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        ]
        own = [
            name
            for name in tables
            if not name.startswith(("sqlite_", "vector_", *(f"{index}_" for index in virtual)))
            and name not in virtual
        ]
        return [
            line
            for name in own
            for line in (name, *sorted(repr(row) for row in file.execute(f'SELECT * FROM "{name}"')))
        ]
    finally:
        file.close()


def words_of(runtime: Runtime) -> dict[str, int]:
    """Every word of the stream that the journal holds, and where. None may be there twice."""
    found: dict[str, int] = {}
    position = 0
    while events := runtime.events(position, limit=5000):
        for at in events:
            assert at.position == position + 1, f"events {position + 1} to {at.position - 1} are missing"
            position = at.position
            text = (at.payload or {}).get(_FIELDS.get(at.kind, ""), "")
            word = str(text).split(" ")[0]
            if _WORD.fullmatch(word):
                assert word not in found, f"{word} was written twice: events {found[word]} and {position}"
                found[word] = position
    return found


def check_whole(home: Path, told: Mapping[str, int]) -> int:
    """Check everything; how many events the journal holds."""
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        health = runtime.health()
        assert health.writable, health
        verified = runtime.verify()
        assert verified.flaw == "", verified
        found = words_of(runtime)
        missing = {
            word: position
            for word, position in told.items()
            if word not in found or (position != UNKNOWN and found[word] != position)
        }
        assert not missing, f"acknowledged, but not there: {missing}"
        runtime.append(TaskCreated(name="still writable"))
        runtime.memory.catch_up()
        runtime.catch_up()
        stepwise = rows_of(HomeFiles(home).state), memory_rows(home)
        runtime.rebuild_state()
        runtime.memory.rebuild()
        rebuilt = rows_of(HomeFiles(home).state), memory_rows(home)
        for what, one, other in zip(("state", "memory"), stepwise, rebuilt, strict=True):
            assert one == other, f"{what} is not that of a rebuild: {_differences(one, other)}"
        left = [path.name for path in home.iterdir() if path.name.endswith(".tmp")]
        assert not left, left
        return verified.events if hasattr(verified, "events") else runtime.journal.head()


def _differences(one: list[str], other: list[str]) -> str:
    here, there = set(one) - set(other), set(other) - set(one)
    return (
        f"{len(here)} rows only stepwise, {len(there)} only rebuilt: {sorted(here)[:3]} {sorted(there)[:3]}"
    )
