"""What events make of the state."""

from __future__ import annotations

from engram_runtime.journal import events as e
from engram_runtime.journal.events import EVENT_TYPES
from engram_runtime.journal.records import (
    Checkpoint,
    Confidence,
    ContextFill,
    FileChange,
    Prohibition,
    Verdict,
    WorkingSet,
)
from engram_runtime.runtime import Runtime
from engram_runtime.state.activity import _WORDS
from engram_runtime.state.projector import COUNTED_ONLY, HANDLERS


def test_every_kind_has_its_place_in_the_projector_and_its_words() -> None:
    kinds = set(EVENT_TYPES.values())
    assert set(HANDLERS) | COUNTED_ONLY == kinds
    assert not set(HANDLERS) & COUNTED_ONLY
    assert set(_WORDS) | {e.CheckpointWritten, e.CheckpointRestored} == kinds


def test_a_session_tells_how_it_began_went_and_ended(runtime: Runtime) -> None:
    runtime.append(
        e.SessionStarted(
            agent="claude", argv=("claude", "-c"), cwd="/w", dirty_files=("a",), supervisor_pid=7
        ),
        e.AgentSpawned(pid=8, started_at=1.5),
        e.NativeSessionSeen(native_id="n1", transcript_path="/t"),
        e.NativeSessionSeen(native_id="n2"),
        e.PromptSubmitted(text="continue", by="engram"),
        e.PromptSubmitted(text="first"),
        e.PromptSubmitted(text="second"),
        e.PlanObserved(items=(("a", "completed"), ("b", "pending"))),
        e.ContextMeasured(fill=ContextFill(used=5, window=10)),
        e.ConditionRaised(condition="rate_limit"),
        e.ConditionRaised(condition="waiting"),
        e.ConditionRaised(condition="waiting"),
        e.ConditionCleared(condition="rate_limit"),
        e.SignalSent(signal=15, by="user", why="stop"),
        e.TurnFinished(text="done"),
        e.TurnFinished(),
    )
    live = runtime.state.session("s1")
    assert live is not None
    assert (live.agent, live.argv, live.dirty_files, live.supervisor_pid) == (
        "claude",
        ("claude", "-c"),
        ("a",),
        7,
    )
    assert (live.agent_pid, live.agent_started_at) == (8, 1.5)
    assert (live.native_id, live.transcript_path) == ("n2", "/t")
    assert (live.first_prompt, live.last_prompt, live.last_said) == ("first", "second", "done")
    assert live.plan == (("a", "completed"), ("b", "pending"))
    assert live.context == ContextFill(used=5, window=10)
    assert live.conditions == ("waiting",)
    assert live.signals == ((15, "user", "stop"),)
    assert (live.ended_at, live.verdict) == (None, None)
    assert [s.id for s in runtime.state.sessions(ended=False)] == ["s1"]

    runtime.append(e.AgentExited(signal=9), e.SessionEnded(verdict=Verdict(kind="killed", signal=9)))
    ended = runtime.state.session("s1")
    assert ended is not None
    assert (ended.exit_signal, ended.exit_code, str(ended.verdict), ended.conditions) == (
        9,
        None,
        "killed(9)",
        (),
    )
    assert ended.ended_at == ended.last_event_at
    assert runtime.state.sessions(ended=False) == []
    assert runtime.state.session("nobody") is None


def test_sessions_are_listed_last_started_first(runtime: Runtime) -> None:
    for name, project in (("a", "/p"), ("b", "/q"), ("c", "/p")):
        runtime.append(e.SessionStarted(agent="demo"), session=name, project=project)
    runtime.append(e.PromptSubmitted(text="x"), session="a")
    assert [s.id for s in runtime.state.sessions()] == ["c", "b", "a"]
    assert [s.id for s in runtime.state.sessions(project="/p", limit=1)] == ["c"]


def test_a_tool_call_is_one_row_from_start_to_end(runtime: Runtime) -> None:
    runtime.append(
        e.SessionStarted(agent="claude"),
        e.ToolStarted(tool="Bash", call_id="c1", summary="pytest"),
        e.ToolStarted(tool="Bash", call_id="c1", summary="pytest"),
        e.ToolStarted(tool="Read", call_id="c2", paths=("a.py",)),
    )
    running = runtime.state.session("s1")
    assert running is not None and running.last_tool is not None
    assert (running.last_tool.tool, running.last_tool.status) == ("Read", "running")
    runtime.append(
        e.ToolFinished(
            tool="Bash", call_id="c1", ok=False, error="exit 1", output="2 failed", duration_ms=8000
        ),
        e.ToolFinished(tool="Read", call_id="c2"),
        e.ToolFinished(tool="Edit", call_id="c3", summary="b.py", paths=("b.py",)),
    )
    edit, read, bash = runtime.state.tools("s1")
    assert (bash.fact.summary, bash.fact.status, bash.fact.error, bash.fact.duration_ms) == (
        *("pytest", "failed", "exit 1"),
        8000,
    )
    assert bash.output == "2 failed" and bash.ended_at is not None
    assert (read.fact.status, read.paths) == ("succeeded", ("a.py",))
    assert (edit.fact.summary, edit.paths) == ("b.py", ("b.py",))
    session = runtime.state.session("s1")
    assert session is not None and session.last_tool == edit.fact
    assert session.tools_used == ("Bash", "Read", "Edit")


def test_calls_without_ids_are_joined_by_tool_and_summary(runtime: Runtime) -> None:
    runtime.append(
        e.SessionStarted(agent="codex"),
        e.ToolStarted(tool="shell", summary="one"),
        e.ToolStarted(tool="shell", summary="two"),
        e.ToolFinished(tool="shell", summary="one"),
        e.ToolFinished(tool="shell"),
        e.ToolFinished(tool="shell", summary="three"),
    )
    assert [(t.fact.summary, t.fact.status) for t in runtime.state.tools("s1")] == [
        ("three", "succeeded"),
        ("two", "succeeded"),
        ("one", "succeeded"),
    ]


def test_calls_that_never_end_are_interrupted_by_what_ends_them(runtime: Runtime) -> None:
    runtime.append(
        e.SessionStarted(agent="claude"), e.ToolStarted(tool="Bash", call_id="1"), e.TurnFinished()
    )
    assert [t.fact.status for t in runtime.state.tools("s1")] == ["interrupted"]
    runtime.append(e.ToolStarted(tool="Bash", call_id="2"), e.AgentExited(code=1))
    assert [t.fact.status for t in runtime.state.tools("s1")] == ["interrupted", "interrupted"]


def test_files_keep_their_last_change_and_a_new_file_stays_new(runtime: Runtime) -> None:
    runtime.append(
        e.SessionStarted(agent="claude"),
        e.FilesObserved(
            changes=(
                FileChange(path="new.py", change="added", tracked=False),
                FileChange(path="old.py", by="user"),
                FileChange(path="gone.py"),
            )
        ),
        e.FilesObserved(
            changes=(
                FileChange(path="new.py", by="agent", lines_added=3, lines_removed=1),
                FileChange(path="gone.py", change="deleted"),
            )
        ),
    )
    gone, new, old = runtime.state.files("s1").changes
    assert (gone.path, gone.change) == ("gone.py", "deleted")
    assert (new.change, new.by, new.tracked, new.lines_added) == ("added", "agent", True, 3)
    assert (old.change, old.by) == ("modified", "user")
    assert runtime.state.files("nobody").changes == ()


def test_a_task_follows_its_updates(runtime: Runtime) -> None:
    (task,) = runtime.append(e.TaskCreated(name="fix", goal="g", metadata={"a": [1]}, user="u"))
    runtime.append(e.TaskUpdated(task=task, status="in_progress"))
    runtime.append(e.TaskUpdated(task=task, metadata={}, goal="h"))
    view = runtime.state.task(task)
    assert view is not None
    assert (view.name, view.goal, view.status, view.metadata, view.user) == (
        "fix",
        "h",
        "in_progress",
        {},
        "u",
    )
    assert runtime.state.task(99) is None
    (other,) = runtime.append(e.TaskCreated(name="other", status="done"), project="/q")
    runtime.append(e.TaskUpdated(task=task, goal="i"))
    assert [t.id for t in runtime.state.tasks()] == [task, other]
    assert [t.id for t in runtime.state.tasks(project="/q")] == [other]
    assert [t.id for t in runtime.state.tasks(status="done", user="default")] == [other]


def test_checkpoints_count_their_versions_per_task(runtime: Runtime) -> None:
    first, second = runtime.append(e.TaskCreated(name="a"), e.TaskCreated(name="b"))
    content = Checkpoint(
        goal="g", modified_files=(FileChange(path="x"),), confidence=Confidence(verification_history=1.0)
    )
    ids = [
        runtime.append(e.CheckpointWritten(task=task, reason="AUTO_SAVE", trigger="t", content=content))[0]
        for task in (first, second, first)
    ]
    listed = runtime.state.checkpoints(first)
    assert [(c.id, c.version, c.parent_version, c.content) for c in listed] == [
        (ids[2], 2, 1, None),
        (ids[0], 1, None, None),
    ]
    assert (listed[0].confidence, listed[0].changed_files, listed[0].session) == (0.3, 1, "s1")
    whole = runtime.state.checkpoint(ids[1])
    assert whole is not None and whole.content == content and whole.version == 1
    latest, older = runtime.state.checkpoint_version(first), runtime.state.checkpoint_version(first, 1)
    assert latest is not None and older is not None
    assert (latest.id, older.id) == (ids[2], ids[0])
    assert runtime.state.checkpoint_version(first, 9) is None
    view = runtime.state.task(first)
    assert view is not None and view.checkpoints == 2


def test_progress_is_one_row_per_user_task_and_feature(runtime: Runtime) -> None:
    (task,) = runtime.append(e.TaskCreated(name="t"))
    (memory,) = runtime.append(
        e.ProgressTracked(feature="login", status="in_progress", completion=0.5, task=task)
    )
    runtime.append(
        e.ProgressTracked(feature="login", status="done", completion=1, task=task, blockers=("x",))
    )
    runtime.append(e.ProgressTracked(feature="login", status="blocked", task=task, user="v"))
    runtime.append(e.ProgressTracked(feature="login", status="planning"))
    runtime.append(e.ProgressTracked(feature="login", status="review"), project="/q")
    runtime.append(e.ProgressTracked(feature="login", status="review"))
    rows = runtime.state.progress()
    assert [(r.memory == memory, r.status, r.task, r.user, r.project) for r in rows] == [
        (True, "done", task, "default", "/project"),
        (False, "blocked", task, "v", "/project"),
        (False, "review", None, "default", "/project"),
        (False, "review", None, "default", "/q"),
    ]
    assert (rows[0].blockers, rows[0].completion) == (("x",), 1.0)
    assert len(runtime.state.progress(task=task, user="default")) == 1
    view = runtime.state.task(task)
    assert view is not None and (view.features_done, view.features_open) == (1, 1)


def test_failures_and_handoffs_are_listed_newest_first(runtime: Runtime) -> None:
    (task,) = runtime.append(e.TaskCreated(name="t"))
    runtime.append(e.FailureTracked(error="e1", component="c", task=task, related_test_ids=("t1",)))
    runtime.append(e.FailureTracked(error="e2", component="c", severity="critical"), session="s2")
    assert [f.error for f in runtime.state.failures()] == ["e2", "e1"]
    assert [f.related_test_ids for f in runtime.state.failures(task=task)] == [("t1",)]
    assert [f.error for f in runtime.state.failures(session="s2")] == ["e2"]
    handoff = e.HandoffRecorded(
        summary="sum",
        next_steps=("n",),
        must_not_redo=(Prohibition(action="a", reason="superseded"),),
        working_set=WorkingSet(files=("f",)),
        task=task,
    )
    runtime.append(handoff, e.HandoffRecorded(summary="later"))
    later, first = runtime.state.handoffs()
    assert (later.summary, later.working_set) == ("later", None)
    assert (first.next_steps, first.must_not_redo, first.working_set) == (
        *(("n",), handoff.must_not_redo),
        handoff.working_set,
    )


def test_counts_cover_what_there_is(runtime: Runtime) -> None:
    runtime.append(
        e.SessionStarted(agent="x"), e.TaskCreated(name="t"), e.MemoryStored(content="m", importance=1)
    )
    runtime.append(
        e.ProgressTracked(feature="f", status="done"), e.ProgressTracked(feature="f", status="done")
    )
    runtime.append(e.FailureTracked(error="e", component="c"), e.MemoryRecalled(memories=(3,)))
    counts = runtime.state.counts()
    assert (counts["events"], counts["sessions"], counts["tasks"], counts["recalls"]) == (7, 1, 1, 1)
    assert (counts["memories"], counts["features"], counts["failures"]) == (3, 1, 1)


def test_activity_is_said_in_plain_words(runtime: Runtime) -> None:
    (task,) = runtime.append(e.TaskCreated(name="fix login"))
    (checkpoint,) = runtime.append(e.CheckpointWritten(task=task, reason="PLAN_UPDATE", content=Checkpoint()))
    runtime.append(
        e.ToolFinished(tool="Bash", summary="pytest -x", ok=False, error="exit 1\nmore", duration_ms=8000),
        e.ToolFinished(tool="Read", paths=("a.py",), duration_ms=12),
        e.MemoryRecalled(memories=(1, 2, 3)),
        e.MemoryRecalled(memories=(1,)),
        e.CheckpointRestored(task=task, checkpoint=checkpoint),
        e.FilesObserved(changes=tuple(FileChange(path=f"f{n}") for n in range(5))),
        e.SessionEnded(verdict=Verdict(kind="killed", signal=9)),
        e.PromptSubmitted(text="a\x1b[31m\tb\r\nc" + "x" * 500),
    )
    lines = [line.text for line in runtime.activity()]
    assert lines[:-1] == [
        "task: fix login",
        "checkpoint v1 durable (PLAN_UPDATE)",
        "Bash pytest -x → exit 1 (8 s)",
        "Read a.py → done (12 ms)",
        "recalled 3 memories",
        "recalled 1 memory",
        "checkpoint v1 restored to the agent (SELECTIVE)",
        "M f0, M f1, M f2 and 2 more",
        "session ended: killed(9)",
    ]
    assert lines[-1].startswith("prompt: a [31m b cxxx") and len(lines[-1]) == 200
    assert [line.position for line in runtime.activity(3)] == [8, 9, 10]
