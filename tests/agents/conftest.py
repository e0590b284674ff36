"""Fixtures for tests with real agent CLIs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.agents.harness import AgentHome, require_claude, require_openhands
from tests.fakes.scripted_llm import ScriptedLLM


@pytest.fixture
def claude_cli() -> Path:
    """Claude Code's executable, of exactly the pinned version; skips where it is not installed."""
    return require_claude()


@pytest.fixture
def openhands_cli() -> Path:
    """OpenHands' executable, of exactly the pinned version; skips where it is not installed."""
    return require_openhands()


@pytest.fixture
def agent_home() -> Iterator[Callable[[ScriptedLLM], AgentHome]]:
    """Makes homes for agents; all their processes are ended and all files removed after the test.

    Without the embedding model, whose worker outlives a session by design: what is left can then be asked for.
    """

    def made(llm: ScriptedLLM) -> AgentHome:
        home = homes.enter_context(AgentHome(llm))
        home.environment["ENGRAM_MODEL"] = "off"
        return home

    with ExitStack() as homes:
        yield made
