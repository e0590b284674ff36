"""The agents Engram knows by name. An adapter's module is imported when that agent is asked for."""

from __future__ import annotations

import importlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from engram_runtime.errors import UsageError
from engram_tui.agents.base import Adapter

_CLASSES = {"claude": "Claude", "openhands": "OpenHands", "demo": "Demo"}
"""By name, which is also the module's."""
COMMAND = "command"
"""Name of the adapter for any other program."""
PREFERRED = ("claude", "openhands")
"""The order in which `engram run` without a name looks for an agent."""


def names() -> tuple[str, ...]:
    """Names that `engram run` takes."""
    return tuple(_CLASSES)


def adapter(name: str, program: str = "") -> Adapter:
    """The adapter of a name; `command` with a program for any other program. Raises UsageError if unknown."""
    if name == COMMAND:
        from engram_tui.agents.generic import Generic

        return Generic(program)
    return named(name)


def named(name: str) -> Adapter:
    """The adapter of a name that a user typed. Raises UsageError if unknown."""
    if name in _CLASSES:
        module = importlib.import_module(f"engram_tui.agents.{name}")
        found: Adapter = getattr(module, _CLASSES[name])()
        return found
    import difflib

    near = difflib.get_close_matches(name, names(), 1)
    meant = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names())}."
    raise UsageError(f"Unknown agent {name!r}.", hint=f"{meant} Any other program: engram run -- COMMAND.")


def first_found(environ: Mapping[str, str]) -> Adapter:
    """The first preferred agent on PATH, else the demo agent."""
    for name in PREFERRED:
        found = adapter(name)
        if found.find(environ):
            return found
    return adapter("demo")


def executable(found: Adapter, environ: Mapping[str, str]) -> str:
    """Path of an agent's executable. Raises UsageError where it is not installed."""
    path = found.find(environ)
    if path is None:
        raise _not_there(found.programs[0] if found.programs else getattr(found, "program", found.name))
    return path


def _not_there(program: str) -> UsageError:
    """Why a program cannot be run: a path is looked at, a name was looked for."""
    if os.sep not in program:
        hint = "Install it, or try `engram run demo`, which needs no agent."
        return UsageError(f"{program!r} is not on your PATH.", hint=hint)
    if not os.access(program, os.F_OK):
        return UsageError(f"There is no program {program}.", hint="Correct the path.")
    if Path(program).is_dir():
        return UsageError(f"{program} is a folder.", hint="Name a program: engram run -- COMMAND [ARGS…].")
    quoted = shlex.quote(program)
    hint = f"Make it so (chmod +x {quoted}), or name what runs it: engram run -- sh {quoted}."
    return UsageError(f"{program} is not executable.", hint=hint)
