"""A fresh home, and what the old homes that are taken over look like."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

PROJECT = "/projects/shop"
OLD_HOME = Path(__file__).parents[2] / "data" / "mcp_engram_home"
"""Written by mcp-engram 0.19.0 itself: two days, the first one gzipped."""


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Runtime.open(tmp_path / "home", project=PROJECT, settings=Settings(model="off")) as opened:
        yield opened


@pytest.fixture
def old_home(tmp_path: Path) -> Path:
    """A copy of the old home, to be taken over and, in some tests, broken."""
    return Path(shutil.copytree(OLD_HOME, tmp_path / "old"))
