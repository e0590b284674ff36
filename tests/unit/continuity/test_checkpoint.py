"""What a checkpoint is made of: nothing said is lost, what was seen is told from what was claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engram_runtime.continuity.checkpoint import Facts, closed, compose, gather, same_state
from engram_runtime.journal import events as ev
from engram_runtime.journal.records import Checkpoint, FileChange, Prohibition
from engram_runtime.runtime import Runtime

pytestmark = pytest.mark.guarantee("G4")


class Story:
    """A task and a session in a real journal; `now` composes."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        runtime.append(ev.SessionStarted(agent="claude", cwd="/w"), session="s1")
        self.say(ev.PromptSubmitted(text="Fix the login"))
        created = ev.TaskCreated(name="fix-login", goal="Fix the login", status="in_progress")
        (self.task,) = runtime.append(created, session="s1")
        self.say(ev.TaskAttached(task=self.task))

    def say(self, *events: ev.Event) -> None:
        """Record."""
        self.runtime.append(*events, session="s1")

    def track(self, feature: str, status: str) -> None:
        """Track a feature."""
        self.say(ev.ProgressTracked(feature=feature, status=status, task=self.task))  # type: ignore[arg-type]

    def facts(self, **more: object) -> Facts:
        """What is known."""
        return replace(gather(self.runtime.state, self.task, "s1"), **more)  # type: ignore[arg-type]

    def write(self, **more: object) -> Checkpoint:
        """Compose and keep."""
        content = compose(self.facts(**more))
        self.say(ev.CheckpointWritten(task=self.task, reason="MANUAL", content=content))
        return content


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A story on a fresh home."""
    return Story(Runtime.open(tmp_path, project="p", session="s1"))


def test_the_first_prompt_is_the_goal(story: Story) -> None:
    assert compose(story.facts()).goal == "Fix the login"
    assert compose(story.facts()).first_prompt == "Fix the login"


def test_what_engram_submits_on_resume_does_not_become_the_users_last_prompt(story: Story) -> None:
    story.say(ev.PromptSubmitted(text="and mind the tests"))
    story.write()
    story.runtime.append(
        ev.SessionStarted(agent="claude", cwd="/w", resumed_task=story.task),
        ev.TaskAttached(task=story.task),
        ev.PromptSubmitted(text="Continue the interrupted task", by="engram"),
        session="s2",
    )
    resumed = gather(story.runtime.state, story.task, "s2")
    assert compose(resumed).last_prompt == "and mind the tests"
    story.runtime.append(ev.PromptSubmitted(text="faster, please"), session="s2")
    assert compose(gather(story.runtime.state, story.task, "s2")).last_prompt == "faster, please"


def test_an_item_is_in_progress_until_it_is_done(story: Story) -> None:
    story.track("trace", "in_progress")
    assert [i.text for i in compose(story.facts()).in_progress] == ["trace"]
    story.track("trace", "done")
    content = compose(story.facts())
    assert [i.text for i in content.completed] == ["trace"]
    assert content.in_progress == ()


def test_what_a_handoff_said_survives_later_silence(story: Story) -> None:
    story.say(
        ev.HandoffRecorded(
            summary="half way",
            completed=("read the code",),
            in_progress=("write the test",),
            next_steps=("run it",),
            must_not_redo=(Prohibition(action="git stash", reason="lost work"),),
            must_preserve=("the public API",),
            task=story.task,
        )
    )
    story.write()
    story.track("other", "in_progress")
    content = story.write()
    assert "read the code" in [i.text for i in content.completed]
    assert "write the test" in [i.text for i in content.in_progress]
    assert [p.action for p in content.must_not_redo] == ["git stash"]
    assert [i.text for i in content.must_preserve] == ["the public API"]
    assert [i.text for i in content.preferred_next] == ["run it"]


def test_a_prohibition_ends_when_it_expires(story: Story) -> None:
    old = Prohibition(action="deploy", expires_at="2020-01-01T00:00:00Z")
    story.say(ev.HandoffRecorded(summary="x", must_not_redo=(old,), task=story.task))
    assert compose(story.facts()).must_not_redo == ()


def test_a_claim_that_names_a_file_seen_changing_is_verified(story: Story) -> None:
    story.track("wrote repro.py", "done")
    story.track("thought about it", "done")
    files = (FileChange(path="src/repro.py", by="agent", change="added"),)
    standing = {i.text: i.standing for i in compose(story.facts(files=files)).completed}
    assert standing == {"wrote repro.py": "verified", "thought about it": "claimed"}


def test_a_file_the_user_changed_proves_nothing_of_the_agent(story: Story) -> None:
    story.track("wrote repro.py", "done")
    files = (FileChange(path="repro.py", by="user"),)
    assert compose(story.facts(files=files)).completed[0].standing == "claimed"


def test_a_changed_file_does_not_prove_that_its_tests_pass(story: Story) -> None:
    story.track("tests/test_x.py passes", "done")
    files = (FileChange(path="tests/test_x.py", by="agent"),)
    item = compose(story.facts(files=files)).completed[0]
    assert item.standing == "claimed" and "seen" in item.evidence


def test_a_command_that_only_reads_proves_nothing(story: Story) -> None:
    story.say(
        ev.ToolStarted(tool="Bash", call_id="1", summary="cat migration.sql"),
        ev.ToolFinished(tool="Bash", call_id="1", summary="cat migration.sql"),
    )
    story.track("migration.sql was run", "done")
    assert compose(story.facts()).completed[0].standing == "claimed"


def test_items_that_differ_only_in_signs_stay_apart(story: Story) -> None:
    for feature in ("C port", "C++ port", "x > 0", "x < 0"):
        story.track(feature, "done")
    assert len(compose(story.facts()).completed) == 4


def test_a_plan_item_taken_up_again_is_open(story: Story) -> None:
    story.say(ev.PlanObserved(items=(("A", "completed"),)))
    story.write()
    story.say(ev.PlanObserved(items=(("A", "in_progress"),)))
    content = compose(story.facts())
    assert content.completed == ()
    assert [i.text for i in content.in_progress] == ["A"]


def test_a_hundred_done_items_are_all_kept(story: Story) -> None:
    for number in range(100):
        story.track(f"step {number}", "done")
    assert len(compose(story.facts()).completed) == 100


def test_a_claim_whose_command_failed_is_contradicted(story: Story) -> None:
    story.say(
        ev.ToolStarted(tool="Bash", call_id="1", summary="pytest -x"),
        ev.ToolFinished(tool="Bash", call_id="1", summary="pytest -x", ok=False, error="1 failed"),
    )
    story.track("pytest -x is green", "done")
    assert compose(story.facts()).completed[0].standing == "contradicted"


def test_a_call_that_was_cut_off_is_in_progress_and_interrupted(story: Story) -> None:
    story.say(ev.ToolStarted(tool="Bash", call_id="1", summary="make all"))
    content = compose(closed(story.facts()))
    assert content.last_tool is not None and content.last_tool.status == "interrupted"
    assert "Bash: make all" in [i.text for i in content.in_progress]


def test_a_tracked_failure_is_the_last_failure_and_not_to_be_redone(story: Story) -> None:
    story.say(
        ev.FailureTracked(error="leeway hid it", component="auth", fix="compare issuer", task=story.task)
    )
    content = compose(story.facts())
    assert content.last_failure is not None and content.last_failure.text == "leeway hid it"
    assert content.must_not_redo[0].action == "leeway hid it"
    assert "compare issuer" in content.must_not_redo[0].reason
    assert "_" not in content.must_not_redo[0].reason


def test_unchanged_state_is_recognised(story: Story) -> None:
    story.track("trace", "in_progress")
    first = compose(story.facts())
    assert same_state(first, compose(story.facts(screen_tail="another screen", note="x")))
    story.track("trace", "done")
    assert not same_state(first, compose(story.facts()))


def test_files_of_earlier_sessions_stay_and_the_agents_come_first(story: Story) -> None:
    files = (FileChange(path="a.py", by="agent"), FileChange(path="b.py", by="user"))
    story.say(ev.FilesObserved(changes=files))
    story.runtime.append(ev.SessionStarted(agent="claude"), ev.TaskAttached(task=story.task), session="s2")
    facts = replace(
        gather(story.runtime.state, story.task, "s2"), files=(FileChange(path="z.py", by="agent"),)
    )
    assert [c.path for c in compose(facts).modified_files] == ["a.py", "z.py", "b.py"]


def test_a_file_that_came_and_went_in_the_session_is_not_kept(story: Story) -> None:
    story.write(files=(FileChange(path="scratch.txt", by="agent", change="added"),))
    assert compose(story.facts(files=())).modified_files == ()


def test_confidence_is_higher_where_more_was_seen(story: Story) -> None:
    bare = compose(story.facts()).confidence.total()
    story.track("wrote repro.py", "done")
    seen = compose(story.facts(files=(FileChange(path="repro.py", by="agent"),))).confidence.total()
    assert 0 < bare < seen <= 1


def test_a_next_step_stays_until_it_is_done(story: Story) -> None:
    story.say(ev.HandoffRecorded(summary="1", next_steps=("A", "B"), task=story.task))
    story.write()
    story.say(ev.HandoffRecorded(summary="2", completed=("A",), next_steps=("C",), task=story.task))
    assert [i.text for i in story.write().preferred_next] == ["C", "B"]


def test_what_was_done_and_is_taken_up_again_is_not_done(story: Story) -> None:
    story.say(ev.HandoffRecorded(summary="1", completed=("A",), task=story.task))
    story.write()
    story.say(ev.HandoffRecorded(summary="2", in_progress=("A",), task=story.task))
    content = story.write()
    assert content.completed == ()
    assert [i.text for i in content.in_progress] == ["A"]
    story.say(ev.HandoffRecorded(summary="3", completed=("A",), task=story.task))
    assert [i.text for i in story.write().completed] == ["A"]
