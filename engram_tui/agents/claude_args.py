"""Reading a Claude Code command line without changing what the user typed (option table of 2.1.330)."""

from __future__ import annotations

from dataclasses import dataclass

ONE_VALUE = frozenset(
    "--agent --agents --append-system-prompt --autocompact --debug-file --effort --environment --fallback-model"
    " --input-format --json-schema --max-budget-usd --model -n --name --output-format --permission-mode"
    " --permission-prompts --plugin-dir --plugin-url --remote-control-session-name-prefix --session-id"
    " --setting-sources --settings --system-prompt --system-prompt-snapshot --max-turns --permission-prompt-tool"
    " --system-prompt-file --append-system-prompt-file --max-thinking-tokens".split()
)
OPTIONAL_VALUE = frozenset(
    "--cloud -d --debug --from-pr --prompt-suggestions --remote-control -r --resume --teleport -w --worktree".split()
)
MANY_VALUES = frozenset(
    "--add-dir --allowedTools --allowed-tools --betas --disallowedTools --disallowed-tools --file --mcp-config"
    " --tools".split()
)
SUBCOMMANDS = frozenset(
    "agents attach auth auto-mode doctor gateway import install logs mcp plugin plugins purge respawn rm"
    " setup-token stop kill ultrareview update upgrade".split()
)
INFORMATION = frozenset(("-h", "--help", "-v", "--version"))
CHOOSES_SESSION = frozenset(
    "--session-id -r --resume -c --continue --from-pr --teleport --bg --background --cloud --fork-session".split()
)
LEAVES_TERMINAL = frozenset("--bg --background --cloud --desktop --tmux".split())
"""The work does not happen in the process that is started: there is nothing to supervise."""


@dataclass(frozen=True, slots=True)
class ClaudeArgs:
    """What a command line says. `rest` is the line without `--settings`; `positional` is the prompt, if any."""

    rest: tuple[str, ...]
    settings: str | None
    options: frozenset[str]
    positional: tuple[str, ...]
    values: dict[str, str]

    @property
    def print_mode(self) -> bool:
        """`-p`: one answer on stdout, no terminal UI."""
        return "-p" in self.options or "--print" in self.options

    @property
    def injectable(self) -> bool:
        """False for subcommands, --help and the like, and for runs that leave this terminal: left as they are."""
        subcommand = bool(self.positional) and self.positional[0] in SUBCOMMANDS and not self.print_mode
        return not subcommand and not self.options & (INFORMATION | LEAVES_TERMINAL)

    @property
    def chooses_session(self) -> bool:
        """The user picks the native session, so Engram must not (`--session-id` with `--resume` is an error)."""
        return bool(self.options & CHOOSES_SESSION)


def parse(args: tuple[str, ...]) -> ClaudeArgs:
    """Walk the arguments as Claude's own parser (commander) would. Of several `--settings` the last counts."""
    rest: list[str] = []
    options: set[str] = set()
    positional: list[str] = []
    values: dict[str, str] = {}
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            rest.extend(args[index:])
            positional.extend(args[index + 1 :])
            break
        if not word.startswith("-") or word == "-":
            positional.append(word)
            rest.append(word)
            index += 1
            continue
        name, has_value, value = word.partition("=")
        names = _short_names(word) if not word.startswith("--") and not has_value else (name,)
        options.update(names)
        taken = 1 if has_value else 1 + _values_after(names[-1], args[index + 1 :])
        if has_value:
            values[name] = value
        elif taken > 1:
            values[names[-1]] = args[index + 1]
        if name != "--settings":
            rest.extend(args[index : index + taken])
        index += taken
    return ClaudeArgs(tuple(rest), values.get("--settings"), frozenset(options), tuple(positional), values)


def _short_names(word: str) -> tuple[str, ...]:
    return tuple(f"-{letter}" for letter in word[1:]) or (word,)


def _values_after(name: str, following: tuple[str, ...]) -> int:
    """How many of the following words are this option's values."""
    free = 0
    while free < len(following) and not following[free].startswith("-"):
        free += 1
    if name in ONE_VALUE:
        return min(1, len(following))
    if name in OPTIONAL_VALUE:
        return min(1, free)
    return free if name in MANY_VALUES else 0
