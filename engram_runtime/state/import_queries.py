"""Questions about what was taken over from other programs: the part of `Queries` that answers to old names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sqlalchemy import Select, select

from engram_runtime.state.schema import IMPORTS


class ImportQueries(ABC):
    """Mixed into `Queries`, which fetches."""

    @abstractmethod
    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]: ...

    def imported_keys(self, source: str) -> set[str]:
        """Keys of all records of a program that were taken over."""
        query = select(IMPORTS.c.key).where(IMPORTS.c.source == source)
        return {row["key"] for row in self._rows(query)}

    def imported(self, source: str, kind: str) -> dict[str, int | str]:
        """What the records of a kind are here, by the name they had there: an id, or a session. The latest counts."""
        query = (
            select(IMPORTS.c.name, IMPORTS.c.id, IMPORTS.c.session)
            .where(IMPORTS.c.source == source, IMPORTS.c.kind == kind, IMPORTS.c.name != "")
            .order_by(IMPORTS.c.position, IMPORTS.c.id)
        )
        found = {}
        for row in self._rows(query):
            here = row["id"] if row["id"] is not None else row["session"]
            if here is not None:
                found[row["name"]] = here
        return found

    def imported_id(self, kind: str, name: str | int, project: str | None = None) -> int | None:
        """The id here of what another program called `name`; of several, the one of `project`, then the latest."""
        query = (
            select(IMPORTS.c.id)
            .where(IMPORTS.c.kind == kind, IMPORTS.c.name == str(name), IMPORTS.c.id.is_not(None))
            .order_by((IMPORTS.c.project == project).desc(), IMPORTS.c.position.desc())
            .limit(1)
        )
        found = self._rows(query)
        return int(found[0]["id"]) if found else None
