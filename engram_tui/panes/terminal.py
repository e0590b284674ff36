"""The agent's own terminal: its cells as they are, its keys and mouse, and a way to look back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Offset, Region
from textual.message import Message as PaneMessage
from textual.strip import Strip
from textual.widget import Widget

from engram_tui import messages as wire
from engram_tui.keymap import bindings
from engram_tui.panes.cells import PLAIN, cell_text, restyled, strip_of
from engram_tui.panes.selection import Matches, Place, Selection, word_at

WHEEL = 3
"""Lines a notch of the wheel scrolls."""
_ALL_MOTION, _BUTTON_MOTION = 1003, 1002


class TerminalPane(Widget, can_focus=True):
    """Shows screen frames; posts `Said` for everything that goes to the supervisor."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("scroll")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "terminal--selection",
        "terminal--match",
        "terminal--current-match",
    }

    class Said(PaneMessage):
        """A wire message for the supervisor."""

        def __init__(self, message: wire.Message) -> None:
            super().__init__()
            self.message = message

    class ViewChanged(PaneMessage):
        """Scrolled, or scroll mode went on or off."""

    class Appeared(PaneMessage):
        """Shown, for the first time or again: what is hidden loses the focus."""

    def __init__(self, *, id: str | None = None, back: Sequence[str] = (), forth: Sequence[str] = ()) -> None:
        """`back` and `forth`: keys that scroll by a screen where there is something to scroll."""
        super().__init__(id=id)
        self._pages = dict.fromkeys(back, 1) | dict.fromkeys(forth, -1)
        self._runs: list[list[wire.Run]] = []
        self._strips: list[Strip | None] = []
        self._cols = 0
        self._cursor: tuple[int, int, bool, int] = (0, 0, False, 0)
        self.modes = wire.ScreenModes()
        self._live = wire.ScreenModes()
        self._wanted = 0
        self._asked = False
        self._stale = True
        self._top = 0
        self._selection: Selection | None = None
        self._dragging = False
        self._matches = Matches()
        self.scrolling = False
        self._sent: tuple[int, int] | None = None

    def on_show(self) -> None:
        """Shown."""
        self.post_message(self.Appeared())

    # --- frames -----------------------------------------------------------------------------------------

    @property
    def frame_size(self) -> tuple[int, int]:
        """Columns and rows of the agent's screen; (0, 0) before the first frame."""
        return self._cols, len(self._runs)

    def show_frame(self, frame: wire.ScreenFrame, *, full: bool) -> bool:
        """Take a frame in. False if a full one must be asked for (said once)."""
        if not self._wants(frame, full=full):
            return True
        if not full and (self._stale or (frame.cols, frame.rows) != self.frame_size):
            known, self._stale = self._stale, True
            return known
        if full:
            self._stale = self._asked = False
            self._cols = frame.cols
            self._runs = [[] for _ in range(frame.rows)]
            self._strips = [None] * frame.rows
        dirty = set()
        for y, runs in frame.lines:
            if 0 <= y < len(self._runs):
                self._runs[y] = runs
                self._strips[y] = None
                dirty.add(y)
        dirty |= self._take_cursor(frame.cursor)
        before, self.modes = self.modes, frame.modes
        moved = self._follow() or before.offset != frame.modes.offset
        self._wanted = frame.modes.offset
        if full or moved or len(dirty) >= self.size.height:
            self.refresh()
        else:
            self._refresh_rows(dirty)
        if before.offset != frame.modes.offset:
            self.post_message(self.ViewChanged())
        return True

    def _wants(self, frame: wire.ScreenFrame, *, full: bool) -> bool:
        """Whether a frame belongs to what is looked at: live frames go on coming while the view is scrolled back."""
        if frame.modes.offset:
            return True
        self._live = frame.modes
        if not self._wanted:
            return True
        # The answer to a question for an offset there no longer is, or a screen of another size: back to the present.
        return full and (self._asked or (frame.cols, frame.rows) != self.frame_size)

    def _take_cursor(self, cursor: tuple[int, int, bool, int]) -> set[int]:
        before, self._cursor = self._cursor, cursor
        return {before[1], cursor[1]} if before != cursor else set()

    def _follow(self) -> bool:
        """Where the agent's screen is taller than this window (another one set its size), show the cursor's part."""
        spare = max(0, len(self._runs) - self.size.height)
        top = min(spare, max(0, self._cursor[1] - self.size.height + 1)) if spare else 0
        moved, self._top = top != self._top, top
        return moved

    def _refresh_rows(self, rows: set[int]) -> None:
        width, height = self.size
        regions = [Region(0, y - self._top, width, 1) for y in rows if 0 <= y - self._top < height]
        if regions:
            self.refresh(*regions)
            self._place_caret()

    def _place_caret(self) -> None:
        """Put the real, hidden cursor where the agent's is: input methods open there."""
        if self.has_focus:
            self.app.cursor_position = self.region.offset + Offset(
                self._cursor[0], self._cursor[1] - self._top
            )

    @property
    def _base(self) -> int:
        """Row number, from the oldest line kept, of the first line in view."""
        return self.modes.scrollback - self.modes.offset + self._top

    def render_line(self, y: int) -> Strip:
        """A row of the agent's screen with what lies over it: matches, selection, cursor."""
        width = self.size.width
        source = y + self._top
        if source >= len(self._runs):
            return Strip.blank(width, PLAIN)
        strip = self._strips[source]
        if strip is None or strip.cell_length != width:
            strip = self._strips[source] = strip_of(self._runs[source], width)
        place = self._base + y
        for start, end, current in self._matches.by_row.get(place, ()):
            name = "terminal--current-match" if current else "terminal--match"
            strip = restyled(strip, start, end, self.get_component_rich_style(name, partial=True))
        if self._selection and (cells := self._selection.cells(place, width)):
            strip = restyled(
                strip, *cells, self.get_component_rich_style("terminal--selection", partial=True)
            )
        x, cursor_y, visible, shape = self._cursor
        if source == cursor_y and visible and not self.modes.offset:
            strip = restyled(strip, x, x + 1, self._cursor_style(shape))
        return strip

    def _cursor_style(self, shape: int) -> Style:
        return Style(underline=True) if shape == 1 or not self.has_focus else Style(reverse=True)

    # --- size and focus -----------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Tell the supervisor, once a size."""
        self._strips = [None] * len(self._runs)
        self._follow()
        self.tell_size()

    def tell_size(self, *, again: bool = False) -> None:
        """Say how many cells there are; `again` after a new connection."""
        size = (self.size.width, self.size.height)
        if 0 in size or (size == self._sent and not again):
            return
        self._sent = size
        self.say(wire.Resize(cols=size[0], rows=size[1]))

    def on_focus(self) -> None:
        """The cursor is drawn full."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor is drawn faint."""
        self.refresh()

    def say(self, message: wire.Message) -> None:
        """Send to the supervisor."""
        # Straight to the screen: on the way up every container would cost a turn of the loop.
        self.screen.post_message(self.Said(message))

    # --- keys ---------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys of scroll mode exist only in scroll mode."""
        return self.scrolling if action.startswith("scroll_") else True

    def on_key(self, event: events.Key) -> None:
        """Every key that comes here is the agent's, but in scroll mode and the two that scroll."""
        if self.scrolling:
            return
        event.stop()
        event.prevent_default()
        if event.key in self._pages and not self.modes.alt:
            self.action_scroll_page(self._pages[event.key])
        else:
            self.type_key(event.key, event.character)

    def type_key(self, key: str, character: str | None) -> None:
        """Send a key to the agent; a view that was scrolled back returns to the present first."""
        self.clear_marks()
        if self._wanted:
            self.scroll_view(0)
        self.say(wire.Key(key=key, character=character))

    def on_paste(self, event: events.Paste) -> None:
        """Send pasted text."""
        event.stop()
        if self._wanted:
            self.scroll_view(0)
        self.say(wire.Paste(text=event.text))

    # --- looking back ---------------------------------------------------------------------------------------

    def scroll_view(self, offset: int) -> None:
        """Show the view `offset` lines above the bottom (0: the present)."""
        wanted = max(0, min(offset, self._live.scrollback))
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._asked = True
        self.say(wire.Viewport(offset=wanted))
        if not wanted:
            # Changes of the live screen were let pass meanwhile.
            self._stale = True
            self.say(wire.AskFull())

    def action_scroll_by(self, lines: int) -> None:
        """Back (positive) or forth by lines, from what is looked at now even if the agent wrote on since."""
        grown = self._live.scrollback - self.modes.scrollback if self._wanted else 0
        self.scroll_view(self._wanted + grown + lines)

    def action_scroll_page(self, pages: int) -> None:
        """Back (positive) or forth by screens, one line kept."""
        self.action_scroll_by(pages * max(1, self.size.height - 1))

    def action_scroll_edge(self, which: int) -> None:
        """To the oldest line (1) or the newest (-1)."""
        self.scroll_view(self._live.scrollback if which > 0 else 0)

    def action_scroll_leave(self) -> None:
        """Back to the agent, and to the present."""
        self.set_scrolling(False)
        self.scroll_view(0)

    def set_scrolling(self, on: bool) -> None:
        """Scroll mode: keys move the view instead of going to the agent."""
        self.scrolling = on
        self.post_message(self.ViewChanged())

    # --- search -------------------------------------------------------------------------------------------

    def show_matches(self, matches: Matches) -> None:
        """Mark what a search found and bring the current match into view."""
        self._matches = matches
        row = matches.row
        if row is not None and not self._base <= row < self._base + self.size.height:
            self.scroll_view(self._live.scrollback - row + self.size.height // 2)
        self.refresh()

    def clear_marks(self) -> None:
        """Forget selection and matches."""
        if self._selection or self._matches.found:
            self._selection, self._matches = None, Matches()
            self.refresh()

    # --- mouse --------------------------------------------------------------------------------------------

    def _agents_mouse(self, event: events.MouseEvent) -> bool:
        return bool(self.modes.mouse) and not event.shift and not self.modes.offset

    def _forward(self, action: str, event: events.MouseEvent) -> None:
        event.stop()
        self.say(
            wire.Mouse(
                action=action,
                button=event.button,
                x=max(0, min(event.x, self._cols - 1)),
                y=max(0, min(event.y + self._top, len(self._runs) - 1)),
                shift=event.shift,
                ctrl=event.ctrl,
                meta=event.meta,
            )
        )

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A press is the agent's if it tracks the mouse (Shift keeps it here), else a selection begins."""
        self.capture_mouse()
        if self._agents_mouse(event):
            self._forward("press", event)
        elif event.button == 1:
            event.stop()
            self._dragging = True
            place = self._place(event)
            self._selection = Selection(place, place)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Motion extends a selection, or is forwarded if the agent asked for it."""
        if self._dragging and self._selection:
            event.stop()
            if event.y < 0 or event.y >= self.size.height:
                self.action_scroll_by(1 if event.y < 0 else -1)
            self._selection = Selection(self._selection.anchor, self._place(event))
            self.refresh()
        elif self._agents_mouse(event):
            mode = self.modes.mouse
            if mode >= _ALL_MOTION or (mode >= _BUTTON_MOTION and event.button):
                self._forward("move", event)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """A release ends a selection and copies it."""
        self.release_mouse()
        if self._dragging:
            event.stop()
            self._dragging = False
            if self._selection and self._selection.anchor != self._selection.head:
                self._copy(self._selection)
            else:
                self._selection = None
                self.refresh()
        elif self._agents_mouse(event):
            self._forward("release", event)

    def on_click(self, event: events.Click) -> None:
        """A double click takes a word, a triple click a line."""
        if self._agents_mouse(event) or event.chain < 2 or event.button != 1:
            return
        row, column = self._place(event)
        source = event.y + self._top
        text = cell_text(self._runs[source]) if source < len(self._runs) else ""
        first, last = word_at(text, column) if event.chain == 2 else (0, max(0, len(text.rstrip()) - 1))
        self._selection = Selection((row, first), (row, last))
        self._copy(self._selection)
        self.refresh()

    def _place(self, event: events.MouseEvent) -> Place:
        y = max(0, min(event.y, self.size.height - 1))
        return self._base + y, max(0, min(event.x, max(0, self._cols - 1)))

    def _copy(self, selection: Selection) -> None:
        first, last = selection.ends
        self.say(wire.Copy(start=first, end=last))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel scrolls back, unless the agent takes it."""
        self._wheel(event, "scroll_up", WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel scrolls forth, unless the agent takes it."""
        self._wheel(event, "scroll_down", -WHEEL)

    def _wheel(self, event: events.MouseEvent, action: str, lines: int) -> None:
        event.stop()
        if self._agents_mouse(event):
            self._forward(action, event)
        elif self.modes.alt and not event.shift:
            # What terminals do on the alternate screen, where nothing scrolls: the wheel is arrow keys.
            for _ in range(WHEEL):
                self.say(wire.Key(key="up" if lines > 0 else "down"))
        else:
            self.action_scroll_by(lines)
