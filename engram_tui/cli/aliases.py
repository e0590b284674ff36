"""mcp-engram's own commands, so that its users' scripts and client configurations go on working."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from engram_tui.cli.main import main, run_command


def http_main() -> NoReturn:
    """`engram-http [--host --port]`."""
    from engram_tui.cli.server import http_command

    run_command(http_command, sys.argv[1:], "engram-http")


def server_main() -> NoReturn:
    """`engram-server start|stop|status|run`."""
    from engram_tui.cli.server import server_group

    run_command(server_group, sys.argv[1:], "engram-server")


def prompt_main() -> None:
    """`engram-prompt [--user-id --json]`."""
    main(["prompt", *sys.argv[1:]])


def setup_main() -> None:
    """`engram-setup [setup|doctor|recover|prompt|rebuild-cache|stats|report]`; without a word: setup.

    As there: doctor prints JSON, and recover only shows what it would do unless `--promote` is given.
    """
    main(_as_ours(sys.argv[1:]))


def session_hook_main() -> None:
    """`engram-session-hook`: Claude's SessionStart hook."""
    from engram_tui.cli.session_hook import answer

    sys.exit(answer())


def _as_ours(words: list[str]) -> list[str]:
    name, rest = (words[0], words[1:]) if words and not words[0].startswith("-") else ("setup", words)
    if name == "doctor":
        return ["doctor", "--json", *(word for word in rest if word != "--json")]
    if name == "recover":
        if "--promote" in rest:
            return ["recover", *(word for word in rest if word != "--promote")]
        return ["recover", *rest, *([] if {"--dry-run", "--help", "-h"} & set(rest) else ["--dry-run"])]
    return [name, *rest]


ENTRY_POINTS: dict[str, Callable[[], None]] = {
    "engram-http": http_main,
    "engram-server": server_main,
    "engram-prompt": prompt_main,
    "engram-setup": setup_main,
    "engram-session-hook": session_hook_main,
}
"""The commands by name, as pyproject.toml installs them."""


if __name__ == "__main__":
    del sys.argv[
        0
    ]  # python -m engram_tui.cli.aliases COMMAND WORDS…: as if the command had been called itself
    ENTRY_POINTS[sys.argv[0]]()
