"""The engines under test, with a cache of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engram_tui.terminal.screen import Screen, ScreenUnavailable, open_screen

OpenScreen = Callable[..., Screen]


@pytest.fixture(scope="session", autouse=True)
def generated_code_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for the generated binding, so that the user's is left alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "engram"


@pytest.fixture(params=["ghostty", "plain"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that works on this machine."""
    try:
        open_screen(8, 2, None, prefer=request.param).close()
    except ScreenUnavailable as reason:
        pytest.skip(str(reason))
    return str(request.param)


@pytest.fixture
def open_engine(engine: str) -> OpenScreen:
    """Opens a screen of the engine: (cols, rows, on_reply)."""

    def opened(cols: int = 40, rows: int = 8, on_reply: Callable[[bytes], None] | None = None) -> Screen:
        return open_screen(cols, rows, on_reply, prefer=engine)

    return opened
