"""Heavy imports beside an event loop: without long pauses, and without garbage collections that can find nothing."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

SWITCH_S = 0.001
"""Thread switch interval: a loop that shares its process with threads waits this long for its turn at most (Python's
5 ms are felt in keystrokes)."""


def share_fairly() -> None:
    """For the rest of this process, threads give way to each other within a millisecond."""
    sys.setswitchinterval(SWITCH_S)


@contextlib.contextmanager
def heavy() -> Iterator[None]:
    """Around imports that make many objects which stay: no full collection meanwhile or, of those, ever after.

    With it and `share_fairly` an import of half a second in a thread keeps the loop from its work for 11–14 ms at
    most (measured; 44 ms without).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
