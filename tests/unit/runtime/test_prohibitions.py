"""What must not be done again holds until its end, told in whatever zone, and no longer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engram_runtime.continuity.continuation import continuation
from engram_runtime.continuity.prohibitions import end_of, in_force
from engram_runtime.journal.events import CheckpointWritten, TaskCreated
from engram_runtime.journal.records import Checkpoint, Prohibition
from engram_runtime.runtime import Runtime

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def until(expires_at: str | None) -> Prohibition:
    return Prohibition(action="restart the queue", expires_at=expires_at)


@pytest.mark.parametrize(
    ("expires_at", "holds"),
    [
        (None, True),
        ("2026-03-01T12:00:01Z", True),
        ("2026-03-01T12:00:00Z", False),
        ("2026-03-01T13:30:00+02:00", False),
        ("2026-03-01T11:30:00-02:00", True),
        ("2026-03-02", True),
        ("2026-02-28", False),
        ("yesterday", True),
    ],
)
def test_a_prohibition_holds_until_its_end(expires_at: str | None, holds: bool) -> None:
    assert bool(in_force((until(expires_at),), NOW)) is holds


def test_an_end_is_kept_in_utc_and_what_is_no_time_is_refused() -> None:
    assert end_of("2026-03-01T13:30:00+02:00") == "2026-03-01T11:30:00Z"
    with pytest.raises(ValueError, match="yesterday"):
        end_of("yesterday")


def test_an_expired_prohibition_is_given_to_no_reader_of_its_checkpoint(runtime: Runtime) -> None:
    (task,) = runtime.append(TaskCreated(name="queue"))
    content = Checkpoint(goal="queue", must_not_redo=(until("2026-03-01T11:00:00Z"), until(None)))
    runtime.append(CheckpointWritten(task=task, reason="MANUAL", content=content))
    view = runtime.state.checkpoint_version(task)
    assert view is not None
    assert continuation(view, now=NOW).must_not_redo == (until(None),)
