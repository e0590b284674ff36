"""A clock that is set back while work goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Verdict
from engram_runtime.runtime import Runtime
from engram_tui.supervisor.composer import Composer
from engram_tui.supervisor.seen import Seen

PROJECT = "/some/project"


def test_a_clock_that_is_set_back_changes_neither_order_nor_what_is_latest(tmp_path: Path) -> None:
    noon = datetime(2026, 5, 5, 12, tzinfo=UTC)
    times = iter([noon, noon, noon, noon, noon] + [noon - timedelta(days=1)] * 100)
    with Runtime.open(tmp_path / "home", project=PROJECT, session="s1", clock=lambda: next(times)) as runtime:
        runtime.append(ev.SessionStarted(agent="demo", cwd=PROJECT))
        (task,) = runtime.append(ev.TaskCreated(name="before", status="in_progress"))
        runtime.append(ev.TaskAttached(task=task))
        composer = Composer(runtime, "s1", lambda: task, Seen)
        first = composer.write("MANUAL", note="at noon")
        assert first is not None
        runtime.append(ev.ProgressTracked(feature="a step", status="done", task=task))
        second = composer.write("MANUAL", note="a day before")
        assert second is not None
        assert second.created_at < first.created_at
        assert (first.version, second.version) == (1, 2)
        latest = runtime.state.checkpoint_version(task)
        assert latest is not None
        assert latest.id == second.id
        (later,) = runtime.append(ev.TaskCreated(name="after", status="in_progress"), session="s2")
        for session, ended in (("s1", task), ("s2", later)):
            runtime.append(ev.SessionStarted(agent="demo", cwd=PROJECT), session=session)
            runtime.append(ev.TaskAttached(task=ended), session=session)
            runtime.append(ev.SessionEnded(verdict=Verdict(kind="killed", signal=9)), session=session)
        newest = runtime.state.interrupted_tasks(PROJECT)[0]
        assert newest.name == "after"
        assert runtime.verify().flaw == ""
