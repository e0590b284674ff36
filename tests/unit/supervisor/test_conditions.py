"""Conditions in words: what happened, and what Engram did about it."""

from __future__ import annotations

from datetime import datetime

import pytest

from engram_tui.messages import CheckpointLine
from engram_tui.panes.status import condition_text
from engram_tui.supervisor.status import condition

RAISED = datetime.fromisoformat("2026-11-22T12:06:23.050Z").timestamp()


def checkpoint(at: str) -> CheckpointLine:
    return CheckpointLine(id=5, task=1, version=2, reason="LIMIT", at=at, confidence=0.8, changed_files=1)


@pytest.mark.parametrize(
    "at", ["2026-11-22T12:06:23.190000Z", "2026-11-22T12:06:24Z", "2026-11-22T13:06:24+01:00"]
)
def test_a_checkpoint_written_since_a_condition_is_said_whatever_the_precision_of_its_time(at: str) -> None:
    assert condition("rate_limit", RAISED, "", checkpoint(at)).done == "checkpoint v2 durable"


@pytest.mark.parametrize("at", ["2026-11-22T12:06:23.049000Z", "2026-11-22T12:06:22Z"])
def test_an_older_checkpoint_is_no_answer_to_a_condition(at: str) -> None:
    assert condition("rate_limit", RAISED, "", checkpoint(at)).done == ""


def test_what_engram_did_is_said_before_the_long_words_of_the_api() -> None:
    found = condition(
        "overloaded", RAISED, "529 overloaded_error, request req_1", checkpoint("2026-11-22T12:06:24Z")
    )
    said = condition_text(found)
    assert said.index("checkpoint v2 durable") < said.index("529")
