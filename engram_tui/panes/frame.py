"""The frame: alarms on top, panes below; beside the room or, in a narrow window, over its right half."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical

from engram_tui.messages import Snapshot
from engram_tui.panes import activity, checkpoints, memory, processes, tasks
from engram_tui.panes.paint import Role
from engram_tui.panes.pane import Pane, View
from engram_tui.panes.status import Alarms

PANES: dict[str, tuple[str, View, bool]] = {
    "tasks": ("Tasks", tasks.view, True),
    "checkpoints": ("Checkpoints", checkpoints.view, True),
    "memory": ("Memory health", memory.view, False),
    "activity": ("Activity", activity.view, True),
    "processes": ("Processes & files", processes.view, True),
}
"""Title, contents, and whether rows can be chosen."""
LOW = 32
"""Rows of the window below which the panes asked for least begin folded."""
_FOLDED_WHEN_LOW = ("memory", "processes")


class Frame(Vertical):
    """Holds the panes and knows which one is looked at."""

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:
        """`names` of the panes in order; unknown ones are left out."""
        super().__init__(id=id)
        self.names = [name for name in names if name in PANES] or list(PANES)
        self.panes = {name: self._pane(name) for name in self.names}
        self._alarms = Alarms(id="alarms")
        self._accordion: bool | None = None
        self._low: bool | None = None
        self._current = 0

    def _pane(self, name: str) -> Pane:
        title, view, selectable = PANES[name]
        return Pane(title, view, id=f"pane-{name}", selectable=selectable)

    def compose(self) -> ComposeResult:
        """Alarms, then panes."""
        yield self._alarms
        yield from self.panes.values()

    def show(self, snapshot: Snapshot, now: datetime, alarm_lines: Sequence[tuple[str, Role]]) -> None:
        """Show a snapshot in every pane."""
        self._alarms.show(alarm_lines)
        for pane in self.panes.values():
            pane.show(snapshot, now)

    def fold_for(self, *, accordion: bool, height: int) -> None:
        """`accordion`: one pane open at a time. What the user folded since stays as it is."""
        low = height < LOW
        if (accordion, low) == (self._accordion, self._low):
            return
        self._accordion, self._low = accordion, low
        for index, (name, pane) in enumerate(self.panes.items()):
            pane.fold(index != self._current if accordion else low and name in _FOLDED_WHEN_LOW)

    @property
    def focused_name(self) -> str:
        """Name of the pane with the focus; empty if it is elsewhere."""
        return next((name for name, pane in self.panes.items() if pane.rows.has_focus), "")

    def neighbour(self, by: int) -> int:
        """Index of the pane `by` away from the focused one; from outside, the one last looked at."""
        name = self.focused_name
        if not name:
            return self._current
        return (self.names.index(name) + by) % len(self.names)

    def go_to(self, index: int) -> None:
        """Open a pane and give it the focus."""
        if not 0 <= index < len(self.names):
            return
        self._current = index
        for i, pane in enumerate(self.panes.values()):
            if i == index:
                pane.fold(False)
            elif self._accordion:
                pane.fold(True)
        self.screen.set_focus(list(self.panes.values())[index].rows)

    def chosen_checkpoint(self) -> int | None:
        """Id of the checkpoint under the cursor."""
        if "checkpoints" not in self.panes:
            return None
        row = self.panes["checkpoints"].rows.chosen
        return int(row.key) if row is not None else None
