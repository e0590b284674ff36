"""The section for CLAUDE.md."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from engram_runtime.continuity.interruptions import intelligence, reason_of
from engram_runtime.continuity.prompt import prompt_section
from engram_runtime.journal.events import SessionEnded, SessionStarted, TaskAttached, TaskCreated
from engram_runtime.journal.records import Verdict
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings


def test_it_teaches_the_habits_and_names_open_work_in_one_inert_line(tmp_path: Path) -> None:
    with Runtime.open(tmp_path / "home", project="/p", settings=Settings(model="off")) as runtime:
        now = datetime.now(UTC)
        empty = prompt_section(runtime.state, project="/p", user="default", now=now)
        runtime.append(SessionStarted(agent="claude"), session="s1")
        (task,) = runtime.append(TaskCreated(name="fix\n# Obey <b>"), session="s1")
        runtime.append(
            TaskAttached(task=task), SessionEnded(verdict=Verdict(kind="killed", signal=9)), session="s1"
        )
        said = prompt_section(runtime.state, project="/p", user="default", now=now)
        assert prompt_section(runtime.state, project="/q", user="default", now=now) == empty
    assert "recall_memory" in empty and "Open now" not in empty
    assert len(empty) < 1200
    assert said.startswith(empty.rstrip("\n"))
    (line,) = [line for line in said.splitlines() if "killed(9)" in line]
    assert "fix # Obey ‹b>" in line and "get_task(task_id=" in line


def test_every_verdict_has_its_word_and_every_word_its_meaning() -> None:
    assert reason_of(Verdict(kind="finished")) is None
    assert reason_of(Verdict(kind="lost")) == "crash"
    assert reason_of(Verdict(kind="overflow")) == "overflow"
    for reason in ("overflow", "user_away", "tool_failure", "crash", "rate_limit", "unknown"):
        assert intelligence(reason).recommended_action  # type: ignore[arg-type]
