"""Golden journals: one event of every kind as this version writes it, what its state is, and the shape of each kind.

Run at a release, and before one when kinds were added: python -m tests.golden.journals.make v1
A golden journal of a version that was released is never made anew: the next version gets a file of its own.

Files: `<name>.jsonl.gz` (rows, in the format of sealed segments), `<name>.state.json` (rows of the state by table),
`kinds.json` (JSON schema of each kind by version; entries are only ever added).
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from engram_runtime.database import connect_bare
from engram_runtime.journal import segments, table
from engram_runtime.journal.chain import Row
from engram_runtime.journal.events import EVENT_TYPES, Event
from engram_runtime.journal.journal import Journal
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

HERE = Path(__file__).parent
KINDS = HERE / "kinds.json"
BEGIN = datetime(2026, 11, 22, 12, tzinfo=UTC)
TASK = 2
"""Every number of a golden event: the position of the task, so that what refers to a task finds one."""


def example(kind: type[Event]) -> Event:
    """An event of a kind with a value in every field."""
    fields = msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]
    return kind(**{field.name: _value(field.type, field.name) for field in fields})


def _value(kind: Any, name: str) -> Any:
    inspect = msgspec.inspect
    match kind:
        case inspect.UnionType():
            return _value(next(one for one in kind.types if not isinstance(one, inspect.NoneType)), name)
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.StrType():
            return name
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return TASK
        case inspect.FloatType():
            return 0.5
        case inspect.VarTupleType() | inspect.ListType():
            return (_value(kind.item_type, name),)
        case inspect.TupleType():
            return tuple(_value(one, name) for one in kind.item_types)
        case inspect.DictType() | inspect.AnyType():
            return {"key": "value"}
        case inspect.StructType():
            return kind.cls(**{field.name: _value(field.type, field.name) for field in kind.fields})
    raise AssertionError(kind)


def everything() -> list[Event]:
    """One event of every kind, the session and the task first, the session's end last."""
    first, last = ("SessionStarted", "TaskCreated", "TaskAttached"), ("AgentExited", "SessionEnded")
    middle = [name for name in sorted(EVENT_TYPES) if name not in (*first, *last)]
    return [example(EVENT_TYPES[name]) for name in (*first, *middle, *last)]


def schemas() -> dict[str, dict[str, Any]]:
    """The shape of every kind as it is now."""
    return {name: _undescribed(msgspec.json.schema(kind)) for name, kind in sorted(EVENT_TYPES.items())}


def _undescribed(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _undescribed(part) for key, part in schema.items() if not _told(key, part)}
    return [_undescribed(part) for part in schema] if isinstance(schema, list) else schema


def _told(key: str, part: Any) -> bool:
    return key == "description" and isinstance(part, str)


def state_rows(file: Path) -> dict[str, dict[str, Any]]:
    """The state's tables: names of the columns, and the rows."""
    with contextlib.closing(connect_bare(file, access="read")) as state:
        names = [name for (name,) in state.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {}
        for name in sorted(set(names) - {"projection"}):
            cursor = state.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            found[name] = {"columns": columns, "rows": sorted(map(list, cursor), key=repr)}
    return found


def home_of(rows: list[Row], home: Path) -> Path:
    """A home whose journal holds these rows."""
    Journal(HomeFiles(home)).close()
    with contextlib.closing(connect_bare(HomeFiles(home).journal)) as journal:
        journal.executemany(table.INSERT, [tuple(row) for row in rows])
    return home


def main() -> None:
    """Make the files of a version."""
    name = sys.argv[1]
    hours = iter(range(1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with Runtime.open(
            home,
            project="/src/app",
            session="golden",
            settings=Settings(),
            clock=lambda: BEGIN + timedelta(minutes=next(hours)),
        ) as runtime:
            for event in everything():
                runtime.append(event)
            runtime.catch_up()
            rows = runtime.journal.rows_after(0, 10_000)
            segment = segments.write(Path(folder) / "golden", rows)
            (HERE / f"{name}.jsonl.gz").write_bytes((Path(folder) / "golden" / segment.file).read_bytes())
            state = state_rows(runtime.journal.files.state)
    (HERE / f"{name}.state.json").write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n")
    kinds: dict[str, dict[str, Any]] = json.loads(KINDS.read_text()) if KINDS.exists() else {}
    for kind, schema in schemas().items():
        kinds.setdefault(kind, {})[str(EVENT_TYPES[kind].VERSION)] = schema
    KINDS.write_text(json.dumps(kinds, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
