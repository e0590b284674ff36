"""A fresh home for each test, and a runtime on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

PROJECT = "/project"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def runtime(home: Path) -> Iterator[Runtime]:
    with Runtime.open(home, project=PROJECT, session="s1", settings=Settings()) as opened:
        yield opened
