"""`engram`: finds the command, turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any, NoReturn

import click

from engram_runtime.errors import EngramError

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module of this package, help line)
    "run": ("run", "Run an agent under supervision (the first agent found, without a name)."),
    "resume": ("run", "Continue the latest interrupted task of this project."),
    "attach": ("live", "Show a running session in this terminal."),
    "detach": ("live", "Close every UI of a session; its agent goes on."),
    "stop": ("live", "End a session's agent."),
    "checkpoint": ("live", "Write a checkpoint of a running session now."),
    "sessions": ("work", "Sessions of this project: live, lost, ended."),
    "tasks": ("work", "Tasks of this project."),
    "checkpoints": ("work", "Checkpoints of a task."),
    "show": ("work", "A checkpoint in full."),
    "restore": ("work", "The continuation package of a task, as an agent gets it."),
    "recall": ("memory", "Ask memory."),
    "remember": ("memory", "Store a memory."),
    "consolidate": ("memory", "Link memories that say the same, hide faded repetitions."),
    "prompt": ("serve", "Print the CLAUDE.md section for the current state."),
    "mcp": ("serve", "MCP server for any agent: stdio, or streamable HTTP with --http."),
    "search": ("reports", "Find words in all that was recorded."),
    "files": ("reports", "Files that a checkpoint lists as changed."),
    "diff": ("reports", "The git diff a checkpoint kept."),
    "stats": ("reports", "Figures of the last days."),
    "report": ("reports", "A report of a period or a session, as Markdown or HTML."),
    "forget": ("forget", "Remove a memory, a task or a text for good."),
    "export": ("transfer", "The whole home as one file."),
    "import": ("transfer", "Take over a home, or the history of another program."),
    "setup": ("setup", "Make the home, prepare the embedding model, say how agents are connected."),
    "trust": ("trust", "Trust this project's .engram.toml as it is now."),
    "agents": ("agents", "Agent CLIs found on this machine."),
    "seal": ("journal", "Move old events of the journal into compressed archive files."),
    "doctor": ("upkeep", "Check the home: can it be written, is its journal whole?"),
    "recover": ("upkeep", "Make a damaged journal anew from everything that is intact."),
    "rebuild-cache": ("upkeep", "Delete what is derived from the journal and make it anew."),
}


class LazyGroup(click.Group):
    """Imports a command's module when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"engram_tui.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            meant = f" Did you mean {near[0]}?" if near else " See `engram --help`."
            raise click.UsageError(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Print the version.")
@click.pass_context
def engram(ctx: click.Context, version: bool) -> None:
    """Launch and supervise coding agents. Kill anything; the next session continues from there.

    Without a command: the session browser on a terminal, the MCP server on stdio otherwise.
    """
    if version:
        from importlib.metadata import version as installed

        click.echo(f"engram {installed('engram-tui')}")
        return
    if ctx.invoked_subcommand is not None:
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        from engram_tui.cli.live import browse

        ctx.exit(browse())
    from engram_tui.cli.serve import serve_stdio

    ctx.exit(serve_stdio())


def split_rest(argv: list[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """What stands before the first `--`, and what stands after it (None without one): that is the agent's."""
    if "--" not in argv:
        return argv, None
    cut = argv.index("--")
    return argv[:cut], tuple(argv[cut + 1 :])


def main(argv: list[str] | None = None) -> None:
    """Console entry. Exit codes: 0, 1 failed, 2 bad arguments, 70–77 see `engram run`, else the agent's own."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, rest = split_rest(words) if words[:1] in (["run"], ["resume"]) else (words, None)
    run_command(engram, own, "engram", rest)


def run_command(
    command: click.Command, words: list[str], name: str, rest: tuple[str, ...] | None = None
) -> NoReturn:
    """Run a command as this process's own, and exit: errors as one line, codes as `main`. `name`: how it was called."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without UTF-8 shows "?", and nothing fails
    try:
        code: Any = command.main(args=words, prog_name=name, standalone_mode=False, obj={"rest": rest})
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except EngramError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone: nothing is left to say, and Python must not try at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    print(f"engram: {line}", file=sys.stderr)
    sys.exit(code)
