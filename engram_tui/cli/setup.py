"""`engram setup`: makes the home ready, says what other programs have to be told. The only command that downloads."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from engram_runtime.errors import EngramError
from engram_tui.cli.home import home, is_new
from engram_tui.cli.output import json_option, note, print_json

FIRST_SOUND_SQLITE = (3, 51, 3)
"""Earlier ones have the WAL-reset bug, which can damage a database that several processes write."""
FETCH_SECONDS = 1800.0
_FETCH = """
import os, sys
os.environ["OMP_NUM_THREADS"] = "1"
from sentence_transformers import SentenceTransformer
print(SentenceTransformer(sys.argv[1], device="cpu").get_sentence_embedding_dimension())
"""

Outcome = Literal["done", "present", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that setup saw to. "present": it was so already; "warning": it works, with less."""

    name: str
    outcome: Outcome
    detail: str
    hint: str = ""


@click.command("setup")
@click.option("--no-model", is_flag=True, help="Leave the embedding model out.")
@json_option
def setup_command(no_model: bool, as_json: bool) -> int:
    """Make the home, check what it needs, prepare the embedding model; say how agents are connected."""
    steps = []
    for step in _steps(home(), with_model=not no_model):
        steps.append(step)
        if not as_json:
            print(f"{step.outcome:8} {step.name:11} {step.detail}" + (f" {step.hint}" if step.hint else ""))
    failed = any(step.outcome == "failed" for step in steps)
    told = connections()
    if as_json:
        print_json({"ok": not failed, "home": str(home()), "steps": steps, **told})
    else:
        _say(told)
    return 1 if failed else 0


def _steps(root: Path, *, with_model: bool) -> Iterator[Step]:
    for name, run in (("home", _home), ("SQLite", _sqlite), ("sqlite-vec", _vectors), ("model", _model)):
        if name == "model" and not with_model:
            continue
        yield _attempt(name, run, root)


def _attempt(name: str, run: Callable[[Path], tuple[Outcome, str, str]], root: Path) -> Step:
    try:
        return Step(name, *run(root))
    except EngramError as error:
        return Step(name, "failed", str(error.args[0]), error.hint)
    except OSError as error:
        return Step(name, "failed", f"{error}.")


def _home(root: Path) -> tuple[Outcome, str, str]:
    from engram_runtime.runtime import Runtime

    new = is_new(root)
    with Runtime.open(root) as runtime:
        for warning in runtime.warnings:
            note(warning)
        if runtime.journal.trouble is not None:
            raise runtime.journal.trouble
        runtime.catch_up()
        head = runtime.journal.head()
    open_to_others = root.stat().st_mode & 0o077
    if open_to_others:
        root.chmod(0o700)
        return "done", f"{root}, {head} events; others could read it, now only you.", ""
    return ("done" if new else "present"), f"{root}, {head} events.", ""


def _sqlite(_: Path) -> tuple[Outcome, str, str]:
    from engram_runtime import database

    version, driver = database.sqlite_version(), database.driver_name()
    parts = tuple(int(part) for part in version.split(".")[:3])
    if parts < FIRST_SOUND_SQLITE:
        hint = "Install pysqlite3 or sqlean.py into Engram's environment."
        return "warning", f"{version} ({driver}) has the WAL-reset bug.", hint
    return "present", f"{version} ({driver}).", ""


def _vectors(_: Path) -> tuple[Outcome, str, str]:
    from engram_runtime import database

    bare = database.connect_bare(":memory:")
    try:
        if database.load_vec(bare):
            return "present", str(bare.execute("SELECT vec_version()").fetchone()[0]) + ".", ""
    finally:
        bare.close()
    return "warning", "cannot be loaded: recall goes by words alone.", "Install sqlite-vec and pysqlite3."


def _model(root: Path) -> tuple[Outcome, str, str]:
    from engram_runtime.memory.embedder import NO_MODEL
    from engram_runtime.memory.model import ModelError, is_bundled
    from engram_runtime.settings import Settings

    name = Settings.load(root)[0].model
    if name in NO_MODEL:
        return "present", "off, as set: recall goes by words alone.", ""
    if not is_bundled(name):
        return _fetched(name)
    from engram_runtime.memory.onnx_export import export

    try:
        exported = export(root)
    except ModelError as error:
        return "warning", f"no ONNX file: {error}.", "Recall works, slower to start and in more memory."
    return (
        ("done" if exported.outcome == "made" else "present"),
        f"all-MiniLM-L6-v2 in {exported.folder}.",
        "",
    )


def _fetched(name: str) -> tuple[Outcome, str, str]:
    """A model by name is fetched into the Hugging Face cache (HF_ENDPOINT, HF_HOME as set), one by path is tried."""
    online = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _FETCH, name],
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            env=online,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return "failed", f"{name} was not there after {FETCH_SECONDS / 60:.0f} minutes.", "Try again."
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][:300]
        return "failed", f"{name} cannot be loaded: {said}", "Check ENGRAM_MODEL and HF_ENDPOINT."
    return "done", f"{name}, {done.stdout.strip()} numbers a vector.", ""


def connections() -> dict[str, Any]:
    """What MCP clients, Claude's hooks and the instructions file have to be told."""
    program = shutil.which("engram") or str(Path(sys.executable).with_name("engram"))
    hook = shutil.which("engram-session-hook") or str(Path(program).with_name("engram-session-hook"))
    env = {name: os.environ[name] for name in ("ENGRAM_HOME", "ENGRAM_MODEL") if os.environ.get(name)}
    options = "".join(f" -e {name}={shlex.quote(value)}" for name, value in env.items())
    words = "".join(f"{name}={shlex.quote(value)} " for name, value in env.items())
    server: dict[str, Any] = {"command": program, "args": ["mcp"], **({"env": env} if env else {})}
    return {
        "mcp_config": {"mcpServers": {"engram": server}},
        "claude_command": f"claude mcp add engram{options} -- {shlex.quote(program)} mcp",
        "session_hook": {
            "hooks": {
                "SessionStart": [{"hooks": [{"type": "command", "command": words + shlex.quote(hook)}]}]
            },
        },
        "claude_md": f"{words}{Path(program).name} prompt >> CLAUDE.md",
    }


def _say(told: dict[str, Any]) -> None:
    print("\nWith `engram run claude` nothing has to be configured. For agents that you start yourself:")
    print("\nMCP clients (Cursor, Windsurf, …) in their configuration file:\n")
    print(json.dumps(told["mcp_config"], indent=2))
    print(f"\nClaude Code:\n\n  {told['claude_command']}")
    print("\nInterrupted work in its first request (its settings.json):\n")
    print(json.dumps(told["session_hook"], indent=2))
    print(f"\nHow to use the tools, for its instructions file:\n\n  {told['claude_md']}")
