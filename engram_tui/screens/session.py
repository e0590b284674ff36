"""The session screen: the agent's terminal is the room, Engram is the frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from engram_tui import messages as wire
from engram_tui.client import Link, WireClient
from engram_tui.discovery import SessionState
from engram_tui.keymap import ACTIONS, FaceSettings, Keymap, bindings, control_character
from engram_tui.panes.frame import Frame
from engram_tui.panes.prefix import PrefixMenu
from engram_tui.panes.rows import Rows
from engram_tui.panes.search_bar import SearchBar
from engram_tui.panes.selection import Matches
from engram_tui.panes.status import Part, StatusBar, alarms, hint, status_parts
from engram_tui.panes.terminal import TerminalPane
from engram_tui.panes.titles import Banner, Room, TooSmall
from engram_tui.panes.words import inert, moment, plural
from engram_tui.screens.outcome import Outcome
from engram_tui.screens.reading import AskScreen, TextScreen, key_rows, text_rows

WIDE = 120
SMALLEST = (40, 10)
"""Columns and rows below which nothing useful fits."""


class SessionScreen(Screen[None], inherit_bindings=False):
    """One session, live. Leaves the app with an Outcome."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("session")

    def __init__(
        self, socket_path: Path, settings: FaceSettings, *, state: Callable[[], SessionState] | None = None
    ) -> None:
        """`state` tells from outside the wire whether the session still lives."""
        super().__init__()
        self._keymap = Keymap.of(settings)
        self._client = WireClient(socket_path, on_message=self._heard, on_link=self._linked, state=state)
        self._snapshot = wire.Snapshot(session="", agent="")
        self._received = time.monotonic()
        back, forth = self._keymap.keys_of("view.up"), self._keymap.keys_of("view.down")
        self.terminal = TerminalPane(id="terminal", back=back, forth=forth)
        self.frame = Frame(settings.panes, id="frame")
        self._menu = PrefixMenu(self._keymap, id="menu")
        self._search = SearchBar(id="search")
        self._status = StatusBar(id="status")
        self._banner = Banner(id="banner")
        self._frame_wanted: bool | None = None
        self._before_menu: Rows | TerminalPane | None = None
        self._asked = ""
        self._ticks = 0
        self._matches = Matches()

    def compose(self) -> ComposeResult:
        """Room and frame side by side, one line below, a banner that may lie over them."""
        # Before there are widgets: each change of the screen's classes later styles them all anew.
        self._classify(self.app.size.width, self.app.size.height)
        with Horizontal(id="work"):
            with Room(id="room"):
                yield self.terminal
            yield self.frame
        yield self._status
        yield self._menu
        yield self._search
        yield self._banner
        yield TooSmall(id="small")

    def on_mount(self) -> None:
        """Attach."""
        self._bottom(self._status)
        self._arrange(self.app.size.width, self.app.size.height)
        self.terminal.focus()
        self.set_interval(1.0, self._tick)
        self.run_worker(self._stay_attached(), name="wire")

    # --- the wire -----------------------------------------------------------------------------------------

    async def _stay_attached(self) -> None:
        state, ended = await self._client.run()
        if state == "ended":
            self.app.exit(Outcome("ended", ended=ended))
        elif state == "lost":
            self.app.exit(Outcome("lost"))

    def _heard(self, kind: bytes, value: Any) -> None:
        if isinstance(value, wire.ScreenFrame):
            if not self.terminal.show_frame(value, full=kind == b"f"):
                self._client.send(wire.AskFull())
        elif isinstance(value, wire.Snapshot):
            self._snapshot, self._received = value, time.monotonic()
            self._say()
        elif isinstance(value, wire.Notice):
            self.notify(inert(value.text), severity=value.severity, markup=False)
        elif isinstance(value, wire.CopyResult):
            self.app.copy_to_clipboard(value.text)
            lines = plural(value.text.count("\n") + 1, "line")
            self.notify(f"Copied {lines}, {plural(len(value.text), 'character')}.", timeout=2, markup=False)
        elif isinstance(value, wire.SearchResult) and value.text == self._asked:
            self._show_matches(Matches.of(value.matches))
        elif isinstance(value, wire.CheckpointText):
            self._read(value)

    def _linked(self, link: Link, seconds: float) -> None:
        if link == "connected":
            self._banner.show("")
            return
        if link == "reconnecting":
            leave = f"{self._keymap.shown('prefix')}{self._keymap.shown('detach')} leaves"
            self._banner.show(
                f"connection lost · trying again · keys go nowhere · {leave}, the agent goes on"
            )
        self._say()

    def on_terminal_pane_said(self, message: TerminalPane.Said) -> None:
        """Pass on what the terminal says."""
        self._client.send(message.message)

    # --- what is shown --------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        """The supervisor's clock, carried on by this process's own since its last snapshot."""
        said = moment(self._snapshot.now)
        if said is None:
            return datetime.now(UTC)
        return said + timedelta(seconds=time.monotonic() - self._received)

    def _tick(self) -> None:
        """Ages go on; those in the panes in steps of five seconds."""
        self._ticks += 1
        self._say(panes=self._ticks % 5 == 0)

    def _say(self, *, panes: bool = True) -> None:
        """Bring every figure up to date; what did not change is not drawn."""
        if not self.is_mounted or not self._snapshot.session:
            return
        now = self._now()
        framed = self.has_class("-framed")
        if framed and panes:
            self.frame.show(self._snapshot, now, alarms(self._snapshot))
        if self.has_class("-wide") and framed:
            self.query_one(Room).name_it(self._snapshot, now)
        parts = self._parts(now, framed)
        self._status.show(parts, self._hints())

    def _parts(self, now: datetime, framed: bool) -> list[Part]:
        parts = status_parts(self._snapshot, now, framed=framed)
        if self.terminal.scrolling:
            parts.insert(1, Part(1, (("scroll mode", "accent"),)))
        if offset := self.terminal.modes.offset:
            parts.insert(1, Part(1, ((f"{plural(offset, 'line')} back", "accent"),)))
        cols, rows = self.terminal.frame_size
        if (
            rows
            and (cols, rows) != (self.terminal.size.width, self.terminal.size.height)
            and self._snapshot.uis > 1
        ):
            parts.append(Part(35, ((f"sized {cols}×{rows} by another window", "dim"),)))
        return parts

    def _hints(self) -> list[Part]:
        show = self._keymap.shown
        agent = self._snapshot.agent or "the agent"
        if self.terminal.scrolling:
            leave = hint(0, show("scroll.leave"), "leave")
            return [hint(2, "↑↓ PgUp PgDn", "move"), hint(1, show("scroll.search"), "search"), leave]
        if isinstance(self.focused, Rows):
            back = hint(0, show("pane.leave"), f"back to {agent}")
            if self.frame.focused_name != "checkpoints":
                return [back]
            return [hint(1, show("list.open"), "open"), hint(2, show("pane.compare"), "compare"), back]
        prefix = show("prefix")
        return [
            hint(0, prefix, "engram"),
            hint(1, f"{prefix}{show('keys')}", "keys"),
            hint(2, f"{prefix}{show('detach')}", "detach"),
        ]

    def on_terminal_pane_view_changed(self) -> None:
        """Scrolled, or the agent gave its window another title."""
        self._say()

    def on_descendant_focus(self) -> None:
        """Other keys matter now."""
        self._say()
        if isinstance(self.focused, Rows):
            self.call_after_refresh(self._keep_keys_in_sight)

    def on_rows_vanished(self) -> None:
        """A pane was folded or hidden: it may have had the keys."""
        self._keep_keys_in_sight()

    def on_terminal_pane_appeared(self) -> None:
        """The window is large enough again."""
        self._keep_keys_in_sight()

    def _keep_keys_in_sight(self) -> None:
        """Keys never go to what is not shown: where they did, they are the agent's again."""
        focused = self.focused
        if focused is None:
            if self.app.app_focus:  # else the whole window is out of use, and Textual gives the focus back
                self.set_focus(self.terminal)
        elif isinstance(focused, Rows) and not _is_shown(focused):
            self.set_focus(self.terminal)

    # --- layout ---------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Frame beside or over the room, or too small for anything."""
        self._arrange(event.size.width, event.size.height)

    def _arrange(self, width: int, height: int) -> None:
        self._classify(width, height)
        self.frame.fold_for(accordion=not self.has_class("-wide"), height=height)
        if self.has_class("-framed"):
            self.call_after_refresh(self._say)

    def _classify(self, width: int, height: int) -> None:
        wide = width >= WIDE
        framed = wide if self._frame_wanted is None else self._frame_wanted
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.update_classes({"-wide": wide, "-narrow": not wide, "-framed": framed, "-small": small})

    def action_frame(self) -> None:
        """Show or hide the frame."""
        self._show_frame(not self.has_class("-framed"))

    def _show_frame(self, on: bool) -> None:
        self._frame_wanted = on
        if not on and isinstance(self.focused, Rows):
            self.terminal.focus()
        self._arrange(self.size.width, self.size.height)
        self._say()

    def action_pane(self, index: int) -> None:
        """Go to a pane, opening the frame if need be."""
        if not self.has_class("-framed"):
            self._show_frame(True)
        self.frame.go_to(index)

    def action_pane_step(self, by: int) -> None:
        """Go to the next pane or the one before."""
        self.action_pane(self.frame.neighbour(by))

    def action_to_agent(self) -> None:
        """Keys go to the agent again."""
        self.terminal.focus()

    # --- the prefix -----------------------------------------------------------------------------------------

    def action_prefix(self) -> None:
        """Open the menu: the next key is Engram's. With the menu open, the prefix itself is meant for the agent."""
        if self._menu.open:
            self.action_menu_close()
            key = self._keymap.keys_of("prefix")[0]
            # Queued behind the keys that are still on their way to the terminal.
            self.terminal.post_message(events.Key(key, control_character(key)))
            return
        focused = self.focused
        self._before_menu = focused if isinstance(focused, Rows | TerminalPane) else self.terminal
        self._bottom(self._menu)
        self._menu.open = True
        self.set_focus(self._menu)

    def _bottom(self, line: Widget) -> None:
        """Show one of the three lines that share the bottom of the screen."""
        for widget in (self._status, self._menu, self._search):
            widget.display = widget is line

    def action_menu_close(self) -> None:
        """Back to where the keys went before."""
        self._menu.open = False
        if self._menu.display:
            self._bottom(self._status)
            if self.focused in (None, self._menu):
                self.set_focus(self._before_menu or self.terminal)
                self._keep_keys_in_sight()

    async def action_act(self, id: str) -> None:
        """Do what an action of the key table says; from the menu or the palette."""
        self.action_menu_close()
        action = next(a.action for a in ACTIONS if a.id == id)
        await self.run_action(action.removeprefix("screen."))

    def on_prefix_menu_dismissed(self) -> None:
        """No key of the menu."""
        self.action_menu_close()

    def swallows(self, key: str) -> bool:
        """Whether a key ends here: one that means nothing after the prefix closes the menu."""
        if not self._menu.open or self._menu.knows(key):
            return False
        self.action_menu_close()
        return True

    # --- what the keys do -------------------------------------------------------------------------------------

    def _ask_supervisor(self, message: wire.Message) -> bool:
        sent = self._client.send(message)
        if not sent:
            self.notify("No connection to the session; nothing was done.", severity="warning", markup=False)
        return sent

    def action_detach(self) -> None:
        """Leave; the agent goes on."""
        self._client.leave()
        self.app.exit(Outcome("detached"))

    def action_detach_all(self) -> None:
        """Close every window on this session."""
        if self._ask_supervisor(wire.DetachAll()):
            self.action_detach()

    def action_checkpoint(self) -> None:
        """Write a checkpoint now."""
        self._ask_supervisor(wire.WriteCheckpoint())

    def action_redraw(self) -> None:
        """Ask for the whole screen."""
        self._ask_supervisor(wire.AskFull())

    def action_stop(self) -> None:
        """End the agent, after a question."""
        agent = inert(self._snapshot.agent) or "the agent"
        question = (
            f"{agent} is asked to end (SIGTERM), and killed if it does not. "
            "A checkpoint is written; `engram resume` goes on from there."
        )
        self.app.push_screen(AskScreen(f"Stop {agent}?", question, "stop it"), self._stop)

    def _stop(self, yes: bool | None) -> None:
        if yes:
            self._ask_supervisor(wire.StopAgent())

    def action_palette(self) -> None:
        """All commands by name."""
        self.app.action_command_palette()

    def action_keys(self) -> None:
        """All keys."""
        self.app.push_screen(TextScreen("Keys", key_rows(self._keymap)))

    # --- looking back ---------------------------------------------------------------------------------------

    def action_scroll_mode(self) -> None:
        """Keys move the view."""
        self.terminal.focus()
        self.terminal.set_scrolling(True)

    def action_search(self) -> None:
        """Open the search line."""
        self._bottom(self._search)
        self._search.say(self._matches, asked=bool(self._asked))
        self.set_focus(self._search.input)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Find; the same text again goes to the match before."""
        if event.value and event.value != self._asked:
            self._asked = event.value
            self._ask_supervisor(wire.Search(text=event.value))
        elif event.value:
            self.action_match_step(-1)

    def action_match_step(self, by: int) -> None:
        """The match before (-1) or after (1)."""
        if self._matches.found:
            self._matches.look_at(self._matches.current + by)
            self._show_matches(self._matches)

    def _show_matches(self, matches: Matches) -> None:
        self._matches = matches
        self.terminal.show_matches(matches)
        self._search.say(matches, asked=True)

    def action_search_close(self) -> None:
        """Back to the agent; what was found stays marked until a key is typed."""
        self._asked = ""
        self._search.input.value = ""
        self._bottom(self._status)
        self.terminal.focus()

    # --- checkpoints ----------------------------------------------------------------------------------------

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Open a checkpoint."""
        if self.frame.focused_name == "checkpoints":
            self._ask_supervisor(wire.ShowCheckpoint(id=int(message.row.key)))

    def action_compare(self) -> None:
        """Compare the checkpoint under the cursor with the one before."""
        chosen = self.frame.chosen_checkpoint()
        if chosen is not None:
            self._ask_supervisor(wire.ShowCheckpoint(id=chosen, compare=True))

    def _read(self, text: wire.CheckpointText) -> None:
        rows = text_rows(text.text)
        screen = self.app.screen
        if isinstance(screen, TextScreen):
            screen.show(text.title, rows)
            return

        def compare() -> None:
            self._ask_supervisor(wire.ShowCheckpoint(id=text.id, compare=True))

        self.app.push_screen(TextScreen(text.title, rows, compare=compare))


def _is_shown(widget: Widget) -> bool:
    """Whether a widget and all that it lies in are displayed."""
    return all(node.display for node in widget.ancestors_with_self if isinstance(node, Widget))
