"""Writes checkpoints: gathers what the journal says and what is seen, composes, and appends if anything changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from engram_runtime.continuity.checkpoint import Facts, closed, compose, gather, same_state
from engram_runtime.journal.events import CheckpointWritten
from engram_runtime.journal.records import (
    CheckpointReason,
    Verdict,
)
from engram_runtime.runtime import Runtime
from engram_runtime.state.views import CheckpointView
from engram_tui.supervisor.seen import Seen

DEBOUNCE_S = 60.0
NEVER_DEBOUNCED: frozenset[str] = frozenset(
    "FAILURE EXIT CRASH KILLED OVERFLOW COMPACTION RATE_LIMIT API_ERROR AUTH HANG OOM LOST DETACH MANUAL"
    " MANUAL_HANDOFF".split()
)


class Composer:
    """Checkpoints of one session. Methods block (SQLite): call them in a thread; they take turns.

    `see` is asked for what the supervisor sees at that moment; `task` for the task the session works on.
    """

    def __init__(
        self,
        runtime: Runtime,
        session: str,
        task: Callable[[], int | None],
        see: Callable[[], Seen],
    ) -> None:
        self._runtime = runtime
        self._session = session
        self._task = task
        self._see = see
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self.written: CheckpointView | None = None

    def write(
        self,
        reason: CheckpointReason,
        trigger: str = "",
        trigger_position: int | None = None,
        *,
        note: str = "",
        verdict: Verdict | None = None,
        over: bool = False,
        debounce: bool = True,
    ) -> CheckpointView | None:
        """Write a checkpoint of the session's task; None where there is no task, nothing changed, or it came too soon.

        `over`: the session has ended, calls still running were cut off. Nothing here is slow (no git, no screen): the
        checkpoint of the agent's death must not wait for another one.
        """
        task = self._task()
        if task is None or (debounce and self.too_soon(reason)):
            return None
        with self._lock:
            facts = self._facts(task, note, verdict)
            checkpoint = compose(closed(facts) if over else facts)
            unchanged = facts.previous is not None and same_state(facts.previous, checkpoint)
            if unchanged and not note and reason not in ("MANUAL", "MANUAL_HANDOFF"):
                return None
            event = CheckpointWritten(
                task=task,
                reason=reason,
                content=checkpoint,
                trigger=trigger,
                trigger_position=trigger_position,
                last_tool=checkpoint.last_tool,
            )
            self._runtime.append(event, session=self._session)
            self._last[reason] = time.monotonic()
            self.written = self._runtime.state.checkpoint_version(task)
            return self.written

    def too_soon(self, reason: CheckpointReason) -> bool:
        """Whether the same reason wrote one a moment ago (never for what must not be missed)."""
        recent = time.monotonic() - self._last.get(reason, -DEBOUNCE_S) < DEBOUNCE_S
        return recent and reason not in NEVER_DEBOUNCED

    def _facts(self, task: int, note: str, verdict: Verdict | None) -> Facts:
        seen = self._see()
        facts = gather(self._runtime.state, task, self._session)
        return replace(
            facts,
            files=seen.files if seen.files is not None else facts.files,
            git=seen.git or facts.git,
            screen_tail=seen.screen_tail,
            transcript=seen.transcript or facts.transcript,
            context=seen.context or facts.context,
            verdict=verdict or facts.verdict,
            note=note,
        )
