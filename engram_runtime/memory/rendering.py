"""Failures, progress and handoffs as memories: a plain sentence to be found by, and metadata to be read by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engram_runtime.journal.events import (
    Category,
    FailureTracked,
    HandoffRecorded,
    ProgressTracked,
)
from engram_runtime.journal.records import JSONObject

FAILURE_IMPORTANCE = {"critical": 0.9, "major": 0.7, "minor": 0.5}
PROGRESS_IMPORTANCE = {"blocked": 0.9, "in_progress": 0.8, "planning": 0.7, "review": 0.6, "done": 0.5}
HANDOFF_IMPORTANCE = 0.9
"""Importance by kind: mcp-engram 0.19's values."""
OBSERVED_IMPORTANCE = 0.35
"""Of a failure that nobody reported: Engram saw it, and saw it mended."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What an event says as a memory."""

    content: str
    category: Category
    importance: float
    memory_type: str
    metadata: JSONObject


def failure(event: FailureTracked, at: str) -> Rendered:
    """A failure, its cause and its fix."""
    text = _sentences(
        f"Failure in {event.component} ({event.severity}): {event.error}",
        event.root_cause and f"Cause: {event.root_cause}",
        event.fix and f"Fix: {event.fix}",
        event.related_test_ids and f"Tests: {', '.join(event.related_test_ids)}",
    )
    metadata: JSONObject = {
        "type": "failure",
        "error": event.error,
        "component": event.component,
        "severity": event.severity,
        "root_cause": event.root_cause,
        "fix": event.fix,
        "related_test_ids": list(event.related_test_ids),
        "timestamp": at,
        "task_id": event.task,
    }
    importance = OBSERVED_IMPORTANCE if event.source == "observed" else FAILURE_IMPORTANCE[event.severity]
    return Rendered(text, "failure", importance, "failure", metadata)


def progress(event: ProgressTracked, at: str) -> Rendered:
    """State of a feature."""
    done = event.completion * 100 if event.completion <= 1 else event.completion
    share = f", {done:.0f} % complete" if done and event.status != "done" else ""
    text = _sentences(
        f"Feature {event.feature} is {_words(event.status)}{share}",
        event.blockers and f"Blocked by: {'; '.join(event.blockers)}",
        event.notes and f"Notes: {event.notes}",
    )
    metadata: JSONObject = {
        "type": "progress",
        "feature": event.feature,
        "status": event.status,
        "completion": event.completion,
        "blockers": list(event.blockers),
        "quality_score": event.quality_score,
        "notes": event.notes,
        "timestamp": at,
        "task_id": event.task,
    }
    return Rendered(text, "fact", PROGRESS_IMPORTANCE[event.status], "progress", metadata)


def handoff(event: HandoffRecorded, at: str) -> Rendered:
    """What the last agent left for the next."""
    forbidden = [
        f"{item.action} ({item.reason})" if item.reason else item.action for item in event.must_not_redo
    ]
    text = _sentences(
        f"Handoff: {event.summary}",
        _listed("Completed", event.completed),
        _listed("In progress", event.in_progress),
        _listed("Blocked", event.blocked),
        _listed("Next steps", event.next_steps),
        _listed("Must not be redone", forbidden),
        _listed("Must be preserved", event.must_preserve),
    )
    metadata: JSONObject = {
        "type": "handoff",
        "summary": event.summary,
        "completed": list(event.completed),
        "in_progress": list(event.in_progress),
        "blocked": list(event.blocked),
        "next_steps": list(event.next_steps),
        "must_not_redo": forbidden,
        "must_preserve": list(event.must_preserve),
        "timestamp": at,
        "task_id": event.task,
    }
    return Rendered(text, "strategy", HANDOFF_IMPORTANCE, "handoff", metadata)


def _listed(title: str, items: Iterable[str]) -> str:
    joined = "; ".join(items)
    return f"{title}: {joined}" if joined else ""


def _sentences(*parts: object) -> str:
    said = [str(part).strip() for part in parts if part]
    return " ".join(part if part.endswith((".", "!", "?")) else part + "." for part in said)


def _words(status: str) -> str:
    return status.replace("_", " ")
