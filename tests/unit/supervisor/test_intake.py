"""Each fact is recorded once, whichever channel told it first, and the live state follows."""

from __future__ import annotations

import time

from engram_runtime.journal import events as ev
from engram_tui.supervisor.intake import Intake, Live
from engram_tui.supervisor.states import SessionState
from engram_tui.watch import observations as ob


def intake() -> tuple[Intake, list[ev.Event], list[ob.Observation]]:
    """An intake, what it posted, what it thought worth a look."""
    posted: list[ev.Event] = []
    moments: list[ob.Observation] = []
    return Intake(Live(SessionState(0, 0)), lambda *e: posted.extend(e), moments.append), posted, moments


def test_a_tool_call_told_by_hook_and_transcript_is_recorded_once() -> None:
    taker, posted, _ = intake()
    taker.take(
        (
            ob.ToolBegan(tool="Bash", call_id="t1"),
            ob.ToolBegan(tool="Bash", call_id="t1", channel="transcript"),
        )
    )
    taker.take(
        (
            ob.ToolEnded(tool="Bash", call_id="t1", channel="transcript"),
            ob.ToolEnded(tool="Bash", call_id="t1"),
        )
    )
    assert [e.kind for e in posted] == ["ToolStarted", "ToolFinished"]
    assert not taker.live.running


def test_the_same_prompt_twice_by_the_user_counts_twice() -> None:
    taker, posted, _ = intake()
    for channel in ("hook", "transcript", "hook", "transcript"):
        taker.take((ob.Prompted(text="go  on", channel=channel),))  # type: ignore[arg-type]
    assert [e.kind for e in posted] == ["PromptSubmitted", "PromptSubmitted"]
    assert taker.live.prompts == 2


def test_the_prompt_engram_submits_on_resume_is_not_recorded_as_the_users() -> None:
    posted: list[ev.Event] = []
    taker = Intake(
        Live(SessionState(0, 0)), lambda *e: posted.extend(e), lambda _: None, own_prompt="Go on with it"
    )
    told = ("Go on  with it", "now the tests", "Go on with it")
    for text in told:
        taker.take((ob.Prompted(text=text), ob.Prompted(text=text, channel="transcript")))
    assert [(e.text, e.by) for e in posted if isinstance(e, ev.PromptSubmitted)] == [
        (told[0], "engram"),
        (told[1], "user"),
        (told[2], "user"),
    ]


def test_a_resumed_session_that_begins_with_the_users_own_words_has_no_prompt_of_engram() -> None:
    posted: list[ev.Event] = []
    taker = Intake(
        Live(SessionState(0, 0)), lambda *e: posted.extend(e), lambda _: None, own_prompt="Go on with it"
    )
    taker.take((ob.Prompted(text="first the tests"), ob.Prompted(text="Go on with it")))
    assert [e.by for e in posted if isinstance(e, ev.PromptSubmitted)] == ["user", "user"]


def test_a_late_transcript_does_not_bring_a_finished_call_back_to_life() -> None:
    taker, _, _ = intake()
    taker.take((ob.ToolEnded(tool="Bash", call_id="t1"), ob.ToolBegan(tool="Bash", call_id="t1")))
    assert not taker.live.running


def test_a_condition_is_raised_once_and_cleared_by_a_turn_that_went_well() -> None:
    taker, posted, _ = intake()
    failed = ob.TurnFailed(condition="rate_limit", text="429")
    taker.take((failed, failed))
    assert taker.live.state.state == "limited"
    taker.take((ob.TurnEnded(text="well"),))
    assert [e.kind for e in posted] == ["ConditionRaised", "ConditionCleared", "TurnFinished"]
    assert taker.live.last_failure is None
    assert taker.live.state.state == "idle"


def test_turns_told_late_by_the_transcript_bring_no_condition_back() -> None:
    taker, posted, moments = intake()
    failed, well = ob.TurnFailed(condition="rate_limit", text="429"), ob.TurnEnded(text="well")
    taker.take((failed, well))
    told_late = (
        ob.TurnFailed(condition="rate_limit", text="API Error: 429", channel="transcript"),
        ob.TurnEnded(text=" well", channel="transcript"),
    )
    taker.take(told_late)
    assert [e.kind for e in posted] == ["ConditionRaised", "ConditionCleared", "TurnFinished"]
    assert (taker.live.turns, taker.live.last_failure, len(moments)) == (1, None, 2)
    taker.take(told_late)
    assert [e.kind for e in posted[3:]] == ["ConditionRaised", "ConditionCleared", "TurnFinished"]


def test_a_turn_the_user_broke_off_is_over_and_was_not_finished() -> None:
    taker, posted, _ = intake()
    taker.take((ob.Prompted(text="go"), ob.ToolBegan(tool="Bash", call_id="t1"), ob.TurnInterrupted()))
    assert [e.kind for e in posted] == ["PromptSubmitted", "ToolStarted", "TurnFinished"]
    assert (taker.live.running, taker.live.turns, taker.live.state.state) == ({}, 0, "idle")


def test_context_is_recorded_when_it_moved_by_a_percent() -> None:
    taker, posted, _ = intake()
    for used in (1000, 1500, 2500, 4000):
        taker.take((ob.ContextSeen(used=used, window=200_000),))
    assert [e.fill.used for e in posted if isinstance(e, ev.ContextMeasured)] == [1000, 4000]


def test_what_the_journal_knows_is_not_recorded_again() -> None:
    taker, posted, _ = intake()
    taker.known(prompts=["fix it"], began=["t1"], ended=[])
    taker.take(
        (
            ob.Prompted(text="fix it", channel="transcript"),
            ob.ToolBegan(tool="Bash", call_id="t1", channel="transcript"),
            ob.ToolEnded(tool="Bash", call_id="t1", channel="transcript"),
        )
    )
    assert [e.kind for e in posted] == ["ToolFinished"]


def test_an_end_is_never_undone() -> None:
    taker, _, _ = intake()
    taker.move("stopping")
    taker.take((ob.Prompted(text="more"),))
    assert taker.live.state.state == "stopping"


def test_a_text_cut_in_the_middle_of_an_emoji_still_reaches_journal_and_screen() -> None:
    taker, posted, moments = intake()
    taker.take((ob.ToolBegan(tool="Bash", call_id="t1", summary="echo half_an_emoji \ud83d"),))
    (event,) = posted
    assert isinstance(event, ev.ToolStarted)
    assert event.summary == "echo half_an_emoji ?"
    assert moments == [ob.ToolBegan(tool="Bash", call_id="t1", summary="echo half_an_emoji ?")]


def test_life_after_a_stall_clears_it() -> None:
    taker, posted, _ = intake()
    taker.take((ob.Prompted(text="go"),))
    assert taker.stalled("nothing was heard of it")
    assert not taker.stalled("again")
    taker.revived()
    assert taker.live.state.state == "busy"
    assert [e.kind for e in posted][1:] == ["ConditionRaised", "ConditionCleared"]


def test_a_late_word_of_an_earlier_answer_does_not_clear_a_refusal() -> None:
    taker, _, _ = intake()
    taker.take((ob.TurnFailed(condition="rate_limit", text="429"),))
    taker.take((ob.ContextSeen(used=1000, channel="transcript", at=time.time() - 5),))
    assert "rate_limit" in taker.live.conditions and taker.live.last_failure is not None
    taker.take((ob.ToolBegan(tool="Bash", call_id="t9"),))
    assert not taker.live.conditions and taker.live.last_failure is None
