from __future__ import annotations

import pytest

from engram_runtime.errors import UsageError
from engram_runtime.memory import Memory, lexical
from engram_runtime.memory.lexical import MOST_TERMS, index_text, query_terms, sub_words


def contents(memory: Memory, query: str, **more: object) -> list[str]:
    return [hit.memory.content for hit in memory.recall(query, **more).hits]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("getUserById", ["get", "user", "by", "id"]),
        ("HTTPServerConfig", ["http", "server", "config"]),
        ("py311", ["py", "311"]),
        ("plain", []),
        ("PLAIN", []),
    ],
)
def test_a_compound_word_has_its_parts(word: str, parts: list[str]) -> None:
    assert sub_words(word) == parts


def test_a_part_of_a_camel_case_identifier_finds_the_memory(memory: Memory) -> None:
    memory.store("HTTPServerConfig is read before anything else.", importance=0.5)
    memory.store("The queue is drained at night.", importance=0.5)
    assert contents(memory, "where is the config?") == ["HTTPServerConfig is read before anything else."]


def test_inflection_paths_and_snake_case_are_found_by_their_words(memory: Memory) -> None:
    memory.store("Retries are configured in app/user_service.py.", importance=0.5)
    for query in ("retry", "configuring", "user_service.py", "service", "app/user_service"):
        assert contents(memory, query), query


@pytest.mark.parametrize(
    "query",
    [
        'say "cheese',
        "cheese AND",
        "NEAR(cheese",
        "cheese.bar",
        "C++ cheese",
        "cheese-service",
        "content:cheese",
        "cheese*",
        "^cheese",
        "{cheese} - (",
        "cheese\x00tail",
        "cheese \ud800",
        "' OR 1=1 --  cheese",
        "🧀 cheese 🧀",
    ],
)
def test_operators_and_odd_characters_in_a_query_are_only_text(memory: Memory, query: str) -> None:
    memory.store("The cheese is in the fridge.", importance=0.5)
    assert contents(memory, query) == ["The cheese is in the fridge."]


def test_a_query_of_emoji_finds_nothing_and_does_not_fail(memory: Memory) -> None:
    memory.store("The cheese is in the fridge.", importance=0.5)
    assert memory.recall("🧀🧀").hits == ()


@pytest.mark.parametrize("query", ["", "  \n\t"])
def test_an_empty_query_is_an_error_that_says_so(memory: Memory, query: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        memory.recall(query)


def test_a_query_of_a_megabyte_is_answered_in_time_by_its_ends(memory: Memory) -> None:
    memory.store("MissingGreenlet comes from a lazy load.", importance=0.5)
    padding = " ".join(f"line{number}" for number in range(120_000))
    answer = memory.recall(f"{padding} MissingGreenlet")
    assert len(padding) > 1_000_000
    assert [hit.memory.id for hit in answer.hits] == [1]
    assert answer.took_ms < 2000


def test_of_a_long_query_the_two_ends_are_kept() -> None:
    terms = query_terms(" ".join(f"w{number}x" for number in range(1000)))
    assert len(terms) == MOST_TERMS
    assert terms[0] == "w0x"
    assert "w999x" in terms[-4:]


def test_with_few_memories_the_one_that_holds_more_of_the_query_comes_first(memory: Memory) -> None:
    memory.store("Redis is restarted at night.", importance=0.5)
    both = memory.store("Redis runs on port 6380.", importance=0.5).memory
    memory.store("The Redis password is rotated.", importance=0.5)
    hits = memory.recall("redis port").hits
    assert hits[0].memory.id == both
    assert hits[0].score > hits[1].score > 0


def test_stop_words_alone_find_nothing(memory: Memory) -> None:
    memory.store("It is what it is, and that is that.", importance=0.5)
    assert memory.recall("what is it and why").hits == ()


def test_a_frequent_word_is_dropped_when_a_rarer_one_is_there(memory: Memory) -> None:
    for number in range(lexical.FREQUENT_FROM + 1):
        memory.store(f"The service number {number} runs.", importance=0.5)
    rare = memory.store("Only the billing service is paged.", importance=0.5).memory
    assert [hit.memory.id for hit in memory.recall("billing service", k=50).hits] == [rare]
    assert len(memory.recall("service", k=50).hits) == 50


def test_every_term_is_a_quoted_phrase() -> None:
    assert lexical.expression(["near", 'a"b']) == '"near" OR "a""b"'


def test_index_text_leaves_plain_text_alone() -> None:
    assert index_text("nothing special here") == "nothing special here"
