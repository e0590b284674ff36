"""The screen: keystroke echo against a raw pty and tmux, and floods.

Run: python -m benchmarks echo | flood
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import subprocess
import time

import psutil

from benchmarks.place import (
    OuterTerminal,
    Place,
    Row,
    cpu_seconds,
    outer,
    percentile,
    session_processes,
    waited_seconds,
)

KEYS = 600
BLOCK = 25
"""Keys typed into one terminal before it is the next one's turn: what the machine does meanwhile hits all alike."""
PAUSE_S = (0.01, 0.09)
"""Between two keys, at random: no key finds the frame clock always at the same place."""
ECHO = ("/bin/sh", "-c", "stty raw -echo; echo REA''DY; exec cat")
SHELL = "trap : INT; echo REA''DY; read x; {}; echo STOP''PED; sleep 60"
FLOODS = {
    "`yes`": "yes 0123456789012345678901234567890123456789",
    "numbered lines": "seq 1000000000 1 9999999999",
}
LETTERS = b"QXZ"
"""Capitals that stand nowhere else on Engram's screen."""
ESCAPES = re.compile(
    rb"\x1b(\[[0-9:;<=>?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][0-9A-Za-z]|[=>78DEM])"
)
FRAME_END = b"\x1b[?2026l"
FLOOD_S = 5.0


def echo_rows() -> list[Row]:
    """Key → echoed character on the outer terminal, ms."""
    with Place() as place, contextlib.ExitStack() as stack:
        terminals = {"raw pty": stack.enter_context(outer(list(ECHO), place))}
        if tmux := shutil.which("tmux"):
            name = place.root.name
            stack.callback(subprocess.run, [tmux, "-L", name, "kill-server"], capture_output=True)
            argv = [tmux, "-L", name, "-f", "/dev/null", "new-session", *ECHO]
            terminals["tmux"] = stack.enter_context(outer(argv, place))
        shown = stack.enter_context(outer(place.argv("run", "--no-resume", "--", *ECHO), place))
        terminals["engram"] = shown
        for terminal in terminals.values():
            terminal.wait_for(b"READY", 30)
        for terminal in terminals.values():
            terminal.drain(2.0)
        chain = list(session_processes(place).values())
        waited = sum(waited_seconds(p) for p in chain)
        times: dict[str, list[float]] = {name: [] for name in terminals}
        chance = random.Random(1)
        for _ in range(KEYS // BLOCK):
            for name, terminal in terminals.items():
                times[name] += [_echo(terminal, chance) for _ in range(BLOCK)]
        waited = sum(waited_seconds(p) for p in chain) - waited
    own = times.pop("engram")
    p50, p99 = percentile(own, 0.5), percentile(own, 0.99)
    controls = ", ".join(
        f"{n} {percentile(t, 0.5):.2f} / {percentile(t, 0.99):.1f}" for n, t in times.items()
    )
    lost = sum(t >= 1000 for t in own)
    return [
        Row(
            f"keystroke → echo through the TUI, p50 / p99 of {KEYS}",
            "≤ 5 / 20 ms",
            f"{p50:.1f} / {p99:.1f} ms ({controls}; missed {lost};"
            f" waited for a core {1000 * waited / KEYS:.1f} ms a key)",
            p50 <= 5 and p99 <= 20 and not lost,
        )
    ]


def _echo(terminal: OuterTerminal, chance: random.Random) -> float:
    """Milliseconds until one typed letter is printed (1000 if it never is)."""
    terminal.watch(chance.uniform(*PAUSE_S))
    letter = LETTERS[(at := chance.randrange(len(LETTERS))) : at + 1]
    terminal.seen.clear()
    began = time.perf_counter()
    terminal.send(letter)
    while letter not in ESCAPES.sub(b"", terminal.seen):
        if time.perf_counter() - began > 1.0:
            return 1000.0
        terminal.read(1.0)
    return (time.perf_counter() - began) * 1000


def flood_rows() -> list[Row]:
    """Floods for some seconds: frames a second on the outer terminal, CPU, and whether Ctrl-C is answered."""
    return [row for name, command in FLOODS.items() for row in _flood(name, command)]


def _flood(name: str, command: str) -> list[Row]:
    agent = ("/bin/sh", "-c", SHELL.format(command))
    with Place() as place, outer(place.argv("run", "--no-resume", "--", *agent), place) as terminal:
        terminal.wait_for(b"READY", 30)
        terminal.drain(2.0)
        processes = session_processes(place)
        terminal.send(b"\r")
        terminal.watch(1.0)
        flooding = _child(terminal, command.split()[0])
        written = flooding.io_counters().write_chars
        before = {name: cpu_seconds(p) for name, p in processes.items()}
        waited = sum(waited_seconds(p) for p in processes.values())
        began, frames, tail = time.perf_counter(), 0, b""
        while (seconds := time.perf_counter() - began) < FLOOD_S:
            tail += terminal.read(0.1)
            frames += tail.count(FRAME_END)
            tail = tail[tail.rfind(FRAME_END) + len(FRAME_END) :] if FRAME_END in tail else tail[-4096:]
        share = {name: 100 * (cpu_seconds(p) - before[name]) / seconds for name, p in processes.items()}
        waited = 100 * (sum(waited_seconds(p) for p in processes.values()) - waited) / seconds
        rate = (flooding.io_counters().write_chars - written) / seconds / 1e6
        terminal.seen.clear()
        terminal.send(b"\x03")
        answered = terminal.wait_for(b"STOPPED", 10)
    fps, total = frames / seconds, sum(share.values())
    parts = ", ".join(f"{name} {value:.0f}" for name, value in sorted(share.items()))
    return [
        Row(f"flood of {name}: frames/s on the outer terminal", "≥ 30", f"{fps:.0f}", fps >= 30),
        Row(
            "… CPU of Engram's processes",
            "< 60 % of a core",
            f"{total:.0f} % ({parts}; waited for a core {waited:.0f} %) at {rate:.0f} MB/s",
            total < 60,
        ),
        Row("… Ctrl-C → the shell's next line is shown", "≤ 1 s", f"{answered:.3f} s", answered <= 1.0),
    ]


def _child(terminal: OuterTerminal, program: str) -> psutil.Process:
    for process in psutil.Process(terminal.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.name() == program:
                return process
    raise RuntimeError(f"{program} is not running")
