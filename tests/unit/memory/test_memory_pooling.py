from __future__ import annotations

import numpy
import pytest

from engram_runtime.memory import pooling
from engram_runtime.memory.pooling import QueryTokens

THE, RARE = 1996, 20_000


def some_tokens(count: int, seed: int = 3) -> pooling.Tokens:
    return numpy.random.default_rng(seed).normal(size=(count, 384)).astype(numpy.float32)


def ids(*pieces: int) -> pooling.Ids:
    return numpy.array(pieces, numpy.int32)


def cosine(one: pooling.Tokens, other: pooling.Tokens) -> float:
    return float(one @ other / numpy.linalg.norm(one) / numpy.linalg.norm(other))


def test_a_rare_token_moves_the_vector_more_than_a_frequent_one() -> None:
    tokens = some_tokens(2)
    vector = pooling.sentence_vector(tokens, ids(THE, RARE))
    assert cosine(vector, tokens[1]) > 0.99
    assert numpy.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert vector.dtype == numpy.float32


def test_rarity_grows_along_the_vocabulary() -> None:
    rarity = pooling.rarity()
    assert rarity[THE] < 0.1 < rarity[THE + 100] < rarity[THE + 10_000] < 10


def test_the_speaker_is_left_out_unless_nothing_else_is_there() -> None:
    tokens = some_tokens(3)
    pieces = ids(RARE, RARE + 1, RARE + 2)
    assert numpy.allclose(
        pooling.sentence_vector(tokens, pieces, 2), pooling.sentence_vector(tokens[2:], pieces[2:])
    )
    assert numpy.allclose(pooling.sentence_vector(tokens, pieces, 3), pooling.sentence_vector(tokens, pieces))


def test_no_token_gives_a_vector_of_zeros_and_no_codes() -> None:
    nothing = some_tokens(0)
    assert not pooling.sentence_vector(nothing, ids()).any()
    assert pooling.token_codes(nothing, ids()) == b""


def test_the_text_that_is_embedded_has_no_date_and_names_its_speaker_as_prefix() -> None:
    assert pooling.embedded_text("[8 May, 2023] Caroline: I went out") == (
        "Caroline: I went out",
        "Caroline:",
    )
    assert pooling.embedded_text("Progress: half of it") == ("Progress: half of it", "")
    assert pooling.embedded_text("[8 May, 2023] ") == ("[8 May, 2023] ", "")


def test_codes_keep_what_is_near_near() -> None:
    tokens = some_tokens(40) @ pooling.projection() @ pooling.projection().T
    pieces = ids(*range(RARE, RARE + 40))
    codes = pooling.token_codes(tokens, pieces)
    assert len(codes) == 40 * pooling.CODE_SIZE
    rows = pooling.code_rows(codes)
    lengths = numpy.linalg.norm(rows, axis=1)
    near = (rows * pooling.projected(tokens)).sum(axis=1) / lengths
    assert near.min() > 0.995


def test_frequent_words_and_signs_keep_no_code_and_long_texts_are_cut() -> None:
    comma, letter = 1010, 1037
    assert len(pooling.token_codes(some_tokens(4), ids(THE, comma, letter, RARE))) == pooling.CODE_SIZE
    assert len(pooling.token_codes(some_tokens(2), ids(THE, comma))) == pooling.CODE_SIZE
    many = pooling.token_codes(some_tokens(200), ids(*range(RARE, RARE + 200)))
    assert len(many) == pooling.MOST_CODES * pooling.CODE_SIZE


def test_a_word_of_a_question_weighs_by_the_memories_that_hold_it() -> None:
    # "the api port": pieces at 0, 4 and 8; every memory holds "api", one holds "port".
    words = [(0, 3, -1), (4, 7, 100), (8, 12, 1)]
    the, api, port = pooling.token_weights([THE, RARE, RARE], [0, 4, 8], words, 100)
    assert the == pooling.PLAIN_WORD
    assert api < 0.5 < 3 < port
    assert pooling.token_weights([RARE], [50], words, 100) == [pooling.PLAIN_WORD]


def test_the_vector_of_a_question_follows_its_telling_words() -> None:
    tokens = some_tokens(2)
    asked = QueryTokens(tokens, ids(RARE, RARE), ids(0, 4))
    towards = pooling.question_vector(asked, [(0, 3, 1000), (4, 8, 0)], 1000)
    assert cosine(towards, tokens[1]) > 0.99
    empty = pooling.question_vector(QueryTokens(some_tokens(0), ids(), ids()), [], 10)
    assert not empty.any()
