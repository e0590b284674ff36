"""The agent's terminal in the face: cells, view, selection, mouse."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from textual import events

from engram_tui import messages as wire
from engram_tui.panes.terminal import TerminalPane
from tests.fakes.ui import Opened, opened, shows, until

pytestmark = pytest.mark.slow


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Rows of the terminal as they are drawn."""
    rows: list[int] = []
    plain = TerminalPane.render_line

    def render_line(self: TerminalPane, y: int):  # type: ignore[no-untyped-def]
        rows.append(y)
        return plain(self, y)

    monkeypatch.setattr(TerminalPane, "render_line", render_line)
    yield rows


async def test_only_changed_rows_are_drawn_again(drawn: list[int]) -> None:
    async with opened() as ui:
        await ui.paint([f"row {i}" for i in range(23)])
        await ui.see("row 22")
        drawn.clear()
        await ui.paint([f"row {i}" for i in range(23 - 1)] + ["changed"], [22])
        await ui.see("changed")
        assert set(drawn) <= {22, 0}, "the changed row, and the cursor's"


@pytest.mark.guarantee("G5")
async def test_colours_and_attributes_are_drawn_as_the_agent_set_them() -> None:
    async with opened() as ui:
        run = ("warn", 3, 256 + 0x102030, 0b101001)
        await ui.paint([[run, (" " * 76, None, None, 0)]])
        await ui.see("warn")
        drawn = ui.screen._compositor.render_strips()[0]
        segment = next(s for s in drawn if "arn" in s.text)
        assert (
            segment.style is not None
            and segment.style.color is not None
            and segment.style.bgcolor is not None
        )
        assert segment.style.color.number == 3
        assert segment.style.bgcolor.triplet == (0x10, 0x20, 0x30)
        assert segment.style.bold and segment.style.underline and segment.style.reverse


@pytest.mark.guarantee("G7")
async def test_control_characters_in_cells_never_reach_the_terminal() -> None:
    async with opened() as ui:
        await ui.paint([[("a\x1b]52;c;aGk=\x07b\x9b2Jc", None, None, 0)]])
        await ui.see("aGk=")
        assert not any(
            ord(c) < 32 or 127 <= ord(c) < 160 for s in ui.screen.terminal.render_line(0) for c in s.text
        )


async def test_a_change_of_another_size_makes_the_face_ask_for_a_full_frame() -> None:
    async with opened() as ui:
        ui.server.size = (60, 10)
        await ui.server.paint(["other size"], [0])
        await ui.hear(wire.AskFull)
        await ui.see("other size")


async def with_past(ui: Opened, lines: int = 100) -> None:
    ui.server.past = [[(f"past {i}".ljust(80), None, None, 0)] for i in range(lines)]
    await ui.paint(["present"])
    await until(lambda: ui.screen.terminal.modes.scrollback == lines)


async def test_the_wheel_scrolls_back_and_a_key_returns_to_the_present() -> None:
    async with opened() as ui:
        await with_past(ui)
        await scroll(ui, up=True)
        await ui.see("past 97")
        await ui.see("3 lines back")
        await ui.press("x")
        await until(lambda: not shows(ui.app, "past"))
        assert [key.key for key in await ui.hear(wire.Key)] == ["x"]
        await ui.paint(["still live"], [0])
        await ui.see("still live")


async def test_what_the_agent_writes_does_not_move_a_view_that_is_scrolled_back() -> None:
    async with opened() as ui:
        await with_past(ui)
        await ui.press("shift+pageup")
        await ui.see("past 78")
        ui.server.past.append([("past 100".ljust(80), None, None, 0)])
        await ui.paint(["later"], [0])
        await ui.press("shift+pageup")
        await ui.see("past 56")
        assert not shows(ui.app, "later")


async def test_scroll_mode_moves_by_keys_and_sends_none() -> None:
    async with opened() as ui:
        await with_past(ui)
        await ui.after_prefix("left_square_bracket")
        await ui.press("k", "up", "pageup", "g")
        await ui.see("past 0")
        await ui.press("q")
        await ui.see("present")
        await ui.press("k")
        assert [key.key for key in await ui.hear(wire.Key)] == ["k"]


async def scroll(ui: Opened, *, up: bool, shift: bool = False) -> None:
    kind = events.MouseScrollUp if up else events.MouseScrollDown
    ui.app.post_message(kind(None, 5, 5, 0, 0, 0, shift, False, False, 5, 5))
    await ui.pilot.pause()


async def test_the_agent_gets_the_mouse_when_it_tracks_it_and_shift_keeps_it() -> None:
    async with opened() as ui:
        ui.server.modes = wire.ScreenModes(mouse=1002)
        await with_past(ui)
        await until(lambda: ui.screen.terminal.modes.mouse == 1002)
        await ui.pilot.mouse_down(offset=(7, 3))
        await ui.pilot.mouse_up(offset=(7, 3))
        await scroll(ui, up=True)
        await until(lambda: any(m.action == "scroll_up" for m in ui.server.said(wire.Mouse)))
        said = [m for m in ui.server.said(wire.Mouse) if m.action != "move"]
        assert [(m.action, m.x, m.y) for m in said] == [
            ("press", 7, 3),
            ("release", 7, 3),
            ("scroll_up", 5, 5),
        ]
        await scroll(ui, up=True, shift=True)
        await ui.see("past 97")


async def test_the_wheel_is_arrow_keys_on_the_alternate_screen() -> None:
    async with opened() as ui:
        ui.server.modes = wire.ScreenModes(alt=True)
        await ui.paint(["vim"])
        await until(lambda: ui.screen.terminal.modes.alt)
        await scroll(ui, up=False)
        assert [key.key for key in await ui.hear(wire.Key, 3)] == ["down"] * 3


async def test_a_selection_with_the_mouse_is_copied() -> None:
    async with opened() as ui:
        await ui.paint(["first line", "second line"])
        await ui.see("second line")
        await ui.pilot.mouse_down(offset=(6, 0))
        await ui.pilot.hover(offset=(5, 1))
        await ui.pilot.mouse_up(offset=(5, 1))
        await until(lambda: ui.app.clipboard == "line\nsecond")


async def test_a_double_click_copies_a_word() -> None:
    async with opened() as ui:
        await ui.paint(["see src/auth/validator.py for it"])
        await ui.see("validator")
        await ui.pilot.click(offset=(8, 0), times=2)
        await until(lambda: ui.app.clipboard == "src/auth/validator.py")


async def test_search_finds_in_scrollback_and_steps_to_older_matches() -> None:
    async with opened() as ui:
        await with_past(ui)
        await ui.after_prefix("slash")
        await ui.press(*"past", "space", "5", "enter")
        await ui.see("11 of 11")
        await ui.see("past 59")
        await ui.press("enter", "enter")
        await ui.see("9 of 11")
        await ui.press(*["enter"] * 8)
        await ui.see("1 of 11")
        await ui.see("past 5 ")
        await ui.press("escape", "x")
        await ui.see("present")
        assert [key.key for key in await ui.hear(wire.Key)] == ["x"]


async def test_a_screen_larger_than_the_window_shows_the_part_with_the_cursor() -> None:
    async with opened() as ui:
        ui.server.size = (120, 40)
        ui.server.cursor = (0, 39, True, 0)
        await ui.server.paint([f"line {i}" for i in range(40)])
        await ui.see("line 39")
        assert not shows(ui.app, "line 16 ")


async def test_two_windows_show_the_same_session() -> None:
    from engram_tui.app import EngramApp
    from engram_tui.screens.session import SessionScreen

    async with opened() as first:
        second = EngramApp()
        second.begin_with(SessionScreen(first.server.path, second.settings))
        async with second.run_test(size=(80, 24)):
            await until(lambda: len(first.server.uis) == 2)
            await first.paint(["for both"])
            await until(lambda: shows(second, "for both"))
            await first.see("for both")
        await until(lambda: len(first.server.uis) == 1)
        await asyncio.sleep(0)
        await first.paint(["for one"])
        await first.see("for one")
