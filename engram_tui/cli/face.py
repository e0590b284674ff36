"""Loading the terminal UI into this process: a fifth of a second, best spent while something else starts."""

from __future__ import annotations

import os

from engram_tui.supervisor.imports import heavy, share_fairly

FRAMES_PER_SECOND = 120
"""How often Textual may draw. Frames of the agent's screen come at 60 a second at most; with Textual's own 60, one that
follows a tick of the clock would wait for the next turn, which is felt in typing."""
_VARIABLE = "TEXTUAL_FPS"


def load_face() -> None:
    """Import Textual and Engram's screens. Again: nothing."""
    share_fairly()  # with the threads that read keys and write to the terminal
    ours = _VARIABLE not in os.environ
    if ours:
        os.environ[_VARIABLE] = str(FRAMES_PER_SECOND)
    with heavy():
        import engram_tui.app  # noqa: F401
    if ours:
        del os.environ[_VARIABLE]  # read once, by the import; not for the agents that are started from here
