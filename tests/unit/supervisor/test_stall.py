"""When an agent counts as stalled, and when it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engram_runtime.journal.events import CheckpointWritten, PromptSubmitted, Recorded
from engram_runtime.journal.records import Checkpoint, Verdict
from engram_tui.supervisor.stall import Stall
from engram_tui.supervisor.triggers import AutoSave
from engram_tui.supervisor.verdict import REASON_OF_VERDICT, unless_hung
from engram_tui.watch.process_table import ProcessId, ProcessRow

SECONDS = 100.0
QUIET = ProcessRow(
    id=ProcessId(7, 1.0),
    parent=1,
    group=7,
    session=7,
    has_tty=True,
    zombie=False,
    stopped=False,
    cpu_seconds=5.0,
    rss=1,
    started_at=0.0,
    name="agent",
    command="agent",
)


def watched(
    until: float,
    *,
    busy: bool = True,
    sign_at: float = 0.0,
    cpu_share: float = 0.0,
    stopped: bool = False,
    step: float = 1.0,
) -> float | None:
    """What a stall watch says after looking every second."""
    stall, now, said = Stall(SECONDS, 0.0), 0.0, None
    while now < until:
        now += step
        row = replace(QUIET, cpu_seconds=5.0 + now * cpu_share, stopped=stopped)
        said = stall.look(now, busy=busy, last_sign=min(sign_at, now), rows=[row])
    return said


def test_an_agent_without_a_sign_of_life_stalls_after_the_set_time() -> None:
    # The first window holds the CPU time of before: it counts as life.
    assert watched(SECONDS + 20) is None
    assert watched(SECONDS + 30) is not None


@pytest.mark.parametrize(
    "life",
    [{"busy": False}, {"cpu_share": 0.1}, {"stopped": True}, {"sign_at": 2 * SECONDS}],
    ids=["idle", "uses the CPU", "stopped by job control", "said something"],
)
def test_no_agent_that_lives_or_was_stopped_counts_as_stalled(life: dict[str, float]) -> None:
    assert watched(2 * SECONDS + 50, **life) is None  # type: ignore[arg-type]


def test_an_idle_loop_of_timers_is_no_work() -> None:
    assert watched(2 * SECONDS, cpu_share=0.005) is not None


def test_a_sleep_of_the_supervisor_itself_does_not_count() -> None:
    stall = Stall(SECONDS, 0.0)
    for second in range(1, 31):
        stall.look(float(second), busy=True, last_sign=0.0, rows=[QUIET])
    assert stall.look(30_000.0, busy=True, last_sign=0.0, rows=[QUIET]) is None
    for second in range(1, 60):
        assert stall.look(30_000.0 + second, busy=True, last_sign=0.0, rows=[QUIET]) is None


def test_an_agent_that_was_ended_while_it_had_stalled_hung() -> None:
    killed = Verdict(kind="killed", signal=15, evidence=("stop was asked for",))
    hung = unless_hung(killed, "nothing was heard of it for 600 s")
    assert str(hung) == "hang"
    assert hung.evidence == ("nothing was heard of it for 600 s", "stop was asked for")
    assert REASON_OF_VERDICT[hung.kind] == "HANG"
    assert unless_hung(killed, "") is killed
    assert unless_hung(Verdict(kind="finished", code=0), "stalled").kind == "finished"


def recorded(position: int, *, checkpoint: bool = False) -> Recorded:
    event = (
        CheckpointWritten(task=1, reason="MANUAL", content=Checkpoint())
        if checkpoint
        else PromptSubmitted(text="x")
    )
    return Recorded(
        position=position,
        at="",
        kind=event.kind,
        version=1,
        project="",
        session="s",
        event=event,
        payload=None,
    )


def test_an_autosave_is_due_after_the_set_time_without_a_checkpoint() -> None:
    autosave = AutoSave(300, 0.0)
    assert not autosave.due(299, None)
    assert not autosave.due(310, 7)  # one was written meanwhile
    assert not autosave.due(600, 7)
    assert autosave.due(611, 7)
    assert not autosave.due(612, 7)


def test_an_autosave_is_worth_it_only_when_something_was_recorded_since() -> None:
    autosave = AutoSave(300, 0.0)
    autosave.due(301, 20)
    assert not autosave.worth_it([recorded(10), recorded(20, checkpoint=True)])
    assert autosave.after == 20
    assert not autosave.worth_it([])
    assert not autosave.worth_it([recorded(21, checkpoint=True)])
    assert autosave.worth_it([recorded(22)])
