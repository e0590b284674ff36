"""Memory health: how much is remembered, how strong it is, whether recall finds it."""

from __future__ import annotations

from datetime import datetime

from engram_tui.messages import MemoryHealth, Snapshot
from engram_tui.panes.paint import Row, Span, row
from engram_tui.panes.pane import PaneText
from engram_tui.panes.words import age, count, fraction, size, sparkline

EMPTY = (
    "No memories in this project yet. The agent stores them with its store_memory tool; "
    "`engram remember TEXT` stores one by hand."
)


def view(snapshot: Snapshot, now: datetime) -> PaneText:
    """Strength, recall, categories, upkeep, index, model, size: each line only if it was measured."""
    memory = snapshot.memory
    if not memory.total:
        return PaneText((("none yet", "dim"),), (), EMPTY)
    lines = (_strength(memory), _recall(memory), _categories(memory), _care(memory, now), _index(memory))
    rows = [r for r in lines if r]
    return PaneText(_summary(memory), tuple(rows))


def _summary(memory: MemoryHealth) -> tuple[Span, ...]:
    spans: list[Span] = [(count(memory.total), "plain")]
    if memory.index_lag and not words_only(memory):
        spans.append((f" · {count(memory.index_lag)} not indexed", "accent"))
    return tuple(spans)


def _strength(memory: MemoryHealth) -> Row | None:
    if not any(memory.histogram):
        return None
    return row(
        ("  strength 0 ", "dim"),
        sparkline(memory.histogram),
        (" 1", "dim"),
        right=((f"average {fraction(memory.average_strength)}", "dim"),),
        key="strength",
    )


def _recall(memory: MemoryHealth) -> Row | None:
    if not memory.recalls:
        return None
    share = memory.recall_hits / memory.recalls
    superseded: tuple[Span, ...] = (
        ((f"{count(memory.superseded)} superseded", "dim"),) if memory.superseded else ()
    )
    return row(
        ("  recall ", "dim"),
        f"{share:.0%}",
        (f" of {count(memory.recalls)} found", "dim"),
        right=superseded,
        key="recall",
    )


def _categories(memory: MemoryHealth) -> Row | None:
    ordered = sorted(memory.by_category.items(), key=lambda item: (-item[1], item[0]))
    spans: list[Span] = [("  ", "plain")]
    for i, (name, number) in enumerate(ordered):
        spans += [(" · " if i else "", "rule"), (f"{name} ", "dim"), (count(number), "plain")]
    return row(*spans, key="categories") if ordered else None


def _care(memory: MemoryHealth, now: datetime) -> Row | None:
    """What upkeep found and did."""
    numbers = (
        (memory.stale, "stale"),
        (memory.pruned, "pruned"),
        (memory.superseded if not memory.recalls else 0, "superseded"),
        (memory.waiting, "to compare"),
    )
    spans: list[Span] = []
    for number, name in numbers:
        if number:
            spans += [(" · " if spans else "  ", "rule"), (count(number), "plain"), (f" {name}", "dim")]
    tidied = f"tidied {age(memory.tidied_at, now)}" if memory.tidied_at else ""
    if not spans and not tidied:
        return None
    return row(*(spans or [("  ", "plain")]), right=((tidied, "dim"),) if tidied else (), key="care")


def words_only(memory: MemoryHealth) -> bool:
    """Whether there is no embedding model: recall goes by words, and nothing waits to be indexed."""
    return memory.embedder.startswith("off")


def _index(memory: MemoryHealth) -> Row:
    if words_only(memory):
        return row("  ", ("by words only: the model is off", "dim"), key="index")
    lag: Span = (
        (f"index {count(memory.index_lag)} behind", "accent")
        if memory.index_lag
        else ("index current", "dim")
    )
    stored: tuple[Span, ...] = ((size(memory.size_bytes), "dim"),) if memory.size_bytes else ()
    return row("  ", lag, (" · ", "rule"), (f"model {memory.embedder}", "dim"), right=stored, key="index")
