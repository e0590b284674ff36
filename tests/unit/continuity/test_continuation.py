"""The continuation package."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engram_runtime.continuity.continuation import continuation
from engram_runtime.journal.records import Checkpoint, Confidence, Item, ToolFact, Verdict
from engram_runtime.state.views import CheckpointView

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def view(content: Checkpoint, hours: float = 0) -> CheckpointView:
    created = (NOW - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    return CheckpointView(
        id=9, task=1, version=2, parent_version=1, reason="EXIT", trigger="", trigger_position=None, session=None,
        created_at=created, confidence=0.5, changed_files=0, content=content,
    )  # fmt: skip


def test_a_call_that_did_not_end_is_said_to_be_in_execution() -> None:
    running = Checkpoint(last_tool=ToolFact(tool="Bash", summary="make", status="interrupted"))
    package = continuation(view(running), now=NOW)
    assert package.execution_position.in_execution
    assert package.execution_position.last_tool == "Bash: make"
    assert not continuation(view(Checkpoint()), now=NOW).execution_position.in_execution


def test_confidence_halves_its_recency_in_a_day_and_never_grows() -> None:
    content = Checkpoint(
        confidence=Confidence(state_completeness=1, recency=1, verification_history=1, drift_signals=1)
    )
    assert continuation(view(content, 24), now=NOW).confidence_breakdown.recency == 0.5
    assert continuation(view(content, -5), now=NOW).continuation_confidence == 1.0
    stale = Checkpoint(confidence=Confidence(recency=0.2))
    assert continuation(view(stale), now=NOW).confidence_breakdown.recency == 0.2


def test_claims_and_what_was_seen_stay_apart() -> None:
    done = (Item(text="a", standing="verified"), Item(text="b"), Item(text="c", standing="contradicted"))
    package = continuation(view(Checkpoint(completed=done)), now=NOW)
    assert package.standings["completed"] == ("verified", "claimed", "contradicted")


def test_the_way_the_last_session_ended_is_a_constraint() -> None:
    package = continuation(view(Checkpoint(verdict=Verdict(kind="overflow"))), now=NOW)
    assert "smaller steps" in package.active_constraints[0]


def test_blocked_items_say_why() -> None:
    package = continuation(view(Checkpoint(blocked=(Item(text="deploy", evidence="no key"),))), now=NOW)
    assert package.blocked_reasons == ("deploy: no key",)
