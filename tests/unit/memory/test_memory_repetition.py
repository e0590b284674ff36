from __future__ import annotations

import json
from pathlib import Path

import pytest

from engram_runtime.memory import Memory
from engram_runtime.memory.dedup import judge, normalised
from tests.unit.memory.list_journal import ListJournal

PAIRS = json.loads((Path(__file__).parents[2] / "data" / "dedup_pairs.json").read_text())["pairs"]
WANTED = {
    "same": {"same"},
    "update": {"changed", "opposite"},
    "contradiction": {"changed", "opposite"},
    "similar": {"distinct"},
}


@pytest.mark.parametrize("pooling", [0, 1], ids=["by rarity", "mean"])
def test_pairs_written_before_the_rules_get_the_right_action(pooling: int) -> None:
    found = [(pair, judge(pair["a"], pair["b"], pair["cosine"][pooling]).relation) for pair in PAIRS]
    wrong = [(pair["label"], said) for pair, said in found if said not in WANTED[pair["label"]]]
    assert len(wrong) <= 3, wrong
    # What must never happen: a new value taken for a repetition, or distinct facts for one.
    assert not [label for label, said in wrong if label == "similar" or said == "same"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The API server listens on port 8080.", "API server listens on port 8080"),
        ("Tests live in tests/unit", "The tests live in tests/unit."),
        ("Deploys happen on Fridays", "deploy happens on Fridays"),
        ("The cache lives for 90 seconds", "The cache lives for 90s"),
        ("Never push to main", "Do not push to main"),
    ],
)
def test_articles_endings_units_and_marks_make_no_difference(one: str, other: str) -> None:
    assert judge(one, other, 0.95).relation == "same" or one.rstrip(".!") == other.rstrip(".!")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It talks to Stripe", "It does not talk to Stripe"),
        ("The port is 8080", "The port is 9090"),
        ("Run lint before tests", "Run lint after tests"),
        ("Flags are enabled in staging", "Flags are disabled in staging"),
        ("The server calls the client", "The client calls the server"),
        ("Use get_user here", "Use get_users here"),
        ("Check a == b", "Check a != b"),
        ("Anonymous users are limited", "Paid users are limited"),
        ("Version 1.2 is out", "Version 12 is out"),
        ("Pass -1 as the limit", "Pass 1 as the limit"),
        ("Call _close at the end", "Call close at the end"),
        ("The retry limit is 5 minutes", "The retry limit is 5 hours"),
        ("What is the port of Redis?", "What is the port of Redis in staging?"),
        ("[2 May] Ann: The port is open", "[3 May] Ann: The port is open"),
    ],
)
def test_a_difference_in_substance_is_never_a_repetition(one: str, other: str) -> None:
    assert judge(one, other, 0.99).relation != "same"
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Access keys expire after 15 minutes.", "Signing keys expire after 30 days."),
        ("The client retries on 503.", "The client retries on 429."),
        ("Tom maintains the parser.", "Tom maintains the scheduler."),
        ("Deploying to staging needs no approval.", "Deploying to production needs an approval."),
        ("The importer is slow.", "The importer is written in Go."),
        ("Postgres runs on port 5432 in staging.", "Postgres runs on port 5433 in production."),
        ("The replica count is 2 in eu-west.", "The replica count is 5 in us-east."),
        ("CI uses Python 3.10 on Windows.", "CI uses Python 3.12 on Linux."),
        ("The limit is 100 requests for free accounts.", "The limit is 1000 requests for paid accounts."),
        ("Retries are limited to 3 in the payment service.", "Retries are limited to 5 in the mail service."),
    ],
)
def test_facts_that_merely_look_alike_are_both_kept(one: str, other: str) -> None:
    assert judge(one, other, 0.85).relation == "distinct"


def test_a_note_that_opens_with_a_change_outdates_what_it_names() -> None:
    older = "Workers: WORKER_SLOTS=4, queue prefix jobs, heartbeat every 30 s."
    newer = "WORKER_SLOTS is 9 from now on; the box got more memory. Heartbeat untouched."
    assert judge(older, newer, 0.6).relation == "changed"
    story = "The import hung: WORKER_SLOTS were all taken by one tenant. The queue is now fair."
    assert judge(older, story, 0.6).relation == "distinct"


def test_storing_a_text_twice_strengthens_the_first(memory: Memory, journal: ListJournal) -> None:
    first = memory.store("The API server listens on port 8080.", importance=0.5)
    again = memory.store("  the API server  listens on port 8080 ", importance=0.8)
    assert (again.outcome, again.memory) == ("reinforced", first.memory)
    (row,) = memory.rows()
    assert (row.recalls, row.importance) == (1, 0.8)
    assert row.content == "The API server listens on port 8080."


def test_a_contradiction_takes_the_place_of_what_it_contradicts_which_stays(memory: Memory) -> None:
    old = memory.store("The service talks to Stripe.", importance=0.5).memory
    new = memory.store("The service does not talk to Stripe.", importance=0.5)
    assert (new.outcome, new.superseded) == ("superseded", (old,))
    row = memory.row(old)
    assert row is not None
    assert (row.superseded_by, row.content) == (new.memory, "The service talks to Stripe.")
    assert "negation" in row.superseded_why
    order = [hit.memory.id for hit in memory.recall("does the service talk to Stripe").hits]
    assert order == [new.memory, old]


def test_what_was_superseded_and_is_said_again_is_new(memory: Memory) -> None:
    old = memory.store("The retention is 14 days.", importance=0.5).memory
    new = memory.store("The retention is 90 days.", importance=0.5)
    again = memory.store("The retention is 14 days.", importance=0.5)
    assert (new.superseded, again.superseded) == ((old,), (new.memory,))
    assert {row.id: row.superseded_by for row in memory.rows()} == {
        old: new.memory,
        new.memory: again.memory,
        again.memory: None,
    }


def test_another_users_or_scopes_equal_text_is_no_repetition(memory: Memory) -> None:
    memory.store("Sign the commits.", importance=0.5)
    assert memory.store("Sign the commits.", importance=0.5, user="ann").outcome == "stored"
    assert memory.store("Sign the commits.", importance=0.5, scope="global").outcome == "stored"


def test_a_project_outdates_no_global_memory_and_no_other_users(memory: Memory) -> None:
    memory.store("The line length is 100.", importance=0.5, scope="global")
    memory.store("The line length is 90.", importance=0.5, user="ann")
    assert memory.store("The line length is 110.", importance=0.5).outcome == "stored"
    assert all(row.superseded_by is None for row in memory.rows())


def test_an_observation_outdates_only_observations(memory: Memory) -> None:
    said = memory.store("The build takes 12 minutes.", importance=0.5).memory
    seen = memory.store("The build takes 14 minutes.", importance=0.3, source="observed").memory
    assert memory.store("The build takes 15 minutes.", importance=0.3, source="observed").superseded == (
        seen,
    )
    assert memory.row(said).superseded_by is None  # type: ignore[union-attr]
