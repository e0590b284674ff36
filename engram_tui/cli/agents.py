"""Which agent CLIs are here."""

from __future__ import annotations

import os
import subprocess

import click

from engram_tui.agents.base import Adapter
from engram_tui.agents.registry import adapter, names
from engram_tui.cli.output import json_option, one_line, print_json, table

VERSION_S = 10.0


@click.command("agents")
@json_option
def agents_command(as_json: bool) -> None:
    """Agent CLIs found on this machine."""
    found = [_described(adapter(name)) for name in names()]
    if as_json:
        print_json(found)
        return
    table(
        ["AGENT", "VERSION", "VERIFIED WITH", "PROGRAM"],
        [
            [a["name"] or "", a["version"] or "-", a["verified"] or "-", a["program"] or "not on PATH"]
            for a in found
        ],
    )


def _described(agent: Adapter) -> dict[str, str | None]:
    program = agent.find(os.environ)
    return {
        "name": agent.name,
        "title": agent.title,
        "program": program,
        "version": _version(agent, program),
        "verified": agent.verified or None,
    }


def _version(agent: Adapter, program: str | None) -> str | None:
    argv = agent.version_argv(program) if program else ()
    if not argv:
        return None
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=VERSION_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return one_line(done.stdout or done.stderr, 40) or None
