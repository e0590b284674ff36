"""The recovery card: before an agent starts, what was interrupted and exactly what will be injected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import TextArea

from engram_runtime.errors import EngramError
from engram_tui.keymap import FaceSettings, Keymap, bindings
from engram_tui.messages import RecoveryCard, RecoveryChoice
from engram_tui.panes.card import briefing_rows, card_rows, title_spans
from engram_tui.panes.key_lines import KeyLines
from engram_tui.panes.paint import Role, Row, row, wrapped
from engram_tui.panes.rows import Rows
from engram_tui.panes.status import hint
from engram_tui.panes.words import inert
from engram_tui.screens.outcome import Outcome
from engram_tui.screens.reading import Box

Launch = Callable[[RecoveryChoice], Awaitable[Path]]
"""Starts the agent as chosen; the path of its session's socket. Raises EngramError if it cannot be started."""
Opened = Callable[[RecoveryChoice, Path], None]


class Editor(TextArea):
    """The briefing as text to change."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("edit")


class RecoveryScreen(Screen[None], inherit_bindings=False):
    """Shows the card, takes the choice, launches, and hands over to `opened`."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("recovery")

    def __init__(self, card: RecoveryCard, settings: FaceSettings, launch: Launch, opened: Opened) -> None:
        super().__init__()
        self._card = card
        self._keymap = Keymap.of(settings)
        self._launch = launch
        self._opened = opened
        self._briefing: str | None = None
        self._page = "card"
        self._said: tuple[str, Role] | None = None

    def compose(self) -> ComposeResult:
        """The card, the editor in its place when editing, the list of agents, the keys."""
        with Box(id="card"):
            yield Rows(id="text", selectable=False)
            editor = Editor(self._card.briefing, soft_wrap=True, show_line_numbers=False, id="editor")
            editor.display = False
            yield editor
            agents = Rows(id="agents")
            agents.display = False
            yield agents
            yield KeyLines(id="keys")

    def on_mount(self) -> None:
        """Fill in once the width is known."""
        self.query_one("#agents", Rows).show(
            [row(f" {name}", right=((self._standing(name), "dim"),), key=name) for name in self._card.agents]
        )
        self.call_after_refresh(self._fill)
        self.query_one("#text", Rows).focus()

    def _standing(self, name: str) -> str:
        """What an agent of the list has to do with this."""
        if name == self._card.typed:
            return "as typed"
        return "the same as before" if name == self._card.agent else ""

    def on_resize(self) -> None:
        """Wrap anew."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        box = self.query_one(Box)
        title, facts = title_spans(self._card, box.size.width)
        box.name_it(title)
        text = self.query_one("#text", Rows)
        width = max(30, box.size.width - 3)
        text.display = self._page != "edit"
        self.query_one("#editor").display = self._page == "edit"
        self.query_one("#agents").display = self._page == "agents"
        if self._page == "briefing":
            rows = self._briefing_page(width)
        else:
            rows = facts + card_rows(self._card, width, edited=self._briefing is not None)
        self._say_keys()
        keys = self.query_one(KeyLines).lines(box.size.width)
        box.set_class(len(rows) + keys + 5 > self.size.height, "-tall")
        text.show(rows)

    def _briefing_page(self, width: int) -> list[Row]:
        text = self._card.briefing if self._briefing is None else self._briefing
        head = row(("What the agent gets in its first request, to the letter:", "dim"))
        return [head, Row(), *briefing_rows(text, width)]

    def _say_keys(self) -> None:
        if self._said:
            words, role = self._said
            width = max(30, self.query_one(KeyLines).size.width - 2)
            self.query_one(KeyLines).show([line.left for line in wrapped(words, width, role)])
            return
        pages = {
            "edit": [
                (self._keymap.shown("edit.done"), "keep"),
                (self._keymap.shown("edit.cancel"), "as it was"),
            ],
            "agents": [("Enter", "continue with it"), (self._keymap.shown("recovery.cancel"), "back")],
            "briefing": self._pairs("continue", "edit", briefing="back to the card"),
        }
        pairs = pages.get(self._page) or self._pairs(
            "continue", "agent", "fresh", "edit", briefing="briefing", cancel="cancel"
        )
        self.query_one(KeyLines).show([hint(0, key, word).spans for key, word in pairs])

    def _pairs(self, *ids: str, **words: str) -> list[tuple[str, str]]:
        known = {**_WORDS, "continue": f"continue with {inert(self._card.typed)}"}
        named = {id: known[id] for id in ids} | words
        return [(self._keymap.shown(f"recovery.{id}"), word) for id, word in named.items()]

    def _turn_to(self, page: str) -> None:
        self._page, self._said = page, None
        self._fill()
        target = {"edit": "#editor", "agents": "#agents"}.get(page, "#text")
        self.set_focus(self.query_one(target))

    # --- keys -----------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """What was said was read: the keys are shown again."""
        if self._said and self._page != "starting":
            self._said = None
            self._say_keys()

    def action_briefing(self) -> None:
        """The full briefing, or back to the card."""
        self._turn_to("card" if self._page == "briefing" else "briefing")

    def action_edit(self) -> None:
        """Edit the briefing."""
        self._turn_to("edit")

    def action_edit_done(self) -> None:
        """Keep what was edited."""
        text = self.query_one(Editor).text
        self._briefing = None if text == self._card.briefing else text
        self._turn_to("card")

    def action_edit_cancel(self) -> None:
        """Forget what was edited."""
        self.query_one(Editor).text = self._card.briefing if self._briefing is None else self._briefing
        self._turn_to("card")

    def action_other_agent(self) -> None:
        """Choose another agent."""
        if self._card.agents:
            self._turn_to("agents")
        else:
            self._tell("No other agent was found on this machine.", "accent")

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """An agent was chosen."""
        self._go(RecoveryChoice(action="continue", agent=message.row.key, briefing=self._briefing))

    def action_go_on(self) -> None:
        """Continue with what was typed, as it was typed."""
        self._go(RecoveryChoice(action="continue", briefing=self._briefing))

    def action_fresh(self) -> None:
        """Start without any of it."""
        self._go(RecoveryChoice(action="fresh"))

    def action_cancel(self) -> None:
        """Back to the card from elsewhere; from the card, start nothing."""
        if self._page != "card":
            self._turn_to("card")
        else:
            self.app.exit(Outcome("cancelled", choice=RecoveryChoice(action="cancel")))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While starting nothing can be chosen any more; while editing or choosing only what belongs there."""
        if self._page == "starting":
            return action == "cancel"
        if self._page == "edit":
            return action.startswith("edit_")
        return self._page != "agents" or action == "cancel"

    # --- starting -------------------------------------------------------------------------------------------

    def _go(self, choice: RecoveryChoice) -> None:
        self._turn_to("card")
        self._page = "starting"
        self._tell(f"Starting {choice.agent or self._card.typed} …", "dim")
        self.run_worker(self._start(choice), name="launch")

    async def _start(self, choice: RecoveryChoice) -> None:
        try:
            path = await self._launch(choice)
        except EngramError as error:
            self._page = "card"
            self._tell(str(error), "danger")
            return
        self._opened(choice, path)

    def _tell(self, words: str, role: Role) -> None:
        self._said = (words, role)
        self._say_keys()


_WORDS = {"edit": "edit", "agent": "another agent", "fresh": "start fresh"}
