from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_runtime.memory import Memory
from tests.unit.memory.list_journal import ListJournal, memory_over


@pytest.fixture
def journal() -> ListJournal:
    return ListJournal()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def memory(journal: ListJournal, home: Path) -> Iterator[Memory]:
    opened = memory_over(journal, home)
    yield opened
    opened.close()
