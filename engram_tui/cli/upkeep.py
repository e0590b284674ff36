"""Looking after the home."""

from __future__ import annotations

import click

from engram_tui.cli.home import is_new, opened
from engram_tui.cli.output import json_option, print_json


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> int:
    """Check the home: can it be written, is its journal whole?"""
    with opened(recover=False) as runtime:
        health = runtime.health()
        new = is_new(runtime.home)
        checked = runtime.verify()
        if as_json:
            print_json({"health": health, "journal": checked})
        else:
            print(f"home     {health.home}")
            print(f"SQLite   {health.sqlite_version} ({health.driver})")
            print(f"journal  {health.journal_position} events, {health.journal_bytes:,} bytes")
            print(f"chain    {checked}")
            print(f"state    at {health.state_position}")
            if new:
                print("writable not made yet: the first session makes it")
            else:
                print("writable yes" if health.writable else f"writable NO: {health.problem} {health.hint}")
        return 0 if health.writable or new else 1
