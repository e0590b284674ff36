"""What may be recalled: rows, words and vectors derived from the journal, and the embedding worker that serves them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engram_runtime.memory.facade import Memory
    from engram_runtime.memory.results import Hit, MemoryStats, Recall, StoreResult

_HOMES = {
    "Memory": "facade",
    "Hit": "results",
    "MemoryStats": "results",
    "Recall": "results",
    "StoreResult": "results",
}

__all__ = ["Hit", "Memory", "MemoryStats", "Recall", "StoreResult"]


def __getattr__(name: str) -> object:
    """Loads the public names when they are first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
