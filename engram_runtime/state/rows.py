"""How projectors write rows: SQL made from the tables once, values as SQLite keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from sqlalchemy import Table

_encoder = msgspec.json.Encoder(order="deterministic")


class Rows:
    """A driver's connection with the part of SQLAlchemy's that projectors use: a third of the time a statement."""

    __slots__ = ("_driver",)

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def exec_driver_sql(self, statement: str, parameters: Any = ()) -> Found:
        """Run a statement; once for each of a list of parameters."""
        if isinstance(parameters, list):
            return Found(self._driver.executemany(statement, parameters))
        return Found(self._driver.execute(statement, parameters))


class Found:
    """What a statement found, as tuples."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        return int(self._cursor.rowcount)

    def scalar(self) -> Any:
        """The first column of the first row; None without one."""
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return self._cursor.fetchone()  # type: ignore[no-any-return]

    first = fetchone

    def all(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        return self._cursor.fetchall()  # type: ignore[no-any-return]

    fetchall = all

    def one(self) -> tuple[Any, ...]:
        """The one row there is."""
        (row,) = self._cursor.fetchall()
        return row  # type: ignore[no-any-return]


def json_text(value: Any) -> str:
    """A value as JSON text, always the same for the same value."""
    return _encoder.encode(value).decode("utf-8")


def insert_into(table: Table, *columns: str, or_ignore: bool = False) -> str:
    """An INSERT with named parameters for these columns (all, if none are named)."""
    names = columns or tuple(column.name for column in table.columns)
    values = ", ".join(f":{name}" for name in names)
    verb = "INSERT OR IGNORE" if or_ignore else "INSERT"
    return f"{verb} INTO {table.name} ({', '.join(quoted(names))}) VALUES ({values})"


def quoted(names: tuple[str, ...]) -> list[str]:
    """Column names as identifiers."""
    return [f'"{name}"' for name in names]


def fields_of(event: msgspec.Struct, *names: str) -> dict[str, Any]:
    """Values of an event's fields for columns of the same names; nested ones as JSON."""
    return {name: _column_value(getattr(event, name)) for name in names}


def _column_value(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else json_text(value)
