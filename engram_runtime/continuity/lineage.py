"""What an attempt takes over from the attempts before it, and the names of executions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engram_runtime.journal.records import Checkpoint
from engram_runtime.state.views import FailureView

if TYPE_CHECKING:
    from engram_runtime.state.queries import Queries

MOST_FAILURES = 50
_NAME = re.compile(r"exec-([1-9]\d{0,15})")


def execution_name(execution: int) -> str:
    """An execution's id as agents see it: `exec-<journal position>`."""
    return f"exec-{execution}"


def execution_number(name: str) -> int | None:
    """The number in an execution's name; None for anything else."""
    found = _NAME.fullmatch(name.strip())
    return int(found[1]) if found else None


def inherited(state: Queries, task: int) -> Checkpoint | None:
    """What a first checkpoint of a retry starts from: the latest one of the attempts before it, as far as it holds for
    another attempt; without one, of the checkpoint the task was said to start from. None where there is neither.
    """
    for earlier in state.earlier_attempts(task):
        found = state.checkpoint_version(earlier)
        if found is not None and found.content is not None:
            return carried_over(found.content)
    view = state.task(task)
    origin = state.checkpoint(view.checkpoint) if view is not None and view.checkpoint is not None else None
    return carried_over(origin.content) if origin is not None and origin.content is not None else None


def carried_over(content: Checkpoint) -> Checkpoint:
    """What holds for another attempt: goal, prohibitions, what must stay, failures, the files as they are.

    Of what was done only what was seen to be so: what the failed attempt merely said may be what went wrong.
    """
    return Checkpoint(
        goal=content.goal,
        completed=tuple(item for item in content.completed if item.standing == "verified"),
        must_not_redo=content.must_not_redo,
        must_preserve=content.must_preserve,
        working_set=content.working_set,
        modified_files=content.modified_files,
        dirty_before=content.dirty_before,
        git=content.git,
        last_failure=content.last_failure,
        first_prompt=content.first_prompt,
        summary=content.summary,
    )


def failures_of_all_attempts(state: Queries, task: int) -> list[FailureView]:
    """Failures of a task and of the attempts before it, the newest first."""
    found = [
        failure
        for attempt in (task, *state.earlier_attempts(task))
        for failure in state.failures(task=attempt, limit=MOST_FAILURES)
    ]
    return sorted(found, key=lambda failure: -failure.memory)[:MOST_FAILURES]
