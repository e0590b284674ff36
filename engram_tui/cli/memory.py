"""Asking and telling memory."""

from __future__ import annotations

from typing import cast

import click

from engram_runtime.journal.events import Category
from engram_tui.cli.home import opened
from engram_tui.cli.output import age, json_option, note, one_line, print_json, table

MODEL_SECONDS = 20.0
"""How long `consolidate` waits for the model and for what is not indexed yet."""


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
        others = ", ".join(f"#{memory}" for memory in stored.superseded)
        above = f"#{stored.below}" if stored.below is not None else ""
        tail = f" ({'below ' + above if above else 'over ' + others})" if above or others else ""
        print(f"memory #{stored.memory} {stored.outcome}{tail}")


@click.command("consolidate")
@click.option("--user-id", "user", default=None, help="Only this user's memories; all users' without it.")
@click.option(
    "--restore", multiple=True, type=int, metavar="ID", help="Let a hidden memory be recalled again."
)
@json_option
def consolidate_command(user: str | None, restore: tuple[int, ...], as_json: bool) -> None:
    """Link memories of this project that say the same, and hide faded repetitions.

    Nothing is deleted: what is linked stays below what took its place, what is hidden can be restored.
    """
    with opened(create=bool(restore)) as runtime:
        if restore:
            runtime.memory.restore(*restore)
            if as_json:
                print_json({"restored": list(restore)})
            else:
                print(f"restored {', '.join(f'#{memory}' for memory in restore)}")
            return
        if runtime.journal.head() == 0:
            if as_json:
                print_json({"compared": 0, "linked": [], "pruned": [], "took_ms": 0.0, "unlinked": 0})
            else:
                print("No memories yet.")
            return
        done = runtime.memory.consolidate(user, wait=MODEL_SECONDS)
        if as_json:
            print_json(done)
            return
        for memory, above, why in done.linked:
            print(f"#{memory} is below #{above}: {why}")
        for memory in done.pruned:
            print(f"#{memory} is hidden: it has faded, and another says it (--restore {memory})")
        print(f"{len(done.linked)} linked, {len(done.pruned)} hidden, {done.compared} pairs compared")
        if done.unlinked:
            note(f"{done.unlinked} memories were left out: they have no vectors yet (see `engram doctor`)")
