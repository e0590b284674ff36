"""Reading an OpenHands command line as OpenHands does (argparse, the option table of 1.16.0)."""

from __future__ import annotations

import argparse
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

SUBCOMMANDS = ("acp", "cloud", "login", "logout", "mcp", "serve", "view", "web")
"""None of them works in this terminal: they configure, show, serve other programs, or run elsewhere."""
LARGEST_FILE = 1 << 20
"""Bytes read of a `--file` for the goal and to put a briefing before it."""


@dataclass(frozen=True, slots=True)
class OpenHandsArgs:
    """What a command line says. `resume` is None without `--resume`, "" for `--resume` without an id."""

    task: str | None = None
    file: str | None = None
    resume: str | None = None
    last: bool = False
    headless: bool = False
    command: str | None = None
    information: bool = False
    understood: bool = True

    @property
    def is_session(self) -> bool:
        """False where OpenHands only prints something and ends, as it does for a line that it does not understand."""
        if not self.understood or self.information or self.command is not None:
            return False
        if self.last:
            return self.resume is not None
        return self.resume != ""

    def prompt(self, cwd: Path) -> str | None:
        """The user's own prompt (`--file` wins over `--task`), None where there is none or it cannot be read."""
        if not self.file:
            return self.task or None
        try:
            with (cwd / Path(self.file).expanduser()).open("rb") as file:
                return file.read(LARGEST_FILE).decode("utf-8")
        except (OSError, ValueError, RuntimeError):
            return None


class _NotUnderstood(Exception):
    """The parser refused; OpenHands will say so itself."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _NotUnderstood(message)


def parse(args: tuple[str, ...]) -> OpenHandsArgs:
    """Read a command line; abbreviated options count, as with OpenHands' own parser."""
    try:
        found = _parser().parse_args(list(args))
    except _NotUnderstood:
        return OpenHandsArgs(understood=False)
    return OpenHandsArgs(
        task=found.task,
        file=found.file,
        resume=found.resume,
        last=found.last,
        headless=found.headless,
        command=found.command,
        information=found.information,
    )


def with_file(args: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """The line as typed, with a seed file that wins over its `--task` and `--file`."""
    end = args.index("--") if "--" in args else len(args)
    return (*args[:end], f"--file={path}", *args[end:])


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False)
    information = {"action": "store_true", "dest": "information"}
    parser.add_argument("--help", "-h", **information)  # type: ignore[arg-type]
    parser.add_argument("--version", "-v", **information)  # type: ignore[arg-type]
    parser.add_argument("-t", "--task")
    parser.add_argument("-f", "--file")
    parser.add_argument("--resume", nargs="?", const="")
    for flag in ("--last", "--headless", "--json", "--exit-without-confirmation", "--override-with-envs"):
        parser.add_argument(flag, action="store_true")
    approval = parser.add_mutually_exclusive_group()
    approval.add_argument("--always-approve", "--yolo", action="store_true")
    approval.add_argument("--llm-approve", action="store_true")
    commands = parser.add_subparsers(dest="command")
    for name in SUBCOMMANDS:
        commands.add_parser(name, add_help=False).add_argument("rest", nargs=argparse.REMAINDER)
    return parser
