"""Questions about executions, attempts, restores and drift: the part of `Queries` that is about lineage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from sqlalchemy import Select, case, func, select

from engram_runtime.state.schema import COUNTS, DRIFTS, EXECUTIONS, RESTORES, TASKS
from engram_runtime.state.views import DriftView, ExecutionView, RestoreView, TaskView, View

V = TypeVar("V", bound=View)

MOST_TASKS = 1000
"""Tasks of one execution that are listed."""


class LineageQueries(ABC):
    """Mixed into `Queries`, which fetches."""

    @abstractmethod
    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]: ...

    @abstractmethod
    def _views(self, view: type[V], query: Select[Any]) -> list[V]: ...

    @abstractmethod
    def _tasks(self, query: Select[Any]) -> list[TaskView]: ...

    @abstractmethod
    def _all_tasks(self) -> Select[Any]: ...

    def execution(self, execution: int) -> ExecutionView | None:
        """An execution by its id."""
        found = self._views(ExecutionView, select(EXECUTIONS).where(EXECUTIONS.c.id == execution))
        return found[0] if found else None

    def tasks_of_execution(self, execution: int) -> list[TaskView]:
        """All attempts, retries and subtasks of an execution, the first one first."""
        return self._tasks_where(TASKS.c.execution == execution)

    def attempts(self, task: int) -> list[TaskView]:
        """The chain of retries a task belongs to, the first attempt first; the task alone where there is none."""
        origin = select(TASKS.c.origin).where(TASKS.c.id == task).scalar_subquery()
        return self._tasks_where(TASKS.c.origin == origin)

    def earlier_attempts(self, task: int) -> list[int]:
        """Ids of the attempts before a task, the latest first."""
        mine = select(TASKS.c.origin, TASKS.c.attempt).where(TASKS.c.id == task).subquery()
        query = (
            select(TASKS.c.id)
            .join(mine, TASKS.c.origin == mine.c.origin)
            .where(TASKS.c.attempt < mine.c.attempt)
            .order_by(TASKS.c.attempt.desc())
        )
        return [row["id"] for row in self._rows(query)]

    def subtasks(self, task: int) -> list[TaskView]:
        """What was spawned from a task, the first one first."""
        return self._tasks_where(TASKS.c.parent == task)

    def restores(
        self, *, task: int | None = None, session: str | None = None, limit: int = 20
    ) -> list[RestoreView]:
        """Where a task's checkpoints reached somebody (in a session), the newest first."""
        where = [RESTORES.c[name] == value for name, value in (("task", task), ("session", session)) if value]
        query = select(RESTORES).where(*where).order_by(RESTORES.c.id.desc()).limit(limit)
        return self._views(RestoreView, query)

    def drifts(self, task: int, limit: int = 20) -> list[DriftView]:
        """Drift found in the work on a task, the newest first."""
        query = select(DRIFTS).where(DRIFTS.c.task == task).order_by(DRIFTS.c.id.desc())
        return self._views(DriftView, query.limit(limit))

    def event_kinds(self) -> dict[str, int]:
        """How many events of each kind there are."""
        return {row["kind"]: row["events"] for row in self._rows(select(COUNTS).order_by(COUNTS.c.kind))}

    def lineage_counts(self) -> tuple[int, int]:
        """How many tasks are retries, and how many subtasks (retries of subtasks are retries)."""
        retries = func.count(TASKS.c.retry_of)
        spawned = func.count(case((TASKS.c.retry_of.is_(None), TASKS.c.parent)))
        query: Any = select(retries.label("retries"), spawned.label("spawned"))
        (row,) = self._rows(query)
        return row["retries"], row["spawned"]

    def _tasks_where(self, condition: Any) -> list[TaskView]:
        query: Select[Any] = self._all_tasks().where(condition).order_by(TASKS.c.id)
        return self._tasks(query.limit(MOST_TASKS))
