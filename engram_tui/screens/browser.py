"""The session browser: one row a session, live ones first; Enter attaches or resumes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from rich.cells import set_cell_size
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from engram_tui.discovery import SessionEntry
from engram_tui.keymap import FaceSettings, Keymap, bindings
from engram_tui.panes.paint import Role, Row, Span, row, wrapped
from engram_tui.panes.rows import Rows
from engram_tui.panes.status import Part, StatusBar, hint
from engram_tui.panes.words import age, brief_age, count, inert, plural, tokens
from engram_tui.screens.outcome import Outcome

EMPTY = (
    "No sessions yet. `engram run claude` starts claude as you know it, and keeps what matters of the work. "
    "`engram run demo` shows it without any agent."
)
WIDE = 100
STATE_CELLS = 14
"""Cells of the first column: `○ crashed(127)` fits."""
EVERY = 2.0
"""Seconds between two looks at the sessions."""
_ACTIVITY: dict[str, tuple[str, Role]] = {
    "waiting": ("needs you", "accent"),
    "stalled": ("stalled", "accent"),
    "limited": ("limited", "accent"),
    "busy": ("busy", "strong"),
}


class BrowserScreen(Screen[None], inherit_bindings=False):
    """Lists sessions; leaves the app with the one chosen."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("browser")

    def __init__(
        self,
        entries: Sequence[SessionEntry],
        settings: FaceSettings,
        refresh: Callable[[], Sequence[SessionEntry]] | None = None,
    ) -> None:
        """`refresh` reads the sessions anew; it is called in a thread."""
        super().__init__()
        self._entries = list(entries)
        self._keymap = Keymap.of(settings)
        self._refresh = refresh

    def compose(self) -> ComposeResult:
        """A line on top, the list, a preview beside it, the keys."""
        yield StatusBar(id="head")
        with Horizontal():
            yield Rows(id="list", always=True)
            yield Rows(id="preview", selectable=False)
        yield StatusBar(id="keys")

    def on_mount(self) -> None:
        """Show, and keep up to date."""
        self.query_one("#preview", Rows).can_focus = False
        self.query_one("#list", Rows).focus()
        self._show()
        if self._refresh:
            self.run_worker(self._keep_up(self._refresh), name="sessions")

    async def _keep_up(self, refresh: Callable[[], Sequence[SessionEntry]]) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self._entries = list(await asyncio.to_thread(refresh))
            self._show()

    def on_resize(self, event: events.Resize) -> None:
        """A preview only where there is room."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.call_after_refresh(self._show)

    # --- what is shown --------------------------------------------------------------------------------------

    def _show(self) -> None:
        now = datetime.now(UTC)
        width = self.query_one("#list", Rows).size.width
        self.query_one("#list", Rows).show([session_row(e, now, width) for e in self._entries], EMPTY)
        live = sum(e.state == "live" for e in self._entries)
        head: tuple[Span, ...] = (
            ("engram", "title"),
            (f"   {count(live)} live · {plural(len(self._entries), 'session')}", "dim"),
        )
        self.query_one("#head", StatusBar).show([Part(0, head)], ())
        self._show_chosen()

    def _show_chosen(self) -> None:
        entry = self._chosen()
        show = self._keymap.shown
        verb = enter_verb(entry)
        pairs = [("Enter", verb)] if verb else []
        pairs += [("↑↓", "move"), (show("browser.quit"), "quit")]
        parts = [hint(i, key, word) for i, (key, word) in enumerate(pairs)]
        if entry is not None and (why := no_attaching(entry)):
            parts.append(Part(9, ((why, "dim"),)))
        self.query_one("#keys", StatusBar).show(parts, ())
        preview = self.query_one("#preview", Rows)
        preview.show(preview_rows(entry, datetime.now(UTC), max(20, preview.size.width - 3)) if entry else [])

    def _chosen(self) -> SessionEntry | None:
        chosen = self.query_one("#list", Rows).chosen
        return next((e for e in self._entries if chosen and e.id == chosen.key), None)

    def on_rows_highlighted(self) -> None:
        """Preview another."""
        self._show_chosen()

    # --- keys -----------------------------------------------------------------------------------------------

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Attach or resume."""
        entry = next((e for e in self._entries if e.id == message.row.key), None)
        if entry is not None and enter_verb(entry):
            self.app.exit(Outcome("chosen", entry=entry))

    def action_leave(self) -> None:
        """Leave."""
        self.app.exit(Outcome("cancelled"))


def enter_verb(entry: SessionEntry | None) -> str:
    """What Enter does with a session; empty where there is nothing to attach to or to resume."""
    if entry is None:
        return ""
    if entry.state == "live":
        return "" if entry.why_unseen else "attach"
    return "resume" if entry.state == "lost" or entry.interrupted else ""


def no_attaching(entry: SessionEntry) -> str:
    """Why a live session cannot be attached to; empty where it can."""
    return f"no attaching: {entry.why_unseen}" if entry.state == "live" and entry.why_unseen else ""


def _state(entry: SessionEntry) -> Span:
    if entry.state == "live" and not entry.supervised:
        return ("● MCP only", "dim")
    if entry.state == "live":
        word, role = _ACTIVITY.get(entry.activity, (entry.activity or "live", "good"))
        return (f"● {word}", role)
    if entry.state == "lost":
        return ("○ lost", "danger")
    return (f"○ {entry.verdict or 'ended'}", "accent" if entry.interrupted else "dim")


def _context(entry: SessionEntry) -> str:
    if entry.context_used is None:
        return ""
    if not entry.context_window:
        return f"ctx {tokens(entry.context_used)}"
    return f"ctx {entry.context_used / entry.context_window:.0%}"


def session_row(entry: SessionEntry, now: datetime, width: int) -> Row:
    """State, agent, task, project, last line said; context and age at the right."""
    state, role = _state(entry)
    wide = width >= 80
    project = (
        entry.project.rstrip("/").removesuffix("/.git").rpartition("/")[2] or entry.cwd.rpartition("/")[2]
    )

    def column(text: str, cells: int) -> str:
        return set_cell_size(inert(text), cells) + "  "

    left: tuple[Span, ...] = (
        (" " + column(state, STATE_CELLS), role),
        (column(entry.agent, 9), "plain"),
        (column(entry.task_name, 19), "strong" if entry.state == "live" else "plain"),
        (column(project, 10) if wide else "", "dim"),
        (entry.last_said, "dim"),
    )
    right: tuple[Span, ...] = (
        (f"{_context(entry):>8}", "dim"),
        (f" {brief_age(entry.last_at or entry.started_at, now):>5}", "dim"),
    )
    return Row(left, right, key=entry.id)


def preview_rows(entry: SessionEntry, now: datetime, width: int) -> list[Row]:
    """What is known of a session, and its last screen."""
    title = entry.task_name or entry.agent
    rows = [row((title, "title"), right=((entry.verdict or entry.state, "dim"),))]
    rows += wrapped(entry.goal, width, "plain") if entry.goal and entry.goal != title else []
    rows.append(Row())
    facts = [
        ("agent", entry.agent),
        ("folder", entry.cwd),
        ("started", age(entry.started_at, now)),
        ("session", entry.id),
    ]
    rows += [row((f"{label:<9}", "dim"), value) for label, value in facts if value]
    rows += [Row(), *wrapped(no_attaching(entry), width, "dim")] if no_attaching(entry) else []
    if entry.last_said:
        rows += [Row(), row(("last said", "dim")), *wrapped(entry.last_said, width)]
    if entry.preview:
        rows += [Row(), row(("last screen", "dim")), *(row(line) for line in entry.preview)]
    return rows
