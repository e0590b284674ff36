"""Old journals stay readable: golden ones are replayed, and no kind of event changes without a version of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engram_runtime.journal import encoding, maintenance, segments, upcast
from engram_runtime.journal.events import EVENT_TYPES, Event
from engram_runtime.journal.writer import Draft
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.golden.journals import make

GOLDEN = sorted(make.HERE.glob("*.jsonl.gz"))
RECORD = "python -m tests.golden.journals.make"


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What keeps a reader of `new` from taking what was written as `old` (JSON schemas); [] if nothing does."""
    return _changes(_resolved(old, old), _resolved(new, new), old, new, "", frozenset())


def _changes(
    old: dict[str, Any],
    new: dict[str, Any],
    all_old: dict[str, Any],
    all_new: dict[str, Any],
    where: str,
    seen: frozenset[str],
) -> list[str]:
    def deeper(before: Any, after: Any, place: str) -> list[str]:
        known = str(before.get("$ref", ""))
        if known and known in seen:
            return []
        return _changes(
            _resolved(before, all_old), _resolved(after, all_new), all_old, all_new, place, seen | {known}
        )

    found = []
    if "anyOf" in old or "anyOf" in new:
        kept = new.get("anyOf", [new])
        lost = [one for one in old.get("anyOf", [old]) if all(deeper(one, other, where) for other in kept)]
        return [f"{where}: a type that was allowed is not any more" for _ in lost]
    if "enum" in old:
        refused = set(old["enum"]) - set(new.get("enum", old["enum"] if "type" in new else []))
        return [f"{where}: {value!r} is not allowed any more" for value in sorted(map(str, refused))]
    if old.get("type") != new.get("type") and new != {}:
        return [f"{where}: {old.get('type')} became {new.get('type', 'something else')}"]
    for name, before in old.get("properties", {}).items():
        after = new.get("properties", {}).get(name)
        found += [f"{where}.{name} is gone"] if after is None else deeper(before, after, f"{where}.{name}")
    for name in set(new.get("required", [])) - set(old.get("properties", {})):
        found.append(f"{where}.{name} is new and has no default")
    for name in ("items", "additionalProperties"):
        if isinstance(old.get(name), dict) and isinstance(new.get(name), dict):
            found += deeper(old[name], new[name], f"{where}[]")
    if old.get("prefixItems") is not None:
        pairs = zip(old["prefixItems"], new.get("prefixItems", []), strict=False)
        found += [flaw for before, after in pairs for flaw in deeper(before, after, f"{where}[]")]
        if len(old["prefixItems"]) != len(new.get("prefixItems", [])):
            found.append(f"{where}: another number of values")
    return found


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return whole["$defs"][reference.rsplit("/", 1)[1]] if reference else schema


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_a_golden_journal_gives_the_state_it_gave(golden: Path, home: Path) -> None:
    rows = list(segments.salvaged(golden))
    make.home_of(rows, home)
    with Runtime.open(home, project="/src/app", settings=Settings()) as runtime:
        assert runtime.verify() == (len(rows), "")
        recorded = runtime.events(limit=10_000)
        assert [at.kind for at in recorded if at.event is None] == []
        runtime.catch_up()
        now = make.state_rows(runtime.journal.files.state)
    for name, then in json.loads(
        golden.with_name(golden.name.replace(".jsonl.gz", ".state.json")).read_text()
    ).items():
        places = [now[name]["columns"].index(column) for column in then["columns"]]
        rows_now = [[row[place] for place in places] for row in now[name]["rows"]]
        assert sorted(rows_now, key=repr) == sorted(then["rows"], key=repr), name


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_a_golden_journal_gives_the_same_state_from_the_archive(
    golden: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LEAST_KEPT", 5)
    make.home_of(list(segments.salvaged(golden)), home)
    with Runtime.open(home, project="/src/app", settings=Settings()) as runtime:
        runtime.catch_up()
        before = make.state_rows(runtime.journal.files.state)
        assert runtime.journal.seal(5) is not None and runtime.journal.segments()
        runtime.rebuild_state()
        assert make.state_rows(runtime.journal.files.state) == before


def test_no_recorded_kind_changed_without_a_version_and_an_upcaster() -> None:
    found = []
    for kind, versions in json.loads(make.KINDS.read_text()).items():
        known = EVENT_TYPES.get(kind)
        if known is None:
            found.append(f"{kind} is gone: kinds stay for ever")
            continue
        for version, schema in versions.items():
            if int(version) == known.VERSION:
                found += [f"{kind}{flaw}" for flaw in changes(schema, msgspec.json.schema(known))]
            elif any((kind, step) not in upcast.UPCASTERS for step in range(int(version), known.VERSION)):
                found.append(f"{kind}: no way from version {version} to {known.VERSION}")
    assert not found, f"Raise VERSION, write an upcaster, then `{RECORD} <next>`: {found}"


class Inner(msgspec.Struct):
    a: int = 1


class Before(Event, frozen=True, kw_only=True):
    word: str
    kind_of: int | None = None
    many: tuple[Inner, ...] = ()


class Wider(Event, frozen=True, kw_only=True):
    word: str
    kind_of: int | str | None = None
    many: tuple[Inner, ...] = ()
    more: str = ""


class Poorer(Event, frozen=True, kw_only=True):
    word: str
    many: tuple[Inner, ...] = ()


class Other(Event, frozen=True, kw_only=True):
    word: int
    kind_of: int = 1
    many: tuple[str, ...] = ()
    demanded: str


def test_a_change_that_old_readers_or_payloads_would_not_survive_is_named() -> None:
    before = msgspec.json.schema(Before)
    assert changes(before, before) == []
    assert changes(before, msgspec.json.schema(Wider)) == []
    assert changes(before, msgspec.json.schema(Poorer)) == [".kind_of is gone"]
    assert changes(before, msgspec.json.schema(Other)) == [
        ".word: string became integer",
        ".kind_of: a type that was allowed is not any more",
        ".many[]: object became string",
        ".demanded is new and has no default",
    ]


class Made(Event, frozen=True, kw_only=True):
    VERSION = 3
    title: str
    size: int


def test_a_payload_of_an_old_version_is_read_in_the_present_form(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EVENT_TYPES, "Made", Made)
    monkeypatch.setitem(encoding._decoders, "Made", msgspec.json.Decoder(Made))
    monkeypatch.setitem(upcast.UPCASTERS, ("Made", 1), lambda old: {"title": old["name"]})
    monkeypatch.setitem(upcast.UPCASTERS, ("Made", 2), lambda old: old | {"size": len(old["title"])})
    at = "2026-11-22T12:00:00.000000Z"
    for version, payload in ((1, '{"name":"old"}'), (2, '{"title":"newer"}'), (4, '{"title":"newest"}')):
        runtime.journal.append_drafts((Draft(at, "Made", version, "/p", None, payload),))
    runtime.append(Made(title="now", size=7))
    assert [at.event for at in runtime.events()] == [
        Made(title="old", size=3),
        Made(title="newer", size=5),
        None,
        Made(title="now", size=7),
    ]
    assert runtime.events()[0].payload == {"name": "old"}
