"""The recovery card in words: what was done, what is open, what must not be done again. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from engram_runtime.journal.records import FileChange, Item
from engram_tui.messages import RecoveryCard
from engram_tui.panes.paint import Role, Row, Span, row, span_width, wrapped
from engram_tui.panes.processes import file_row
from engram_tui.panes.words import count, fraction, inert, plural

LABEL = 14
"""Cells of the column of labels."""
FILES_SHOWN = 6
_MARKS: dict[str, Span] = {
    "verified": ("✓ ", "good"),
    "claimed": ("· ", "dim"),
    "contradicted": ("✗ ", "danger"),
}
_ROLES: dict[str, Role] = {"verified": "good", "claimed": "dim", "contradicted": "danger"}


def card_rows(card: RecoveryCard, width: int, *, edited: bool = False) -> list[Row]:
    """The card at a width in cells. Sections without content are left out."""
    room = width - LABEL
    sections: list[tuple[str, list[Row]]] = [
        ("Goal", wrapped(card.goal, room) if card.goal else []),
        ("Done", [r for item in card.done for r in _done(item, room)]),
        ("Working on", [r for item in card.working_on for r in _marked(item.text, ("▸ ", "strong"), room)]),
        ("Not again", [r for p in card.not_again for r in _not_again(p.action, p.reason, room)]),
        ("Keep", [r for item in card.keep for r in _marked(item.text, ("■ ", "dim"), room)]),
        ("Next", [r for item in card.next for r in _marked(item.text, ("→ ", "dim"), room)]),
        ("Changed", _files(card.changed)),
        ("By you", _files(card.changed_by_you)),
        ("Changed since", _files(card.changed_since)),
        ("HEAD moved", wrapped(card.head_moved, room, "accent") if card.head_moved else []),
    ]
    rows: list[Row] = []
    for label, content in sections:
        rows += [_labelled(label if i == 0 else "", r) for i, r in enumerate(content)]
    if not rows:
        rows = [row(("Nothing was recorded of this work but that it stopped.", "dim"))]
    return [*rows, Row(), row(right=_figures(card, edited))]


def briefing_rows(text: str, width: int) -> list[Row]:
    """The briefing to the letter, wrapped."""
    rows: list[Row] = []
    for line in text.split("\n"):
        rows += wrapped(line, width) if line.strip() else [Row()]
    return rows


def title_spans(card: RecoveryCard, width: int) -> tuple[str, list[Row]]:
    """The card's title in at most `width` cells: what was interrupted; how, when and with whom.

    Where that is too much for one line, the facts become rows of the card, and a long name gives way.
    """
    facts = " · ".join(inert(part) for part in (card.verdict, card.age, card.agent) if part)
    name, words = inert(card.title), " was interrupted"
    gap = width - cell_len(name) - len(words) - cell_len(facts) - 2
    if gap > 1:
        return f"{name}{words} {'─' * gap} {facts}", []
    room = width - len(words)
    if cell_len(name) > room:
        name = set_cell_size(name, max(0, room - 1)).rstrip() + "…"
    return name + words, wrapped(facts, width - 1, "dim") if facts else []


def _figures(card: RecoveryCard, edited: bool) -> tuple[Span, ...]:
    briefing: Span = (
        ("briefing edited by you", "accent") if edited else (f"briefing {count(card.tokens)} tokens", "dim")
    )
    return (briefing, (f" · confidence {fraction(card.confidence)}", "dim"))


def _labelled(label: str, content: Row) -> Row:
    return Row(((f"{label:<{LABEL}}", "dim"), *content.left), content.right)


def _marked(text: str, mark: Span, room: int, role: Role = "plain") -> list[Row]:
    lines = wrapped(text, room - 2, role)
    return [Row(((mark if i == 0 else ("  ", "plain")), *line.left)) for i, line in enumerate(lines)]


def _done(item: Item, room: int) -> list[Row]:
    """What it is, and what shows it: beside it where there is room, else below."""
    evidence = {"verified": "verified", "claimed": "claimed", "contradicted": "contradicted"}[item.standing]
    seen = inert(item.evidence) or ("nothing seen" if item.standing == "claimed" else "")
    said = f"{evidence}: {seen}" if item.evidence else f"{evidence}, {seen}" if seen else evidence
    rows = _marked(item.text, _MARKS[item.standing], room)
    span: Span = (said, _ROLES[item.standing])
    if len(rows) == 1 and span_width(rows[0].left) + span_width((span,)) + 2 <= room:
        return [Row(rows[0].left, (span,))]
    return rows + [Row((("  ", "plain"), *line.left)) for line in wrapped(said, room - 2, span[1])]


def _not_again(action: str, reason: str, room: int) -> list[Row]:
    text = f"{action}: {reason.replace('_', ' ')}" if reason else action
    return _marked(text, ("✗ ", "danger"), room)


def _files(files: Sequence[FileChange]) -> list[Row]:
    rows = [file_row(file, "") for file in files[:FILES_SHOWN]]
    if len(files) > FILES_SHOWN:
        rows.append(row((f"and {plural(len(files) - FILES_SHOWN, 'more file', 'more files')}", "dim")))
    return rows
