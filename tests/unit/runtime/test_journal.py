"""What the journal takes, keeps and gives back."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from engram_runtime.database import connect_bare, driver
from engram_runtime.errors import InvalidEvent, StoreUnavailable
from engram_runtime.journal import journal as journal_module
from engram_runtime.journal.encoding import PAYLOAD_BYTES, decode, encode
from engram_runtime.journal.events import (
    EVENT_TYPES,
    FilesObserved,
    MemoryStored,
    PromptSubmitted,
    TaskCreated,
)
from engram_runtime.journal.journal import Journal
from engram_runtime.journal.records import FileChange
from engram_runtime.journal.upcast import upcast
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.support import wait_until


def prompt(text: str = "x") -> PromptSubmitted:
    return PromptSubmitted(text=text)


def test_events_come_back_in_order_with_their_place(runtime: Runtime) -> None:
    assert runtime.append(prompt("a"), TaskCreated(name="t")) == (1, 2)
    assert runtime.append(prompt("b"), session=None, project="/other") == (3,)
    first, second, third = runtime.events()
    assert (first.event, first.kind, first.version) == (prompt("a"), "PromptSubmitted", 1)
    assert (second.position, second.session, second.project) == (2, "s1", "/project")
    assert (third.session, third.project) == (None, "/other")
    assert third.payload == {"text": "b", "by": "user"}
    assert first.at.endswith("Z") and len(first.at) == 27


def test_reading_can_be_narrowed(runtime: Runtime) -> None:
    for number in range(10):
        runtime.append(prompt(str(number)), session=f"s{number % 2}", project=f"/p{number % 3}")
    runtime.append(TaskCreated(name="t"))
    journal = runtime.journal
    assert [at.position for at in journal.read_after(3, 4)] == [4, 5, 6, 7]
    assert [at.position for at in journal.read_after(session="s1")] == [2, 4, 6, 8, 10, 11]
    assert [at.position for at in journal.read_after(project="/p0", session="s0")] == [1, 7]
    assert [at.position for at in journal.read_after(kinds=("TaskCreated",))] == [11]
    assert [at.position for at in journal.read_after(4, until=6)] == [5, 6]
    assert [at.position for at in journal.read_last(2, session="s0")] == [7, 9]


def test_events_outlive_the_process_that_wrote_them(home: Path) -> None:
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        runtime.append(prompt("a"))
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.append(prompt("b")) == (2,)
        assert [at.payload for at in runtime.events()] == [
            {"by": "user", "text": "a"},
            {"by": "user", "text": "b"},
        ]
        assert runtime.verify() == (2, "")


def test_every_kind_survives_the_way_through_the_journal() -> None:
    for kind, event_type in EVENT_TYPES.items():
        fields = [field for field in msgspec.structs.fields(event_type) if field.required]
        event = event_type(**{field.name: some_value(field.type) for field in fields})
        assert decode(kind, event_type.VERSION, encode(event)) == (
            event,
            msgspec.json.decode(msgspec.json.encode(event)),
        )


def some_value(kind: Any) -> Any:
    """The first plain value that fits a field's type."""
    for value in ("text", 7, [], {"kind": "finished"}, {}, *get_args(kind)):
        with contextlib.suppress(msgspec.ValidationError):
            return msgspec.convert(value, kind)
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": object()},
        {"a": {1, 2, (3,)}, "b": b"\xff" and object},
    ],
    ids=["nan", "inf", "object", "type"],
)
def test_what_json_cannot_say_is_refused_and_nothing_is_written(
    runtime: Runtime, metadata: dict[str, Any]
) -> None:
    with pytest.raises(InvalidEvent):
        runtime.append(prompt(), TaskCreated(name="t", metadata=metadata))
    assert runtime.events() == []


def test_nesting_without_end_is_refused(runtime: Runtime) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidEvent):
        runtime.append(TaskCreated(name="t", metadata=deep))
    while deep:
        deep = deep["a"]


def test_a_struct_of_wrong_types_is_refused(runtime: Runtime) -> None:
    with pytest.raises(InvalidEvent):
        runtime.append(MemoryStored(content="x", importance="high"))  # type: ignore[arg-type]


def test_an_event_that_is_too_large_is_refused_with_a_hint(runtime: Runtime) -> None:
    with pytest.raises(InvalidEvent, match="blobs"):
        runtime.append(prompt("x" * PAYLOAD_BYTES))
    assert runtime.append(prompt("x" * (PAYLOAD_BYTES - 100))) == (1,)


def test_secrets_and_impossible_characters_never_reach_the_file(runtime: Runtime, home: Path) -> None:
    secret = "ghp_" + "a1B2" * 9
    runtime.append(
        prompt(f"use {secret} \0 \ud800"),
        TaskCreated(name="t", metadata={"password": "geheim-77", "deep": [{"k": secret}]}),
        FilesObserved(changes=(FileChange(path=os.fsdecode(b"\xff.txt")),)),
    )
    runtime.close()
    kept = b"".join(path.read_bytes() for path in home.iterdir() if path.is_file())
    assert secret.encode() not in kept and b"geheim-77" not in kept
    assert "\ufffd".encode() in kept


def test_the_files_are_private(runtime: Runtime, home: Path) -> None:
    runtime.append(prompt())
    runtime.state.counts()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert {"journal.sqlite", "journal.sqlite-wal", HomeFiles(home).state.name} <= set(modes)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_clock_that_is_set_back_breaks_nothing(home: Path) -> None:
    times = iter([datetime(2030, 1, 1, tzinfo=UTC) - timedelta(days=n * 365) for n in range(20)])
    with Runtime.open(
        home, project="/p", session="s1", settings=Settings(), clock=lambda: next(times)
    ) as runtime:
        for number in range(4):
            runtime.append(TaskCreated(name=str(number)))
        assert runtime.verify() == (4, "")
        assert [task.name for task in runtime.state.tasks()] == ["3", "2", "1", "0"]
        assert runtime.events()[0].at > runtime.events()[3].at


def test_the_file_itself_refuses_changes(runtime: Runtime, home: Path) -> None:
    runtime.append(prompt("a"), prompt("b"))
    other = connect_bare(home / "journal.sqlite")
    row = other.execute("SELECT * FROM journal WHERE position = 1").fetchone()
    marks = ", ".join("?" * len(row))
    for statement in (
        "DELETE FROM journal",
        "UPDATE journal SET payload = '{}' WHERE position = 1",
        "UPDATE journal SET payload = NULL, salt = NULL",
    ):
        with pytest.raises(driver().IntegrityError, match="append-only"):
            other.execute(statement)
    with pytest.raises(driver().IntegrityError, match="append-only"):
        other.execute(f"INSERT OR REPLACE INTO journal VALUES ({marks})", row)
    other.close()
    assert runtime.verify() == (2, "")


def test_a_forgotten_payload_is_gone_and_the_chain_still_holds(runtime: Runtime, home: Path) -> None:
    for text in ("keep this", "qwertzuiop forget this", "and keep that"):
        runtime.append(prompt(text))
    assert runtime.journal.forget([2, 99]) == 1
    assert [at.event for at in runtime.events()] == [prompt("keep this"), None, prompt("and keep that")]
    assert runtime.append(prompt("next")) == (4,)
    assert runtime.verify() == (4, "")
    runtime.close()
    assert b"qwertzuiop" not in b"".join(path.read_bytes() for path in home.iterdir())
    with Runtime.open(home, project="/p", settings=Settings()) as again:
        assert again.health().writable


def test_many_threads_append_without_loss_and_share_transactions(runtime: Runtime) -> None:
    positions: list[int] = []

    def work(name: str) -> None:
        for number in range(25):
            positions.extend(runtime.append(prompt(f"{name} {number}"), prompt(f"{name} {number} b")))

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(positions) == list(range(1, 401))
    assert runtime.verify() == (400, "")
    texts = [at.payload["text"] for at in runtime.events() if at.payload]
    assert all(second == first + " b" for first, second in zip(texts[::2], texts[1::2], strict=True))


def test_what_was_submitted_is_written_before_closing(home: Path) -> None:
    runtime = Runtime.open(home, project="/p", settings=Settings())
    futures = [runtime.submit(prompt(str(number))) for number in range(200)]
    runtime.close()
    assert [future.result(0) for future in futures] == [(number,) for number in range(1, 201)]
    with pytest.raises(StoreUnavailable, match="closed"):
        runtime.append(prompt())


def test_a_threads_own_order_is_kept_between_submit_and_append(runtime: Runtime) -> None:
    for number in range(30):
        runtime.submit(prompt(f"{number}a"))
        runtime.append(prompt(f"{number}b"))
    texts = [at.payload["text"] for at in runtime.events() if at.payload]
    assert texts == [f"{number}{letter}" for number in range(30) for letter in "ab"]


def test_an_append_gives_up_when_another_process_holds_the_journal_and_writes_nothing(
    runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.append(prompt())
    monkeypatch.setattr(journal_module, "PATIENCE_SECONDS", 0.05)
    from engram_runtime.database import exclusive

    with exclusive(home / "journal.lock"), pytest.raises(StoreUnavailable, match="Another process"):
        runtime.append(prompt("lost"))
    assert runtime.append(prompt("kept")) == (2,)
    assert [at.payload["text"] for at in runtime.events() if at.payload] == ["x", "kept"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told_to_open_its_own(runtime: Runtime) -> None:
    runtime.append(prompt())
    child = os.fork()
    if child == 0:
        try:
            runtime.append(prompt("from the child"))
        except StoreUnavailable as error:
            os._exit(42 if "fork" in str(error) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert runtime.append(prompt()) == (2,)


def test_deleting_the_home_while_it_is_open_is_noticed(runtime: Runtime, home: Path) -> None:
    runtime.append(prompt())
    (home / "journal.sqlite").rename(home / "elsewhere")
    with pytest.raises(Exception, match="removed or replaced"):
        runtime.append(prompt())
    assert not runtime.health().writable


def test_events_of_a_newer_engram_are_kept_and_skipped(runtime: Runtime) -> None:
    runtime.append(TaskCreated(name="t"))
    write_foreign(runtime.journal, "SomethingNew", 1, '{"a": 1}')
    write_foreign(runtime.journal, "TaskCreated", 2, '{"title": "renamed"}')
    runtime.append(TaskCreated(name="u"))
    new, newer = runtime.events()[1:3]
    assert (new.kind, new.event, new.payload) == ("SomethingNew", None, {"a": 1})
    assert (newer.version, newer.event) == (2, None)
    assert [task.name for task in runtime.state.tasks()] == ["u", "t"]
    assert runtime.health().unknown_kinds == ("SomethingNew", "TaskCreated")
    assert "newer Engram" in runtime.activity()[1].text


def write_foreign(journal: Journal, kind: str, version: int, payload: str) -> None:
    from engram_runtime.journal.writer import Draft

    journal.append_drafts((Draft("2030-01-01T00:00:00.000000Z", kind, version, "/project", None, payload),))


def test_older_payloads_are_brought_to_the_present_form_step_by_step() -> None:
    steps = {("K", 1): lambda p: p | {"b": 1}, ("K", 2): lambda p: p | {"c": 2}}
    assert upcast("K", 1, 3, {"a": 0}, steps) == {"a": 0, "b": 1, "c": 2}
    assert upcast("K", 3, 3, {"a": 0}, steps) == {"a": 0}
    assert upcast("K", 4, 3, {}, steps) is None
    assert upcast("L", 1, 3, {}, steps) is None


def test_reading_only_creates_nothing(home: Path) -> None:
    with Runtime.open(home, project="/p", settings=Settings(), read_only=True) as runtime:
        assert runtime.events() == []
        assert runtime.state.tasks() == []
        assert runtime.state.counts()["events"] == 0
        with pytest.raises(StoreUnavailable):
            runtime.append(prompt())
    assert not home.exists()


def test_a_journal_that_never_appends_starts_no_thread(home: Path) -> None:
    before = threading.active_count()
    journal = Journal(HomeFiles(home))
    assert journal.head() == 0
    assert threading.active_count() == before
    journal.close()
    wait_until(lambda: threading.active_count() == before, 5)
