"""Settings: command line > ENGRAM_* environment > ./.engram.toml > home/config.toml > defaults.

A project's `.engram.toml` comes with a cloned repository: until it is trusted (by its content) it may set
only harmless keys.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from engram_runtime.errors import SettingsError
from engram_runtime.paths import HomeFiles, git_place, make_private_file

PROJECT_FILE = ".engram.toml"
PREFIX = "ENGRAM_"

OTHER_VARIABLES = frozenset(
    {
        "ENGRAM_HOME",
        "ENGRAM_ALLOW_NETWORK_HOME",
        # Set by a supervisor for the agent it runs.
        "ENGRAM_SESSION",
        "ENGRAM_BRIEFING",
        "ENGRAM_DEMO_PACE",
        "ENGRAM_DEMO_PORT",
        "ENGRAM_DEMO_TOKEN_FILE",
        # mcp-engram's, without meaning here: accepted, so that its users can switch.
        "ENGRAM_SQLITE_TIER2",
        "ENGRAM_ALLOW_RESET",
        "ENGRAM_BACKUP_RETAIN",
        "ENGRAM_DAEMON_URL",
        "ENGRAM_DIR",
        "ENGRAM_EAGER_DIM_DETECT",
        "ENGRAM_EMBED_DEVICE",
        "ENGRAM_HOOK_TIMEOUT",
        "ENGRAM_INJECT_BUDGET",
        "ENGRAM_MODEL_TIMEOUT",
        "ENGRAM_SNAPSHOT_INTERVAL_EVENTS",
        "ENGRAM_SNAPSHOT_INTERVAL_HOURS",
        "ENGRAM_SNAPSHOT_RETAIN",
        "ENGRAM_USER_ID",
    }
)
"""ENGRAM_* variables that are no settings."""


def _harmless(default: Any, **bounds: float) -> Any:
    return field(default=default, metadata={"harmless": True, **bounds})


def _setting(default: Any, **bounds: float) -> Any:
    return field(default=default, metadata=bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. The variable of a key is `ENGRAM_` and its name in capitals.

    Where None is the default, Engram's own measured value applies; the keys from `dedup_threshold` on are
    mcp-engram's, with its meaning.
    """

    theme: str = _harmless("engram-dark")
    panes: tuple[str, ...] = _harmless(("tasks", "checkpoints", "memory", "activity", "processes"))
    ignore: tuple[str, ...] = _harmless(())
    """Glob patterns of files that are not watched, beside git's ignored ones."""
    keys: dict[str, str] = field(default_factory=dict, metadata={"harmless": True})
    """Keys of the screen by action id, as `[keys]` in a file (`engram` shows the ids with its prefix key and `?`)."""
    briefing_tokens: int = _harmless(1500, low=100, high=20_000)
    """Budget of the briefing."""
    autosave_seconds: float = _harmless(300.0, low=1, high=86_400)
    """An AUTO_SAVE checkpoint after this long without another."""
    stall_seconds: float = _harmless(600.0, low=1, high=86_400)
    """A busy agent counts as stalled after this long without output, hook, transcript line or use of the CPU."""
    prefix_key: str = _setting("ctrl+]")
    """The one key Engram keeps for itself; pressed twice it goes to the agent."""
    on_hangup: Literal["detach", "stop"] = _setting("detach")
    grace_seconds: float = _setting(5.0, low=0, high=600)
    """From SIGTERM to SIGKILL when a session is ended."""
    recording_bytes: int = _setting(64_000_000, low=0, high=10_000_000_000)
    """Size at which a recording of a terminal rotates; 0 keeps none. No session is recorded yet."""
    seal_events: int = _setting(200_000, low=1_000, high=100_000_000)
    """The journal's old events are sealed into the archive when its database holds more than this ..."""
    seal_bytes: int = _setting(256_000_000, low=1_000_000, high=100_000_000_000)
    """... or is larger than this."""
    seal_keep: int = _setting(50_000, low=100, high=100_000_000)
    """How many of the newest events stay in the database when older ones are sealed."""
    keep_days: int = _setting(90, low=1, high=36_500)
    """Days after its end at which a session's folder is removed; the journal keeps what it did."""
    policy: Literal["ask", "continue", "stop"] = _setting("ask")
    """What happens when an agent ends with work in progress and nobody is there."""
    webhook: str = _setting("")
    """URL told of conditions and ends of sessions; none by default: nothing leaves the machine."""
    model: str = _setting("all-MiniLM-L6-v2")
    """Embedding model: name or path."""

    dedup_threshold: float | None = _setting(None, low=0, high=1)
    reinforce_threshold: float | None = _setting(None, low=0, high=1)
    dedup_search_threshold: float | None = _setting(None, low=0, high=1)
    consolidate_threshold: float | None = _setting(None, low=0, high=1)
    prune_threshold: float | None = _setting(None, low=0, high=1)
    w_bm25: float | None = _setting(None, low=0, high=1)
    w_vector: float | None = _setting(None, low=0, high=1)
    sim_high: float | None = _setting(None, low=0, high=1)
    sim_low: float | None = _setting(None, low=0, high=1)
    reinforce_sim: float | None = _setting(None, low=0, high=1)
    edge_threshold: float | None = _setting(None, low=0, high=1)
    edge_weight: float | None = _setting(None, low=0, high=1)
    graph_depth: int | None = _setting(None, low=0, high=10)
    max_edges: int | None = _setting(None, low=0, high=100)
    capture: bool = _setting(True)
    """Whether failures with their fix, and decisions the user states, are stored without being asked for."""
    drift_nudge: bool = _setting(True)
    drift_nudge_threshold: float = _setting(0.7, low=0, high=1)
    adaptive_checkpoint: bool = _setting(True)
    adaptive_low_restore_rate: float = _setting(0.10, low=0, high=1)
    adaptive_max_interval: float = _setting(600.0, low=10, high=86_400)

    @classmethod
    def load(
        cls,
        home: Path,
        cwd: Path | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> tuple[Settings, list[str]]:
        """Read settings from all sources; the list holds warnings, one line each.

        `overrides` are the command line's (None: not given). Raises SettingsError, naming file or variable, key
        and the nearest valid one, for what cannot be understood.
        """
        found: dict[str, Any] = {}
        warnings: list[str] = []
        config = HomeFiles(home).config
        if config.is_file():
            found |= _from_table(_read(config), str(config))
        project = project_file(cwd or Path.cwd())
        if project is not None:
            values = _from_table(_read(project), str(project))
            found |= _permitted(values, project, home, warnings)
        found |= _from_environment(os.environ if environ is None else environ, warnings)
        for key, value in (overrides or {}).items():
            if value is not None:
                found[_known(key, "the command line")] = _checked(key, value, "the command line")
        return cls(**found), warnings


def project_file(cwd: Path) -> Path | None:
    """The nearest `.engram.toml` from `cwd` up to the top of its git worktree (without git: in `cwd` only)."""
    folder = cwd.resolve()
    place = git_place(folder)
    top = place.top if place else folder
    for candidate in (folder, *folder.parents):
        if (candidate / PROJECT_FILE).is_file():
            return candidate / PROJECT_FILE
        if candidate == top:
            break
    return None


def is_trusted(file: Path, home: Path) -> bool:
    """Whether the user trusted this very content of a project's file."""
    trusted = HomeFiles(home).trusted
    return trusted.is_file() and _seal(file) in trusted.read_text("utf-8").splitlines()


def trust(file: Path, home: Path) -> None:
    """Trust a project's file as it is now; any change of it asks for trust again."""
    if not is_trusted(file, home):
        trusted = HomeFiles(home).trusted
        make_private_file(trusted)
        with trusted.open("a", encoding="utf-8") as lines:
            lines.write(_seal(file) + "\n")


def _seal(file: Path) -> str:
    import hashlib

    return f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.resolve()}"


def _read(file: Path) -> dict[str, Any]:
    import tomllib  # most homes have no such file, and every start comes by here

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}.", hint="Correct or remove the file.") from error


def _from_table(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {_known(key, where): _checked(key, value, where) for key, value in table.items()}


def _permitted(values: dict[str, Any], file: Path, home: Path, warnings: list[str]) -> dict[str, Any]:
    if is_trusted(file, home):
        return values
    harmless = {item.name for item in fields(Settings) if item.metadata.get("harmless")}
    refused = [key for key in values if key not in harmless]
    if refused:
        warnings.append(
            f"{file}: {', '.join(refused)} left out: not trusted yet; `engram trust` after reading it."
        )
    return {key: value for key, value in values.items() if key in harmless}


def _from_environment(environ: Mapping[str, str], warnings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = {PREFIX + item.name.upper(): item.name for item in fields(Settings)}
    for variable, text in environ.items():
        if variable in names:
            if text.strip():
                found[names[variable]] = _parsed(names[variable], text.strip(), variable)
        elif variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
            near = _near(variable, [*names, *OTHER_VARIABLES], 0.6)
            warnings.append(f"{variable} is not a setting." + (f" Did you mean {near[0]}?" if near else ""))
    return found


def _near(word: str, known: list[str], cutoff: float) -> list[str]:
    import difflib

    return difflib.get_close_matches(word, known, n=1, cutoff=cutoff)


def _known(key: str, where: str) -> str:
    valid = [item.name for item in fields(Settings)]
    if key in valid:
        return key
    near = _near(key, valid, 0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Valid keys: {', '.join(valid)}."
    raise SettingsError(f"{where}: unknown key {key!r}.", hint=hint)


def _parsed(key: str, text: str, variable: str) -> Any:
    kind = _kind(key)
    value: Any = text
    try:
        if kind is bool:
            value = {"1": True, "true": True, "yes": True, "on": True}.get(text.lower())
            if value is None:
                value = {"0": False, "false": False, "no": False, "off": False}[text.lower()]
        elif kind in (int, float):
            value = kind(text)
        elif get_origin(kind) is dict:
            value = dict(part.strip().split("=", 1) for part in text.split(",") if part.strip())
        elif get_origin(kind) is tuple:
            value = tuple(part.strip() for part in text.split(",") if part.strip())
    except (KeyError, ValueError) as error:
        raise SettingsError(f"{variable}: {text!r} is not {_named(kind)}.") from error
    return _checked(key, value, variable)


def _checked(key: str, value: Any, where: str) -> Any:
    kind, item = _kind(key), next(item for item in fields(Settings) if item.name == key)
    if get_origin(kind) is tuple:
        good = isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
        value = tuple(value) if good else value
    elif get_origin(kind) is dict:
        good = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    elif get_origin(kind) is Literal:
        good = value in get_args(kind)
    elif kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        value = float(value) if good else value
    else:
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not good:
        raise SettingsError(f"{where}: {key} = {value!r} is not {_named(kind)}.")
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if low is not None and high is not None and not low <= value <= high:
        raise SettingsError(f"{where}: {key} = {value!r} is not between {low} and {high}.")
    return value


def _kind(key: str) -> Any:
    """The type of a key, without its None."""
    hint = get_type_hints(Settings)[key]
    parts = [part for part in get_args(hint) if part is not type(None)]
    return parts[0] if type(None) in get_args(hint) else hint


def _named(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of texts"
    if get_origin(kind) is dict:
        return "a table of texts"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
