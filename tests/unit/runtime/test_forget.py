"""What is forgotten is nowhere any more, and what was not is as it was."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_runtime.errors import NotFound, UsageError
from engram_runtime.journal import events as e
from engram_runtime.journal import segments
from engram_runtime.journal.records import Checkpoint, GitFacts, Item
from engram_runtime.redaction import forbid, redact, redact_event
from engram_runtime.redaction import redact as redact_module
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.upkeep.forget import Outcome, carry_out, left_in_files
from engram_runtime.upkeep.forget_plan import Plan, plan_memory, plan_task, plan_text, ranges
from engram_runtime.upkeep.needles import MARK, Needles
from tests.support import rounds, rows_of
from tests.unit.runtime.test_state_file import ANY_EVENT

pytestmark = pytest.mark.guarantee("G7")

SECRET = 'zebra "quoted" Größe-4711'
NOBODY: frozenset[str] = frozenset()


def opened(home: Path, session: str = "s1", project: str = "/project") -> Runtime:
    return Runtime.open(home, project=project, session=session, settings=Settings(model="off"))


def forget_text(runtime: Runtime, text: str, *, regex: bool = False) -> Outcome:
    def plan(_: Needles) -> Plan:
        return plan_text(runtime.journal, runtime.blobs, text, regex=regex)

    return done(runtime, plan)


def forget_memory(runtime: Runtime, memory: int) -> Outcome:
    def plan(known: Needles) -> Plan:
        return plan_memory(
            runtime.journal, runtime.blobs, memory, runtime.project, known if known.words else None
        )

    return done(runtime, plan)


def forget_task(runtime: Runtime, task: int) -> Outcome:
    return done(runtime, lambda _: plan_task(runtime.journal, task))


def done(runtime: Runtime, plan: Any) -> Outcome:
    return carry_out(
        plan(Needles()), plan, runtime.journal, runtime.blobs, runtime.project, live=lambda: NOBODY
    )


def traces(home: Path, word: str) -> list[str]:
    """Files that hold a word in any way it can be written there: a search of its own, not the product's."""
    escaped = json.dumps(word)[1:-1]
    forms = {word, escaped, json.dumps(escaped)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]}
    needles = [form.encode(encoding) for form in forms for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    found = []
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        contents = [data]
        for start in {match.start() for match in re.finditer(rb"\x1f\x8b\x08", data)}:
            try:
                contents.append(zlib.decompressobj(31).decompress(data[start:]))
            except zlib.error:
                continue
        if data[:1] == b"z":
            try:
                contents.append(zlib.decompress(data[1:]))
            except zlib.error:
                pass
        if any(needle in content for needle in needles for content in contents):
            found.append(str(path.relative_to(home)))
    return found


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_EVENTS", 50)


def fill(runtime: Runtime, words: str) -> None:
    """A home that holds words in every place there is."""
    blob = runtime.blobs.put(f"diff --git a b\n+{words}\n" * 40)
    kept = runtime.blobs.put("diff --git c d\n+nothing\n" * 40)
    runtime.append(
        e.SessionStarted(agent="claude", argv=("claude", "-p", words), cwd="/project"),
        e.PromptSubmitted(text=f"deploy with {words} please"),
        e.TaskCreated(name=f"deploy with {words}", goal=f"deploy with {words} please", status="in_progress"),
    )
    (task,) = [t.id for t in runtime.state.tasks()]
    runtime.append(
        e.TaskAttached(task=task),
        e.ToolFinished(tool="Bash", call_id="1", summary=f"echo '{json.dumps({'a': words})}'"),
        e.MemoryStored(content=f"The password of the host is {words}", importance=0.7),
        e.MemoryStored(content="Tests run with make check", importance=0.7),
        e.CheckpointWritten(
            task=task,
            reason="PLAN_UPDATE",
            content=Checkpoint(
                goal=f"deploy with {words} please",
                completed=(Item(text="built"), Item(text=f"used {words}")),
                git=GitFacts(top="/project", diff=blob),
            ),
        ),
        e.CheckpointWritten(
            task=task, reason="EXIT", content=Checkpoint(goal="other", git=GitFacts(diff=kept))
        ),
        *(e.TurnFinished(text=f"turn {number}") for number in range(120)),
    )
    runtime.journal.seal(keep=70)
    runtime.state.tasks()
    runtime.memory.catch_up()
    runtime._state.snapshot()
    folder = runtime.home / "sessions" / "s1"
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps({"id": "s1", "cwd": words, "ended": True}))
    (folder / "supervisor.log").write_bytes(words.encode("utf-16-le") + b"\nwarning " + words.encode())
    (folder / "recording").write_bytes(b"o\x00\x01" + words.encode() + b"\x1b[0m more")
    half = len(words) // 2
    (folder / "recording.old").write_bytes(
        b"o" + words[:half].encode() + b"\x1b[38;5;12m" + words[half:].encode()
    )
    (folder / "notes.gz").write_bytes(gzip.compress(words.encode() * 3))
    for name in ("state.v0.sqlite", "memory.v0.sqlite-wal", "damaged/1/journal.sqlite", "recovering/x"):
        path = runtime.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(words.encode())


def test_a_text_is_gone_from_every_place_and_what_held_it_says_the_rest(
    home: Path, small_segments: None
) -> None:
    with opened(home) as runtime:
        fill(runtime, SECRET)
        assert len(traces(home, SECRET)) >= 12
        (before,) = runtime.state.tasks()
        outcome = forget_text(runtime, SECRET)
        (task,) = runtime.state.tasks()
        assert (task.id, task.name, task.checkpoints) == (before.id, f"deploy with {MARK}", 2)
        first, second = sorted(runtime.state.checkpoints(task.id), key=lambda view: view.id)
        shown = runtime.state.checkpoint(first.id)
        assert shown is not None
        assert shown.content is not None
        assert [item.text for item in shown.content.completed] == ["built", f"used {MARK}"]
        assert shown.content.git == GitFacts(top="/project", diff=None)
        other = runtime.state.checkpoint(second.id)
        assert other is not None
        assert other.content is not None
        assert other.content.git is not None
        assert runtime.blobs.has(other.content.git.diff or "")
        assert [row.content for row in runtime.memory.rows()] == [
            "Tests run with make check",
            f"The password of the host is {MARK}",
        ]
        assert runtime.verify().flaw == ""
        assert (outcome.events, outcome.retold, outcome.blobs) == (6, 6, 1)
    assert list(left_in_files(runtime.journal.files, outcome.words, NOBODY)) == []
    assert traces(home, SECRET) == []
    with opened(home) as runtime:
        (task,) = runtime.state.tasks()
        assert task.name == f"deploy with {MARK}"


def test_rows_after_forgetting_are_those_of_a_rebuild(home: Path, small_segments: None) -> None:
    with opened(home) as runtime:
        fill(runtime, SECRET)
        forget_text(runtime, SECRET)
        runtime.append(e.TurnFinished(text="later"))
        runtime.catch_up()
        runtime.memory.catch_up()
        files = runtime.journal.files
    live = rows_of(files.state)
    with opened(home) as runtime:
        runtime.rebuild_state()
    assert rows_of(files.state) == live


def test_a_memory_is_gone_with_every_wording_and_quotation(home: Path, small_segments: None) -> None:
    old, new = (
        "The deploy host is alpha-north, behind the bastion",
        "The deploy host is beta-south, no bastion",
    )
    with opened(home) as runtime:
        memory, keep = runtime.append(
            e.MemoryStored(content=old, importance=0.5), e.MemoryStored(content="unrelated", importance=0.5)
        )
        runtime.append(
            e.MemoryUpdated(memory=memory, content=new),
            e.ToolFinished(tool="store_memory", summary=f'{{"content": "{old[:45]}…'),
            e.MemoryRecalled(memories=(memory, keep)),
            *(e.TurnFinished(text=str(number)) for number in range(120)),
        )
        runtime.journal.seal(keep=64)
        assert runtime.memory.recall("deploy host").hits
        outcome = forget_memory(runtime, memory)
        assert not [
            hit for hit in runtime.memory.recall("deploy host bastion").hits if hit.memory.id == memory
        ]
        assert [row.id for row in runtime.memory.rows()] == [keep]
        (call,) = runtime.events(kinds=("ToolFinished",))
        assert isinstance(call.event, e.ToolFinished)
        assert call.event.summary == f'{{"content": "{MARK}…'
        with pytest.raises(NotFound):
            forget_memory(runtime, 4711)
    for word in (old, new, old[:45], "alpha-north", "beta-south"):
        assert traces(home, word) == []
    assert list(left_in_files(runtime.journal.files, outcome.words, NOBODY)) == []


def test_another_memory_that_begins_with_the_same_words_stays(home: Path) -> None:
    begin = "The project uses PostgreSQL 15 for "
    with opened(home) as runtime:
        (gone, stays, quote) = runtime.append(
            e.MemoryStored(content=begin + "its main database", importance=0.5),
            e.MemoryStored(content=begin + "its tests too", importance=0.5),
            e.MemoryStored(content=f'They said "{begin}its m…" and left', importance=0.5),
        )
        forget_memory(runtime, gone)
        rows = {row.id: row.content for row in runtime.memory.rows()}
    assert rows == {stays: begin + "its tests too", quote: f'They said "{MARK}…" and left'}


def test_a_file_outside_that_a_link_leads_to_is_not_written(home: Path, tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    users.write_text(f"mine: {SECRET}")
    with opened(home) as runtime:
        runtime.append(e.MemoryStored(content=SECRET, importance=0.5))
        folder = home / "sessions" / "s1" / "agent"
        folder.mkdir(parents=True)
        (folder / "auth.json").symlink_to(users)
        forget_text(runtime, SECRET)
    assert users.read_text() == f"mine: {SECRET}"


def test_files_of_others_in_the_home_are_told_and_left_as_they_are(home: Path) -> None:
    others = {
        "events/events-20261121.jsonl.gz": gzip.compress(SECRET.encode()),
        "events/events-20261122.jsonl": SECRET.encode(),
        "memories.duckdb": b"DUCK" + SECRET.encode(),
        "backup.gz": gzip.compress(SECRET.encode()),
        "state.v1.sqlite.mine": SECRET.encode(),
    }
    with opened(home) as runtime:
        runtime.append(e.PromptSubmitted(text=SECRET))
        for name, content in others.items():
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).write_bytes(content)
        outcome = forget_text(runtime, SECRET)
    assert {name: (home / name).read_bytes() for name in others} == others
    left = list(left_in_files(runtime.journal.files, outcome.words, NOBODY))
    assert sorted(left) == sorted(f"{name} (not Engram's; remove it yourself)" for name in others)


def test_a_packed_file_of_a_session_keeps_what_else_it_says(home: Path) -> None:
    with opened(home) as runtime:
        runtime.append(e.PromptSubmitted(text=SECRET))
        packed = home / "sessions" / "s1" / "log.jsonl.gz"
        packed.parent.mkdir(parents=True)
        packed.write_bytes(gzip.compress(f'{{"a": "kept"}}\n{{"b": "{SECRET}"}}\n'.encode()))
        outcome = forget_text(runtime, SECRET)
    assert gzip.decompress(packed.read_bytes()).startswith(b'{"a": "kept"}\n{"b": "xxxx')
    assert list(left_in_files(runtime.journal.files, outcome.words, NOBODY)) == []
    assert traces(home, SECRET) == []
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


def test_matches_of_an_expression_are_found_at_their_bytes() -> None:
    data = "é key-1 ü key-22 \N{GRINNING FACE} key-333".encode() + b"\xff key-4"
    spans = list(Needles(regex=r"key-\d+").spans(data))
    assert [data[start:end] for start, end in spans] == [b"key-1", b"key-22", b"key-333", b"key-4"]


def test_a_memory_of_another_project_is_not_forgotten_from_here(home: Path) -> None:
    with opened(home, project="/other") as runtime:
        theirs, for_all = runtime.append(
            e.MemoryStored(content="theirs alone", importance=0.5),
            e.MemoryStored(content="for all of us", importance=0.5, scope="global"),
        )
    with opened(home) as runtime:
        with pytest.raises(NotFound):
            forget_memory(runtime, theirs)
        assert forget_memory(runtime, for_all).events == 1


def test_a_task_goes_with_its_sessions_work_and_other_tasks_stay(home: Path) -> None:
    def work(runtime: Runtime, name: str) -> int:
        runtime.append(e.SessionStarted(agent="claude"), e.PromptSubmitted(text=f"prompt that began {name}"))
        (task,) = runtime.append(e.TaskCreated(name=name, goal=f"the goal of {name}"))
        runtime.append(
            e.TaskAttached(task=task),
            e.ToolFinished(tool="Bash", summary=f"command for {name}"),
            e.ProgressTracked(feature=f"feature of {name}", status="done", task=task),
            e.MemoryStored(content=f"memory of {name}", importance=0.5, task=task),
            e.CheckpointWritten(
                task=task,
                reason="EXIT",
                content=Checkpoint(
                    goal=f"the goal of {name}", git=GitFacts(diff=runtime.blobs.put(f"diff of {name}"))
                ),
            ),
        )
        return task

    with opened(home, "only") as runtime:
        gone = work(runtime, "wombat")
        (general,) = runtime.append(e.MemoryStored(content="general knowledge", importance=0.5))
    with opened(home, "other") as runtime:
        kept = work(runtime, "badger")
    with opened(home, "both") as runtime:
        runtime.append(e.SessionStarted(agent="claude"), e.PromptSubmitted(text="on with the wombat"))
        runtime.append(e.TaskAttached(task=gone), e.ToolFinished(tool="Bash", summary="wombat again"))
        runtime.append(e.TaskAttached(task=kept), e.ToolFinished(tool="Bash", summary="badger again"))
    for name in ("only", "both"):
        (home / "sessions" / name).mkdir(parents=True)
        (home / "sessions" / name / "recording").write_bytes(b"command for wombat")
    with opened(home, "last") as runtime:
        badger = runtime.state.checkpoints(kept)
        outcome = forget_task(runtime, gone)
        assert [task.id for task in runtime.state.tasks()] == [kept]
        assert runtime.state.checkpoints(kept) == badger
        assert {row.content.split(" ")[0] for row in runtime.memory.rows()} >= {"general"}
        assert runtime.memory.row(general) is not None
        assert runtime.state.session("only") is None
        both = runtime.state.session("both")
        assert both is not None
        assert both.task == kept
        assert runtime.verify().flaw == ""
        assert [line.text for line in runtime.activity(200) if "wombat" in line.text] == []
    assert not (home / "sessions" / "only").exists()
    assert outcome.events >= 10
    assert outcome.blobs == 1
    assert traces(home, "wombat") == []
    assert traces(home, "badger") != []


def test_what_was_retold_can_be_forgotten_again(home: Path) -> None:
    with opened(home) as runtime:
        runtime.append(
            e.PromptSubmitted(text="first alphabet then betamax then gammaray"),
            e.PromptSubmitted(text="alphabet alone"),
            e.PromptSubmitted(text="nothing of it"),
        )
        for word in ("alphabet", "betamax"):
            forget_text(runtime, word)
        said = [at.event.text for at in runtime.events(kinds=("PromptSubmitted",)) if at.event]  # type: ignore[attr-defined]
        assert said == [f"first {MARK} then {MARK} then gammaray", f"{MARK} alone", "nothing of it"]
        session = runtime.state.session("s1")
        assert session is None
        assert runtime.verify().flaw == ""
    assert traces(home, "alphabet") == traces(home, "betamax") == []


def test_a_task_that_was_retold_can_be_forgotten_whole(home: Path) -> None:
    with opened(home) as runtime:
        one, two = runtime.append(
            e.TaskCreated(name="alphabet soup", goal="cook alphabet soup for wombats"),
            e.TaskCreated(name="alphabet book", goal="write an alphabet book"),
        )
        forget_text(runtime, "alphabet")
        forget_task(runtime, one)
        (task,) = runtime.state.tasks()
        assert (task.id, task.name) == (two, f"{MARK} book")
    assert traces(home, "wombats") == traces(home, "alphabet") == []


def test_a_regular_expression_forgets_all_it_matches(home: Path) -> None:
    with opened(home) as runtime:
        runtime.append(
            e.PromptSubmitted(text="ids ACME-11-x and ACME-22-y"), e.PromptSubmitted(text="ACME without")
        )
        forget_text(runtime, r"ACME-\d\d-\w", regex=True)
        said = [at.event.text for at in runtime.events() if isinstance(at.event, e.PromptSubmitted)]
        assert said == [f"ids {MARK} and {MARK}", "ACME without"]
        with pytest.raises(UsageError):
            forget_text(runtime, "x*|yyyy", regex=True)
        with pytest.raises(UsageError):
            forget_text(runtime, "abc")
    assert traces(home, "ACME-11-x") == traces(home, "ACME-22-y") == []


def test_an_expression_that_matches_a_few_characters_is_refused_before_anything_is_changed(
    home: Path,
) -> None:
    with opened(home) as runtime:
        runtime.append(e.PromptSubmitted(text="room 42, badge 4711"))
        before = runtime.events()
        with pytest.raises(UsageError, match="less than 4 characters"):
            forget_text(runtime, r"\d{1,9}", regex=True)
        assert runtime.events() == before
        forget_text(runtime, r"\d{4,}", regex=True)
        (prompt,) = runtime.events(kinds=("PromptSubmitted",))
        assert prompt.event == e.PromptSubmitted(text=f"room 42, badge {MARK}")
    assert list(Needles(regex=r"\d+").spans(b"12 4711")) == [(3, 7)]


def test_a_word_of_a_closed_set_takes_its_whole_event_along(home: Path) -> None:
    with opened(home) as runtime:
        runtime.append(
            e.ProgressTracked(feature="x", status="in_progress"), e.TurnFinished(text="in_progress")
        )
        forget_text(runtime, "in_progress")
        progress, turn = runtime.events()[:2]
        assert progress.event is None
        assert progress.payload is None
        assert turn.event == e.TurnFinished(text=MARK)


def test_a_runtime_that_was_open_meanwhile_knows_nothing_of_it_either(home: Path) -> None:
    with opened(home) as runtime, opened(home) as other:
        (memory,) = runtime.append(e.MemoryStored(content="the gate code is peregrine", importance=0.9))
        runtime.append(e.TaskCreated(name="open the gate with peregrine"))
        assert other.memory.recall("gate code").hits[0].memory.id == memory
        assert "peregrine" in other.state.tasks()[0].name
        forget_text(runtime, "peregrine")
        assert other.memory.recall("gate code").hits[0].memory.content == f"the gate code is {MARK}"
        assert other.state.tasks()[0].name == f"open the gate with {MARK}"
        assert all("peregrine" not in str(at.payload) for at in other.events())
        forget_memory(runtime, memory)
        assert other.memory.recall("gate code").hits == ()
        other.append(e.TurnFinished(text="goes on"))
        assert other.verify().flaw == ""
    assert traces(home, "peregrine") == []


def test_an_interrupted_forget_is_finished_by_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engram_runtime.journal.journal import Journal

    with opened(home) as runtime:
        runtime.append(e.TaskCreated(name="open the gate with peregrine"))
        runtime.state.tasks()
        forget = Journal.forget
        monkeypatch.setattr(Journal, "forget", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            forget_text(runtime, "peregrine")
        assert runtime.state.tasks()[0].name == "open the gate with peregrine"
        monkeypatch.setattr(Journal, "forget", forget)
        forget_text(runtime, "peregrine")
        assert runtime.state.tasks()[0].name == f"open the gate with {MARK}"
    assert traces(home, "peregrine") == []


def test_what_cannot_be_erased_is_said(home: Path) -> None:
    with opened(home, project="/projects/peregrine") as runtime:
        runtime.append(e.TurnFinished(text="peregrine"))
        (home / "config.toml").write_text('agent = "peregrine"')
        outcome = forget_text(runtime, "peregrine")
    assert len(outcome.headers) == 1
    left = list(left_in_files(runtime.journal.files, outcome.words, NOBODY))
    assert any(place.startswith("config.toml") for place in left)


@pytest.fixture
def forbidding() -> Iterator[None]:
    yield
    redact_module.__globals__["_FORBIDDEN"].clear()


def test_a_process_that_was_told_writes_it_never_again(home: Path, forbidding: None) -> None:
    with opened(home) as runtime:
        forbid(Needles([SECRET]).pattern)
        runtime.append(e.PromptSubmitted(text=f"again {SECRET}"), e.TurnFinished(text="other"))
        runtime.blobs.put(f"again {SECRET}")
        prompt, other = runtime.events()
        assert prompt.event == e.PromptSubmitted(text=f"again {MARK}")
        assert other.event == e.TurnFinished(text="other")
    assert traces(home, SECRET) == []
    assert redact_event({"a": SECRET}) == {"a": MARK}
    assert redact(redact(SECRET)) == redact(SECRET)


def test_positions_are_told_as_runs() -> None:
    assert ranges({9, 1, 2, 3, 7}) == ((1, 3), (7, 7), (9, 9))
    assert ranges(()) == ()


@pytest.mark.slow
@settings(
    max_examples=rounds(8, 500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.lists(ANY_EVENT, max_size=5)), max_size=6),
    forgotten=st.sets(st.integers(1, 30)),
)
def test_any_events_can_be_forgotten_and_what_is_left_is_rebuilt(
    batches: list[tuple[str, list[e.Event]]], forgotten: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    with opened(home) as runtime:
        for session, happened in batches:
            if happened:
                runtime.append(*happened, session=session)
        runtime.journal.forget(sorted(forgotten))
        runtime.rebuild_state()
        runtime.memory.rebuild()
        runtime.append(e.TurnFinished(text="later"))
        runtime.catch_up()
        assert runtime.verify().flaw == ""
        runtime.activity(100)
        for task in runtime.state.tasks():
            runtime.state.checkpoints(task.id)
        for view in runtime.state.sessions():
            runtime.state.session(view.id)
        runtime.memory.rows()
        files = runtime.journal.files
    state, memory = rows_of(files.state), len(rows_of(files.memory))
    with opened(home) as runtime:
        runtime.rebuild_state()
        runtime.memory.rebuild()
        runtime.catch_up()
    assert rows_of(files.state) == state
    assert len(rows_of(files.memory)) == memory
