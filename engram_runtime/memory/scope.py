"""Whose memories a recall may see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """One project's rows and the global ones, of one user; of one type unless `memory_type` is "all"."""

    project: str
    user: str
    memory_type: str = "all"

    @property
    def condition(self) -> str:
        """SQL over `memories m`, with `values` as its parameters.

        The + keeps SQLite from looking rows up by it: most rows are in scope, and the few wanted are known otherwise.
        """
        rows = """+m.user = ? AND (+m.project = ? OR +m.scope = 'global')"""
        return rows if self.memory_type == "all" else f"{rows} AND +m.memory_type = ?"

    @property
    def values(self) -> tuple[str, ...]:
        """Parameters of `condition`."""
        common = (self.user, self.project)
        return common if self.memory_type == "all" else (*common, self.memory_type)

    @property
    def selection(self) -> str:
        """SQL for the ids of all rows in scope, out of indexes alone; `selection_values` are its parameters."""
        of_type = "" if self.memory_type == "all" else " AND memory_type = ?"
        return (
            f"SELECT id FROM memories WHERE project = ? AND user = ?{of_type}"  # noqa: S608
            f" UNION ALL SELECT id FROM memories WHERE scope = 'global' AND user = ?{of_type}"
        )

    @property
    def selection_values(self) -> tuple[str, ...]:
        """Parameters of `selection`."""
        of_type = () if self.memory_type == "all" else (self.memory_type,)
        return (self.project, self.user, *of_type, self.user, *of_type)

    def admits(self, project: str, user: str, scope: str, memory_type: str) -> bool:
        """Whether a row with these columns is in scope: `condition`, outside SQL."""
        return (
            user == self.user
            and (project == self.project or scope == "global")
            and self.memory_type in ("all", memory_type)
        )
