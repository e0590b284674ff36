"""Lost events told again from the rows that were made of them.

What a row keeps of an event is not all of it (a task's row has its present status, a memory's its last wording);
but it is what Engram would have gone on with. Only sound files are believed, and only for positions that are
lost in the journal; a recovery says which events these are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec

from engram_runtime import database
from engram_runtime.errors import InvalidEvent
from engram_runtime.journal import events as ev
from engram_runtime.journal.candidates import Loss
from engram_runtime.journal.encoding import encode
from engram_runtime.journal.writer import Draft
from engram_runtime.paths import HomeFiles


class _Source(NamedTuple):
    """Rows whose columns are named as the event's fields, with `position`, `at`, `project` and `session`."""

    kind: type[ev.Event]
    query: str


_OF_STATE = (
    _Source(ev.SessionStarted, "SELECT *, started_at AS at, id AS session FROM sessions"),
    _Source(
        ev.SessionEnded,
        """SELECT verdict, ended_position AS position, ended_at AS at, project, id AS session FROM sessions
           WHERE ended_position IS NOT NULL AND verdict IS NOT NULL""",
    ),
    _Source(ev.TaskCreated, "SELECT *, id AS position, created_at AS at, last_session AS session FROM tasks"),
    _Source(
        ev.TaskAttached,
        """SELECT attempts.task, attempts.position, coalesce(sessions.started_at, tasks.created_at) AS at,
                  coalesce(sessions.project, tasks.project) AS project, session
           FROM attempts JOIN tasks ON tasks.id = attempts.task
           LEFT JOIN sessions ON sessions.id = attempts.session""",
    ),
    _Source(
        ev.CheckpointWritten,
        """SELECT checkpoints.*, checkpoints.id AS position, checkpoints.created_at AS at, tasks.project
           FROM checkpoints JOIN tasks ON tasks.id = checkpoints.task""",
    ),
    _Source(ev.FailureTracked, "SELECT *, memory AS position, created_at AS at FROM failures"),
    _Source(ev.HandoffRecorded, "SELECT *, memory AS position, created_at AS at FROM handoffs"),
    _Source(
        ev.ProgressTracked, "SELECT *, memory AS position, created_at AS at, NULL AS session FROM progress"
    ),
    _Source(
        ev.ExecutionStarted,
        # Any task that was there already will do: its whole family joins.
        """SELECT executions.*, id AS position, created_at AS at, NULL AS session,
                  (SELECT max(tasks.id) FROM tasks WHERE execution = executions.id AND tasks.id < executions.id) AS task
           FROM executions""",
    ),
    _Source(
        ev.InterruptionReported,
        # One that was resolved only by what no row tells of would be open again.
        """SELECT *, id AS position, created_at AS at FROM interruptions open
           WHERE resolved_by IS NULL OR EXISTS (SELECT 1 FROM attempts
               WHERE task = open.task AND session = open.resolved_by AND position > open.id)""",
    ),
    _Source(
        ev.CheckpointRestored,
        """SELECT restores.*, restores.id AS position, restores.created_at AS at, tasks.project
           FROM restores JOIN tasks ON tasks.id = restores.task WHERE "to" <> 'briefing'""",
    ),
    _Source(
        ev.BriefingInjected,
        """SELECT restores.*, restores.id AS position, restores.created_at AS at, tasks.project
           FROM restores JOIN tasks ON tasks.id = restores.task WHERE "to" = 'briefing'""",
    ),
    _Source(
        ev.DriftDetected,
        """SELECT drifts.*, drifts.id AS position, drifts.created_at AS at, tasks.project
           FROM drifts JOIN tasks ON tasks.id = drifts.task""",
    ),
    _Source(
        ev.RecordsImported,
        # When it was taken over no row tells: it is told now.
        """SELECT source, project, position, NULL AS session, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') AS at,
                  json_group_array(json_object(
                      'digest', "key", 'kind', kind, 'name', name, 'id', id, 'session', session)) AS records
           FROM imports GROUP BY position""",
    ),
)
_ENDED = _Source(
    ev.ExecutionEnded,
    """SELECT executions.id AS execution, status, project, NULL AS session, last_active_at AS at,
              projection.position AS position
       FROM executions, projection WHERE status <> 'active' ORDER BY last_active_at DESC, id DESC""",
)
"""No row tells where it stood: its position is the last one it can have had."""
_OF_MEMORY = (
    _Source(
        ev.MemoryStored,
        # With what it took the place of, or else what was outdated would be current again.
        """SELECT m.*, m.id AS position, m.created_at AS at,
                  iif(m.superseded_by < m.id, m.superseded_by, NULL) AS below,
                  iif(m.superseded_by < m.id, m.superseded_why, coalesce(max(o.superseded_why), '')) AS why,
                  iif(m.superseded_by < m.id, m.merged, coalesce(min(o.merged), 0)) AS merged,
                  iif(count(o.id), json_group_array(o.id), '[]') AS supersedes
           FROM memories m LEFT JOIN memories o ON o.superseded_by = m.id AND o.id < m.id
           WHERE m.memory_type = 'memory' GROUP BY m.id""",
    ),
)


def retold(files: HomeFiles, losses: Sequence[Loss]) -> dict[int, Draft]:
    """Events by position, for lost positions that a derived row tells of."""
    found: dict[int, Draft] = {}
    for path, sources in ((files.state, _OF_STATE), (files.memory, _OF_MEMORY)):
        for position, draft in _drafts(path, sources):
            if any(first <= position <= last for first, last, _ in losses):
                found.setdefault(position, draft)
    _end_executions(files, losses, found)
    return found


def _end_executions(files: HomeFiles, losses: Sequence[Loss], found: dict[int, Draft]) -> None:
    """Executions that were told again and had ended end again, at the last lost places that nothing else is told at."""
    for last, draft in _drafts(files.state, (_ENDED,)):
        execution = msgspec.json.decode(draft.payload)["execution"]
        place = _last_free(losses, found, last)
        if place > execution and execution in found:
            found[place] = draft


def _last_free(losses: Sequence[Loss], found: dict[int, Draft], last: int) -> int:
    """The last position up to one that is gone and at which nothing is told again; 0 where there is none."""
    for loss in reversed(losses):
        for position in range(min(loss.last, last), loss.first - 1, -1):
            if loss.why == "gone" and position not in found:
                return position
    return 0


def _drafts(path: Path, sources: Sequence[_Source]) -> Iterator[tuple[int, Draft]]:
    if not path.is_file() or not path.stat().st_size:
        return
    with (
        contextlib.suppress(*database.errors()),
        contextlib.closing(database.connect_bare(path, access="read")) as file,
    ):
        database.load_vec(file)
        if file.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            return
        for kind, query in sources:
            # A file of another version may lack a table.
            with contextlib.suppress(*database.errors()):
                cursor = file.execute(query)
                names = [column[0] for column in cursor.description]
                for line in cursor:
                    row = dict(zip(names, line, strict=True))
                    draft = _draft(kind, row)
                    if draft is not None:
                        yield int(row["position"]), draft


def _draft(kind: type[ev.Event], row: dict[str, Any]) -> Draft | None:
    """The event a row tells of; None where the row is not enough for one."""
    hints = get_type_hints(kind)
    fields = {
        field.name: _value(hints[field.name], row[field.name])
        for field in msgspec.structs.fields(kind)
        if row.get(field.name) is not None
    }
    try:
        event = msgspec.convert(fields, kind, strict=False)
        payload = encode(event)
    except (msgspec.MsgspecError, InvalidEvent, TypeError):
        return None
    return Draft(row["at"], event.kind, event.VERSION, row["project"], row["session"], payload)


def _value(hint: Any, value: Any) -> Any:
    """A column's value; nested ones are JSON there."""
    if isinstance(value, str) and value[:1] in ("{", "[") and not (hint is str or hint == (str | None)):
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.json.decode(value)
    return value
