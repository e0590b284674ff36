"""Asking and telling memory."""

from __future__ import annotations

from typing import cast

import click

from engram_runtime.journal.events import Category
from engram_tui.cli.home import opened
from engram_tui.cli.output import age, json_option, note, one_line, print_json, table


@click.command("recall")
@click.argument("query")
@click.option("-k", "count", default=5, show_default=True, type=click.IntRange(1, 100), help="How many.")
@click.option("--user-id", "user", default="default", show_default=True, help="Whose memories.")
@json_option
def recall_command(query: str, count: int, user: str, as_json: bool) -> None:
    """Ask memory."""
    from engram_runtime.memory.results import Recall

    with opened() as runtime:
        # An empty home has no memory to ask, and no model is started for nothing.
        empty = runtime.journal.head() == 0
        found = (
            Recall(hits=(), semantic="off", took_ms=0.0)
            if empty
            else runtime.memory.recall(query, k=count, user=user, wait=0.3)
        )
        if as_json:
            print_json(found)
            return
        if found.semantic != "ready" and not empty:
            note(f"answered by words alone: the embedding model is {found.semantic}")
        if not found.hits:
            print("Nothing found.")
            return
        rows = [
            [
                f"#{h.memory.id}",
                f"{h.score:.2f}",
                h.memory.category,
                one_line(h.memory.content, 70),
                age(h.memory.created_at),
            ]
            for h in found.hits
        ]
        table(["MEMORY", "SCORE", "CATEGORY", "CONTENT", "AGE"], rows)


@click.command("remember")
@click.argument("text")
@click.option("--importance", default=0.7, show_default=True, type=click.FloatRange(0, 1), help="0 to 1.")
@click.option(
    "--category",
    default="fact",
    show_default=True,
    type=click.Choice(["fact", "assumption", "failure", "strategy"]),
    help="Kind of memory.",
)
@click.option("--global", "everywhere", is_flag=True, help="For all projects.")
@json_option
def remember_command(text: str, importance: float, category: str, everywhere: bool, as_json: bool) -> None:
    """Store a memory."""
    with opened(create=True) as runtime:
        stored = runtime.memory.store(
            text,
            importance=importance,
            category=cast(Category, category),
            scope="global" if everywhere else "project",
            source="user",
        )
        if as_json:
            print_json(stored)
            return
        print(f"memory #{stored.memory} {stored.outcome}")
