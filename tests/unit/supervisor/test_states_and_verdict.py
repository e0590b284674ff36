"""Moves of a session's state, and the exit codes of `engram run`."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from engram_runtime.journal.records import Verdict
from engram_tui.supervisor.states import MOVES, SessionState, State
from engram_tui.supervisor.verdict import REASON_OF_VERDICT, exit_code
from engram_tui.watch.observations import Exited

STATES: tuple[State, ...] = get_args(State)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(STATES, STATES)))
def test_only_the_drawn_moves_happen(one: State, other: State) -> None:
    state = SessionState(0, 0)
    state.state = one
    assert state.move(other, 1.0, 2.0) is (other in MOVES[one])
    assert state.state == (other if other in MOVES[one] else one)


def test_an_unknown_state_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no such state"):
        SessionState(0, 0).move("asleep", 0, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exited", "kind", "hides", "strict", "code"),
    [
        (Exited(code=0), "finished", False, False, 0),
        (Exited(code=3), "crashed", False, False, 3),
        (Exited(code=3), "crashed", False, True, 70),
        (Exited(signal=9), "killed", False, False, 137),
        (Exited(signal=9), "killed", True, True, 137),
        (Exited(code=0), "auth", True, False, 73),
        (Exited(code=0), "overflow", True, False, 71),
        (Exited(code=1), "rate_limit", False, False, 1),
        (Exited(code=1), "rate_limit", False, True, 72),
        (Exited(code=0), "finished", True, True, 0),
    ],
)
def test_exit_codes_are_the_agents_unless_they_hide_a_failure(
    exited: Exited, kind: str, hides: bool, strict: bool, code: int
) -> None:
    verdict = Verdict(kind=kind)  # type: ignore[arg-type]
    assert exit_code(exited, verdict, hides_failures=hides, strict=strict) == code


def test_every_verdict_has_a_checkpoint_reason() -> None:
    from engram_runtime.journal.records import VerdictKind

    assert set(REASON_OF_VERDICT) == set(get_args(VerdictKind))
