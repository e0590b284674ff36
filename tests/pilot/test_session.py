"""Frame, panes, status and connection of the session screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from engram_runtime.state.views import ActivityLine
from engram_tui import messages as wire
from engram_tui.screens.reading import TextScreen
from tests.fakes.scene import SCENE, at
from tests.fakes.ui import PREFIX, Opened, opened, shows, text_of, until
from tests.fakes.wire_server import WireServer

pytestmark = pytest.mark.slow


async def test_a_small_window_is_all_terminal_and_the_frame_lies_over_it() -> None:
    async with opened((80, 24)) as ui:
        assert ui.server.size == (80, 23)
        assert not shows(ui.app, "Checkpoints")
        await ui.after_prefix("e")
        await ui.see("Memory health")
        assert ui.server.said(wire.Resize) == [wire.Resize(cols=80, rows=23)], "the agent does not notice"
        await ui.after_prefix("e")
        await until(lambda: not shows(ui.app, "Memory health"))


async def test_a_wide_window_has_the_frame_beside_the_terminal() -> None:
    async with opened((140, 40)) as ui:
        await ui.see("● fix-login-redirect")
        assert ui.server.size == (96, 37)
        assert ui.server.said(wire.Resize) == [wire.Resize(cols=96, rows=37)], "told once"
        await ui.after_prefix("e")
        await until(lambda: ui.server.size == (140, 39))


async def test_panes_fold_to_titles_that_answer() -> None:
    async with opened((140, 40)) as ui:
        await ui.after_prefix("2")
        await ui.see("plan update")
        await ui.press("f")
        await until(lambda: not shows(ui.app, "plan update"))
        await ui.see("▸ Checkpoints")
        assert any("Checkpoints" in line and "v7" in line for line in text_of(ui.app))


async def _fold(ui: Opened) -> None:
    await ui.press("f")


async def _narrow(ui: Opened) -> None:
    await ui.pilot.resize_terminal(100, 40)


async def _small_and_back(ui: Opened) -> None:
    await ui.pilot.resize_terminal(30, 8)
    await until(lambda: not shows(ui.app, "plan update"))
    await ui.pilot.resize_terminal(140, 40)


async def _narrow_while_the_menu_is_open(ui: Opened) -> None:
    await ui.press(PREFIX)
    await ui.pilot.resize_terminal(100, 40)
    await until(lambda: not shows(ui.app, "plan update"))
    await ui.press("escape")


@pytest.mark.parametrize("hide", [_fold, _narrow, _small_and_back, _narrow_while_the_menu_is_open])
async def test_keys_go_to_the_agent_when_the_pane_that_had_them_vanishes(
    hide: Callable[[Opened], Awaitable[None]],
) -> None:
    async with opened((140, 40)) as ui:
        await ui.after_prefix("2")
        await ui.see("plan update")
        await hide(ui)
        await until(lambda: ui.screen.focused is ui.screen.terminal)
        await ui.press("x")
        assert [key.key for key in await ui.hear(wire.Key)] == ["x"]


async def test_one_pane_at_a_time_in_a_narrow_window() -> None:
    async with opened((80, 24)) as ui:
        await ui.after_prefix("2")
        await ui.see("plan update")
        assert not shows(ui.app, "reproduce in test")
        await ui.press("shift+tab")
        await ui.see("reproduce in test")
        assert not shows(ui.app, "plan update")
        await ui.press("escape", "x")
        assert [key.key for key in await ui.hear(wire.Key)] == ["x"]


async def test_a_checkpoint_opens_and_compares() -> None:
    async with opened((140, 40)) as ui:
        await ui.after_prefix("2")
        await ui.press("down", "enter")
        await ui.see("Fix the login loop")
        assert ui.server.said(wire.ShowCheckpoint) == [wire.ShowCheckpoint(id=106)]
        await ui.press("c")
        await ui.see("[b]not markup[/b]")
        assert isinstance(ui.app.screen, TextScreen)


async def test_the_activity_pane_keeps_its_place_while_focused_and_follows_while_not() -> None:
    lines = tuple(
        ActivityLine(position=i, at=at("12:00:00"), kind="x", session=None, text=f"event {i}")
        for i in range(60)
    )
    async with opened((140, 40), activity=lines) as ui:
        await ui.see("event 59")
        await ui.after_prefix("4")
        await ui.press(*["down"] * 20)
        rows = ui.screen.frame.panes["activity"].rows
        chosen, top = rows.rows[rows.cursor].key, rows.rows[rows.top].key
        new = tuple(
            ActivityLine(position=i, at=at("12:00:00"), kind="x", session=None, text=f"event {i}")
            for i in range(65)
        )
        await ui.server.show(activity=new)
        await until(lambda: len(rows.rows) == 65)
        assert (rows.rows[rows.cursor].key, rows.rows[rows.top].key) == (chosen, top)
        assert not shows(ui.app, "event 64")
        await ui.press("escape")
        await ui.see("event 64")


@pytest.mark.guarantee("G7")
async def test_text_of_an_agent_is_never_markup_and_drives_nothing() -> None:
    bad = "\x1b[2J\u202e[red]x[/red] [@click=app.quit]go[/] \x9bevil"
    task = msgspec.structs.replace(SCENE.tasks[0], name=bad, goal=bad)
    async with opened((140, 40), tasks=(task,), task_name=bad, agent="[b]a[/b]") as ui:
        await ui.see("[red]x[/red] [@cli")
        await ui.server.say(wire.Notice(text="[red]notice[/red] \x1b[2J", severity="warning"))
        await ui.see("[red]notice[/red]")
        assert not any(ord(c) < 32 or c == "\u202e" for line in text_of(ui.app) for c in line)


async def test_a_condition_is_on_top_of_the_frame_and_never_on_the_agents_screen() -> None:
    condition = wire.Condition(
        kind="rate_limit", since=at("12:06:40"), text="resets 13:00", done="checkpoint v8 durable"
    )
    async with opened((140, 40)) as ui:
        await ui.server.show(state="limited", conditions=(condition,))
        await ui.see("▲ rate limit since")
        await ui.see("checkpoint v8 durable")
        assert ui.server.said(wire.Resize) == [wire.Resize(cols=96, rows=37)]
        assert all("rate limit" not in line[:97] for line in text_of(ui.app)[:-1])
    async with opened((80, 24), conditions=(condition,), state="limited") as ui:
        await until(lambda: "rate limit since" in text_of(ui.app)[-1])


@pytest.mark.guarantee("G9")
async def test_it_says_when_nothing_is_being_kept() -> None:
    async with opened((140, 40), protected=False, problem="the disk is full") as ui:
        await ui.see("not protected: the disk is full")
    async with opened((80, 24), protected=False, problem="the disk is full") as ui:
        await ui.see("not protected: the disk is full")


@pytest.mark.guarantee("G4")
async def test_what_is_not_known_is_not_shown() -> None:
    async with opened(
        (140, 40), context_used=None, tokens_in=0, tokens_out=0, checkpoint=None, checkpoints=()
    ) as ui:
        await ui.see("no checkpoint yet")
        status = text_of(ui.app)[-1]
        assert "ctx" not in status and "↑" not in status and "%" not in status
        await ui.see("No checkpoints yet.")


async def test_without_a_known_window_the_context_has_no_gauge() -> None:
    async with opened((140, 40), context_window=None) as ui:
        await ui.see("ctx 122k")
        assert "▓" not in text_of(ui.app)[-1]


async def test_a_lost_connection_is_said_and_comes_back_by_itself() -> None:
    async with opened() as ui:
        path = ui.server.path
        await ui.server.stop()
        path.touch()
        await ui.see("connection lost")
        await ui.press("x")
        async with WireServer(path) as again:
            await until(lambda: again.size == (80, 23))
            await until(lambda: not shows(ui.app, "connection lost"))
            await again.paint(["back".ljust(80)] + [" " * 80] * 22)
            await ui.see("back")
            await ui.press("y")
            await until(lambda: again.said(wire.Key))
            assert [key.key for key in again.said(wire.Key)] == ["y"], (
                "nothing typed into the void is carried out"
            )


async def test_a_dropped_connection_is_not_an_end() -> None:
    async with opened() as ui:
        await ui.server.hang_up()
        await until(lambda: len(ui.server.said(wire.Resize)) == 2)
        await ui.paint(["again here"])
        await ui.see("again here")
        assert ui.app.return_value is None


async def test_the_end_of_the_session_closes_the_screen() -> None:
    async with opened() as ui:
        await ui.server.end("finished · checkpoint v8 durable")
        await until(lambda: ui.app.return_value is not None)
        outcome = ui.app.outcome()
        assert (outcome.kind, outcome.ended and outcome.ended.line) == (
            "ended",
            "finished · checkpoint v8 durable",
        )


async def test_a_dead_supervisor_is_told_by_its_lock() -> None:
    standing = ["live"]
    async with opened(state=lambda: standing[0]) as ui:
        standing[0] = "lost"
        await ui.server.hang_up()
        await until(lambda: ui.app.return_value is not None)
        assert ui.app.outcome().kind == "lost"


async def test_a_window_below_the_least_size_says_so_in_one_line() -> None:
    async with opened((80, 24)) as ui:
        await ui.pilot.resize_terminal(38, 9)
        await ui.see("38×9: engram needs 40×10")
        assert sum(bool(line.strip()) for line in text_of(ui.app)) == 1
        assert ui.server.said(wire.Resize) == [wire.Resize(cols=80, rows=23)], "the agent keeps its size"
        await ui.pilot.resize_terminal(80, 24)
        await ui.see("ready")


async def test_ages_go_on_by_themselves() -> None:
    now = datetime.now(UTC)
    written = (now - timedelta(seconds=58)).isoformat()
    checkpoint = msgspec.structs.replace(SCENE.checkpoints[0], at=written)
    since = (now - timedelta(hours=30)).isoformat()
    async with opened((80, 24), checkpoint=checkpoint, now=now.isoformat(), state_since=since) as ui:
        await ui.see("55 s ago")
        await asyncio.sleep(0)
        await ui.see("1 min ago")


async def test_a_theme_is_chosen_by_name() -> None:
    async with opened((80, 24)) as ui:
        await ui.after_prefix("p")
        await ui.press(*"light", "enter")
        await ui.press("enter")
        await until(lambda: ui.app.theme == "engram-light")
