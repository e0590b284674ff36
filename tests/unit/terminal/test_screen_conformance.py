"""Every engine shows what xterm.js shows."""

from __future__ import annotations

import pytest

from tests.unit.terminal.conftest import OpenScreen
from tests.unit.terminal.screen_cases import all_cases, passes

# The plain engine does not reflow lines when the width changes.
KNOWN_MISSES = {"ghostty": set(), "plain": {"shrink_w", "grow_w", "shrink_grow"}}


@pytest.mark.slow
def test_an_engine_shows_every_undisputed_case_exactly(engine: str, open_engine: OpenScreen) -> None:
    missed = {case.name for case in all_cases() if not passes(case, open_engine(case.cols, case.rows))}
    assert missed == KNOWN_MISSES[engine]
    assert len(all_cases()) == 81
