"""The face: opens a screen, lets it run, and says how it was left. Everything else is in screens and panes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.filter import ANSIToTruecolor, LineFilter
from textual.screen import Screen

from engram_tui.commands import EngramCommands
from engram_tui.discovery import SessionEntry, SessionState
from engram_tui.keymap import FaceSettings, Keymap, PlainFace
from engram_tui.messages import RecoveryCard, RecoveryChoice
from engram_tui.screens.outcome import Outcome
from engram_tui.screens.session import SessionScreen
from engram_tui.themes import THEMES, theme_name

if TYPE_CHECKING:
    from engram_tui.screens.recovery import Launch

Watch = Callable[[Path], Callable[[], SessionState]]
"""For a session's socket, a function that tells from its lock whether it lives."""
_LEAVE_AT = (signal.SIGTERM, signal.SIGHUP)


class EngramApp(App[Outcome], inherit_bindings=False):
    """One screen after the other. Textual's own keys are not bound: they are the agent's."""

    TITLE = "engram"
    CSS_PATH = "engram.tcss"
    ENABLE_COMMAND_PALETTE = False
    ESCAPE_TO_MINIMIZE = False
    COMMANDS: ClassVar[set[type[EngramCommands]]] = {EngramCommands}  # type: ignore[assignment]

    def __init__(self, settings: FaceSettings | None = None) -> None:
        super().__init__()
        self.settings: FaceSettings = settings or PlainFace()
        # The palette opens from the prefix menu; Textual's own key for it stays unbound.
        self.use_command_palette = True
        self._start: Screen[None] | None = None
        self._choice: RecoveryChoice | None = None
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = theme_name(self.settings.theme)
        self.set_keymap(Keymap.of(self.settings).overrides)

    def begin_with(self, screen: Screen[None]) -> EngramApp:
        """The screen to open with."""
        self._start = screen
        return self

    def get_default_screen(self) -> Screen[None]:
        """The screen to open with."""
        return self._start or super().get_default_screen()

    def on_mount(self) -> None:
        """From here on the terminal is changed: what ends this process has to restore it."""
        loop = asyncio.get_running_loop()
        for number in _LEAVE_AT:
            loop.add_signal_handler(number, self._leave)

    def on_unmount(self) -> None:
        """Signals end this process at once again."""
        loop = asyncio.get_running_loop()
        for number in _LEAVE_AT:
            loop.remove_signal_handler(number)

    def _leave(self) -> None:
        """Leave as the user would: a session is detached. A second signal ends the process at once."""
        self.on_unmount()
        session = next((s for s in self.screen_stack if isinstance(s, SessionScreen)), None)
        if session is not None:
            session.action_detach()
        else:
            self.exit(Outcome("cancelled"))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Without the one that replaces palette colours: the agent's cells keep the user's own palette."""
        return [f for f in super().get_line_filters() if not isinstance(f, ANSIToTruecolor)]

    async def on_event(self, event: events.Event) -> None:
        """As Textual's, but a key the prefix menu does not know ends here, before the keys behind it are given out."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            screen = self.screen
            if isinstance(screen, SessionScreen) and screen.swallows(event.key):
                return
        await super().on_event(event)

    def begin_with_card(self, card: RecoveryCard, launch: Launch, watch: Watch | None = None) -> EngramApp:
        """The recovery card first, then the session that `launch` starts."""
        from engram_tui.screens.recovery import RecoveryScreen

        def opened(choice: RecoveryChoice, path: Path) -> None:
            self._choice = choice
            state = watch(path) if watch else None
            self.push_screen(SessionScreen(path, self.settings, state=state))

        return self.begin_with(RecoveryScreen(card, self.settings, launch, opened))

    def outcome(self) -> Outcome:
        """How the app was left; `failed` if it fell over."""
        found = self.return_value
        if found is None:
            return Outcome("failed", choice=self._choice, error="The screen closed unexpectedly.")
        return Outcome(found.kind, found.ended, found.choice or self._choice, found.entry, found.error)


def run_session_ui(
    socket_path: Path, *, settings: FaceSettings, state: Callable[[], SessionState] | None = None
) -> Outcome:
    """Attach to a live session until it is left: detached, ended (with `ended`) or lost.

    `state` tells from outside the wire whether the session lives: `partial(discovery.state_of, directory)`.
    """
    app = EngramApp(settings)
    app.begin_with(SessionScreen(socket_path, settings, state=state)).run()
    return app.outcome()


def run_recovery_ui(
    card: RecoveryCard, launch: Launch, *, settings: FaceSettings, watch: Watch | None = None
) -> Outcome:
    """Show the recovery card; start what was chosen with `launch`, then show that session.

    The outcome carries the choice; `cancelled` if nothing was started.
    """
    app = EngramApp(settings)
    app.begin_with_card(card, launch, watch).run()
    return app.outcome()


def run_browser(
    entries: Sequence[SessionEntry],
    *,
    settings: FaceSettings,
    refresh: Callable[[], Sequence[SessionEntry]] | None = None,
) -> Outcome:
    """The session browser. `chosen` with the entry to attach to (live) or to resume, or `cancelled`."""
    from engram_tui.screens.browser import BrowserScreen

    app = EngramApp(settings)
    app.begin_with(BrowserScreen(entries, settings, refresh)).run()
    return app.outcome()
