"""Who is remembered as the agent's, and who is ended or left, on a process table held in memory."""

from __future__ import annotations

import os
import re

import pytest

from engram_tui.watch.process_end import sort_members
from engram_tui.watch.process_table import ProcessId, ProcessRow
from engram_tui.watch.process_tree import Member, ProcessTree

AGENT = ProcessId(100_000, 50)
ME = os.getpid()


class TableInMemory:
    """A process table that a test writes."""

    def __init__(self) -> None:
        self.rows: dict[int, ProcessRow] = {}
        self.marks: set[int] = set()

    def put(
        self, pid: int, parent: int, *, start: float = 60, session: int = AGENT.pid, command: str = "x"
    ) -> None:
        """Add or replace a process."""
        self.rows[pid] = row(pid, parent, start=start, session=session, command=command)

    def row(self, pid: int) -> ProcessRow | None:
        return self.rows.get(pid)

    def children(self, pid: int) -> list[int]:
        return [row.id.pid for row in self.rows.values() if row.parent == pid]

    def marked(self, variable: str, value: str) -> list[int]:
        return sorted(self.marks)

    def carries(self, pid: int, variable: str, value: str) -> bool:
        return pid in self.marks

    def files_open_for_writing(self, pid: int) -> frozenset[str]:
        return frozenset()


def row(
    pid: int,
    parent: int = AGENT.pid,
    *,
    start: float = 60,
    session: int = AGENT.pid,
    command: str = "x",
    name: str = "",
) -> ProcessRow:
    """A running process."""
    return ProcessRow(
        id=ProcessId(pid, start), parent=parent, group=pid, session=session, has_tty=False, zombie=False,
        stopped=False, cpu_seconds=0.0, rss=0, started_at=0.0, name=name or command[:15], command=command,
    )  # fmt: skip


@pytest.fixture
def table() -> TableInMemory:
    """A supervisor (this process) with its agent."""
    table = TableInMemory()
    table.put(AGENT.pid, ME, start=AGENT.start, command="agent")
    return table


def test_descendants_are_members_and_the_supervisors_own_children_are_not(table: TableInMemory) -> None:
    table.put(100_001, AGENT.pid)
    table.put(100_002, 100_001)
    table.put(100_003, ME, session=os.getsid(0), command="git status")
    table.put(100_004, ME, session=7, command="screen process")
    tree = ProcessTree(AGENT, "s", spared=lambda: {100_004}, table=table)
    assert [(p.pid, p.depth) for p in tree.capture()] == [(AGENT.pid, 0), (100_001, 1), (100_002, 2)]


def test_an_orphan_is_remembered_wherever_it_goes(table: TableInMemory) -> None:
    table.put(100_001, AGENT.pid, session=5)
    tree = ProcessTree(AGENT, table=table)
    tree.capture()
    table.put(100_001, 1, session=5)
    del table.rows[AGENT.pid]
    tree.capture()
    assert tree.pids() == (100_001,)
    assert not tree.members()[0].detached


def test_a_stranger_with_a_dead_members_number_is_not_a_member(table: TableInMemory) -> None:
    table.put(100_001, AGENT.pid)
    tree = ProcessTree(AGENT, table=table)
    tree.capture()
    table.put(100_001, 1, start=99)
    tree.capture()
    assert tree.pids() == (AGENT.pid,)


def test_a_stranger_with_the_agents_number_is_not_the_agent(table: TableInMemory) -> None:
    table.put(AGENT.pid, 1, start=AGENT.start + 1)
    tree = ProcessTree(AGENT, table=table)
    assert tree.capture() == ()


def test_only_who_was_twice_an_orphan_while_the_agent_lived_has_detached(table: TableInMemory) -> None:
    table.put(100_001, ME, session=5)
    table.put(100_002, ME, session=6)
    tree = ProcessTree(AGENT, table=table)
    tree.capture()
    del table.rows[100_002]
    tree.capture()
    table.put(100_003, ME, session=7)
    tree.capture()
    tree.agent_is_ending()
    tree.capture()
    assert {m.row.id.pid: m.detached for m in tree.members()} == {
        AGENT.pid: False,
        100_001: True,
        100_003: False,
    }


def test_who_is_in_the_middle_of_its_exit_is_still_known_by_its_command(table: TableInMemory) -> None:
    table.put(100_001, ME, session=5, command="tmux -L openhands new-session")
    tree = ProcessTree(AGENT, table=table)
    tree.capture()
    tree.capture()
    table.rows[100_001] = row(100_001, ME, session=5, command="[tmux]", name="tmux")
    tree.capture()
    to_end, left = sort_members(tree.members(), AGENT, AGENT.pid, [re.compile("tmux -L openhands")])
    assert 100_001 in {m.row.id.pid for m in to_end} and not left


def test_the_mark_in_the_environment_finds_who_escaped(table: TableInMemory) -> None:
    table.put(100_001, 1, session=5)
    table.marks = {100_001}
    tree = ProcessTree(AGENT, "s", table=table)
    tree.capture()
    assert 100_001 not in tree.pids()
    tree.capture(thorough=True)
    assert 100_001 in tree.pids()


@pytest.mark.parametrize(
    ("command", "session", "detached", "left"),
    [
        ("npm run dev", 5, True, True),
        ("npm run dev", AGENT.pid, True, False),
        ("npm run dev", 5, False, False),
        ("/usr/bin/gpg-agent --supervised", 5, False, True),
        ("java -Xmx1g org.gradle.launcher.daemon.bootstrap.GradleDaemon 8.5", 5, False, True),
        ("tmux new-session -d", 100_001, False, True),
        ("tmux attach", AGENT.pid, False, False),
        ("tmux -L openhands new-session", 100_001, True, False),
    ],
)
def test_daemons_and_the_detached_are_left_and_all_others_ended(
    command: str, session: int, detached: bool, left: bool
) -> None:
    members = [
        Member(row(AGENT.pid, ME, start=AGENT.start), 0),
        Member(row(100_001, ME, session=session, command=command), 1, 2 if detached else 0),
        Member(row(100_002, 100_001, session=8, command="its child"), 2),
    ]
    to_end, kept = sort_members(members, AGENT, AGENT.pid, [re.compile("tmux -L openhands")])
    assert {process.pid for process in kept} == ({100_001, 100_002} if left else set())
    assert len(to_end) + len(kept) == 3
