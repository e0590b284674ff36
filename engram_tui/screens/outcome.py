"""How a UI was left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engram_tui.discovery import SessionEntry
from engram_tui.messages import Ended, RecoveryChoice


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why the UI closed.

    detached: the agent goes on · ended: `ended` holds the closing line (None if only the lock told) · lost: the
    supervisor died · cancelled: nothing was started · chosen: `entry` of the browser · failed: `error` says why.
    """

    kind: Literal["detached", "ended", "lost", "cancelled", "chosen", "failed"]
    ended: Ended | None = None
    choice: RecoveryChoice | None = None
    entry: SessionEntry | None = None
    error: str = ""
