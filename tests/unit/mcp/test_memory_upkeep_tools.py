from __future__ import annotations

from typing import Any

import pytest


def store(agent: Any, content: str, importance: float = 0.6) -> dict[str, Any]:
    answer: dict[str, Any] = agent.call("store_memory", content=content, importance=importance)
    return answer


def test_the_answer_of_a_store_says_what_became_of_what_was_known(agent: Any) -> None:
    old = store(agent, "The upload limit is 10 MB.")
    assert old["result"] == f"Stored as memory {old['memory_id']}."
    new = store(agent, "The upload limit is 25 MB.")
    assert (new["outcome"], new["superseded"]) == ("superseded", [old["memory_id"]])
    assert new["result"] == (
        f"Stored as memory {new['memory_id']} in place of memory {old['memory_id']} (10 became 25)."
    )
    again = store(agent, "the upload limit is 25 MB")
    assert (again["outcome"], again["memory_id"]) == ("reinforced", new["memory_id"])
    assert again["result"] == f"Known already: strengthened memory {new['memory_id']}."
    more = store(agent, "The upload limit is 25 MB for images and archives.")
    assert (more["outcome"], more["superseded"]) == ("merged", [new["memory_id"]])
    assert more["compared"] is True


def test_an_outdated_memory_is_recalled_below_its_successor_and_says_so(agent: Any) -> None:
    old = store(agent, "The upload limit is 10 MB.")["memory_id"]
    new = store(agent, "The upload limit is 25 MB.")["memory_id"]
    found = agent.call("recall_memory", query="upload limit")["memories"]
    assert [(entry["id"], entry.get("superseded_by")) for entry in found] == [(new, None), (old, new)]


def test_an_outcome_adjusts_what_was_recalled_under_the_id_the_agent_gave(agent: Any) -> None:
    number = store(agent, "The upload limit is 10 MB.", 0.5)["memory_id"]
    agent.call("recall_memory", query="upload limit", session_id="mine")
    told = agent.call("session_outcome", session_id="mine", outcome="failure", notes="went wrong")
    assert (told["session_id"], told["outcome"], told["memories_adjusted"]) == ("mine", "failure", 1)
    (entry,) = agent.call("recall_memory", query="upload limit")["memories"]
    assert (entry["id"], entry["importance"]) == (number, pytest.approx(0.45))
    unknown = agent.call("session_outcome", session_id="nobody", outcome="success")
    assert unknown["memories_adjusted"] == 0
    assert "no memory" in unknown["result"]


def test_an_outcome_adjusts_what_the_calling_session_recalled_by_itself(agent: Any) -> None:
    store(agent, "The upload limit is 10 MB.", 0.5)
    agent.call("recall_memory", query="upload limit")
    own = agent.context.session
    assert agent.call("session_outcome", session_id=own, outcome="success")["memories_adjusted"] == 1


def test_consolidation_answers_with_details_and_shows_in_the_figures(agent: Any) -> None:
    store(agent, "The upload limit is 10 MB.")
    assert agent.call("memory_stats")["last_maintenance"] is None
    told = agent.call("consolidate_memory")
    assert told["details"] == []
    assert "0 repetitions" in told["result"]
    stats = agent.call("memory_stats")
    assert stats["last_maintenance"] is not None
    assert {"stale", "pruned", "not_yet_compared", "edges", "embedder_note"} <= set(stats["index"])
