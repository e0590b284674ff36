"""Who belongs to the agent, and what becomes of it when the agent ends: real trees, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engram_tui.watch.pipe_process import PipeProcess
from engram_tui.watch.process_end import TreeEnd, end_tree
from engram_tui.watch.process_table import SHOWN_COMMAND_CHARACTERS, ProcTable, PsutilTable
from engram_tui.watch.process_tree import ProcessTree
from engram_tui.watch.reaper import Reaper, become_subreaper
from tests.integration.watch.processes import PYTHON, SESSION, Watched, on_pty, pid_in, runs, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="subreaper and /proc")

DETACH = (
    "import os,sys,time,signal\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
    "time.sleep(100)\n"
)


@pytest.fixture
async def reaper() -> AsyncIterator[Reaper]:
    """This process takes in orphans and reaps them, as the supervisor does."""
    assert become_subreaper()
    reaper = Reaper()
    reaper.attach(asyncio.get_running_loop())
    yield reaper
    reaper.detach()
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)


@contextlib.asynccontextmanager
async def watched_tree(
    script: str, reaper: Reaper, program: str = "/bin/bash"
) -> AsyncIterator[tuple[Watched, ProcessTree]]:
    """An agent that runs a script, and its tree."""
    async with on_pty([program, "-c", script]) as agent:
        reaper.know(agent.process.pid)
        yield agent, ProcessTree(agent.process.id, SESSION, spared=lambda: reaper.known)


async def kill_and_end(agent: Watched, tree: ProcessTree, **options: object) -> TreeEnd:
    """SIGKILL the agent, then end its tree."""
    await asyncio.to_thread(tree.capture)
    agent.process.signal(signal.SIGKILL)
    await agent.process.wait()
    return await end_tree(tree, **options)  # type: ignore[arg-type]


@pytest.mark.slow
async def test_five_orphans_that_ignore_term_and_hangup_are_killed_after_the_grace(
    reaper: Reaper, tmp_path: Path
) -> None:
    one = f"(trap '' TERM HUP; echo $BASHPID > {tmp_path}/$i; while :; do sleep 1; done) &"
    async with watched_tree(f"for i in 1 2 3 4 5; do {one} done; wait", reaper) as (agent, tree):
        await until(lambda: all(pid_in(tmp_path / str(i)) for i in range(1, 6)))
        began = time.monotonic()
        end = await kill_and_end(agent, tree, grace=0.5)
        assert time.monotonic() - began < 3
        pids = [pid_in(tmp_path / str(i)) for i in range(1, 6)]
        assert not any(runs(pid) for pid in pids)
        for pid in pids:
            assert any(f"({pid}): ended by SIGKILL" in line for line in end.ended), end
        assert end.left == ()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_setsid_nohup_child_is_ended(reaper: Reaper, tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"setsid nohup bash -c 'echo $$ > {child}; exec sleep 100' >/dev/null 2>&1 & wait"
    async with watched_tree(script, reaper) as (agent, tree):
        await until(lambda: pid_in(child))
        end = await kill_and_end(agent, tree)
        assert not runs(pid_in(child))
        assert any("SIGTERM" in line and "sleep 100" in line for line in end.ended)


async def test_a_daemon_that_ignores_hangup_and_holds_the_terminal_is_ended(
    reaper: Reaper, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    async with watched_tree(f"(trap '' HUP; echo $BASHPID > {child}; sleep 100) & sleep 100", reaper) as (
        agent,
        tree,
    ):
        await until(lambda: pid_in(child))
        await kill_and_end(agent, tree)
        assert not runs(pid_in(child))


async def test_a_shell_tool_in_its_own_session_is_ended_with_its_children(
    reaper: Reaper, tmp_path: Path
) -> None:
    """As Claude's Bash tool: setsid, no terminal, TERM ignored below."""
    child = tmp_path / "child"
    tool = f"trap '' TERM; echo $$ > {child}; sleep 100; sleep 100"
    script = (
        "import subprocess,sys\n"
        f"subprocess.run(['/bin/bash', '-c', {tool!r}], start_new_session=True, stdin=-3, stdout=-3, stderr=-3)"
    )
    async with watched_tree(script, reaper, PYTHON) as (agent, tree):
        await until(lambda: pid_in(child))
        await asyncio.to_thread(tree.capture)
        assert [m.depth for m in tree.members()] == [0, 1, 2]
        end = await kill_and_end(agent, tree, grace=0.3)
        assert not runs(pid_in(child))
        assert len(end.ended) == 2 and end.left == ()


async def test_a_process_that_detached_itself_is_left_and_listed(reaper: Reaper, tmp_path: Path) -> None:
    daemon = tmp_path / "daemon"
    async with watched_tree(f"'{PYTHON}' -c \"{DETACH}\" {daemon}; sleep 100", reaper) as (agent, tree):
        await until(lambda: pid_in(daemon))
        await until(lambda: tree.capture(thorough=True) and any(m.detached for m in tree.members()))
        end = await kill_and_end(agent, tree)
        assert runs(pid_in(daemon))
        assert len(end.left) == 1 and f"({pid_in(daemon)}): had detached itself" in end.left[0]


async def test_what_the_adapter_names_as_the_agents_own_is_ended_although_detached(
    reaper: Reaper, tmp_path: Path
) -> None:
    """By its whole command line: what names it may stand after a long path or many options."""
    daemon = tmp_path / "daemon"
    options = " ".join(f"--option-{i}={'x' * 30}" for i in range(20))
    script = f"'{PYTHON}' -c \"{DETACH}\" {daemon} {options} daemon; sleep 100"
    async with watched_tree(script, reaper) as (agent, tree):
        await until(lambda: pid_in(daemon))
        await until(lambda: tree.capture() and any(m.detached for m in tree.members()))
        assert all(len(seen.command) <= SHOWN_COMMAND_CHARACTERS for seen in tree.capture())
        end = await kill_and_end(agent, tree, own=[r"os\.setsid.*daemon$"])
        assert not runs(pid_in(daemon)) and end.left == ()


async def test_a_daemon_known_by_name_is_left_with_its_children(reaper: Reaper, tmp_path: Path) -> None:
    child = tmp_path / "child"
    daemon = tmp_path / "gpg-agent"
    daemon.write_text(
        f"#!/bin/bash\ntrap '' HUP; (echo $BASHPID > {child}; sleep 100) </dev/null >/dev/null 2>&1\n"
    )
    daemon.chmod(0o755)
    async with watched_tree(f"setsid bash -c 'exec -a gpg-agent {daemon}' & wait", reaper) as (agent, tree):
        await until(lambda: pid_in(child))
        end = await kill_and_end(agent, tree)
        assert runs(pid_in(child))
        assert any("a daemon that serves" in line for line in end.left), end


async def test_an_escaped_process_is_known_by_its_environment(tmp_path: Path) -> None:
    """Without a subreaper it is init's child; only the session's mark tells whose it was."""
    daemon = tmp_path / "daemon"
    async with on_pty(["/bin/bash", "-c", f"'{PYTHON}' -c \"{DETACH}\" {daemon}; sleep 100"]) as agent:
        await until(lambda: pid_in(daemon))
        tree = ProcessTree(agent.process.id, SESSION)
        await asyncio.to_thread(tree.capture)
        assert pid_in(daemon) not in tree.pids()
        await asyncio.to_thread(tree.capture, thorough=True)
        assert pid_in(daemon) in tree.pids()
        agent.process.signal(signal.SIGKILL)
        await agent.process.wait()
        await end_tree(tree)
        assert not runs(pid_in(daemon))


async def test_orphans_stay_known_without_subreaper_and_without_mark(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"env -u ENGRAM_SESSION setsid nohup bash -c 'echo $$ > {child}; exec sleep 100' >/dev/null 2>&1 & wait"
    async with on_pty(["/bin/bash", "-c", script]) as agent:
        await until(lambda: pid_in(child))
        tree = ProcessTree(agent.process.id, table=PsutilTable())
        tree.agent = tree.table.row(agent.process.pid).id  # type: ignore[union-attr]
        await asyncio.to_thread(tree.capture)
        agent.process.signal(signal.SIGKILL)
        await agent.process.wait()
        end = await end_tree(tree)
        await until(lambda: not runs(pid_in(child)))
        assert len(end.ended) == 1


async def test_a_living_agent_is_asked_first_and_a_stopped_one_too(reaper: Reaper, tmp_path: Path) -> None:
    script = f"trap 'echo bye > {tmp_path}/bye; exit 3' TERM; echo READY; while :; do sleep 0.05; done"
    async with watched_tree(script, reaper) as (agent, tree):
        await agent.says(b"READY")
        agent.process.signal(signal.SIGSTOP)
        end = await end_tree(tree)
        assert (await agent.process.wait()).code == 3
        assert (tmp_path / "bye").exists() and any("SIGTERM" in line for line in end.ended)


async def test_an_agent_that_ignores_term_is_killed_after_its_grace(reaper: Reaper) -> None:
    async with watched_tree("trap '' TERM; echo READY; while :; do sleep 0.05; done", reaper) as (
        agent,
        tree,
    ):
        await agent.says(b"READY")
        await end_tree(tree, agent_grace=0.2, grace=0.2)
        assert (await agent.process.wait()).signal == signal.SIGKILL


async def test_the_tree_is_shown_in_order_with_cpu_and_memory(reaper: Reaper, tmp_path: Path) -> None:
    script = "bash -c 'while :; do :; done' & sleep 100 & wait"
    async with watched_tree(script, reaper) as (agent, tree):
        await until(lambda: len(tree.capture()) == 3)
        first = time.monotonic()
        await until(lambda: time.monotonic() - first > 0.2)
        seen = {process.command: process for process in tree.capture()}
        busy = seen["bash -c while :; do :; done"]
        assert busy.cpu > 10 and seen["sleep 100"].cpu < 5
        assert busy.depth == 1 and busy.parent == agent.process.pid and busy.rss > 100_000
        assert abs(busy.started_at - time.time()) < 60


async def test_the_reaper_takes_orphans_and_leaves_children_that_have_an_owner(reaper: Reaper) -> None:
    async with watched_tree("(setsid sleep 0.1 &) ; sleep 100", reaper) as (agent, _tree):
        owned = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 6")
        done = await asyncio.to_thread(subprocess.run, ["/bin/sh", "-c", "exit 5"])
        assert (await owned.wait(), done.returncode) == (6, 5)
        me = os.getpid()
        await until(lambda: [p for p in _children(me) if p != agent.process.pid] == [])


def _children(pid: int) -> list[int]:
    return ProcTable().children(pid)


async def test_a_dead_child_of_our_session_is_left_to_an_unknown_owner_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = subprocess.Popen(["/bin/sh", "-c", "exit 5"])
    await until(lambda: not runs(child.pid))
    reaper = Reaper()
    assert child.pid not in reaper.reap()
    monkeypatch.setattr("engram_tui.watch.reaper.PATIENCE_SECONDS", 0)
    reaper.know(child.pid)
    assert child.pid not in reaper.reap()
    reaper.forget(child.pid)
    assert child.pid in reaper.reap()
    child.returncode = 5


async def test_on_pipes_the_agents_children_are_ended_and_the_supervisors_are_not(
    reaper: Reaper, tmp_path: Path
) -> None:
    """There all share one session, so only descent and the mark tell them apart."""
    child = tmp_path / "child"
    script = f"(echo $BASHPID > {child}; exec sleep 100) & wait"
    env = {**os.environ, "ENGRAM_SESSION": SESSION}
    process = PipeProcess(["/bin/bash", "-c", script], env=env)
    agent = Watched(process)
    mine = subprocess.Popen(["/bin/sleep", "100"])
    try:
        reaper.know(process.pid)
        await until(lambda: pid_in(child))
        tree = ProcessTree(process.id, SESSION, spared=lambda: reaper.known)
        end = await kill_and_end(agent, tree)
        assert not runs(pid_in(child)) and runs(mine.pid)
        assert len(end.ended) == 1 and end.left == ()
    finally:
        process.close()
        mine.kill()
        mine.wait()


async def test_both_tables_say_the_same_of_a_process(tmp_path: Path) -> None:
    held = tmp_path / "held"
    async with on_pty(["/bin/bash", "-c", f"exec 5>{held} 6<{held}; sleep 100 & read line"]) as agent:
        await until(lambda: len(ProcTable().children(agent.process.pid)) == 1)
        pid = agent.process.pid
        for table in (ProcTable(), PsutilTable()):
            row = table.row(pid)
            assert row is not None and row.id.pid == pid
            assert (row.parent, row.session, row.has_tty, row.zombie) == (os.getpid(), pid, True, False)
            assert row.command.startswith("/bin/bash -c exec 5>") and row.rss > 100_000
            assert abs(row.started_at - time.time()) < 30
            assert len(table.children(pid)) == 1
            assert table.carries(pid, "ENGRAM_SESSION", SESSION) and pid in table.marked(
                "ENGRAM_SESSION", SESSION
            )
            assert str(held) in table.files_open_for_writing(pid)
            assert table.row(2**22 + 1) is None and table.children(2**22 + 1) == []
            assert table.files_open_for_writing(2**22 + 1) == frozenset()
