"""The command palette: every action of the key table, and the themes, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from engram_tui.keymap import ACTIONS
from engram_tui.screens.session import SessionScreen
from engram_tui.themes import THEMES

Command = tuple[str, str, Callable[[], Awaitable[None] | None]]
"""Name, what it does, how."""


class EngramCommands(Provider):
    """Offers what can be done on the session screen."""

    def _commands(self) -> list[Command]:
        screen = self.screen
        found: list[Command] = []
        if isinstance(screen, SessionScreen):
            found += [
                (a.label.capitalize(), a.tooltip, partial(screen.action_act, a.id))
                for a in ACTIONS
                if a.palette
            ]
        return found + [
            (
                f"Theme: {theme.name.removeprefix('engram-')}",
                "Change the colours",
                partial(self._theme, theme.name),
            )
            for theme in THEMES
        ]

    def _theme(self, name: str) -> None:
        self.app.theme = name

    async def discover(self) -> Hits:
        """Everything, before anything is typed."""
        for name, help, run in self._commands():
            yield DiscoveryHit(name, run, help=help)

    async def search(self, query: str) -> Hits:
        """Those whose name or description matches."""
        matcher = self.matcher(query)
        for name, help, run in self._commands():
            text = f"{name} · {help}"
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(name), run, text=name, help=help)
