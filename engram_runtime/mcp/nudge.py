"""The drift nudge: one line with the next answer when what a session was seen to do has left its task."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engram_runtime.continuity.drift import Drift, observed
from engram_runtime.continuity.inert import inert_line
from engram_runtime.errors import EngramError
from engram_runtime.journal.events import DriftDetected

if TYPE_CHECKING:
    from engram_runtime.mcp.context import ToolContext
    from engram_runtime.runtime import Runtime

LOOK_EVERY_SECONDS = 5.0
"""A look costs some milliseconds of queries: agents call tools in bursts."""
BACK_BY = 0.1
"""An episode is over when drift is this much below the threshold: around it, it would be told again and again."""


@dataclass(slots=True)
class _Episode:
    task: int
    looked: float
    drifting: bool


class DriftWatch:
    """Remembers, per session, whether it is in an episode of drift. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._episodes: dict[str, _Episode] = {}

    def nudge(self, runtime: Runtime, context: ToolContext, task_of: Callable[[], int | None]) -> str | None:
        """The line for the next answer: once when drift passes the threshold (ENGRAM_DRIFT_NUDGE_THRESHOLD)."""
        settings, session = runtime.settings, context.session
        if not settings.drift_nudge or session is None:
            return None
        with self._guard:
            episode = self._episodes.get(session)
            now = time.monotonic()
            if episode is not None and now - episode.looked < LOOK_EVERY_SECONDS:
                return None
            task = task_of()
            if task is None:
                self._episodes[session] = _Episode(0, now, False)
                return None
            drift = observed(runtime.state, session, task)
            was = episode is not None and episode.task == task and episode.drifting
            threshold = settings.drift_nudge_threshold
            least = max(0.0, threshold - BACK_BY) if was else threshold
            is_drifting = drift is not None and drift.composite is not None and drift.composite >= least
            self._episodes[session] = _Episode(task, now, is_drifting)
        if drift is None or was == is_drifting:
            return None
        # A home that refuses writes still answers: the nudge is then told, and not kept.
        with contextlib.suppress(EngramError):
            runtime.append(drift_event(task, drift, "observed"), session=session, project=context.project)
        return _line(task, drift) if is_drifting else None


def drift_event(task: int, drift: Drift, source: str) -> DriftDetected:
    """Drift as it is recorded."""
    return DriftDetected(
        task=task,
        composite=drift.composite,
        goal=drift.goal_drift,
        tools=drift.tool_drift,
        planning=drift.planning_drift,
        constraints=drift.constraint_drift,
        violations=drift.violations[:10],
        source="observed" if source == "observed" else "agent",
    )


def _line(task: int, drift: Drift) -> str:
    if drift.violations:
        what = f"it did what must not be redone: {inert_line(drift.violations[0], 160)}"
    else:
        what = "its plan has nothing in common with what was to be done"
    return (
        f"Drift from task {task} ({drift.composite:.2f}): {what}. Compare with restore_checkpoint(task_id={task}); "
        "if the user wants other work now, create_task for it."
    )
