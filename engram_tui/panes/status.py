"""The lines that say how things stand: status bar, conditions, the room's title. Words before icons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from textual.strip import Strip

from engram_tui.messages import Condition, Snapshot
from engram_tui.panes.paint import Painted, Role, Row, Span, span_width, wrapped
from engram_tui.panes.words import age, clock, count, elapsed, gauge, tokens

_STATE: dict[str, tuple[str, Role]] = {
    "starting": ("starting", "dim"),
    "idle": ("idle", "good"),
    "busy": ("busy", "strong"),
    "waiting": ("needs you", "accent"),
    "stalled": ("stalled", "accent"),
    "limited": ("limited", "accent"),
    "stopping": ("stopping", "dim"),
    "ended": ("ended", "dim"),
    "lost": ("lost", "danger"),
}
_CONDITIONS = {
    "rate_limit": "rate limit",
    "overloaded": "overloaded",
    "overflow": "context overflow",
    "auth": "not logged in",
    "api_error": "API error",
    "waiting": "needs you",
    "stalled": "stalled",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the status bar; of parts that do not fit, those with the highest `rank` go first."""

    rank: int
    spans: tuple[Span, ...]


def hint(rank: int, key: str, word: str) -> Part:
    """`^]? keys`: a key and what it does here."""
    return Part(rank, ((key, "key"), (f" {word}", "dim")))


def state_spans(snapshot: Snapshot, now: datetime, *, timed: bool = True) -> tuple[Span, ...]:
    """`● busy 0:42`: the state and how long it has been so (seconds only while the agent works)."""
    word, role = _STATE[snapshot.state]
    spans: tuple[Span, ...] = (("● ", role), (word, role))
    if timed and snapshot.state == "busy" and (running := elapsed(snapshot.state_since, now)):
        return (*spans, (f" {running}", "dim"))
    if timed and snapshot.state in ("waiting", "stalled", "limited"):
        return (*spans, (f" since {clock(snapshot.state_since)}", "dim")) if snapshot.state_since else spans
    return spans


def condition_text(condition: Condition) -> str:
    """What happened, since when, what Engram did, and last what the API said: that is long, and may be cut."""
    name = _CONDITIONS.get(condition.kind, condition.kind.replace("_", " "))
    parts = [f"{name} since {clock(condition.since)}" if clock(condition.since) else name]
    parts += [part for part in (condition.done, condition.text) if part]
    return " · ".join(parts)


def alarms(snapshot: Snapshot) -> list[tuple[str, Role]]:
    """Every line that must be seen: what is not being kept first, then conditions."""
    lines: list[tuple[str, Role]] = []
    if not snapshot.protected:
        lines.append((f"not protected: {snapshot.problem or 'nothing is being kept'}", "danger"))
    return lines + [(condition_text(c), "accent") for c in snapshot.conditions]


def _context(snapshot: Snapshot) -> tuple[Span, ...]:
    used, window = snapshot.context_used, snapshot.context_window
    if used is None:
        return ()
    if not window:
        return (("ctx ", "dim"), (tokens(used), "plain"))
    share = used / window
    role: Role = "danger" if share >= 0.9 else "accent" if share >= 0.75 else "plain"
    return (("ctx ", "dim"), (gauge(share), role), (f" {share:.0%}", role), (f" of {tokens(window)}", "dim"))


def _checkpoint(snapshot: Snapshot, now: datetime) -> tuple[Span, ...]:
    last = snapshot.checkpoint
    if last is None:
        return (("no checkpoint yet", "dim"),)
    return (("✓ ", "good"), (f"v{last.version}", "plain"), (f" durable {age(last.at, now)}", "dim"))


def status_parts(snapshot: Snapshot, now: datetime, *, framed: bool) -> list[Part]:
    """The parts of the status bar, in reading order. Without the frame it also carries the alarms."""
    calm = not snapshot.conditions
    parts = [Part(0, state_spans(snapshot, now, timed=not framed and calm))]
    if not framed:
        parts += [
            Part(1 + i, (("▲ ", role), (text, role))) for i, (text, role) in enumerate(alarms(snapshot))
        ]
    if context := _context(snapshot):
        parts.append(Part(30, context))
    if snapshot.tokens_in or snapshot.tokens_out:
        spent = f"↑ {tokens(snapshot.tokens_in)} ↓ {tokens(snapshot.tokens_out)}"
        parts.append(Part(40, ((spent, "dim"),)))
    parts.append(Part(20, _checkpoint(snapshot, now)))
    if snapshot.journal_position:
        parts.append(Part(60, ((f"journal {count(snapshot.journal_position)}", "dim"),)))
    if snapshot.uis > 1:
        parts.append(Part(50, ((f"{snapshot.uis} windows", "dim"),)))
    return parts


def fitted(parts: Sequence[Part], width: int, gap: int = 3) -> tuple[Span, ...]:
    """The parts that fit into `width` cells, in their order; the lowest ranks are kept, the first always."""
    kept: set[int] = set()
    room = width
    for index in sorted(range(len(parts)), key=lambda i: parts[i].rank):
        needed = span_width(parts[index].spans) + (gap if kept else 0)
        if needed <= room or not kept:
            kept.add(index)
            room -= needed
        elif parts[index].rank < 20 and room > 12:
            # An alarm is never left out while there is room for its first words.
            kept.add(index)
            room = 0
    spans: list[Span] = []
    for index in sorted(kept):
        spans += [(" " * gap, "plain")] if spans else []
        spans += parts[index].spans
    return tuple(spans)


class StatusBar(Painted):
    """The last line of the screen."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: tuple[Part, ...] = ()
        self._hints: tuple[Part, ...] = ()

    def show(self, parts: Sequence[Part], hints: Sequence[Part]) -> None:
        """How things stand, and the keys that matter here."""
        if (tuple(parts), tuple(hints)) != (self._parts, self._hints):
            self._parts, self._hints = tuple(parts), tuple(hints)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Parts left, hints right; parts come first when room is short."""
        width = self.size.width - 2
        # One hint always stays: without it nobody finds the others.
        least = span_width(self._hints[0].spans) + 2 if self._hints else 0
        left = fitted(self._parts, width - least)
        hints = fitted(self._hints, width - span_width(left) - 2, gap=2)
        line = Row(((" ", "plain"), *left), (*hints, (" ", "plain")))
        return self.paint(line, self.size.width)


class Alarms(Painted):
    """Conditions in words, on top of the frame; takes no line while there is nothing to say."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[tuple[str, Role], ...] = ()

    def show(self, lines: Sequence[tuple[str, Role]]) -> None:
        """Show these lines."""
        if tuple(lines) != self._lines:
            self._lines = tuple(lines)
            self.display = bool(self._lines)
            self.refresh(layout=True)

    def _rows(self, width: int) -> list[Row]:
        rows: list[Row] = []
        for text, role in self._lines:
            for i, line in enumerate(wrapped(text, width - 4, role)):
                rows.append(Row(((" ▲ " if i == 0 else "   ", role), *line.left)))
        return rows

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """As many lines as the words need."""
        return len(self._rows(width))

    def render_line(self, y: int) -> Strip:
        """One line of the words."""
        rows = self._rows(self.size.width)
        return self.paint(rows[y] if y < len(rows) else Row(), self.size.width)
