"""Events are written in order, wait while the journal cannot be written, and are never lost to one bad event."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engram_runtime.errors import EngramError, StoreUnavailable
from engram_runtime.journal import events as ev
from engram_runtime.journal.events import Event
from engram_runtime.runtime import Runtime
from engram_tui.supervisor import recorder as recorder_module
from engram_tui.supervisor.recorder import Recorder

pytestmark = pytest.mark.guarantee("G9", "G12")


class FullDisk:
    """A runtime whose disk is full until `space`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.space = False

    def append(self, *events: Event) -> tuple[int, ...]:
        """As Runtime.append."""
        if not self.space:
            raise StoreUnavailable("No space left on device.", hint="Free some.")
        return self.runtime.append(*events)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry soon."""
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.01)


async def test_events_posted_before_the_journal_is_open_keep_their_order(tmp_path: Path) -> None:
    recorder = Recorder("s1", lambda: None)
    recorder.post(*(ev.TurnFinished(text=str(n)) for n in range(300)))
    recorder.post_first(ev.SessionStarted(agent="demo"))
    with Runtime.open(tmp_path, project="p", session="s1") as runtime:
        recorder.start(runtime)
        assert await recorder.flushed(10)
        kinds = [e.event for e in runtime.events(session="s1")]
        await recorder.close()
    assert isinstance(kinds[0], ev.SessionStarted)
    assert [e.text for e in kinds if isinstance(e, ev.TurnFinished)] == [str(n) for n in range(300)]


async def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_space_again(tmp_path: Path) -> None:
    recorder = Recorder("s1", lambda: None)
    with Runtime.open(tmp_path, project="p", session="s1") as runtime:
        disk = FullDisk(runtime)
        recorder.start(disk)  # type: ignore[arg-type]
        position = recorder.position_of(ev.TurnFinished(text="kept"))
        async with asyncio.timeout(5):
            while not recorder.problem:
                await asyncio.sleep(0.005)
        assert "No space left" in recorder.problem
        disk.space = True
        async with asyncio.timeout(5):
            assert await position > 0
        assert recorder.problem == ""
        await recorder.close()


async def test_an_event_the_journal_refuses_does_not_take_others_with_it(tmp_path: Path) -> None:
    recorder = Recorder("s1", lambda: None)
    with Runtime.open(tmp_path, project="p", session="s1") as runtime:
        bad = recorder.position_of(ev.MemoryStored(content="x", importance=float("nan")))
        good = recorder.position_of(ev.TurnFinished(text="good"))
        recorder.start(runtime)
        async with asyncio.timeout(5):
            assert await good > 0
            with pytest.raises(EngramError):
                await bad
        assert recorder.refused == 1
        await recorder.close()


async def test_the_buffer_is_bounded_and_says_what_it_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "BUFFERED_EVENTS", 3)
    recorder = Recorder("s1", lambda: None)
    recorder.post(*(ev.TurnFinished(text=str(n)) for n in range(5)))
    assert recorder.dropped == 2
