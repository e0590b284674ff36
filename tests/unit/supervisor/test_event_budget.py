"""G12: what a busy hour costs the journal, against the figures in docs/journal.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engram_runtime.journal import events as ev
from engram_runtime.journal.encoding import PAYLOAD_BYTES
from engram_runtime.journal.records import Checkpoint, FileChange, Item
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_tui.agents.tool_calls import excerpt
from engram_tui.watch import observations as ob
from tests.unit.supervisor.test_intake import intake

pytestmark = pytest.mark.guarantee("G12")

DOCS = Path(__file__).parents[3] / "docs" / "journal.md"
CALLS = 600
"""Tool calls of the hour."""


def budget(what: str) -> int:
    """A figure of the budget table."""
    found = re.search(rf"^\| {re.escape(what)}.*\| (\d+) \|$", DOCS.read_text(), re.MULTILINE)
    assert found, what
    return int(found[1])


def busy_hour() -> list[ev.Event]:
    """What is recorded of it: each call told by hook and transcript, with a long output and five files; turns, fill."""
    taker, posted, _ = intake()
    used = 10_000
    for call in range(CALLS):
        name = f"toolu_{call:024d}"
        path = f"/home/user/projects/application/src/package_{call % 40}/module_{call % 7}.py"
        output = excerpt(f"line of a test run {call}\n" * (300 if call % 5 == 0 else 12))
        if call % 10 == 0:
            taker.take((ob.Prompted(text="do the next thing " * 20),))
        for channel in ("hook", "transcript"):
            began = ob.ToolBegan(tool="Edit", call_id=name, summary=path, paths=(path,), channel=channel)  # type: ignore[arg-type]
            ended = ob.ToolEnded(tool="Edit", call_id=name, paths=(path,), output=output, channel=channel)  # type: ignore[arg-type]
            taker.take((began, ended))
        used = 10_000 if used > 180_000 else used + 900
        taker.take((ob.ContextSeen(used=used, window=200_000),))
        if call % 2 == 0:
            changes = [FileChange(path=f"{path}{n}", change="modified", by="agent") for n in range(5)]
            taker.files(tuple(changes))
        if call % 10 == 9:
            taker.take((ob.TurnEnded(text="This is done, and that is next. " * 30),))
    said = tuple(Item(text="a line of what was done and seen") for _ in range(20))
    for _ in range(60):
        content = Checkpoint(goal="the goal of the task", completed=said, must_preserve=said)
        posted.append(ev.CheckpointWritten(task=1, reason="TOOL_FINISHED", content=content))
    return posted


def test_a_busy_hour_stays_within_its_budget(tmp_path: Path) -> None:
    told = busy_hour()
    assert len(told) <= budget("events of a busy session-hour")
    with Runtime.open(tmp_path / "home", project="/p", session="s1", settings=Settings()) as runtime:
        empty = _bytes(runtime)
        for start in range(0, len(told), 100):
            runtime.append(*told[start : start + 100])
        size = _bytes(runtime) - empty
    assert size <= budget("bytes of a busy session-hour")
    assert size / len(told) <= budget("bytes of an event on average")


def test_the_bound_of_one_event_is_the_one_in_the_docs() -> None:
    assert budget("bytes of one event at most") == PAYLOAD_BYTES


def _bytes(runtime: Runtime) -> int:
    """Bytes of the database, the log moved into it."""
    with runtime.journal._engine().connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    return runtime.journal.files.journal.stat().st_size
