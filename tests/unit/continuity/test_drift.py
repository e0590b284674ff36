"""Drift: what was to be done against what is said and seen to be done."""

from __future__ import annotations

import pytest

from engram_runtime.continuity.drift import (
    Doing,
    Drift,
    Reference,
    forbids,
    measure,
    reference_of,
    severity_of,
    tool_drift,
)
from engram_runtime.journal.records import Checkpoint, Item, Prohibition, WorkingSet

CONTENT = Checkpoint(
    goal="fix the login timeout",
    completed=(Item(text="reproduce the timeout in a test"),),
    in_progress=(Item(text="raise the session limit in auth.py"),),
    preferred_next=(Item(text="document the new limit"),),
    must_not_redo=(Prohibition(action="send the release mail"), Prohibition(action="run `make deploy`")),
    working_set=WorkingSet(files=("src/auth.py",), tools=("Bash", "Edit", "Read")),
)
REFERENCE = reference_of(CONTENT)


def said(goal: str = "repair the sign-in that times out", **more: object) -> Drift:
    return measure(REFERENCE, Doing(goal=goal, **more))  # type: ignore[arg-type]


def test_the_same_goal_in_other_words_is_no_drift() -> None:
    drift = said(
        tools=("execute_bash", "str_replace_editor"), plan=("raising the session limit",), actions=("edit",)
    )
    assert (drift.goal_drift, drift.tool_drift, drift.planning_drift, drift.constraint_drift) == (0, 0, 0, 0)
    assert (drift.composite, drift.severity, drift.unknown) == (0.0, "low", ())


def test_another_goal_is_critical_whatever_else_is_as_it_was() -> None:
    drift = said("write the billing docs", tools=("Bash",), actions=("nothing forbidden",))
    assert drift.goal_drift == 1.0
    assert drift.composite == pytest.approx(0.8)
    assert drift.severity == "critical"
    assert "create_task" in drift.recommendation


def test_a_step_of_the_plan_is_not_another_goal() -> None:
    assert said("document the new limit").goal_drift == 0


def test_what_nothing_tells_of_is_not_scored() -> None:
    drift = measure(Reference(goal=""), Doing(goal="anything"))
    assert (drift.composite, drift.severity) == (None, "unknown")
    assert set(drift.unknown) == {"goal_drift", "tool_drift", "planning_drift", "constraint_drift"}
    assert said().unknown == ("tool_drift", "planning_drift", "constraint_drift")


def test_a_prohibition_that_was_broken_is_named_and_weighs_most() -> None:
    drift = said(actions=("sent the release mail to all customers",))
    assert drift.constraint_drift == pytest.approx(0.7)
    assert drift.composite == pytest.approx(0.7)
    assert drift.severity == "critical"
    assert "send the release mail" in drift.violations[0] and "Stop" in drift.recommendation
    both = said(actions=("sent the release mail", "make deploy"), violated=("no work on Friday",))
    assert len(both.violations) == 3 and both.composite == pytest.approx(0.973)


def test_looking_at_something_forbidden_does_not_break_the_prohibition() -> None:
    assert not forbids(Prohibition(action="send the release mail"), "list open release notes")
    assert forbids(Prohibition(action="run `make deploy`"), "cd app && make deploy")
    assert not forbids(Prohibition(action="deploy"), "write the deploy docs")


def test_tools_are_compared_by_kind_since_agents_name_them_differently() -> None:
    assert tool_drift(("Bash", "Edit", "Read"), ("execute_bash", "str_replace_editor", "Grep")) == 0
    assert tool_drift(("Read", "Grep"), ("Bash", "Write")) == 1.0
    assert tool_drift(("Bash",), ("mcp__mail__send", "Bash")) == 0.5
    assert tool_drift((), ("Bash",)) is None
    assert measure(REFERENCE, Doing(tools=("WebFetch",))).composite == pytest.approx(0.3)


def test_an_unseen_goal_is_judged_by_a_plan_that_shares_no_word_with_the_work() -> None:
    away = measure(REFERENCE, Doing(plan=("Draft the quarterly newsletter", "Pick newsletter photos")))
    assert (away.goal_drift, away.planning_drift) == (1.0, 1.0)
    assert away.composite is not None and away.composite >= 0.7
    near = measure(REFERENCE, Doing(plan=("Check auth.py again", "raise the session limit")))
    assert near.goal_drift == 0 and near.composite is not None and near.composite < 0.4
    little = measure(Reference(goal="fix it"), Doing(plan=("Draft the newsletter",)))
    assert little.composite is None


@pytest.mark.parametrize(
    ("composite", "word"),
    [(None, "unknown"), (0.0, "low"), (0.2, "medium"), (0.4, "high"), (0.7, "critical"), (1.0, "critical")],
)
def test_severity_has_mcp_engrams_levels(composite: float | None, word: str) -> None:
    assert severity_of(composite) == word
