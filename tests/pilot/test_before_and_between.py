"""Recovery card and session browser."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engram_runtime.errors import AgentError
from engram_tui.app import EngramApp
from engram_tui.discovery import SessionEntry
from engram_tui.messages import RecoveryChoice
from engram_tui.panes.rows import Rows
from engram_tui.screens.browser import BrowserScreen
from engram_tui.screens.session import SessionScreen
from tests.fakes.scene import CARD
from tests.fakes.ui import short_folder, shows, text_of, until
from tests.fakes.wire_server import WireServer

pytestmark = pytest.mark.slow


class Launcher:
    """Notes what was chosen; starts nothing."""

    def __init__(self, path: Path = Path("/nowhere"), error: str = "") -> None:
        self.path, self.error = path, error
        self.choices: list[RecoveryChoice] = []

    async def __call__(self, choice: RecoveryChoice) -> Path:
        self.choices.append(choice)
        if self.error:
            raise AgentError(self.error)
        if self.path == Path("/nowhere"):
            await asyncio.Event().wait()
        return self.path


def card_app(launch: Launcher, **changes: Any) -> EngramApp:
    return EngramApp().begin_with_card(msgspec.structs.replace(CARD, **changes), launch)


@pytest.mark.guarantee("G4")
async def test_the_card_says_what_was_done_and_what_of_it_was_seen() -> None:
    app = card_app(Launcher())
    async with app.run_test(size=(110, 40)):
        await until(lambda: shows(app, "Goal"))
        for words in (
            "fix-login-redirect was interrupted", "killed(9) · 41 min ago · claude",
            "verified: pytest saw it fail, exit 1", "claimed, nothing seen", "contradicted: pytest exit 1",
            "tracing JWT validation", "raising the leeway: hid the bug, reverted", "public API of auth/validator.py",
            "src/auth/validator.py", "README.md", "2 commits by you", "log the clock skew",
            "briefing 812 tokens · confidence .82", "Enter continue",
        ):  # fmt: skip
            assert shows(app, words), words


@pytest.mark.guarantee("G3")
async def test_the_full_briefing_is_shown_to_the_letter() -> None:
    app = card_app(Launcher())
    async with app.run_test(size=(110, 40)) as pilot:
        await pilot.press("b")
        await until(lambda: shows(app, "[b]not markup[/b]"))
        for line in CARD.briefing.splitlines():
            assert shows(app, line)
        await pilot.press("b")
        await until(lambda: shows(app, "Not again"))


async def test_enter_continues_and_opens_the_session() -> None:
    folder = short_folder()
    async with WireServer(folder / "s") as server:
        launch = Launcher(server.path)
        app = card_app(launch)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(lambda: shows(app, "Goal"))
            await pilot.press("enter")
            await until(lambda: isinstance(app.screen, SessionScreen) and server.size == (80, 23))
            await server.end("finished")
            await until(lambda: app.return_value is not None)
        assert launch.choices == [RecoveryChoice(action="continue")]
        outcome = app.outcome()
        assert outcome.kind == "ended" and outcome.choice == launch.choices[0]
    folder.rmdir()


async def test_an_edited_briefing_is_what_is_injected() -> None:
    launch = Launcher()
    app = card_app(launch)
    async with app.run_test(size=(110, 40)) as pilot:
        await pilot.press("e", *"MY ", "ctrl+s")
        await until(lambda: shows(app, "briefing edited by you"))
        await pilot.press("enter")
        await until(lambda: launch.choices)
        assert launch.choices[0].briefing == "MY " + CARD.briefing


async def test_leaving_the_editor_keeps_the_briefing_as_it_was() -> None:
    launch = Launcher()
    app = card_app(launch)
    async with app.run_test(size=(110, 40)) as pilot:
        await pilot.press("e", "X", "escape")
        await until(lambda: shows(app, "briefing 812 tokens"))
        await pilot.press("enter")
        await until(lambda: launch.choices)
        assert launch.choices[0].briefing is None


async def test_enter_continues_with_what_was_typed_and_says_so() -> None:
    launch = Launcher()
    app = card_app(launch, agent="cursor-vscode", typed="bash")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: shows(app, "Enter continue with bash") and shows(app, "Esc cancel"))
        await pilot.press("enter")
        await until(lambda: launch.choices)
        assert launch.choices == [RecoveryChoice(action="continue")]
        await until(lambda: shows(app, "Starting bash"))


async def test_a_long_name_leaves_room_for_how_the_work_ended() -> None:
    app = card_app(Launcher(), title="make-the-login-redirect-keep-the-query-string-after-a-token-refresh")
    async with app.run_test(size=(80, 24)):
        await until(lambda: shows(app, "killed(9) · 41 min ago · claude"))
        assert shows(app, "… was interrupted") and shows(app, "Esc cancel")


async def test_another_agent_can_go_on() -> None:
    launch = Launcher()
    app = card_app(launch)
    async with app.run_test(size=(110, 40)) as pilot:
        await pilot.press("a", "down", "enter")
        await until(lambda: launch.choices)
        assert launch.choices == [RecoveryChoice(action="continue", agent="codex")]
        await until(lambda: shows(app, "Starting codex"))


async def test_fresh_injects_nothing() -> None:
    launch = Launcher()
    app = card_app(launch)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f")
        await until(lambda: launch.choices)
        assert launch.choices == [RecoveryChoice(action="fresh")]


async def test_escape_starts_nothing() -> None:
    launch = Launcher()
    app = card_app(launch)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("escape")
        await until(lambda: app.return_value is not None)
    assert app.outcome().kind == "cancelled" and not launch.choices


async def test_an_agent_that_cannot_be_started_is_said_on_the_card() -> None:
    app = card_app(Launcher(error="claude was not found on PATH."))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("enter")
        await until(lambda: shows(app, "claude was not found on PATH."))
        await pilot.press("down")
        await until(lambda: shows(app, "Enter continue with claude"))
        await pilot.press("escape")
        await until(lambda: app.return_value is not None)


async def test_a_card_longer_than_the_window_scrolls_and_keeps_its_keys() -> None:
    app = card_app(Launcher())
    async with app.run_test(size=(70, 14)) as pilot:
        await until(lambda: shows(app, "Enter continue"))
        text = app.screen.query_one("#text", Rows)
        await until(lambda: 0 < text.size.height < len(text.rows))
        assert not shows(app, "confidence")
        await pilot.press("end")
        await until(lambda: shows(app, "confidence .82") and shows(app, "Enter continue"))


def entry(id: str, **facts: object) -> SessionEntry:
    values: dict[str, object] = {"id": id, "state": "live", "agent": "claude", "project": "/p/shop/.git"}
    values |= {"cwd": "/p/shop", "mode": "interactive", "pid": 1, "socket": Path("/x"), "task": 1}
    values |= {"started_at": datetime.now(UTC).isoformat(), "directory": Path("/x")}
    return SessionEntry(**{**values, **facts})  # type: ignore[arg-type]


SESSIONS = [
    entry("s1", activity="waiting", task_name="fix-login", last_said="May I?", preview=("> [b]hi[/b]",)),
    entry("s2", state="lost", task_name="flaky-test", context_used=90, context_window=200),
    entry("s3", state="ended", verdict="finished", task_name="rename"),
]


async def test_the_browser_lists_sessions_with_a_preview_and_enter_chooses() -> None:
    app = EngramApp()
    app.begin_with(BrowserScreen(SESSIONS, app.settings))
    async with app.run_test(size=(140, 40)) as pilot:
        await until(lambda: shows(app, "> [b]hi[/b]"))
        row = ("● needs you", "claude", "fix-login", " shop ", "May I?")
        await until(lambda: any(all(words in line for words in row) for line in text_of(app)))
        lines = text_of(app)
        assert any("○ lost" in x and "ctx 45%" in x for x in lines)
        assert "attach" in lines[-1]
        await pilot.press("down")
        await until(lambda: "resume" in text_of(app)[-1])
        await pilot.press("enter")
        await until(lambda: app.return_value is not None)
    outcome = app.outcome()
    assert outcome.kind == "chosen" and outcome.entry is not None and outcome.entry.id == "s2"


async def test_a_finished_session_cannot_be_resumed_from_the_browser() -> None:
    app = EngramApp()
    app.begin_with(BrowserScreen(SESSIONS, app.settings))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("end", "enter")
        await pilot.pause()
        assert app.return_value is None and "Enter" not in text_of(app)[-1]
        await pilot.press("q")
        await until(lambda: app.return_value is not None)
    assert app.outcome().kind == "cancelled"


@pytest.mark.parametrize(
    ("facts", "why"),
    [({"mode": "mcp", "agent": "cursor"}, "only uses Engram's MCP tools"), ({"on_pipes": True}, "on pipes")],
)
async def test_a_session_without_a_screen_is_not_attached_to_and_says_why(
    facts: dict[str, object], why: str
) -> None:
    app = EngramApp()
    app.begin_with(BrowserScreen([entry("s1", **facts)], app.settings))
    async with app.run_test(size=(100, 24)) as pilot:
        await until(lambda: why in text_of(app)[-1] and "Enter" not in text_of(app)[-1])
        await pilot.press("enter")
        await pilot.pause()
        assert app.return_value is None


async def test_a_verdict_is_shown_whole_and_one_session_is_no_plural() -> None:
    app = EngramApp()
    app.begin_with(BrowserScreen([entry("s1", state="ended", verdict="crashed(127)")], app.settings))
    async with app.run_test(size=(80, 24)):
        await until(lambda: shows(app, "crashed(127) ") and shows(app, "1 session"))
        assert not shows(app, "1 sessions")


async def test_an_empty_browser_teaches_how_to_begin() -> None:
    app = EngramApp()
    app.begin_with(BrowserScreen([], app.settings))
    async with app.run_test(size=(80, 24)):
        await until(lambda: shows(app, "engram run claude"))
