"""Trusting a project's settings file."""

from __future__ import annotations

from pathlib import Path

import click

from engram_runtime.errors import NotFound
from engram_runtime.paths import prepare_home
from engram_runtime.settings import PROJECT_FILE, is_trusted, project_file, trust
from engram_tui.cli.home import home
from engram_tui.cli.output import json_option, print_json


@click.command("trust")
@json_option
def trust_command(as_json: bool) -> None:
    """Trust the .engram.toml of this project, as it is now.

    It came with the repository: until it is trusted it may set only harmless keys (panes, theme, budgets, patterns).
    Any change of the file asks for trust again. Read it before.
    """
    file = project_file(Path.cwd())
    if file is None:
        raise NotFound(f"There is no {PROJECT_FILE} in this project.", hint="Nothing has to be trusted.")
    root = home()
    known = is_trusted(file, root)
    if not known:
        prepare_home(root)
        trust(file, root)
    if as_json:
        print_json({"file": str(file), "was_trusted": known, "trusted": True})
    else:
        print(f"{file} {'was trusted already' if known else 'is trusted now, until it changes'}.")
