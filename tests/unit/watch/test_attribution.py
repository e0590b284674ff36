"""Who is said to have changed a file, from tool calls, commands, processes and times."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engram_runtime.journal.records import ChangeKind, FileChange
from engram_tui.watch import attribution as module
from engram_tui.watch.attribution import Attribution
from engram_tui.watch.git_watch import ChangedFile
from engram_tui.watch.observations import FileTouched, ProcessSeen, ToolBegan, ToolEnded
from engram_tui.watch.tool_calls import names_path, only_reads

pytestmark = pytest.mark.guarantee("G4")

NOW = time.time() - 20


@pytest.fixture(autouse=True)
def now() -> None:
    """A run of all tests takes minutes: what is settled after one must not be so before its test begins."""
    global NOW
    NOW = time.time() - 20


class Story:
    """What happened in a session, in seconds since its start."""

    def __init__(self, top: Path, **options: object) -> None:
        self.top = Path(os.path.realpath(top))
        self.attribution = Attribution(str(top), **options)  # type: ignore[arg-type]

    def tool(
        self, began: float, ended: float | None, tool: str = "Bash", *paths: str, command: str = ""
    ) -> None:
        named = tuple(str(self.top / path) for path in paths)
        call = f"{tool}{began}"
        self.attribution.began(
            ToolBegan(tool=tool, call_id=call, at=NOW + began, paths=named, command=command)
        )
        if ended is not None:
            self.attribution.ended(ToolEnded(tool=tool, call_id=call, at=NOW + ended))

    def touch(self, at: float, path: str, change: ChangeKind = "modified", writer: str = "") -> None:
        touch = FileTouched(path=str(self.top) + "/" + path, change=change, at=NOW + at)
        self.attribution.touched([touch], {touch.path: writer} if writer else None)

    def only(self) -> FileChange:
        (change,) = self.attribution.changes()
        return change


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A session whose agent tells of its tools."""
    return Story(tmp_path)


def test_a_file_that_an_edit_tool_named_is_the_agents(story: Story) -> None:
    story.tool(1, 1.5, "Edit", "src/a.py")
    story.touch(1.4, "src/a.py")
    assert (story.only().by, story.only().evidence, story.only().path) == (
        "agent",
        "Edit named it",
        "src/a.py",
    )


def test_a_change_that_is_seen_before_its_tool_call_is_told_is_the_agents_too(story: Story) -> None:
    story.touch(1.4, "a.py")
    assert story.only().by == "user"
    story.tool(1, 1.5, "Edit", "a.py")
    assert story.only().by == "agent"


def test_a_file_changed_while_nothing_ran_is_the_users(story: Story) -> None:
    story.tool(1, 2, command="make build")
    story.touch(5, "notes.md")
    assert story.only().by == "user"


def test_a_file_changed_while_only_reading_tools_ran_is_the_users(story: Story) -> None:
    story.tool(1, 3, "Read", "notes.md")
    story.tool(1, 3, command="cd src && cat notes.md | grep -n x 2>/dev/null")
    story.tool(1, 3, "mcp__engram__checkpoint")
    story.touch(2, "notes.md")
    assert story.only().by == "user"


@pytest.mark.parametrize("at", [1.1, 2.0, 2.4])
def test_a_command_that_names_the_file_and_runs_or_just_ended_makes_it_the_agents(
    story: Story, at: float
) -> None:
    story.tool(1, 2, command="sed -i s/a/b/ src/a.py")
    story.touch(at, "src/a.py")
    assert story.only().by == "agent"
    assert story.only().evidence == "`sed -i s/a/b/ src/a.py` named it and ran"


def test_a_command_that_does_not_name_it_leaves_the_author_open_and_says_what_ran(story: Story) -> None:
    story.tool(1, None, command="make   build\n")
    story.touch(2, "out.txt", "added")
    assert story.only().by == "unattributed"
    assert story.only().evidence == "changed while `make build` ran"


def test_a_file_that_a_process_of_the_tree_has_open_is_the_agents(story: Story) -> None:
    story.touch(2, "out.txt", "added", writer="make (77)")
    assert story.only().by == "agent" and "make (77)" in story.only().evidence


def test_what_a_command_left_running_in_the_background_may_have_written(story: Story) -> None:
    story.tool(1, 2, command="npm run watch &")
    seen = ProcessSeen(
        pid=9, parent=1, depth=1, command="node watch", started_at=NOW + 1.5, cpu=0, rss=0, at=NOW + 3
    )
    story.attribution.processes([seen])
    story.touch(4, "bundle.js")
    assert story.only().by == "unattributed" and "`node watch` ran in the background" in story.only().evidence
    story.touch(9, "mine.txt")
    assert [change.by for change in story.attribution.changes()] == ["unattributed", "user"]


def test_an_mcp_server_of_the_agent_is_no_background_command(story: Story) -> None:
    server = ProcessSeen(pid=9, parent=1, depth=1, command="mcp", started_at=NOW, cpu=0, rss=0, at=NOW + 3)
    story.attribution.processes([server])
    story.touch(3, "mine.txt")
    assert story.only().by == "user"


def test_where_tools_are_not_told_nothing_is_booked_on_the_user(tmp_path: Path) -> None:
    story = Story(tmp_path, sees_tools=False)
    story.touch(1, "a")
    assert story.only().by == "unattributed"


def test_a_file_changed_by_both_stays_the_agents_and_says_so(story: Story) -> None:
    story.touch(0.1, "a.py")
    story.tool(1, 1.5, "Write", "a.py")
    story.touch(1.4, "a.py")
    assert story.only().by == "agent" and story.only().evidence == "Write named it; the user changed it too"


def test_an_interrupted_tool_does_not_run_for_ever(story: Story) -> None:
    story.tool(1, None, command="make build")
    story.attribution.idle(NOW + 3)
    story.touch(10, "a")
    assert story.only().by == "user"


def test_authors_are_fixed_before_the_calls_are_forgotten(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.tool(1, 1.5, "Edit", "a.py")
    story.touch(1.4, "a.py")
    later = NOW + 500
    monkeypatch.setattr(module.time, "time", lambda: later)
    story.touch(500, "b.py")
    story.tool(600, 601, command="true")
    monkeypatch.setattr(module.time, "time", lambda: later + 500)
    story.touch(1000, "b.py")
    changes = {change.path: change.by for change in story.attribution.changes()}
    assert changes == {"a.py": "agent", "b.py": "user"}
    assert not list(story.attribution._calls._calls)


def test_a_file_written_a_thousand_times_keeps_few_touches(story: Story) -> None:
    for number in range(1000):
        story.touch(number / 100, "log.txt")
    assert len(story.attribution._histories["log.txt"].touches) <= 51


def test_files_that_came_and_went_are_no_changes_and_deletions_and_renames_are(story: Story) -> None:
    story.tool(1, 5, command="git mv old.py new.py; rm gone.py")
    for path, change in (
        ("old.py", "deleted"),
        ("new.py", "added"),
        ("gone.py", "deleted"),
        ("tmp", "added"),
        ("tmp", "deleted"),
    ):
        story.touch(2, path, change)  # type: ignore[arg-type]
    changes = [(change.path, change.change, change.by) for change in story.attribution.changes()]
    assert changes == [
        ("gone.py", "deleted", "agent"),
        ("new.py", "added", "agent"),
        ("old.py", "deleted", "agent"),
    ]


def test_git_corrects_the_kind_and_dirt_from_before_is_nobodys(story: Story) -> None:
    before = [ChangedFile("dirty", "modified", True), ChangedFile("dirty too", "modified", True)]
    story.attribution.baseline(before)
    story.tool(1, 1.5, "Edit", "a.py")
    story.touch(1.4, "a.py", "added")
    story.touch(1.4, "committed", "modified")
    story.touch(5, "dirty too")
    now = [*before, ChangedFile("a.py", "modified", True), ChangedFile("unseen", "added", False)]
    changes = {c.path: c for c in story.attribution.changes(now, {"a.py": (3, 1)})}
    assert set(changes) == {"a.py", "committed", "dirty too", "unseen"}
    assert (changes["a.py"].change, changes["a.py"].lines_added, changes["a.py"].lines_removed) == (
        "modified",
        3,
        1,
    )
    assert (changes["unseen"].by, changes["unseen"].tracked) == ("unattributed", False)
    assert changes["dirty too"].by == "user"


def test_files_of_a_folder_that_went_away_share_its_author(story: Story) -> None:
    story.tool(1, 2, command="mv old new")
    story.touch(1.5, "old/", "deleted")
    (change,) = story.attribution.changes([ChangedFile("old/x/f", "deleted", True)])
    assert (change.path, change.change, change.by) == ("old/x/f", "deleted", "agent")


def test_paths_outside_of_the_worktree_do_not_count_and_links_above_do_not_hide(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    story = Story(tmp_path / "link")
    named = ToolBegan(tool="Write", paths=(str(tmp_path / "link" / "f"),), at=NOW)
    story.attribution.began(named)
    story.touch(0.1, "f")
    story.attribution.touched([FileTouched(path=str(tmp_path / "elsewhere"), change="added")])
    assert story.only().path == "f" and story.only().by == "agent"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("cat > src/a.py <<E", True),
        ("touch a.py", True),
        ("touch ./a.py ../src/a.py", True),
        ("black /top/src/a.py", True),
        ("black other/a.py", False),
        ("black aa.py a.pyc b-a.py", False),
        ("black 'src/a.py'", True),
        ("black $PWD/src/a.py", False),
    ],
)
def test_a_command_names_a_path_in_full_by_its_end_or_by_name(command: str, named: bool) -> None:
    assert names_path(command, "/top/src/a.py") is named


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        ("cat a | grep b && git log -3", True),
        ("ls 2>/dev/null; wc -l x 2>&1", True),
        ("echo x > a", False),
        ("cat $(make)", False),
        ("find . -delete", False),
        ("git commit -m x", False),
        ("git --no-pager diff", True),
        ("python gen.py", False),
        ("", False),
    ],
)
def test_commands_that_only_read_are_known(command: str, reads: bool) -> None:
    assert only_reads(command) is reads
