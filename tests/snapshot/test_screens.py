"""The screens as text, compared with what they were. `ENGRAM_UPDATE_SCREENS=1` writes them anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engram_tui.app import EngramApp
from engram_tui.messages import Condition, MemoryHealth
from engram_tui.screens.browser import BrowserScreen
from engram_tui.screens.session import SessionScreen
from tests.fakes.scene import CARD, NOW, at, screen_rows
from tests.fakes.ui import PREFIX, opened, shows, text_of, until
from tests.pilot.test_before_and_between import SESSIONS, card_app

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
LIMITED: dict[str, Any] = {
    "state": "limited",
    "conditions": (
        Condition(kind="rate_limit", since=at("12:06:40"), text="resets 13:00", done="checkpoint v8 durable"),
    ),
}
EMPTY: dict[str, Any] = {
    "tasks": (), "checkpoints": (), "checkpoint": None, "memory": MemoryHealth(), "activity": (), "processes": (),
    "files": (), "context_used": None, "tokens_in": 0, "tokens_out": 0,
    "state": "idle", "task_name": "", "journal_position": 3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Time stands still, in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(SessionScreen, "_now", lambda self: datetime.fromisoformat(NOW))
    yield
    monkeypatch.undo()
    time.tzset()


def compare(app: EngramApp, name: str) -> None:
    """Compare the screen with the file of that name."""
    seen = "\n".join(line.rstrip() for line in text_of(app)) + "\n"
    file = HERE / f"{name}.txt"
    if os.environ.get("ENGRAM_UPDATE_SCREENS"):
        file.write_text(seen)
    assert seen == file.read_text()


@pytest.mark.parametrize(
    ("name", "size", "keys", "changes", "last"),
    [
        ("session_140x40", (140, 40), (), {}, "notes.txt"),
        ("session_80x24", (80, 24), (), {}, "61%"),
        ("session_80x24_frame", (80, 24), (PREFIX, "e"), {}, "Processes"),
        ("session_80x24_menu", (80, 24), (PREFIX,), {}, "e frame"),
        ("session_140x40_limited", (140, 40), (), LIMITED, "rate limit"),
        ("session_80x24_limited", (80, 24), (), LIMITED, "rate limit"),
        ("session_140x40_empty", (140, 40), (), EMPTY, "No process"),
    ],
)
async def test_the_session_screen_looks_as_it_did(
    name: str, size: tuple[int, int], keys: tuple[str, ...], changes: dict[str, Any], last: str
) -> None:
    async with opened(size, **changes) as ui:
        await ui.paint(screen_rows(*ui.server.size))
        await ui.see("Tracing…")
        await ui.press(*keys)
        await ui.see(last)
        compare(ui.app, name)


async def _settled(app: EngramApp, words: str, name: str, size: tuple[int, int], *keys: str) -> None:
    async with app.run_test(size=size) as pilot:
        await pilot.press(*keys)
        await until(lambda: shows(app, words))
        await pilot.pause()
        compare(app, name)


@pytest.mark.parametrize(("name", "size"), [("card_110x34", (110, 34)), ("card_80x24", (80, 24))])
async def test_the_recovery_card_looks_as_it_did(name: str, size: tuple[int, int]) -> None:
    async def never(choice: object) -> Path:
        raise AssertionError(f"nothing was chosen, but {choice}")

    assert CARD.briefing
    await _settled(card_app(never), "Enter continue", name, size)  # type: ignore[arg-type]


async def test_the_browser_looks_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    entries = [
        dataclasses.replace(e, started_at=(datetime.now(UTC) - timedelta(hours=2 + i)).isoformat())
        for i, e in enumerate(SESSIONS)
    ]
    app = EngramApp()
    app.begin_with(BrowserScreen(entries, app.settings))
    await _settled(app, "ctx 45%", "browser_140x40", (140, 40), "down")
