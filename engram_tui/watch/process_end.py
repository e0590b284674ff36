"""Ending what an agent leaves: itself, its children, its orphans; but not the daemons that users rely on.

Ended: the agent, whatever stayed in its session, whatever still hung on it when it ended (a shell tool's command in a
session of its own, too), and what the adapter names as the agent's own. Left and listed: daemons known by name, and
processes that had detached themselves (own session, orphaned while the agent lived), with their children.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engram_runtime.redaction import head
from engram_tui.watch.process_table import ProcessId, ProcessRow, is_running, send_signal
from engram_tui.watch.process_tree import Member, ProcessTree

DAEMONS = frozenset(
    "gpg-agent ssh-agent keyboxd scdaemon dirmngr gnome-keyring-daemon dbus-daemon dbus-broker watchman dockerd "
    "containerd containerd-shim containerd-shim-runc-v2 conmon buildkitd colima limactl sccache emacs SCREEN".split()
)
"""Programs that serve a user beyond the session that happened to start them."""
DAEMON_COMMANDS = re.compile(
    r"\bengram_runtime\.memory\.embed_worker\b"
    r"|\bGradleDaemon\b|\bKotlinCompileDaemon\b|\bVBCSCompiler\b|^bazel\(|\bA-server\.jar\b|^ssh: .*\[mux\]"
)
POLL_SECONDS = 0.02
KILL_PATIENCE_SECONDS = 2.0
"""How long a killed process may take to vanish (uninterruptible I/O) before it is reported as left."""
_COMMAND_CHARACTERS = 100
_COMM_CHARACTERS = 15  # proc_pid_comm(5)


@dataclass(frozen=True, slots=True)
class TreeEnd:
    """What was ended and what was left, one readable line per process."""

    ended: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


async def end_tree(
    tree: ProcessTree,
    *,
    own: Sequence[str] = (),
    agent_grace: float = 3.0,
    grace: float = 1.0,
    on_agent_signal: Callable[[int], None] = lambda number: None,
) -> TreeEnd:
    """End the agent (if it lives), then its processes: SIGTERM, `grace` seconds, SIGKILL.

    `own`: regular expressions for commands that are the agent's own although they look like daemons
    (`tmux -L openhands`). Works after the agent's death. Each signal goes to one identified process, never to a
    group: on pipes the agent shares the supervisor's. Takes at most agent_grace + grace + 2 s. `on_agent_signal` is
    told of each signal before it is sent to the agent itself.
    """
    ending = _Ending(tree, tuple(re.compile(pattern) for pattern in own))
    await asyncio.to_thread(tree.capture, thorough=True)
    tree.agent_is_ending()
    await ending.end_agent(agent_grace, on_agent_signal)
    await ending.end_rest(grace)
    return ending.result()


def sort_members(
    members: Sequence[Member], agent: ProcessId, agent_session: int, own: Sequence[re.Pattern[str]] = ()
) -> tuple[list[Member], dict[ProcessId, str]]:
    """Which members are to be ended, and which are left with the reason why. Members come parents first."""
    to_end: list[Member] = []
    left: dict[ProcessId, str] = {}
    left_pids: set[int] = set()
    for member in members:
        row = member.row
        if row.zombie:
            continue
        reason = "" if row.id == agent else _reason_to_leave(member, agent_session, left_pids)
        if reason and not any(pattern.search(row.command) for pattern in own):
            left[row.id] = reason
            left_pids.add(row.id.pid)
        else:
            to_end.append(member)
    return to_end, left


def _reason_to_leave(member: Member, agent_session: int, left_pids: set[int]) -> str:
    row = member.row
    if row.parent in left_pids:
        return "belongs to a process that was left"
    if _is_daemon(row):
        return "a daemon that serves beyond this session"
    if member.detached and row.session != agent_session:
        return "had detached itself from the agent"
    return ""


def _is_daemon(row: ProcessRow) -> bool:
    program = row.command.split(" ", 1)[0].rpartition("/")[2]
    if program == "tmux" or row.name.startswith("tmux: "):
        return row.session == row.id.pid
    named = program in DAEMONS or any(row.name == daemon[:_COMM_CHARACTERS] for daemon in DAEMONS)
    return named or DAEMON_COMMANDS.search(row.command) is not None


class _Ending:
    """One run of `end_tree`: what was signalled so far, and how."""

    def __init__(self, tree: ProcessTree, own: tuple[re.Pattern[str], ...]) -> None:
        self._tree = tree
        self._own = own
        self._signalled: dict[ProcessId, tuple[ProcessRow, int]] = {}
        self._left: dict[ProcessId, tuple[ProcessRow, str]] = {}

    async def end_agent(self, grace: float, told: Callable[[int], None]) -> None:
        """The agent first and alone, so that it can end its tools and say goodbye to its hooks."""
        members = [member for member in self._tree.members() if member.row.id == self._tree.agent]
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_PATIENCE_SECONDS)):
            if not members or not is_running(self._tree.agent, self._tree.table):
                return
            told(number)
            self._signal(members, number)
            until = time.monotonic() + patience
            while is_running(self._tree.agent, self._tree.table) and time.monotonic() < until:
                await asyncio.sleep(POLL_SECONDS)

    async def end_rest(self, grace: float) -> None:
        """Again and again, since what is being ended may still start children."""
        until = time.monotonic() + grace
        for number, patience in ((signal.SIGTERM, 0.0), (signal.SIGKILL, KILL_PATIENCE_SECONDS)):
            until += patience
            while True:
                thorough = time.monotonic() >= until
                await asyncio.to_thread(self._tree.capture, thorough=thorough)
                remaining = self._sort()
                self._signal(remaining, number)
                if not remaining:
                    return
                if thorough:
                    break
                await asyncio.sleep(POLL_SECONDS)
        for member in remaining:
            self._left[member.row.id] = (member.row, "would not end, not even by SIGKILL")

    def result(self) -> TreeEnd:
        """What became of everything."""
        ended = [
            f"{_line(row)}: ended by {signal.Signals(number).name}"
            for process, (row, number) in self._signalled.items()
            if process not in self._left
        ]
        return TreeEnd(tuple(ended), tuple(f"{_line(row)}: {reason}" for row, reason in self._left.values()))

    def _sort(self) -> list[Member]:
        members = self._tree.members()
        to_end, left = sort_members(members, self._tree.agent, self._tree.agent_session, self._own)
        self._left = {m.row.id: (m.row, left[m.row.id]) for m in members if m.row.id in left}
        return to_end

    def _signal(self, members: Sequence[Member], number: int) -> None:
        for member in members:
            process = member.row.id
            if self._signalled.get(process, (member.row, 0))[1] == number:
                continue
            if send_signal(process, number, self._tree.table):
                self._signalled[process] = (member.row, number)
                # A stopped process keeps SIGTERM for later; it has to run to end.
                send_signal(process, signal.SIGCONT, self._tree.table)


def _line(row: ProcessRow) -> str:
    command = row.command
    if len(command) > _COMMAND_CHARACTERS:
        command = head(command, _COMMAND_CHARACTERS - 1) + "…"
    return f"{command} ({row.id.pid})"
