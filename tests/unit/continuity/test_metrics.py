"""What of a checkpoint is still there in a later one."""

from __future__ import annotations

import msgspec
import pytest

from engram_runtime.continuity.metrics import Afterwards, score
from engram_runtime.journal.records import Checkpoint, Item, Prohibition, ToolFact, WorkingSet
from engram_runtime.state.views import ToolView

PLAN = Checkpoint(
    goal="fix the login timeout",
    completed=(Item(text="read the session code"),),
    in_progress=(Item(text="raise the limit"),),
    preferred_next=(Item(text="write docs"),),
    must_not_redo=(Prohibition(action="send the release mail"),),
    working_set=WorkingSet(files=("auth.py", "limits.py")),
)


def call(tool: str, summary: str, position: int) -> ToolView:
    fact = ToolFact(tool=tool, summary=summary, status="succeeded", position=position)
    return ToolView(session="s", fact=fact, paths=(), output="", started_at="", ended_at=None)


def test_the_same_state_keeps_everything() -> None:
    whole = score(PLAN, PLAN)
    assert whole.composite == 1.0 and whole.missing == {}


def test_a_lost_plan_a_new_goal_and_work_done_again_cost() -> None:
    lost = Checkpoint(goal="write a newsletter", in_progress=(Item(text="read the session code"),))
    found = score(PLAN, lost)
    assert found.goal_retention is not None and found.goal_retention < 0.2
    assert (found.action_consistency, found.failure_recall, found.redundant_exploration) == (0, 0, 0)
    assert found.working_set_stability is None and "files" in found.missing["working_set_stability"]
    assert found.composite is not None and found.composite < 0.3


def test_too_little_data_is_refused_and_named() -> None:
    found = score(Checkpoint(goal="x y"), Checkpoint(goal="x y"))
    assert found.composite is None
    assert "half of the measures" in found.missing["composite"]
    assert found.goal_retention == 1.0
    assert set(msgspec.to_builtins(found)["missing"]) >= {"failure_recall", "replanning_rate"}


def test_a_failure_that_was_repeated_is_not_recalled() -> None:
    kept = score(PLAN, PLAN, Afterwards(said=("wrote docs",)))
    assert kept.failure_recall == 1.0
    again = score(PLAN, PLAN, Afterwards(said=("sent the release mail",)))
    assert again.failure_recall == 0.0
    seen = score(PLAN, PLAN, Afterwards(calls=(call("Bash", "python send_mail.py --release", 9),)))
    assert seen.failure_recall == 0.0


def test_reading_the_same_files_again_is_redundant() -> None:
    before = (call("Read", "auth.py", 1), call("Grep", "timeout", 2))
    after = (call("Read", "auth.py", 5), call("Read", "limits.py", 6), call("Bash", "pytest", 7))
    fresh = msgspec.structs.replace(PLAN, in_progress=(), completed=())
    assert score(fresh, fresh, Afterwards(calls=after, before=before)).redundant_exploration == 0.5
    assert score(fresh, fresh, Afterwards(calls=after)).redundant_exploration is None


def test_a_replaced_plan_counts_as_replanning() -> None:
    other = msgspec.structs.replace(
        PLAN, in_progress=(Item(text="raise the limit"),), preferred_next=(Item(text="port to Rust"),)
    )
    assert score(PLAN, other).replanning_rate == 0.5
    assert score(PLAN, other).composite == pytest.approx(0.85, abs=0.1)
