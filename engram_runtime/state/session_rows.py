"""Sessions, tool calls and files: what their events do to the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram_runtime.journal import events
from engram_runtime.journal.events import Recorded
from engram_runtime.state import schema
from engram_runtime.state.rows import fields_of, insert_into, json_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_STARTED = (
    "agent", "agent_version", "argv", "cwd", "worktree", "branch", "head", "dirty_files", "mode",
    "supervisor_pid", "parent_session", "resumed_task",
)  # fmt: skip
_TOOL = ("tool", "call_id", "summary", "paths")
_INSERT_SESSION = insert_into(
    schema.SESSIONS,
    *("id", "project", *_STARTED, "started_at", "last_event_at", "position", "last_position"),
    or_ignore=True,
)
_INSERT_TOOL = insert_into(schema.TOOLS)
_UPSERT_FILE = (
    insert_into(schema.FILES)
    + """ ON CONFLICT (session, path) DO UPDATE SET
    change = CASE WHEN files.change = 'added' AND excluded.change = 'modified'
                  THEN 'added' ELSE excluded.change END,
    "by" = excluded."by", tracked = excluded.tracked, evidence = excluded.evidence,
    lines_added = excluded.lines_added, lines_removed = excluded.lines_removed, position = excluded.position"""
)
_SEEN = "UPDATE sessions SET last_event_at = :at, last_position = :position WHERE id = :session"
_USED = """UPDATE sessions SET last_tool = :position, tools_used =
    CASE WHEN EXISTS (SELECT 1 FROM json_each(tools_used) WHERE value = :tool)
         THEN tools_used ELSE json_insert(tools_used, '$[#]', :tool) END
    WHERE id = :session"""
_CUT_OFF = """UPDATE tools SET status = 'interrupted', ended_at = :at
    WHERE session = :session AND status = 'running'"""


def touch(rows: Connection, at: Recorded) -> None:
    """Any event of a session: it was seen to be alive."""
    rows.exec_driver_sql(_SEEN, _place(at))


def session_started(rows: Connection, at: Recorded, event: events.SessionStarted) -> None:
    """A new session."""
    values = fields_of(event, *_STARTED) | {
        "id": at.session or f"?{at.position}",
        "project": at.project,
        "started_at": at.at,
        "last_event_at": at.at,
        "position": at.position,
        "last_position": at.position,
    }
    rows.exec_driver_sql(_INSERT_SESSION, values)


def agent_spawned(rows: Connection, at: Recorded, event: events.AgentSpawned) -> None:
    """The agent's process."""
    _set(rows, at, agent_pid=event.pid, agent_started_at=event.started_at)


def native_session_seen(rows: Connection, at: Recorded, event: events.NativeSessionSeen) -> None:
    """The agent's own id and transcript; a later id without a path keeps the path."""
    _set(rows, at, native_id=event.native_id)
    if event.transcript_path:
        _set(rows, at, transcript_path=event.transcript_path)


def prompt_submitted(rows: Connection, at: Recorded, event: events.PromptSubmitted) -> None:
    """The first prompt of the user stays, the last one replaces the one before; Engram's own is neither."""
    if event.by == "user":
        _set(rows, at, last_prompt=event.text)
        rows.exec_driver_sql(
            "UPDATE sessions SET first_prompt = :text WHERE id = :session AND first_prompt = ''",
            {"text": event.text, "session": at.session},
        )


def turn_finished(rows: Connection, at: Recorded, event: events.TurnFinished) -> None:
    """What the agent said last. A call without an end will have none: the turn it belonged to is over."""
    if event.text:
        _set(rows, at, last_said=event.text)
    rows.exec_driver_sql(_CUT_OFF, _place(at))


def tool_started(rows: Connection, at: Recorded, event: events.ToolStarted) -> None:
    """A tool call runs; told twice (hook and transcript), it is one."""
    if at.session is None or _call(rows, at, event.call_id) is not None:
        return
    values = fields_of(event, *_TOOL) | _place(at)
    values |= {"status": "running", "error": "", "output": "", "duration_ms": None}
    rows.exec_driver_sql(_INSERT_TOOL, values | {"started_at": at.at, "ended_at": None})
    rows.exec_driver_sql(_USED, {"position": at.position, "tool": event.tool, "session": at.session})


def tool_finished(rows: Connection, at: Recorded, event: events.ToolFinished) -> None:
    """The end of a call whose start was seen (by its id, else the latest running one of the tool), or all of it."""
    if at.session is None:
        return
    ended = fields_of(event, "error", "output", "duration_ms") | {
        "status": "succeeded" if event.ok else "failed",
        "ended_at": at.at,
    }
    position = _call(rows, at, event.call_id)
    if position is None and not event.call_id:
        position = _running(rows, at, event.tool, event.summary)
    if position is None:
        position = at.position
        values = fields_of(event, *_TOOL) | _place(at) | ended | {"started_at": at.at}
        rows.exec_driver_sql(_INSERT_TOOL, values)
    else:
        said = fields_of(event, "summary", "paths")
        rows.exec_driver_sql(
            """UPDATE tools SET status = :status, error = :error, output = :output, duration_ms = :duration_ms,
               ended_at = :ended_at, summary = coalesce(nullif(:summary, ''), summary),
               paths = CASE WHEN :paths = '[]' THEN paths ELSE :paths END WHERE position = :position""",
            ended | said | {"position": position},
        )
    rows.exec_driver_sql(_USED, {"position": position, "tool": event.tool, "session": at.session})


def plan_observed(rows: Connection, at: Recorded, event: events.PlanObserved) -> None:
    """The agent's own to-do list, as last seen."""
    _set(rows, at, plan=json_text(event.items))


def files_observed(rows: Connection, at: Recorded, event: events.FilesObserved) -> None:
    """The last known change of each file; one that was added stays added while it is only modified."""
    if at.session is None or not event.changes:
        return
    names = ("path", "change", "by", "tracked", "evidence", "lines_added", "lines_removed")
    place = {"session": at.session, "position": at.position}
    rows.exec_driver_sql(_UPSERT_FILE, [fields_of(change, *names) | place for change in event.changes])


def context_measured(rows: Connection, at: Recorded, event: events.ContextMeasured) -> None:
    """Context fill."""
    _set(rows, at, context=json_text(event.fill))


def condition_raised(rows: Connection, at: Recorded, event: events.ConditionRaised) -> None:
    """A condition holds until it is cleared."""
    held = _conditions(rows, at)
    if event.condition not in held:
        _set(rows, at, conditions=json_text([*held, event.condition]))


def condition_cleared(rows: Connection, at: Recorded, event: events.ConditionCleared) -> None:
    """A condition is over."""
    _set(rows, at, conditions=json_text([held for held in _conditions(rows, at) if held != event.condition]))


def signal_sent(rows: Connection, at: Recorded, event: events.SignalSent) -> None:
    """A signal Engram sent."""
    rows.exec_driver_sql(
        "UPDATE sessions SET signals = json_insert(signals, '$[#]', json(:sent)) WHERE id = :session",
        {"sent": json_text([event.signal, event.by, event.why]), "session": at.session},
    )


def agent_exited(rows: Connection, at: Recorded, event: events.AgentExited) -> None:
    """The agent is gone; calls that had not ended were cut off."""
    _set(rows, at, exit_code=event.code, exit_signal=event.signal)
    _end_tools(rows, at)


def session_ended(rows: Connection, at: Recorded, event: events.SessionEnded) -> None:
    """The verdict; conditions are over with it."""
    verdict = {"verdict": json_text(event.verdict), "verdict_kind": event.verdict.kind}
    _set(rows, at, ended_at=at.at, ended_position=at.position, conditions="[]", **verdict)
    _end_tools(rows, at)
    rows.exec_driver_sql(
        "UPDATE tasks SET updated_at = :at, updated = :position WHERE last_session = :session", _place(at)
    )


def _place(at: Recorded) -> dict[str, object]:
    return {"at": at.at, "position": at.position, "session": at.session}


def _set(rows: Connection, at: Recorded, **values: object) -> None:
    columns = ", ".join(f"{name} = :{name}" for name in values)
    query = f"UPDATE sessions SET {columns} WHERE id = :session"  # noqa: S608
    rows.exec_driver_sql(query, values | {"session": at.session})


def _end_tools(rows: Connection, at: Recorded) -> None:
    rows.exec_driver_sql(
        """UPDATE sessions SET left_running = left_running +
           (SELECT count(*) FROM tools WHERE session = :session AND status = 'running') WHERE id = :session""",
        _place(at),
    )
    rows.exec_driver_sql(_CUT_OFF, _place(at))


def _call(rows: Connection, at: Recorded, call_id: str) -> int | None:
    if not call_id:
        return None
    return rows.exec_driver_sql(
        "SELECT position FROM tools WHERE session = ? AND call_id = ? ORDER BY position DESC LIMIT 1",
        (at.session, call_id),
    ).scalar()


def _running(rows: Connection, at: Recorded, tool: str, summary: str) -> int | None:
    return rows.exec_driver_sql(
        """SELECT position FROM tools WHERE session = ? AND call_id = '' AND tool = ? AND status = 'running'
           ORDER BY summary = ? DESC, position DESC LIMIT 1""",
        (at.session, tool, summary),
    ).scalar()


def _conditions(rows: Connection, at: Recorded) -> list[str]:
    held = rows.exec_driver_sql("SELECT conditions FROM sessions WHERE id = ?", (at.session,)).scalar()
    return msgspec.json.decode(held, type=list[str]) if held else []
