"""The generated binding: made once, never trusted from others, never needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_tui.terminal import ghostty_binding
from engram_tui.terminal.ghostty_screen import GhosttyScreen
from engram_tui.terminal.screen import ScreenUnavailable, open_screen

pytest.importorskip("pyghostty")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ghostty_binding.load.cache_clear()
    yield tmp_path / "engram"
    ghostty_binding.load.cache_clear()


def works() -> bool:
    ghostty_binding.load.cache_clear()
    screen = GhosttyScreen(10, 2)
    screen.feed(b"works")
    return screen.text().startswith("works")


def test_the_declarations_are_parsed_once_and_then_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert works()
    (generated,) = cache.glob("*.py")
    assert cache.stat().st_mode & 0o777 == 0o700
    assert generated.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(ghostty_binding, "_parse", lambda package: pytest.fail("parsed again"))
    assert works()


@pytest.mark.slow
def test_a_cache_others_could_have_written_is_not_run(cache: Path) -> None:
    assert works()
    (generated,) = cache.glob("*.py")
    generated.write_text("raise SystemExit('this must not run')")
    generated.chmod(0o666)
    assert works()


@pytest.mark.slow
def test_a_broken_or_unwritable_cache_only_costs_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert works()
    (generated,) = cache.glob("*.py")
    generated.write_text("syntax error here")
    assert works()
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert works()


def test_without_the_library_the_plain_engine_is_opened(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ghostty_binding, "_library", lambda package: Path("absent.so"))
    assert open_screen(10, 2, None).engine == "plain"
    with pytest.raises(ScreenUnavailable):
        open_screen(10, 2, None, prefer="ghostty")
