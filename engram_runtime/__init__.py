"""Engram's memory: a durable journal, what follows from it, and what may be recalled. No UI, no pty.

Names are loaded when they are first asked for: importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engram_runtime.errors import EngramError
    from engram_runtime.runtime import Runtime
    from engram_runtime.settings import Settings

__all__ = ["EngramError", "Runtime", "Settings"]

_HOMES = {
    "EngramError": "engram_runtime.errors",
    "Runtime": "engram_runtime.runtime",
    "Settings": "engram_runtime.settings",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
