"""Whose keys are whose: all the agent's, but one."""

from __future__ import annotations

import pytest
from textual import events

from engram_runtime.errors import SettingsError
from engram_tui import messages as wire
from engram_tui.keymap import ACTIONS, Keymap, PlainFace
from engram_tui.screens.reading import AskScreen
from engram_tui.screens.session import SessionScreen
from tests.fakes.ui import PREFIX, opened, shows, until

AGENTS = (
    "a", "Z", "ctrl+q", "ctrl+c", "ctrl+p", "ctrl+d", "ctrl+z", "f1", "f10", "f12", "tab", "shift+tab", "escape",
    "enter", "up", "pageup", "delete", "question_mark", "slash", "space", "shift+enter", "alt+b",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.guarantee("G5")
async def test_every_key_but_the_prefix_reaches_the_agent() -> None:
    async with opened() as ui:
        await ui.press(*AGENTS)
        heard = await ui.hear(wire.Key, len(AGENTS))
        assert tuple(key.key for key in heard) == AGENTS
        assert [key.character for key in heard[:2]] == ["a", "Z"]


async def test_the_prefix_pressed_twice_goes_through() -> None:
    async with opened() as ui:
        await ui.after_prefix(PREFIX)
        assert [key.key for key in await ui.hear(wire.Key)] == [PREFIX]
        await ui.press("x")
        assert [key.key for key in await ui.hear(wire.Key, 2)] == [PREFIX, "x"]


@pytest.mark.slow
async def test_an_unknown_key_after_the_prefix_does_nothing_and_is_not_sent() -> None:
    async with opened() as ui:
        await ui.after_prefix("z")
        await ui.press("y")
        assert [key.key for key in await ui.hear(wire.Key)] == ["y"]
        await ui.see("^] engram")


@pytest.mark.slow
async def test_keys_typed_right_after_the_prefix_are_not_lost_on_the_way() -> None:
    async with opened() as ui:
        await ui.press(PREFIX, "c", "h", "i")
        await ui.hear(wire.WriteCheckpoint)
        assert [key.key for key in await ui.hear(wire.Key, 2)] == ["h", "i"]


@pytest.mark.slow
async def test_keys_typed_faster_than_the_screen_answers_keep_their_meaning_and_order() -> None:
    async with opened((140, 40)) as ui:
        for key in (
            "a",
            PREFIX,
            "c",
            "b",
            PREFIX,
            PREFIX,
            "d",
            PREFIX,
            "z",
            "e",
            PREFIX,
            "2",
            "down",
            "enter",
        ):
            ui.app.post_message(events.Key(key, key if len(key) == 1 else None))
        assert await ui.hear(wire.ShowCheckpoint) == [wire.ShowCheckpoint(id=106)]
        assert len(ui.server.said(wire.WriteCheckpoint)) == 1
        assert [key.key for key in await ui.hear(wire.Key, 5)] == ["a", "b", PREFIX, "d", "e"]
        assert ui.server.said(wire.Key)[2].character == "\x1d"


@pytest.mark.slow
async def test_detaching_leaves_the_agent_alone() -> None:
    async with opened() as ui:
        await ui.after_prefix("d")
        await until(lambda: ui.app.return_value is not None)
        assert ui.app.outcome().kind == "detached"
        assert not ui.server.said(wire.StopAgent)


@pytest.mark.slow
async def test_stop_asks_first_and_no_means_no() -> None:
    async with opened() as ui:
        await ui.after_prefix("s")
        await until(lambda: isinstance(ui.app.screen, AskScreen))
        await ui.press("escape")
        await until(lambda: not isinstance(ui.app.screen, AskScreen))
        await ui.press("x")
        await ui.hear(wire.Key)
        assert not ui.server.said(wire.StopAgent)


@pytest.mark.slow
async def test_a_stopped_session_is_left_with_its_closing_line() -> None:
    async with opened() as ui:
        await ui.after_prefix("s")
        await until(lambda: isinstance(ui.app.screen, AskScreen))
        await ui.press("s")
        await until(lambda: ui.app.return_value is not None)
        outcome = ui.app.outcome()
        assert outcome.kind == "ended"
        assert outcome.ended is not None
        assert outcome.ended.line.startswith("killed(15)")


@pytest.mark.slow
async def test_a_key_map_of_the_user_moves_prefix_and_actions() -> None:
    settings = PlainFace(prefix_key="ctrl+b", keys={"checkpoint": "w"})
    async with opened(settings=settings) as ui:
        await ui.see("^b engram")
        await ui.press("ctrl+b", "w")
        await ui.hear(wire.WriteCheckpoint)
        await ui.press(PREFIX, "ctrl+b", "c", "x")
        assert [key.key for key in await ui.hear(wire.Key, 2)] == [PREFIX, "x"]


def test_an_unknown_action_in_the_key_map_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="detach"):
        Keymap({"detatch": "x"})


def test_action_ids_are_unique_and_every_action_explains_itself() -> None:
    assert len({a.id for a in ACTIONS}) == len(ACTIONS)
    assert all(a.tooltip and a.label and a.keys for a in ACTIONS)


def test_every_action_on_the_session_screen_exists() -> None:
    names = {
        a.action.removeprefix("screen.").partition("(")[0]
        for a in ACTIONS
        if a.group in ("session", "prefix")
    }
    assert [name for name in names if not hasattr(SessionScreen, f"action_{name}")] == []


@pytest.mark.slow
async def test_the_palette_offers_every_action_and_runs_it() -> None:
    async with opened((140, 40)) as ui:
        await ui.after_prefix("p")
        await ui.see("Write a checkpoint now")
        await ui.press(*"checkpoint", "enter")
        await ui.press("enter")
        await ui.hear(wire.WriteCheckpoint)


@pytest.mark.slow
async def test_all_keys_can_be_looked_up() -> None:
    async with opened((140, 40)) as ui:
        await ui.after_prefix("question_mark")
        await ui.see("pressed twice it goes through")
        await ui.press("escape")
        await until(lambda: not shows(ui.app, "pressed twice"))


@pytest.mark.slow
async def test_pasted_text_goes_to_the_agent_whole() -> None:
    async with opened() as ui:
        ui.app.post_message(events.Paste("line one\nline two"))
        assert (await ui.hear(wire.Paste))[0].text == "line one\nline two"
