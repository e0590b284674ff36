"""`engram`: finds the command, turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
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
    stand_in_for_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without UTF-8 shows "?", and nothing fails
    sys.exit(_exit_code(command, words, name, rest))


def _exit_code(command: click.Command, words: list[str], name: str, rest: tuple[str, ...] | None) -> int:
    """Run it to its end, its output written out."""
    try:
        code: Any = command.main(args=words, prog_name=name, standalone_mode=False, obj={"rest": rest})
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _failed(error.format_message(), 2)
    except EngramError as error:
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone: nothing is left to say.
        _drop_output()
        return 141
    except OSError as error:
        _drop_output()
        what = f"{error.filename} cannot be used" if error.filename else "Reading or writing failed"
        return _failed(f"{what}: {error.strerror or error}.", 1)
    except KeyboardInterrupt:
        return 130


def stand_in_for_closed_streams() -> None:
    """Whoever started us may have closed stdin, stdout or stderr: the empty device stands in for each.

    Without it the next file that is opened would take the stream's place, and an agent would inherit it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _drop_output() -> None:
    """What could not be written stays unwritten: Python must not try again at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(message: str, code: int) -> int:
    """Say why, in one line; the code."""
    with contextlib.suppress(OSError):  # nobody can be told
        print(f"engram: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
