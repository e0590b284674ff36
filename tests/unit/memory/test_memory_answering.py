"""What a worker answers, with a model whose vectors are known."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray

from engram_runtime.journal.events import MemoryStored, MemoryUpdated
from engram_runtime.memory import pooling
from engram_runtime.memory.answering import Answers
from engram_runtime.memory.index import Index
from engram_runtime.memory.model import Passage, Question
from engram_runtime.memory.vector_cache import erase
from engram_runtime.memory.wire import Ask, Compare, Consult
from tests.unit.memory.list_journal import ListJournal

TEXTS = ("alpha beta gamma", "alpha delta", "epsilon zeta", "beta beta beta")


class WordModel:
    """Each word has a fixed random vector; a text is its words."""

    id = "words/1"
    dim = 384

    def __init__(self) -> None:
        self.passages: list[str] = []
        self.questions: list[str] = []

    def passage(self, text: str) -> Passage:
        self.passages.append(text)
        tokens, ids, _ = _tokens(text)
        return Passage(pooling.sentence_vector(tokens, ids), pooling.token_codes(tokens, ids))

    def question(self, text: str) -> Question:
        self.questions.append(text)
        tokens, ids, starts = _tokens(text)
        return Question(pooling.sentence_vector(tokens, ids), pooling.QueryTokens(tokens, ids, starts))


def _tokens(
    text: str,
) -> tuple[NDArray[numpy.float32], NDArray[numpy.int32], NDArray[numpy.int32]]:
    words = text.split()
    seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) for word in words]
    rows = [numpy.random.default_rng(seed).standard_normal(384) for seed in seeds]
    ids = [20_000 + seed % 10_000 for seed in seeds]
    starts = [text.index(word) for word in words]
    return (
        numpy.array(rows, numpy.float32).reshape(len(words), 384),
        numpy.array(ids, numpy.int32),
        numpy.array(starts, numpy.int32),
    )


@pytest.fixture
def model() -> WordModel:
    return WordModel()


@pytest.fixture
def index(journal: ListJournal, home: Path) -> Iterator[Index]:
    journal.append(*(MemoryStored(content=text, importance=0.5) for text in TEXTS))
    opened = Index(home, journal)
    opened.catch_up()
    yield opened
    opened.close()


@pytest.fixture
def answers(home: Path, model: WordModel) -> Iterator[Answers]:
    made = Answers(home, model)
    yield made
    made.close()


def embed(index: Index, answers: Answers) -> None:
    """What the indexer does."""
    with index.connection():
        rows = index.vectors.missing(100)
    made = answers.vectors(Ask(tuple(text for _, text in rows)))
    size = answers.model.dim * 4
    with index.transaction():
        index.vectors.prepare(answers.model.id, answers.model.dim)
        for place, (memory, _) in enumerate(rows):
            index.vectors.put(memory, made[place * size : (place + 1) * size])


def consult(answers: Answers, text: str, **more: object) -> dict[int, float]:
    return answers.consult(Consult(text=text, project="one", user="default", **more))[0]  # type: ignore[arg-type]


def test_what_is_alike_is_nearest_and_the_share_says_how_many_were_compared(
    index: Index, answers: Answers
) -> None:
    asked = Consult(text="delta alpha", project="one", user="default", k=2)
    assert answers.consult(asked)[:2] == ({}, 0.0)
    embed(index, answers)
    cosines, share, question = answers.consult(asked)
    assert list(cosines) == [2, 1]
    assert cosines[2] > 0.9
    assert share == 1.0
    assert question.tokens is not None
    assert question.tokens.starts.tolist() == [0, 6]


def test_a_text_is_embedded_once_however_often_it_is_needed(
    index: Index, answers: Answers, model: WordModel, home: Path
) -> None:
    embed(index, answers)
    vectors = {memory: index.vectors.get(memory) for memory in (1, 2, 3, 4)}
    index.rebuild()
    embed(index, answers)
    assert {memory: index.vectors.get(memory) for memory in (1, 2, 3, 4)} == vectors
    consult(answers, TEXTS[0], passage=True)
    assert sorted(model.passages) == sorted(TEXTS)
    answers.close()
    again = Answers(home, WordModel())
    assert again.vectors(Ask(TEXTS[:1])) == vectors[1]
    assert again.model.passages == []  # type: ignore[attr-defined]
    again.close()


def test_without_its_cache_a_text_is_embedded_again(
    index: Index, answers: Answers, model: WordModel, home: Path
) -> None:
    embed(index, answers)
    erase(home)
    assert answers.vectors(Ask(TEXTS[:1])) == index.vectors.get(1)
    assert model.passages.count(TEXTS[0]) == 2


def test_a_stored_text_looks_for_its_like_among_the_older(index: Index, answers: Answers) -> None:
    embed(index, answers)
    assert consult(answers, TEXTS[1], passage=True, k=1) == pytest.approx({2: 1.0}, abs=1e-4)
    assert consult(answers, TEXTS[1], passage=True, k=5, before=2).keys() == {1}


def test_each_token_of_a_question_finds_its_nearest_in_each_memory(index: Index, answers: Answers) -> None:
    embed(index, answers)
    ids, nearness, question = answers.compare(Compare(text="beta zeta", ids=(3, 1, 4, 99)))
    assert ids == [3, 1, 4]
    assert question.tokens is not None
    found = struct.unpack("<6f", nearness)
    by_memory = dict(zip(ids, zip(found[::2], found[1::2], strict=True), strict=True))
    # As a memory without "beta" knows it: by chance alone.
    assert by_memory[1][0] > 0.99
    assert by_memory[4][0] > 0.99
    assert by_memory[3][1] > 0.99
    assert max(by_memory[3][0], by_memory[1][1], by_memory[4][1]) < 0.5


def test_a_reworded_memory_is_compared_by_its_new_words(
    index: Index, answers: Answers, journal: ListJournal
) -> None:
    embed(index, answers)
    asked = Compare(text="epsilon", ids=(3,))
    assert struct.unpack("<f", answers.compare(asked)[1])[0] > 0.99
    journal.append(MemoryUpdated(memory=3, content="zeta alone"))
    index.catch_up()
    assert answers.compare(asked)[0] == []
    assert 3 not in consult(answers, "epsilon", k=10)
    embed(index, answers)
    assert struct.unpack("<f", answers.compare(asked)[1])[0] < 0.5


def test_a_question_is_encoded_once_for_both_steps(index: Index, answers: Answers, model: WordModel) -> None:
    embed(index, answers)
    consult(answers, "alpha")
    answers.compare(Compare(text="alpha", ids=(1,)))
    assert model.questions == ["alpha"]


@pytest.mark.parametrize("text", ["", "   ", "🙂", "word " * 5000])
def test_no_text_is_too_odd(index: Index, answers: Answers, text: str) -> None:
    embed(index, answers)
    consult(answers, text)
    answers.compare(Compare(text=text, ids=(1, 2)))
    answers.vectors(Ask((text,)))


def test_what_came_from_a_file_that_is_gone_is_let_go(index: Index, answers: Answers) -> None:
    embed(index, answers)
    consult(answers, "alpha")
    answers.compare(Compare(text="alpha", ids=(1,)))
    index.rebuild()
    answers.forget_stale()
    assert len(answers._matrix) == 0
    assert not answers._codes
    assert not answers._questions
