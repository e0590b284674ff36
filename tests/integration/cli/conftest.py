"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cli.runs import Bench, bench


@pytest.fixture
def at() -> Iterator[Bench]:
    """A home that does not exist yet, and a git project."""
    with bench() as here:
        yield here
