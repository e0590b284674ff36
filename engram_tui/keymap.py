"""Every key Engram takes, in one table: bindings, tooltips, palette entries and the key list are made from it.

The agent gets every key but one, the prefix. The other keys here work after the prefix, in the frame's panes, or
on screens where no agent is running. Users map ids to keys under `[keys]` in their configuration.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from textual.binding import Binding, BindingType
from textual.keys import KEY_NAME_REPLACEMENTS

from engram_runtime.errors import SettingsError

Group = Literal[
    "session",
    "view",
    "prefix",
    "scroll",
    "list",
    "pane",
    "text",
    "ask",
    "recovery",
    "edit",
    "browser",
    "search",
]
GROUPS: dict[Group, str] = {
    "session": "Any time",
    "view": "In the terminal (not on the alternate screen: there they are the agent's)",
    "prefix": "After the prefix",
    "scroll": "Scroll mode",
    "list": "In a list",
    "pane": "In a pane of the frame",
    "text": "Reading a text",
    "ask": "At a question",
    "recovery": "Recovery card",
    "edit": "Editing the briefing",
    "browser": "Session browser",
    "search": "Searching",
}


@dataclass(frozen=True, slots=True)
class KeyAction:
    """One thing a key does. `palette`: also an entry of the command palette while a session is shown."""

    id: str
    group: Group
    keys: str
    label: str
    tooltip: str
    action: str
    palette: bool = False


class FaceSettings(Protocol):
    """What the face asks of the settings. A `keys` mapping (action id → key), where there is one, is used too."""

    @property
    def theme(self) -> str:
        """engram-dark | engram-light | engram-contrast."""

    @property
    def panes(self) -> tuple[str, ...]:
        """Panes of the frame, in order."""

    @property
    def prefix_key(self) -> str:
        """The one key Engram keeps for itself."""


@dataclass(frozen=True, slots=True)
class PlainFace:
    """Face settings as values."""

    theme: str = "engram-dark"
    panes: tuple[str, ...] = ("tasks", "checkpoints", "memory", "activity", "processes")
    prefix_key: str = "ctrl+]"
    keys: Mapping[str, str] = field(default_factory=dict)


def _prefixed(id: str, keys: str, label: str, tooltip: str, action: str) -> KeyAction:
    return KeyAction(id, "prefix", keys, label, tooltip, action, palette=True)


ACTIONS: tuple[KeyAction, ...] = (
    KeyAction(
        "prefix",
        "session",
        "ctrl+right_square_bracket",
        "engram",
        "The one key Engram takes from the agent; pressed twice it goes through",
        "screen.prefix",
    ),
    KeyAction("view.up", "view", "shift+pageup", "back", "Scroll the terminal back", "scroll_page(1)"),
    KeyAction("view.down", "view", "shift+pagedown", "forth", "Scroll the terminal forth", "scroll_page(-1)"),
    _prefixed("frame", "e", "frame", "Show or hide the frame of panes", "screen.frame"),
    _prefixed("detach", "d", "detach", "Leave; the agent goes on working", "screen.detach"),
    _prefixed("checkpoint", "c", "checkpoint", "Write a checkpoint now", "screen.checkpoint"),
    _prefixed("stop", "s", "stop", "End the agent (asks first)", "screen.stop"),
    _prefixed("palette", "p", "palette", "All commands by name", "screen.palette"),
    _prefixed("search", "slash", "search", "Find text on the screen and in scrollback", "screen.search"),
    _prefixed(
        "scroll", "left_square_bracket", "scroll", "Scroll mode: keys move the view", "screen.scroll_mode"
    ),
    _prefixed("keys", "question_mark", "keys", "All keys", "screen.keys"),
    _prefixed("pane.next", "tab,right,down", "next pane", "Go to the next pane", "screen.pane_step(1)"),
    _prefixed(
        "pane.previous", "shift+tab,left,up", "previous pane", "Go to the pane before", "screen.pane_step(-1)"
    ),
    _prefixed("pane.1", "1", "tasks", "Go to Tasks", "screen.pane(0)"),
    _prefixed("pane.2", "2", "checkpoints", "Go to Checkpoints", "screen.pane(1)"),
    _prefixed("pane.3", "3", "memory", "Go to Memory health", "screen.pane(2)"),
    _prefixed("pane.4", "4", "activity", "Go to Activity", "screen.pane(3)"),
    _prefixed("pane.5", "5", "processes", "Go to Processes & files", "screen.pane(4)"),
    _prefixed("redraw", "r", "redraw", "Ask for the whole screen again", "screen.redraw"),
    _prefixed("detach.all", "D", "detach all", "Close every window on this session", "screen.detach_all"),
    KeyAction("menu.close", "prefix", "escape", "back", "Back to the agent", "screen.menu_close"),
    KeyAction("scroll.up", "scroll", "up,k", "up", "A line back", "scroll_by(1)"),
    KeyAction("scroll.down", "scroll", "down,j", "down", "A line forth", "scroll_by(-1)"),
    KeyAction("scroll.page_up", "scroll", "pageup,ctrl+b", "page up", "A screen back", "scroll_page(1)"),
    KeyAction(
        "scroll.page_down",
        "scroll",
        "pagedown,ctrl+f,space",
        "page down",
        "A screen forth",
        "scroll_page(-1)",
    ),
    KeyAction("scroll.top", "scroll", "home,g", "oldest", "To the oldest line kept", "scroll_edge(1)"),
    KeyAction("scroll.bottom", "scroll", "end,G", "newest", "To the newest line", "scroll_edge(-1)"),
    KeyAction("scroll.search", "scroll", "slash", "search", "Find text", "screen.search"),
    KeyAction("scroll.leave", "scroll", "escape,q,enter", "leave", "Back to the agent", "scroll_leave"),
    KeyAction("list.up", "list", "up,k", "up", "A row up", "move(-1)"),
    KeyAction("list.down", "list", "down,j", "down", "A row down", "move(1)"),
    KeyAction("list.page_up", "list", "pageup", "page up", "A page up", "page(-1)"),
    KeyAction("list.page_down", "list", "pagedown", "page down", "A page down", "page(1)"),
    KeyAction("list.first", "list", "home,g", "first", "First row", "edge(-1)"),
    KeyAction("list.last", "list", "end,G", "last", "Last row", "edge(1)"),
    KeyAction("list.open", "list", "enter", "open", "Open the row", "choose"),
    KeyAction(
        "pane.compare", "pane", "c", "compare", "Compare a checkpoint with the one before", "screen.compare"
    ),
    KeyAction("pane.fold", "pane", "space,f", "fold", "Fold or unfold the pane", "fold"),
    KeyAction("pane.forward", "pane", "tab", "next", "Next pane", "screen.pane_step(1)"),
    KeyAction("pane.back", "pane", "shift+tab", "previous", "Pane before", "screen.pane_step(-1)"),
    KeyAction("pane.leave", "pane", "escape,q", "back", "Back to the agent", "screen.to_agent"),
    KeyAction("text.close", "text", "escape,q", "close", "Close", "screen.close"),
    KeyAction("text.compare", "text", "c", "compare", "Compare with the one before", "screen.compare"),
    KeyAction("ask.yes", "ask", "s,y", "yes", "Do it", "screen.answer(True)"),
    KeyAction("ask.no", "ask", "escape,n,q", "no", "Leave things as they are", "screen.answer(False)"),
    KeyAction(
        "recovery.continue", "recovery", "enter", "continue", "Go on with what was typed", "screen.go_on"
    ),
    KeyAction("recovery.edit", "recovery", "e", "edit", "Edit the briefing first", "screen.edit"),
    KeyAction(
        "recovery.agent", "recovery", "a", "another agent", "Hand it to another agent", "screen.other_agent"
    ),
    KeyAction("recovery.fresh", "recovery", "f", "start fresh", "Start without any of it", "screen.fresh"),
    KeyAction(
        "recovery.briefing", "recovery", "b", "briefing", "The full text as injected", "screen.briefing"
    ),
    KeyAction("recovery.cancel", "recovery", "escape,ctrl+c", "cancel", "Start nothing", "screen.cancel"),
    KeyAction("edit.done", "edit", "ctrl+s,f2", "done", "Keep the edited briefing", "screen.edit_done"),
    KeyAction("edit.cancel", "edit", "escape", "back", "Leave the briefing as it was", "screen.edit_cancel"),
    KeyAction("browser.quit", "browser", "escape,q,ctrl+c", "quit", "Leave", "screen.leave"),
    KeyAction("search.older", "search", "enter,up", "older", "The match before", "screen.match_step(-1)"),
    KeyAction("search.newer", "search", "down", "newer", "The match after", "screen.match_step(1)"),
    KeyAction("search.close", "search", "escape", "close", "End the search", "screen.search_close"),
)

_SHOWN = {
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "question_mark": "?",
    "slash": "/",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "tab": "Tab",
    "home": "Home",
    "end": "End",
}


def bindings(group: Group) -> list[BindingType]:
    """Textual bindings of a group, with their ids (user-mappable) and tooltips.

    What the prefix opens goes through the screen's `act`, which closes the menu first. The prefix and its keys are
    taken before any widget sees them (priority), so that keys typed faster than widgets answer keep their order.
    """
    return [
        Binding(
            a.keys,
            f"screen.act({a.id!r})" if group == "prefix" else a.action,
            a.label,
            show=False,
            tooltip=a.tooltip,
            id=a.id,
            priority=group in ("session", "prefix"),
        )
        for a in ACTIONS
        if a.group == group
    ]


def shown(key: str) -> str:
    """A key as people write it: `^]`, `?`, `Shift+PgUp`."""
    *modifiers, base = key.split("+")
    name = _SHOWN.get(base, base)
    if modifiers == ["ctrl"]:
        return f"^{name}"
    return "+".join([*(m.capitalize() for m in modifiers), name])


def control_character(key: str) -> str | None:
    """The character a terminal sends for a control key (`ctrl+right_square_bracket`: 0x1d); None for other keys."""
    modifier, _, base = key.partition("+")
    if modifier != "ctrl" or not base:
        return None
    try:
        character = base if len(base) == 1 else unicodedata.lookup(base.replace("_", " "))
    except KeyError:
        return None
    code = ord(character.upper())
    return chr(code & 0x1F) if 0x40 <= code < 0x60 else None


class Keymap:
    """The key table with the user's own keys in it."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        """Raises SettingsError for an id that does not exist, naming the nearest one."""
        known = {a.id: a.keys for a in ACTIONS}
        self.overrides: dict[str, str] = {}
        for id, keys in (overrides or {}).items():
            if id not in known:
                near = difflib.get_close_matches(id, known, 1)
                hint = f"Did you mean {near[0]!r}?" if near else "`^] ?` lists all ids."
                raise SettingsError(f"keys: there is no action {id!r}.", hint=hint)
            self.overrides[id] = ",".join(_named(key) for key in keys.split(",") if key.strip())
        self._keys = {**known, **self.overrides}

    @classmethod
    def of(cls, settings: FaceSettings) -> Keymap:
        """The key map of the settings."""
        keys: Mapping[str, str] = getattr(settings, "keys", {})
        return cls({"prefix": settings.prefix_key, **keys})

    def keys_of(self, id: str) -> Sequence[str]:
        """Textual names of the keys of an action."""
        return self._keys[id].split(",")

    def shown(self, id: str) -> str:
        """The first key of an action, as people write it."""
        return shown(self.keys_of(id)[0])

    def all_shown(self, id: str) -> str:
        """All keys of an action, as people write them."""
        return " ".join(shown(key) for key in self.keys_of(id))


def _named(key: str) -> str:
    """A key as users may write it (`^b`, `ctrl+]`, `?`) in Textual's name for it."""
    key = key.strip()
    if key.startswith("^") and len(key) > 1:
        key = f"ctrl+{key[1:]}"
    *modifiers, base = key.split("+")
    return "+".join([*modifiers, _character_name(base) if len(base) == 1 else base])


def _character_name(character: str) -> str:
    if character.isalnum():
        return character
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)
