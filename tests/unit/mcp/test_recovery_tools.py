"""The tools that judge: they score what is known, and say what is missing instead of a good mark."""

from __future__ import annotations

from typing import Any

import pytest

from engram_runtime.journal.events import (
    SessionEnded,
    TaskCreated,
    ToolFinished,
)
from engram_runtime.journal.records import Verdict


@pytest.fixture
def task(agent: Any) -> int:
    number: int = agent.call("create_task", name="login", goal="fix the login timeout")["task_id"]
    agent.call("track_progress", feature="raise the limit", status="in_progress")
    agent.call(
        "session_handoff",
        summary="half way",
        completed=["reproduced the timeout"],
        in_progress=["raise the limit"],
        next_steps=["write docs"],
        must_not_redo=["send the release mail"],
        must_preserve=["public API"],
    )
    return number


def end(agent: Any, verdict: Verdict) -> None:
    agent.runtime.append(SessionEnded(verdict=verdict), session=agent.context.session)


def test_drift_is_measured_against_what_the_session_was_given(agent: Any, task: int) -> None:
    end(agent, Verdict(kind="killed", signal=9))
    successor = agent.session()
    given = successor.call("restore_checkpoint", task_id=task)["version"]
    successor.call("track_progress", feature="draft a newsletter", status="in_progress", task_id=task)
    told = successor.call(
        "detect_drift", task_id=task, current_goal="draft a newsletter", in_progress=["draft a newsletter"]
    )["drift"]
    assert told["compared_with"] == f"checkpoint version {given}"
    assert (told["goal_drift"], told["planning_drift"], told["tool_drift"]) == (1.0, 1.0, None)
    assert told["severity"] == "critical"
    on_track = successor.call("detect_drift", task_id=task, current_goal="repair the sign-in that times out")
    assert on_track["drift"]["severity"] == "low"


def test_what_was_seen_counts_where_nothing_was_said(agent: Any, task: int) -> None:
    successor = agent.session()
    successor.call("restore_checkpoint", task_id=task)
    successor.runtime.append(
        ToolFinished(tool="Bash", summary="python send_mail.py --release"), session=successor.context.session
    )
    told = successor.call("detect_drift", task_id=task, current_goal="fix the login timeout")["drift"]
    assert told["constraint_drift"] == 0.7
    assert "send the release mail" in told["violations"][0]


def test_drift_lowers_the_confidence_of_the_next_checkpoint(agent: Any, task: int) -> None:
    before = agent.runtime.state.checkpoint_version(task).content.confidence
    assert before.drift_signals == 1.0
    agent.call("detect_drift", task_id=task, current_goal="draft a newsletter")
    agent.call("session_handoff", summary="moved on")
    after = agent.runtime.state.checkpoint_version(task).content.confidence
    assert after.drift_signals == 0.0
    assert after.total() == pytest.approx(
        0.25 * after.state_completeness
        + 0.25 * after.recency
        + 0.30 * after.verification_history
        + 0.20 * after.drift_signals,
        abs=0.001,
    )


def test_without_a_checkpoint_only_the_goal_is_compared(agent: Any) -> None:
    task = agent.call("create_task", name="t", goal="fix the login")["task_id"]
    told = agent.call("detect_drift", task_id=task, current_goal="fix login")["drift"]
    assert (told["composite"], told["compared_with"]) == (0.0, "the task's goal")


def test_continuity_compares_the_version_that_was_restored_with_the_latest(agent: Any, task: int) -> None:
    restored = agent.call("restore_checkpoint", task_id=task)["version"]
    agent.call("session_handoff", summary="done", completed=["raise the limit"], in_progress=["write docs"])
    agent.call("session_handoff", summary="docs next", in_progress=["write docs"], must_preserve=["logs"])
    told = agent.call("evaluate_continuity", task_id=task)
    assert (told["before_version"], told["after_version"]) == (restored, restored + 2)
    score = told["continuity_score"]
    assert score["goal_retention"] == score["action_consistency"] == score["failure_recall"] == 1.0
    assert score["working_set_stability"] is None and "files" in score["missing"]["working_set_stability"]
    assert score["composite"] is not None and score["composite"] > 0.9


def test_continuity_is_refused_where_there_is_nothing_to_compare(agent: Any) -> None:
    (bare,) = agent.runtime.append(TaskCreated(name="bare"), project=agent.context.project)
    assert "nothing to evaluate" in agent.refused("evaluate_continuity", task_id=bare)
    agent.call("session_handoff", summary="x", task_id=bare)
    assert "one checkpoint version" in agent.refused("evaluate_continuity", task_id=bare)
    agent.call("session_handoff", summary="y", task_id=bare)
    line = agent.refused("evaluate_continuity", task_id=bare, before_version=2, after_version=1)
    assert "is not before" in line
    assert "no checkpoint version 9" in agent.refused("evaluate_continuity", task_id=bare, after_version=9)


def test_an_evaluation_is_kept_with_its_execution(agent: Any) -> None:
    begun = agent.call("start_execution", goal="ship")
    for summary in ("one", "two"):
        agent.call("session_handoff", summary=summary, in_progress=["parser"])
    score = agent.call("evaluate_continuity", task_id=begun["task_id"])["continuity_score"]["composite"]
    told = agent.call("trace_execution", execution_id=begun["execution_id"])
    assert told["execution"]["continuity_score"] == score is not None


def test_a_recovery_that_knows_everything_scores_high_and_one_that_does_not_low(
    agent: Any, task: int
) -> None:
    good = agent.call(
        "score_recovery",
        task_id=task,
        goal="repair the login timeout",
        completed=["reproduced the timeout"],
        in_progress=["raise the limit"],
        must_not_redo=["send the release mail"],
        active_constraints=["keep the public API"],
    )["score"]
    assert good["recovery_confidence"] >= 0.95 and good["confidence_level"] == "high"
    assert (
        good["tool_behavior_stability"] is None
        and "tools_used" in good["details"]["missing"]["tool_behavior_stability"]
    )
    bad = agent.call(
        "score_recovery",
        task_id=task,
        goal="write a newsletter",
        completed=[],
        in_progress=["reproduced the timeout"],
        must_not_redo=[],
    )["score"]
    assert bad["recovery_confidence"] == 0.0 and bad["confidence_level"] == "low"
    assert "restore_checkpoint" in bad["recommendation"]


def test_nothing_is_scored_that_nobody_said(agent: Any, task: int) -> None:
    told = agent.call("score_recovery", task_id=task, goal="fix the login timeout")["score"]
    assert (told["goal_alignment"], told["recovery_confidence"], told["confidence_level"]) == (
        1.0,
        None,
        "unknown",
    )
    assert set(told["details"]["missing"]) == {
        "constraint_retention",
        "task_position_alignment",
        "tool_behavior_stability",
    }


def test_every_try_that_failed_lowers_the_trust_in_a_recovery(agent: Any, task: int) -> None:
    said = {"goal": "fix the login timeout", "must_not_redo": ["send the release mail", "public API"]}
    first = agent.call("score_recovery", task_id=task, **said)["score"]
    assert first["retry_degradation"] == 0.0
    again = agent.call("retry_task", task_id=task)["new_task_id"]
    second = agent.call("score_recovery", task_id=again, **said)["score"]
    assert second["retry_degradation"] == pytest.approx(0.2)
    assert second["recovery_confidence"] < first["recovery_confidence"]


def advice(agent: Any, task: int, **given: Any) -> dict[str, Any]:
    return dict(agent.call("recommend_recovery", task_id=task, **given))


@pytest.mark.parametrize(
    ("verdict", "reason", "mode"),
    [
        (Verdict(kind="overflow"), "overflow", "SELECTIVE"),
        (Verdict(kind="rate_limit"), "rate_limit", "SELECTIVE"),
        (Verdict(kind="oom"), "crash", "FULL"),
        (Verdict(kind="api_error"), "tool_failure", "SELECTIVE"),
    ],
)
def test_the_advice_follows_from_the_verdict_that_was_seen(
    agent: Any, task: int, verdict: Verdict, reason: str, mode: str
) -> None:
    end(agent, verdict)
    told = advice(agent.session(), task)
    assert (told["action"], told["memory_restore_mode"]) == ("restore_checkpoint", mode)
    assert told["observed"]["interruption_reason"] == reason
    assert told["observed"]["verdict"] == str(verdict)
    assert told["observed"]["checkpoint_version"] == 2
    assert 0 < told["confidence"] < 1


def test_what_is_said_of_the_interruption_goes_before_what_was_seen(agent: Any, task: int) -> None:
    end(agent, Verdict(kind="oom"))
    told = advice(agent.session(), task, interruption_reason="rate_limit", retry_count=2)
    assert told["observed"]["interruption_reason"] == "rate_limit"
    assert told["observed"]["unsuccessful_tries"] == 2
    more = advice(agent.session(), task, interruption_reason="rate_limit", retry_count=5)
    assert more["confidence"] == pytest.approx(told["confidence"] * 0.9**3, abs=0.01)


def test_the_same_failure_again_and_again_is_not_tried_once_more(agent: Any, task: int) -> None:
    for _ in range(3):
        agent.call("track_failure", error="lexer segfaults on unicode", component="lexer", task_id=task)
    assert "came back" in advice(agent, task)["reason"]
    for _ in range(3):
        task = agent.call("retry_task", task_id=task)["new_task_id"]
    told = advice(agent, task)
    assert (told["action"], told["recoverability"]) == ("abandon", "low")
    assert "lexer segfaults" in told["reason"]


def test_a_task_that_somebody_works_on_or_that_is_closed_needs_no_recovery(agent: Any, task: int) -> None:
    assert "two must not do it" in advice(agent.session(), task)["reason"]
    agent.call("update_task", task_id=task, status="done")
    told = advice(agent, task)
    assert (told["action"], told["memory_restore_mode"]) == ("show_summary", "NONE")


def test_without_a_checkpoint_there_is_only_a_fresh_start(agent: Any) -> None:
    (bare,) = agent.runtime.append(TaskCreated(name="bare"), project=agent.context.project)
    assert advice(agent, bare)["action"] == "start_fresh"


def test_old_checkpoints_are_trusted_less(agent: Any, task: int) -> None:
    end(agent, Verdict(kind="crashed", code=1))
    now = advice(agent.session(), task)["confidence"]
    from datetime import UTC, datetime, timedelta

    later = agent.session(clock=lambda: datetime.now(UTC) + timedelta(days=3))
    assert advice(later, task)["confidence"] < now


def test_judging_needs_no_writable_home(agent: Any, task: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from engram_runtime.errors import StoreDamaged

    agent.call("session_handoff", summary="second", in_progress=["x"])
    successor = agent.session()

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreDamaged("The journal is damaged.", hint="Run `engram recover`.")

    monkeypatch.setattr(agent.runtime, "append", refuse)
    assert successor.call("restore_checkpoint", task_id=task)["version"] == 3
    assert successor.call("detect_drift", task_id=task, current_goal="fix the login")["ok"]
    assert successor.call("evaluate_continuity", task_id=task)["ok"]
    assert successor.call("recommend_recovery", task_id=task)["ok"]
    assert "engram recover" in successor.refused("session_handoff", summary="x")
