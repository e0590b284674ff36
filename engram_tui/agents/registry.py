"""The agents Engram knows by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from engram_runtime.errors import UsageError
from engram_tui.agents.base import Adapter
from engram_tui.agents.claude import Claude
from engram_tui.agents.demo import Demo
from engram_tui.agents.generic import Generic
from engram_tui.agents.openhands import OpenHands

KNOWN: tuple[type[Adapter], ...] = (Claude, OpenHands, Demo)
PREFERRED = ("claude", "openhands")
"""The order in which `engram run` without a name looks for an agent."""


def names() -> tuple[str, ...]:
    """Names that `engram run` takes."""
    return tuple(adapter.name for adapter in KNOWN)


def adapter(name: str, program: str = "") -> Adapter:
    """The adapter of a name; `command` with a program for any other program. Raises UsageError if unknown."""
    if name == Generic.name:
        return Generic(program)
    for known in KNOWN:
        if known.name == name:
            return known()
    near = difflib.get_close_matches(name, names(), 1)
    meant = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names())}."
    raise UsageError(f"Unknown agent {name!r}.", hint=f"{meant} Any other program: engram run -- COMMAND.")


def first_found(environ: Mapping[str, str]) -> Adapter:
    """The first preferred agent on PATH, else the demo agent."""
    for name in PREFERRED:
        found = adapter(name)
        if found.find(environ):
            return found
    return Demo()


def executable(found: Adapter, environ: Mapping[str, str]) -> str:
    """Path of an agent's executable. Raises UsageError where it is not installed."""
    path = found.find(environ)
    if path is None:
        what = found.programs[0] if found.programs else getattr(found, "program", found.name)
        raise UsageError(
            f"{what!r} is not on your PATH.",
            hint="Install it, or try `engram run demo`, which needs no agent.",
        )
    return path
