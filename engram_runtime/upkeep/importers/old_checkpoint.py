"""mcp-engram's checkpoints in Engram's form, and the tolerant reading of its values."""

from __future__ import annotations

from typing import Any, Final, get_args

from engram_runtime.journal.events import InterruptionReason
from engram_runtime.journal.records import (
    Checkpoint,
    CheckpointReason,
    Confidence,
    FileChange,
    Item,
    Prohibition,
    WorkingSet,
)

PROCESS_EXIT: Final = "process_exit"
"""What mcp-engram calls the trigger of the checkpoint it writes when its process is ended."""


def checkpoint_of(p: dict[str, Any]) -> Checkpoint:
    """A checkpoint from the payload of `checkpoint.write`. All of it is what agents said: `claimed`."""
    state = _object(p.get("state"))
    worked = _object(state.get("working_set"))
    cut_off = _object(worked.get("_interrupt"))
    files = texts(worked.get("files"))
    blocked = [*texts(state.get("blocked")), *texts(state.get("blocked_reasons"))]
    preserved = [*texts(state.get("must_preserve")), *texts(state.get("active_constraints"))]
    failure = text(cut_off.get("last_failure"))
    return Checkpoint(
        goal=text(state.get("goal")),
        completed=_items(texts(state.get("completed"))),
        in_progress=_items(texts(state.get("in_progress"))),
        blocked=_items(blocked),
        preferred_next=_items(texts(state.get("preferred_next"))),
        must_not_redo=_prohibitions(state.get("must_not_redo")),
        must_preserve=_items(preserved),
        working_set=WorkingSet(
            files=files, tools=texts(worked.get("tools")), artifacts=texts(worked.get("artifacts"))
        ),
        modified_files=tuple(FileChange(path=path, evidence="git diff, by mcp-engram") for path in files)
        if cut_off
        else (),
        last_failure=Item(text=failure) if failure else None,
        confidence=_confidence(_object(p.get("confidence_breakdown"))),
    )


def reason_of(p: dict[str, Any]) -> CheckpointReason:
    """Its reason: the words are the same."""
    said: Any = p.get("checkpoint_reason")
    return said if said in get_args(CheckpointReason) else "AUTO_SAVE"


def interruption_of(p: dict[str, Any]) -> InterruptionReason | None:
    """Why the work was cut off, where the checkpoint was written at the end of a process; else None."""
    if p.get("triggered_by_event") != PROCESS_EXIT:
        return None
    worked = _object(_object(p.get("state")).get("working_set"))
    said: Any = _object(worked.get("_interrupt")).get("interrupt_reason")
    return said if said in get_args(InterruptionReason) else "unknown"


def text(value: object) -> str:
    """A text; a number as one; "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list; an object in it by what it calls itself."""
    found = [_named(entry) for entry in value] if isinstance(value, list) else []
    return tuple(entry for entry in found if entry.strip())


def number(value: object) -> int | None:
    """A whole number above 0, also as a text; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else None


def _named(entry: object) -> str:
    if isinstance(entry, dict):
        return next((text(entry[key]) for key in ("action", "step", "name", "text") if entry.get(key)), "")
    return text(entry)


def _items(said: tuple[str, ...] | list[str]) -> tuple[Item, ...]:
    return tuple(Item(text=entry) for entry in dict.fromkeys(said))


def _prohibitions(value: object) -> tuple[Prohibition, ...]:
    found = []
    for entry in value if isinstance(value, list) else ():
        given = entry if isinstance(entry, dict) else {"action": entry}
        if text(given.get("action")):
            found.append(
                Prohibition(
                    action=text(given["action"]),
                    reason=text(given.get("reason")),
                    scope=text(given.get("scope")),
                    expires_at=text(given.get("expires_at")) or None,
                )
            )
    return tuple(found)


def _confidence(parts: dict[str, Any]) -> Confidence:
    def share(name: str) -> float:
        value = parts.get(name)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and value == value
        return min(1.0, max(0.0, float(value))) if usable and value is not None else 0.0

    return Confidence(
        state_completeness=share("state_completeness"),
        recency=share("recency"),
        verification_history=share("verification_history"),
        drift_signals=share("drift_signals"),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
