"""Questions to the state, answered in views. Every answer knows every event committed before the question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, Table, and_, case, func, literal, not_, or_, select
from sqlalchemy.sql.elements import Label

from engram_runtime.database import errors, failure
from engram_runtime.errors import StoreDamaged
from engram_runtime.journal.records import FileChange, ToolFact
from engram_runtime.state import views
from engram_runtime.state.import_queries import ImportQueries
from engram_runtime.state.lineage_queries import LineageQueries
from engram_runtime.state.schema import (
    ATTEMPTS,
    CHECKPOINTS,
    COUNTS,
    FAILURES,
    FILES,
    HANDOFFS,
    INTERRUPTIONS,
    PROGRESS,
    SESSIONS,
    SKIPPED,
    TASKS,
    TOOLS,
)
from engram_runtime.state.views import (
    CheckpointView,
    FailureView,
    HandoffView,
    InterruptionView,
    ProgressView,
    SessionFiles,
    SessionView,
    TaskView,
    ToolView,
)
from engram_runtime.structs import built

if TYPE_CHECKING:
    from engram_runtime.state.state import State

V = TypeVar("V", bound=views.View)

_OPEN = ("in_progress", "blocked")
_CLOSED = ("done", "cancelled")


class Queries(LineageQueries, ImportQueries):
    """Read models of a home. Thread-safe."""

    def __init__(self, state: State) -> None:
        self._state = state

    # --- tasks ----------------------------------------------------------------------------------------

    def task(self, task: int) -> TaskView | None:
        """A task by its id."""
        return _one(self._tasks(_task_query().where(TASKS.c.id == task)))

    def tasks(
        self,
        *,
        project: str | None = None,
        user: str | None = None,
        status: str | None = None,
        limit: int = 200,
    ) -> list[TaskView]:
        """Tasks, the one something was last told about first."""
        where = _equal(TASKS, project=project, user=user, status=status)
        return self._tasks(_task_query().where(*where).order_by(TASKS.c.updated.desc()).limit(limit))

    def interrupted_tasks(self, project: str) -> list[TaskView]:
        """Tasks of a project to go on with, the newest interruption first; none whose last session is live."""
        query = _task_query().where(TASKS.c.project == project, _INTERRUPTED)
        return self._tasks(query.order_by(_INTERRUPTED_AT.desc(), TASKS.c.id.desc()))

    def _all_tasks(self) -> Select[Any]:
        return _task_query()

    # --- sessions -------------------------------------------------------------------------------------

    def session(self, session: str) -> SessionView | None:
        """A session by its id."""
        return _one(self._sessions(_SESSION_QUERY.where(SESSIONS.c.id == session)))

    def sessions(
        self, *, project: str | None = None, limit: int = 100, ended: bool | None = None
    ) -> list[SessionView]:
        """Sessions, the last started first."""
        where = _equal(SESSIONS, project=project)
        if ended is not None:
            where.append(SESSIONS.c.ended_at.is_not(None) if ended else SESSIONS.c.ended_at.is_(None))
        query = _SESSION_QUERY.where(*where).order_by(SESSIONS.c.position.desc())
        return self._sessions(query.limit(limit))

    def sessions_of_task(self, task: int) -> list[SessionView]:
        """The attempts at a task, the first one first."""
        query = _SESSION_QUERY.join(ATTEMPTS, ATTEMPTS.c.session == SESSIONS.c.id)
        return self._sessions(query.where(ATTEMPTS.c.task == task).order_by(ATTEMPTS.c.position))

    def tools(self, session: str, limit: int = 50) -> list[ToolView]:
        """Tool calls of a session, the last begun first."""
        query = select(TOOLS).where(TOOLS.c.session == session).order_by(TOOLS.c.position.desc())
        return [
            ToolView(
                session=row["session"],
                fact=ToolFact(
                    tool=row["tool"],
                    summary=row["summary"],
                    status=row["status"],
                    error=row["error"],
                    duration_ms=row["duration_ms"],
                    position=row["position"],
                ),
                paths=tuple(msgspec.json.decode(row["paths"])),
                output=row["output"],
                started_at=row["started_at"],
                ended_at=row["ended_at"],
            )
            for row in self._rows(query.limit(limit))
        ]

    def files(self, session: str) -> SessionFiles:
        """The last known change of each file seen in a session, by path."""
        rows = self._rows(select(FILES).where(FILES.c.session == session).order_by(FILES.c.path))
        changes = msgspec.convert(rows, tuple[FileChange, ...], strict=False)
        return SessionFiles(session=session, changes=changes)

    # --- checkpoints ----------------------------------------------------------------------------------

    def checkpoint(self, checkpoint: int) -> CheckpointView | None:
        """A checkpoint by its id, with its content."""
        return _one(self._views(CheckpointView, select(CHECKPOINTS).where(CHECKPOINTS.c.id == checkpoint)))

    def checkpoints(self, task: int, limit: int = 10) -> list[CheckpointView]:
        """A task's checkpoints, the newest first, without content."""
        columns = [column for column in CHECKPOINTS.columns if column.name != "content"]
        query = select(*columns).where(CHECKPOINTS.c.task == task).order_by(CHECKPOINTS.c.version.desc())
        return self._views(CheckpointView, query.limit(limit))

    def checkpoint_version(self, task: int, version: int | None = None) -> CheckpointView | None:
        """A version of a task's checkpoint (the latest, if none is named), with its content."""
        query = select(CHECKPOINTS).where(CHECKPOINTS.c.task == task)
        if version is not None:
            query = query.where(CHECKPOINTS.c.version == version)
        return _one(self._views(CheckpointView, query.order_by(CHECKPOINTS.c.version.desc()).limit(1)))

    def checkpoint_versions(self, checkpoints: Sequence[int]) -> dict[int, int]:
        """Version numbers of checkpoints by id."""
        query = select(CHECKPOINTS.c.id, CHECKPOINTS.c.version).where(CHECKPOINTS.c.id.in_(checkpoints))
        return {row["id"]: row["version"] for row in self._rows(query)} if checkpoints else {}

    # --- what is known --------------------------------------------------------------------------------

    def progress(
        self, *, task: int | None = None, project: str | None = None, user: str | None = None
    ) -> list[ProgressView]:
        """State of features, the first tracked first."""
        where = _equal(PROGRESS, task=task, project=project, user=user)
        return self._views(ProgressView, select(PROGRESS).where(*where).order_by(PROGRESS.c.memory))

    def failures(
        self,
        *,
        task: int | None = None,
        session: str | None = None,
        project: str | None = None,
        user: str | None = None,
        limit: int = 50,
    ) -> list[FailureView]:
        """Failures, the newest first."""
        where = _equal(FAILURES, task=task, session=session, project=project, user=user)
        query = select(FAILURES).where(*where).order_by(FAILURES.c.memory.desc()).limit(limit)
        return self._views(FailureView, query)

    def handoffs(
        self,
        *,
        task: int | None = None,
        project: str | None = None,
        user: str | None = None,
        limit: int = 20,
    ) -> list[HandoffView]:
        """Handoffs, the newest first."""
        where = _equal(HANDOFFS, task=task, project=project, user=user)
        query = select(HANDOFFS).where(*where).order_by(HANDOFFS.c.memory.desc()).limit(limit)
        return self._views(HandoffView, query)

    def interruptions(
        self,
        *,
        project: str | None = None,
        user: str | None = None,
        open_only: bool = True,
        limit: int = 20,
    ) -> list[InterruptionView]:
        """Interruptions that were reported, the newest first."""
        where = _equal(INTERRUPTIONS, project=project, user=user)
        if open_only:
            where.append(INTERRUPTIONS.c.resolved_by.is_(None))
        query = select(INTERRUPTIONS).where(*where).order_by(INTERRUPTIONS.c.id.desc()).limit(limit)
        return self._views(InterruptionView, query)

    def counts(self) -> dict[str, int]:
        """How many events, and how many of what they made."""
        kinds = {row["kind"]: row["events"] for row in self._rows(select(COUNTS))}
        features = self._rows(select(func.count().label("n")).select_from(PROGRESS))[0]["n"]
        named = {
            "sessions": "SessionStarted",
            "tasks": "TaskCreated",
            "checkpoints": "CheckpointWritten",
            "failures": "FailureTracked",
            "handoffs": "HandoffRecorded",
            "interruptions": "InterruptionReported",
            "recalls": "MemoryRecalled",
            "restores": "CheckpointRestored",
        }
        counts = {name: kinds.get(kind, 0) for name, kind in named.items()}
        memories = kinds.get("MemoryStored", 0) + counts["failures"] + counts["handoffs"] + features
        return {"events": sum(kinds.values()), **counts, "features": features, "memories": memories}

    def unknown_kinds(self) -> tuple[str, ...]:
        """Kinds of events that were skipped, since a newer Engram wrote them."""
        query = select(SKIPPED.c.kind).distinct().order_by(SKIPPED.c.kind)
        return tuple(row["kind"] for row in self._rows(query))

    # --- rows to views --------------------------------------------------------------------------------

    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        try:
            return self._fetch(query)
        except errors() as error:
            problem = failure(error, "The state")
            other_schema = "no such table" in str(error) or "no such column" in str(error)
            if not (isinstance(problem, StoreDamaged) or other_schema):
                raise problem from error
            # Derived data: thrown away and made anew from the journal, once.
            self._state.discard_damaged()
            return self._fetch(query)

    def _fetch(self, query: Select[Any]) -> list[dict[str, Any]]:
        with self._state.read() as connection:
            found = connection.execute(query).mappings()
            return [{str(name): value for name, value in row.items()} for row in found]

    def _views(self, view: type[V], query: Select[Any]) -> list[V]:
        return [_view(view, row) for row in self._rows(query)]

    def _tasks(self, query: Select[Any]) -> list[TaskView]:
        return self._views(TaskView, query)

    def _sessions(self, query: Select[Any]) -> list[SessionView]:
        rows = self._rows(query)
        for row in rows:
            tool = {name.removeprefix("tool_"): row.pop(name) for name in _TOOL_NAMES}
            row["last_tool"] = tool if tool["position"] is not None else None
        return [_view(SessionView, row) for row in rows]


_NESTED = {
    "argv", "plan", "dirty_files", "verdict", "context", "conditions", "tools_used", "signals", "metadata",
    "last_verdict", "content", "blockers", "related_test_ids", "completed", "in_progress", "blocked",
    "next_steps", "must_not_redo", "must_preserve", "working_set",
}  # fmt: skip
"""Columns that hold JSON."""


def _view(view: type[V], row: dict[str, Any]) -> V:
    plain = {
        name: msgspec.json.decode(value) if name in _NESTED and isinstance(value, str) else value
        for name, value in row.items()
    }
    return msgspec.convert(plain, built(view), strict=False)


def _one(found: Sequence[V]) -> V | None:
    return found[0] if found else None


def _equal(table: Table, **values: object) -> list[ColumnElement[bool]]:
    return [table.c[name] == value for name, value in values.items() if value is not None]


def _labels(columns: Iterable[Any], prefix: str) -> list[Label[Any]]:
    return [column.label(prefix + column.name) for column in columns]


_TOOL_COLUMNS = [TOOLS.c[name] for name in ("tool", "summary", "status", "error", "duration_ms", "position")]
_TOOL_NAMES = ["tool_" + column.name for column in _TOOL_COLUMNS]
_HIDDEN = {"last_tool", "verdict_kind", "ended_position", "left_running"}
_SESSION_QUERY: Select[Any] = select(
    *(column for column in SESSIONS.columns if column.name not in _HIDDEN), *_labels(_TOOL_COLUMNS, "tool_")
).outerjoin_from(SESSIONS, TOOLS, TOOLS.c.position == SESSIONS.c.last_tool)


def _count(table: Table, *where: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(table).where(*where).scalar_subquery()


_FEATURES_OPEN = _count(PROGRESS, PROGRESS.c.task == TASKS.c.id, PROGRESS.c.status.in_(_OPEN))
# What a session reports is about what it had taken up by then; what is tracked for a task afterwards says that the
# work goes on.
_TAKEN_UP_BEFORE = (
    select(ATTEMPTS.c.task)
    .where(
        ATTEMPTS.c.task == TASKS.c.id,
        ATTEMPTS.c.session == INTERRUPTIONS.c.session,
        ATTEMPTS.c.position < INTERRUPTIONS.c.id,
    )
    .correlate(TASKS, INTERRUPTIONS)
    .exists()
)
_WENT_ON = or_(
    select(PROGRESS.c.task)
    .where(PROGRESS.c.task == TASKS.c.id, PROGRESS.c.position > INTERRUPTIONS.c.id)
    .correlate(TASKS, INTERRUPTIONS)
    .exists(),
    select(FAILURES.c.task)
    .where(FAILURES.c.task == TASKS.c.id, FAILURES.c.memory > INTERRUPTIONS.c.id)
    .correlate(TASKS, INTERRUPTIONS)
    .exists(),
)
_REPORT_OF_TASK = and_(
    INTERRUPTIONS.c.resolved_by.is_(None),
    or_(
        INTERRUPTIONS.c.task == TASKS.c.id,
        and_(SESSIONS.c.mode == "mcp", INTERRUPTIONS.c.session == TASKS.c.last_session, _TAKEN_UP_BEFORE),
    ),
    not_(_WENT_ON),
)
_REPORTED = select(INTERRUPTIONS.c.id).where(_REPORT_OF_TASK).exists()
# The end of an agent that nobody supervised is not seen: an interruption it reported stands for it.
_LIVE = and_(
    SESSIONS.c.id.is_not(None), SESSIONS.c.ended_at.is_(None), or_(SESSIONS.c.mode != "mcp", ~_REPORTED)
)
_CUT_OFF = and_(
    SESSIONS.c.ended_at.is_not(None),
    SESSIONS.c.verdict_kind != "finished",
    or_(SESSIONS.c.verdict_kind != "user_quit", SESSIONS.c.left_running > 0, _FEATURES_OPEN > 0),
)
_INTERRUPTED = func.coalesce(
    and_(TASKS.c.status.not_in(_CLOSED), not_(_LIVE), or_(_CUT_OFF, _REPORTED)), literal(False)
)
_INTERRUPTED_AT = func.max(
    func.coalesce(SESSIONS.c.ended_position, 0),
    func.coalesce(select(func.max(INTERRUPTIONS.c.id)).where(_REPORT_OF_TASK).scalar_subquery(), 0),
)


def _task_query() -> Select[Any]:
    """Tasks with what their last session says about them.

    Interrupted: not done or cancelled, not live, and either the last session's verdict is not `finished` (a user who
    quits interrupts only what was in progress: a running tool, a feature in progress or blocked), or an
    interruption was reported that no later attempt, progress or failure of the task followed.
    """
    columns = [column for column in TASKS.columns if column.name != "updated"]
    return select(
        *columns,
        _count(ATTEMPTS, ATTEMPTS.c.task == TASKS.c.id).label("attempts"),
        SESSIONS.c.agent.label("last_agent"),
        SESSIONS.c.verdict.label("last_verdict"),
        case((_LIVE, True), else_=False).label("live"),
        case((_INTERRUPTED, True), else_=False).label("interrupted"),
        _count(CHECKPOINTS, CHECKPOINTS.c.task == TASKS.c.id).label("checkpoints"),
        _count(PROGRESS, PROGRESS.c.task == TASKS.c.id, PROGRESS.c.status == "done").label("features_done"),
        _count(PROGRESS, PROGRESS.c.task == TASKS.c.id, PROGRESS.c.status != "done").label("features_open"),
    ).outerjoin_from(TASKS, SESSIONS, SESSIONS.c.id == TASKS.c.last_session)
