"""How projectors write rows: SQL made from the tables once, values as SQLite keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from sqlalchemy import Table

_encoder = msgspec.json.Encoder(order="deterministic")


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
