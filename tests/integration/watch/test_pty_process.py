"""The agent's pty: output, input, size, signals and the end, with real programs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engram_tui.watch.pipe_process import PipeProcess
from engram_tui.watch.process_table import ProcessId, identify
from engram_tui.watch.pty_process import PtyProcess
from tests.integration.watch.processes import PYTHON, Watched, on_pty, pid_in, runs, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")

OF_PROGRAMS = 0x7FFFFFFF
"""Signals 1 to 31: the C library keeps the ones after them to itself."""


async def test_output_comes_before_the_exit_and_the_code_is_the_agents() -> None:
    async with on_pty(["/bin/sh", "-c", "echo one; echo two; exit 7"]) as agent:
        exited = await agent.process.wait()
        assert agent.output.split() == [b"one", b"two"]
        assert (exited.code, exited.signal, exited.channel) == (7, None, "process")
        assert agent.exits == [exited]


async def test_a_killed_agent_is_reported_by_its_signal() -> None:
    async with on_pty(["/bin/sleep", "100"]) as agent:
        assert agent.process.signal(signal.SIGKILL)
        exited = await agent.process.wait()
        assert (exited.code, exited.signal) == (None, signal.SIGKILL)
        assert not agent.process.signal(signal.SIGTERM)


async def test_the_last_words_of_an_agent_are_not_lost() -> None:
    script = "import sys; sys.stdout.write('x' * 3000 + 'END'); sys.stdout.flush(); import os; os._exit(3)"
    for _ in range(10):
        async with on_pty([PYTHON, "-c", script]) as agent:
            await agent.process.wait()
            assert agent.output.endswith(b"END")


async def test_the_waiting_thread_of_other_systems_reports_the_same() -> None:
    async with on_pty(["/bin/sh", "-c", "echo hello; exit 4"], use_pidfd=False) as agent:
        exited = await agent.process.wait()
        assert (exited.code, agent.output.strip()) == (4, b"hello")


async def test_keys_reach_the_agent_and_it_sees_its_size_and_resizes() -> None:
    async with on_pty(["/bin/bash", "--norc", "--noprofile"], rows=30, columns=101) as agent:
        agent.process.write(b"stty size\n")
        await agent.says(b"30 101")
        agent.process.resize(41, 99)
        agent.process.write(b"stty size\n")
        await agent.says(b"41 99")


async def test_what_was_written_before_the_loop_is_delivered() -> None:
    process = PtyProcess(["/bin/sh", "-c", "read line; echo got:$line"])
    process.write(b"early\n")
    agent = Watched(process)
    await agent.says(b"got:early")
    await process.wait()
    process.close()


async def test_a_slow_reader_gets_everything_and_the_loop_stays_free() -> None:
    reader = (
        "import sys,tty,hashlib; tty.setraw(0); print('READY', flush=True); sys.stdin.read(0); import time;"
        "time.sleep(0.3); data=b''\n"
        "while len(data) < 300000: data += sys.stdin.buffer.raw.read(1000)\n"
        "print(hashlib.sha256(data).hexdigest(), flush=True)"
    )
    import hashlib

    async with on_pty([PYTHON, "-c", reader]) as agent:
        await agent.says(b"READY")
        data = bytes(32 + i % 90 for i in range(300_000))
        began = time.monotonic()
        agent.process.write(data)
        assert time.monotonic() - began < 0.2
        assert agent.process.pending_input > 0
        await agent.says(hashlib.sha256(data).hexdigest().encode())
        assert agent.process.pending_input == 0


async def test_paused_reading_blocks_the_agent_and_resuming_loses_nothing() -> None:
    script = "import sys\nfor i in range(40000): print(i)\nprint('DONE')"
    async with on_pty([PYTHON, "-c", script]) as agent:
        agent.process.pause_reading()
        row_pid = agent.process.pid
        await until(lambda: Path(f"/proc/{row_pid}/wchan").exists())
        before = len(agent.output)
        await asyncio.sleep(0.2)
        assert len(agent.output) == before and not agent.exits
        agent.process.resume_reading()
        await agent.says(b"DONE")
        numbers = [int(line) for line in agent.output.split() if line.isdigit()]
        assert numbers == list(range(40000))


@pytest.mark.slow
async def test_an_agent_that_closes_its_terminal_for_a_moment_is_heard_again() -> None:
    script = (
        "import os,time\n"
        "def away():\n"
        "    for fd in (0, 1, 2): os.close(fd)\n"
        "    time.sleep(0.25)\n"
        "    for fd in (0, 1, 2): os.open(name, os.O_RDWR)\n"
        "name = os.ttyname(0)\n"
        "os.write(1, b'FIRST\\n'); away(); os.write(1, b'BACK\\n'); away(); os.write(1, b'AGAIN\\n')\n"
        "os.write(1, b'echo:' + os.read(0, 100))\n"
    )
    async with on_pty([PYTHON, "-c", script]) as agent:
        await agent.says(b"AGAIN")
        assert b"FIRST" in agent.output and b"BACK" in agent.output and not agent.exits
        agent.process.write(b"typed\n")
        await agent.says(b"echo:typed")
        assert (await agent.process.wait()).code == 0


async def test_a_daemon_that_keeps_the_terminal_does_not_delay_the_exit(tmp_path: Path) -> None:
    daemon = tmp_path / "daemon"
    script = f"trap '' HUP; (trap '' HUP; echo $BASHPID > {daemon}; sleep 100) & sleep 0.2; exit 5"
    async with on_pty(["/bin/bash", "-c", script]) as agent:
        await until(lambda: pid_in(daemon))
        began = time.monotonic()
        exited = await agent.process.wait()
        assert exited.code == 5 and time.monotonic() - began < 5
        assert runs(pid_in(daemon))


async def test_a_stopped_agent_can_be_signalled_and_goes_on() -> None:
    async with on_pty(
        [PYTHON, "-uc", "import itertools,time\nfor i in itertools.count(): print(i); time.sleep(.01)"]
    ) as agent:
        await agent.says(b"3")
        assert agent.process.signal(signal.SIGSTOP)
        await until(lambda: _state(agent.process.pid) == "T")
        agent.process.signal(signal.SIGCONT)
        length = len(agent.output)
        await until(lambda: len(agent.output) > length)


async def test_a_signal_never_reaches_a_process_that_took_over_the_pid() -> None:
    async with on_pty(["/bin/sleep", "100"]) as agent:
        agent.process.id = ProcessId(agent.process.pid, agent.process.id.start - 1)
        assert not agent.process.signal(signal.SIGKILL)
        agent.process.id = identify(agent.process.pid) or agent.process.id


async def test_the_agent_starts_with_default_signals_an_empty_mask_and_only_three_descriptors() -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        async with on_pty(["/bin/grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"]) as agent:
            await agent.process.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    masks = [int(word, 16) & OF_PROGRAMS for word in re.findall(rb"Sig\w+:\s+(\w+)", agent.output)]
    assert masks == [0, 0], agent.output
    async with on_pty(["/bin/sh", "-c", "ls /proc/$$/fd"]) as agent:
        await agent.process.wait()
    assert {int(word) for word in agent.output.split()} <= {0, 1, 2, 10, 255}


async def test_what_an_agent_wrote_while_reading_was_paused_comes_before_its_exit() -> None:
    async with on_pty(["/bin/sh", "-c", "read line; echo last words; exit 2"]) as agent:
        agent.process.pause_reading()
        agent.process.write(b"go\n")
        await agent.process.wait()
        assert b"last words" in agent.output


async def test_a_program_with_spaces_and_no_arguments_starts(tmp_path: Path) -> None:
    program = tmp_path / "an 'agent' \\ here"
    program.write_text("#!/bin/sh\necho started in $PWD\n")
    program.chmod(0o755)
    async with on_pty([f"./{program.name}"], cwd=str(tmp_path)) as agent:
        await agent.says(b"started in " + str(tmp_path).encode())


@pytest.mark.parametrize("process", [PtyProcess, PipeProcess])
def test_what_cannot_be_started_is_an_error_here_and_not_in_the_child(process: type, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process(["/no/such/agent"])
    with pytest.raises(NotADirectoryError):
        process(["/bin/true"], cwd=str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="must name a program"):
        process([])


async def test_on_pipes_the_agent_has_the_given_streams_and_the_same_process_group(tmp_path: Path) -> None:
    with (tmp_path / "in").open("w+b") as stdin, (tmp_path / "out").open("wb") as stdout:
        stdin.write(b"question")
        stdin.seek(0)
        script = "import os,sys; print(os.getpgrp(), sys.stdin.read()); sys.exit(9)"
        process = PipeProcess([PYTHON, "-c", script], streams=(stdin.fileno(), stdout.fileno(), None))
        agent = Watched(process)
        assert (await process.wait()).code == 9
        process.close()
    assert (tmp_path / "out").read_text().split() == [str(os.getpgrp()), "question"]
    assert agent.exits and agent.exits[0].code == 9


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
async def test_a_killed_supervisor_leaves_no_agent_on_pipes(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    script = (
        "import time; from engram_tui.watch.pipe_process import PipeProcess\n"
        f"p = PipeProcess(['/bin/sh', '-c', 'echo $$ > {agent}; exec sleep 100']); time.sleep(100)"
    )
    with subprocess.Popen([PYTHON, "-c", script]) as supervisor:
        await until(lambda: pid_in(agent))
        assert runs(pid_in(agent))
        supervisor.kill()
    await until(lambda: not runs(pid_in(agent)))


async def test_nohup_is_passed_on_to_an_agent_on_pipes(tmp_path: Path) -> None:
    script = (
        "import os; from engram_tui.watch.pipe_process import PipeProcess\n"
        "p = PipeProcess(['/bin/grep', 'SigIgn', '/proc/self/status']); os.waitpid(p.pid, 0); p.close()"
    )
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$0" "$@"', PYTHON, "-c", script]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1], 16) & OF_PROGRAMS == 1, done.stdout


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
