from __future__ import annotations

import pytest

from engram_runtime.errors import UsageError
from engram_runtime.memory import Memory, lexical
from engram_runtime.memory.lexical import MOST_TERMS, query_terms
from engram_runtime.memory.stemming import stem
from engram_runtime.memory.words import sub_words, terms


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


def test_a_query_of_frequent_words_looks_at_few_rows(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "MOST_POSTINGS", 20)
    for number in range(60):
        memory.store(f"The service number {number} runs.", importance=0.5)
    rare = memory.store("Only the billing service is paged.", importance=0.5).memory
    assert memory.recall("billing service", k=50).hits[0].memory.id == rare
    assert len(memory.recall("billing service", k=50).hits) < 10
    assert len(memory.recall("service", k=50).hits) == 50


def test_the_lexicon_counts_the_memories_that_hold_a_term(memory: Memory) -> None:
    memory.store("The queue is drained, and drained again.", importance=0.5)
    changed = memory.store("The queue is full.", importance=0.5).memory
    with memory._index.connection() as connection:
        assert lexical.total(connection) == 2
        assert lexical.frequencies(connection, ["queue", "drain", "full", "nothing"]) == {
            **{"queue": 2, "drain": 1},
            **{"full": 1, "nothing": 0},
        }
        memory.update(changed, "The pipe is empty.")
        assert lexical.frequencies(connection, ["queue", "full", "pipe"]) == {
            "queue": 1,
            "full": 0,
            "pipe": 1,
        }
    assert contents(memory, "full") == []
    assert contents(memory, "pipe") == ["The pipe is empty."]


def test_every_term_is_a_quoted_phrase() -> None:
    assert lexical.expression(["near", 'a"b']) == '"near" OR "a""b"'


@pytest.mark.parametrize(
    ("content", "queries"),
    [
        ("数据库连接失败，已重试三次", ["数据库", "连接失败", "重试", "库"]),
        ("データベースの接続エラーは再起動で直る", ["データベース", "接続エラー", "再起動"]),
        ("ไม่สามารถเชื่อมต่อฐานข้อมูล", ["เชื่อมต่อ", "ฐานข้อมูล"]),
        ("डेटाबेस कनेक्शन विफल", ["डेटाबेस", "कनेक्शन"]),
        ("Die Größe der Warteschlange ist 40", ["GRÖSSE", "warteschlange"]),
        ("Le café naïf", ["cafe", "naïf"]),
        ("Соединение с базой разорвано", ["соединение", "БАЗОЙ"]),
    ],
)
def test_text_in_other_languages_is_found_by_its_words(
    memory: Memory, content: str, queries: list[str]
) -> None:
    memory.store(content, importance=0.5)
    memory.store("The cheese is in the fridge 冰箱.", importance=0.5)
    for query in queries:
        assert contents(memory, query) == [content], query


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("RefundRepo.claim_next takes the lock.", "claimNext"),
        ("Set maxPoolSize to 40.", "max_pool_size"),
        ("ledgerly_test_gw2 is made by conftest.", "gw2"),
        ("It ended with ECONNRESET in src/net/proxy.py.", "net/proxy"),
        ("TS2345 comes from the old types.", "ts2345"),
        ("MissingGreenlet comes from a lazy load.", "greenlet"),
    ],
)
def test_identifiers_are_found_by_their_parts_and_in_other_spellings(
    memory: Memory, content: str, query: str
) -> None:
    memory.store(content, importance=0.5)
    memory.store("The cheese is in the fridge.", importance=0.5)
    assert contents(memory, query) == [content]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("hopping", "hop"),
        ("hoping", "hope"),
        ("relational", "relat"),
        ("generalizations", "gener"),
        ("agreed", "agre"),
        ("controlling", "control"),
        ("sky", "sky"),
        ("as", "as"),
        ("utf8", "utf8"),
    ],
)
def test_words_are_stemmed_as_porter_does(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_all_spellings_of_a_name_share_a_term() -> None:
    assert set(terms("create_app")) & set(terms("createApp")) >= {"createapp", "creat", "app"}
