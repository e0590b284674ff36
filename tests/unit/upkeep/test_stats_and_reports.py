"""Figures of a period, reports, and texts of agents that must stay texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Checkpoint, ContextFill, FileChange, Verdict
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep.importers.mcp_engram import import_mcp_engram
from engram_runtime.upkeep.report import html, markdown, period_report, session_report
from engram_runtime.upkeep.stats import Stats, collect

PROJECT = "/projects/shop"
SESSION = "s1sxf09ykq4c"
EVIL = '<script>alert(1)</script> | \x1b[31m & "q"\nnext'


@pytest.fixture
def clock() -> Iterator[list[datetime]]:
    yield [datetime(2026, 3, 1, 12, tzinfo=UTC)]


@pytest.fixture
def runtime(tmp_path: Path, clock: list[datetime]) -> Iterator[Runtime]:
    settings = Settings(model="off")
    with Runtime.open(
        tmp_path / "home", project=PROJECT, settings=settings, clock=lambda: clock[0]
    ) as opened:
        yield opened


def a_session(runtime: Runtime) -> int:
    """One session that crashed; gives the checkpoint."""
    runtime.append(ev.SessionStarted(agent="demo", agent_version="1"), session=SESSION)
    (task,) = runtime.append(ev.TaskCreated(name=EVIL, goal="Build"), session=SESSION)
    (checkpoint,) = runtime.append(
        ev.TaskAttached(task=task),
        ev.PromptSubmitted(text=EVIL),
        ev.ToolFinished(tool="Bash", call_id="1", summary=EVIL, ok=False, error="no"),
        ev.ToolFinished(tool="Edit", call_id="2", summary="cart.py"),
        ev.FilesObserved(changes=(FileChange(path="cart.py", by="agent"), FileChange(path="a|b.py"))),
        ev.ContextMeasured(fill=ContextFill(used=150_000, window=200_000)),
        ev.FailureTracked(error=EVIL, component="cart", severity="critical", task=task),
        ev.MemoryStored(content="fact", importance=0.5),
        ev.MemoryRecalled(memories=(1,), query_digest="a"),
        ev.MemoryRecalled(memories=(), query_digest="b"),
        ev.MemoryRecalled(memories=(1,)),
        ev.CheckpointWritten(task=task, reason="FAILURE", content=Checkpoint(goal="Build")),
        session=SESSION,
    )[-1:]
    runtime.append(ev.CheckpointRestored(task=task, checkpoint=checkpoint))
    runtime.append(
        ev.CheckpointWritten(task=task, reason="CRASH", content=Checkpoint(goal="Build")), session=SESSION
    )
    runtime.append(
        ev.SessionEnded(verdict=Verdict(kind="crashed", code=1, evidence=(EVIL,))), session=SESSION
    )
    return checkpoint


def figures(runtime: Runtime, now: datetime, days: float = 7, project: str | None = PROJECT) -> Stats:
    return collect(runtime.journal, now=now, days=days, project=project)


def test_what_happened_is_counted(runtime: Runtime, clock: list[datetime]) -> None:
    a_session(runtime)
    found = figures(runtime, clock[0])
    assert (found.sessions["total"], found.sessions["interrupted"]) == (1, 1)
    assert found.sessions["by_verdict"] == {"crashed": 1}
    assert found.checkpoints["by_reason"] == {"CRASH": 1, "FAILURE": 1}
    assert (found.checkpoints["created"], found.checkpoints["restored"], found.checkpoints["never_used"]) == (
        2,
        1,
        1,
    )
    assert (found.memories["recalls"], found.memories["hit_rate"], found.memories["recalled"]) == (2, 0.5, 2)
    assert (found.tools["calls"], found.tools["failed_by_tool"]) == (2, {"Bash": 1})
    assert (found.files["changed"], found.failures["by_severity"]) == (2, {"critical": 1})
    assert (found.context["peak_tokens"], found.context["peak_share"]) == (150_000, 0.75)


def test_what_was_not_measured_is_none_and_not_nought(runtime: Runtime, clock: list[datetime]) -> None:
    found = figures(runtime, clock[0])
    assert found.memories["hit_rate"] is None
    assert found.context["peak_tokens"] is None
    assert found.continuity == {"avg": None, "p50": None, "p90": None, "samples": 0}


def test_only_the_period_and_the_project_count(runtime: Runtime, clock: list[datetime]) -> None:
    a_session(runtime)
    runtime.append(ev.SessionStarted(agent="demo"), session="s2", project="/other")
    assert figures(runtime, clock[0]).sessions["total"] == 1
    assert figures(runtime, clock[0], project=None).sessions["total"] == 2
    assert figures(runtime, clock[0] + timedelta(days=8)).sessions["total"] == 0
    assert figures(runtime, clock[0] + timedelta(days=8), days=9).sessions["total"] == 1


def test_an_import_of_old_events_does_not_hide_what_was_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for the period's begin must not end at events that carry older times."""
    monkeypatch.setattr("engram_runtime.upkeep.stats.CHUNK", 5)
    old = Path(__file__).parents[2] / "data" / "mcp_engram_home"
    with Runtime.open(tmp_path / "home", project=PROJECT, settings=Settings(model="off")) as runtime:
        a_session(runtime)
        import_mcp_engram(runtime.journal, runtime.state, old, project=PROJECT)
        assert figures(runtime, datetime.now(UTC), days=0.01).sessions["total"] == 1


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def test_a_page_holds_texts_of_agents_as_texts_and_loads_nothing(
    runtime: Runtime, clock: list[datetime]
) -> None:
    a_session(runtime)
    view = runtime.state.session(SESSION)
    assert view is not None
    recorded = runtime.events(session=SESSION)
    for report in (session_report(view, runtime.state, recorded), period_report(figures(runtime, clock[0]))):
        page = html(report)
        tags = _Tags()
        tags.feed(page)
        assert not {"script", "img", "link", "iframe", "a"} & set(tags.tags)
        assert not re.search(r"(?:src|href)=|url\(|@import|\x1b", page)
    assert "&lt;script&gt;" in html(session_report(view, runtime.state, recorded))


def test_markdown_keeps_its_tables(runtime: Runtime) -> None:
    a_session(runtime)
    view = runtime.state.session(SESSION)
    assert view is not None
    text = markdown(session_report(view, runtime.state, runtime.events(session=SESSION)))
    assert "\x1b" not in text and text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("| "):
            assert re.sub(r"\\\|", "", line).count("|") in (3, 4, 5), line
    assert "a\\|b.py" in text
