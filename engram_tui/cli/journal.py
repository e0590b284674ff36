"""Looking after the journal's size."""

from __future__ import annotations

import click

from engram_runtime.errors import StoreUnavailable
from engram_runtime.journal.maintenance import LEAST_KEPT
from engram_runtime.upkeep.session_folders import remove_old_folders
from engram_tui.cli.home import is_new, opened
from engram_tui.cli.output import json_option, print_json


@click.command("seal")
@click.option(
    "--keep",
    type=click.IntRange(min=LEAST_KEPT),
    help=f"How many of the newest events stay in the database, {LEAST_KEPT} or more (default: setting `seal_keep`).",
)
@json_option
def seal_command(keep: int | None, as_json: bool) -> None:
    """Move old events from the journal's database into compressed archive files.

    Nothing is lost: every command reads them as before. Sessions do it by themselves when the journal is over
    its budget (settings `seal_events`, `seal_bytes`). Folders of sessions that ended more than `keep_days` ago go too:
    the journal has what they did.
    """
    with opened(recover=False) as runtime:
        if is_new(runtime.home):
            done = {"segments": 0, "events": 0, "bytes_before": 0, "bytes_after": 0}
            folders = 0
        else:
            sealed = runtime.journal.seal(keep)
            if sealed is None:
                raise StoreUnavailable("Another process is sealing already.", hint="Try again in a moment.")
            done = sealed._asdict()
            folders = remove_old_folders(runtime.journal, runtime.state, runtime.settings.keep_days)
        if as_json:
            print_json(done | {"session_folders": folders})
            return
        if folders:
            print(f"{folders:,} {'folder' if folders == 1 else 'folders'} of ended sessions removed")
        if done["events"]:
            print(
                f"{done['events']:,} events sealed into {done['segments']} files;"
                f" journal.sqlite {done['bytes_before']:,} → {done['bytes_after']:,} bytes"
            )
        elif not folders:
            print("Nothing to seal.")
