from __future__ import annotations

import pytest

from engram_runtime.memory import Memory
from engram_runtime.memory.dedup import normalised, says_the_same
from tests.unit.memory.list_journal import ListJournal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The API server listens on port 8080.", "API server listens on port 8080"),
        ("Tests live in tests/unit", "The tests live in tests/unit!"),
        ("Deploys happen on Fridays", "deploy happens on Fridays"),
    ],
)
def test_articles_endings_and_marks_make_no_difference(one: str, other: str) -> None:
    assert says_the_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It talks to Stripe", "It does not talk to Stripe"),
        ("The port is 8080", "The port is 9090"),
        ("Run lint before tests", "Run lint after tests"),
        ("Flags are enabled in staging", "Flags are disabled in staging"),
        ("The server calls the client", "The client calls the server"),
        ("Use get_user here", "Use get_users here"),
        ("Set DEBUG in dev", "Set debug in dev"),
        ("Check a == b", "Check a != b"),
        ("Anonymous users are limited", "Paid users are limited"),
        ("Version 1.2 is out", "Version 12 is out"),
        ("Pass -1 as the limit", "Pass 1 as the limit"),
        ("Call _close at the end", "Call close at the end"),
    ],
)
def test_a_difference_in_substance_is_never_a_repetition(one: str, other: str) -> None:
    assert not says_the_same(one, other)
    assert normalised(one) != normalised(other)


def test_storing_a_text_twice_strengthens_the_first(memory: Memory, journal: ListJournal) -> None:
    first = memory.store("The API server listens on port 8080.", importance=0.5)
    again = memory.store("  the API server  listens on port 8080 ", importance=0.8)
    assert (again.outcome, again.memory) == ("reinforced", first.memory)
    (row,) = memory.rows()
    assert (row.recalls, row.importance) == (1, 0.8)
    assert row.content == "The API server listens on port 8080."


def test_a_contradiction_is_stored_beside_what_it_contradicts(memory: Memory) -> None:
    memory.store("The service talks to Stripe.", importance=0.5)
    assert memory.store("The service does not talk to Stripe.", importance=0.5).outcome == "stored"
    assert len(memory.rows()) == 2


def test_what_was_superseded_and_is_said_again_is_new(memory: Memory, journal: ListJournal) -> None:
    from engram_runtime.journal.events import MemorySuperseded

    old = memory.store("The default branch is main.", importance=0.5).memory
    new = memory.store("The default branch is trunk.", importance=0.5).memory
    journal.append(MemorySuperseded(memory=old, by=new))
    assert memory.store("The default branch is main.", importance=0.5).outcome == "stored"


def test_another_users_or_scopes_equal_text_is_no_repetition(memory: Memory) -> None:
    memory.store("Sign the commits.", importance=0.5)
    assert memory.store("Sign the commits.", importance=0.5, user="ann").outcome == "stored"
    assert memory.store("Sign the commits.", importance=0.5, scope="global").outcome == "stored"
