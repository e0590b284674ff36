"""The screen: keystroke echo against a raw pty, a flood, and what an idle session costs.

Run: python -m benchmarks echo | flood | idle
"""

from __future__ import annotations

import contextlib
import time

import psutil

from benchmarks.place import OuterTerminal, Place, Row, outer, percentile, session_processes

KEYS = 300
ECHO = ("/bin/sh", "-c", "stty raw -echo; echo REA''DY; exec cat")
FLOOD = ("/bin/sh", "-c", "echo REA''DY; read x; exec yes 0123456789012345678901234567890123456789")
ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


def echo_rows() -> list[Row]:
    """Key → echoed character on the outer terminal, ms."""
    with Place() as place:
        with outer(list(ECHO), place) as terminal:
            raw = _echo(terminal)
        with outer(place.argv("run", "--no-resume", "--", *ECHO), place) as terminal:
            shown = _echo(terminal)
    p50, p99 = percentile(shown, 0.5), percentile(shown, 0.99)
    figure = f"{p50:.1f} / {p99:.1f} ms (raw pty {percentile(raw, 0.5):.2f} / {percentile(raw, 0.99):.2f})"
    return [Row("keystroke → echo through the TUI, p50 / p99", "≤ 5 / 20 ms", figure, p50 <= 5 and p99 <= 20)]


def _echo(terminal: OuterTerminal) -> list[float]:
    terminal.wait_for(b"READY", 30)
    terminal.drain(1.0)
    times = []
    for number in range(KEYS):
        letter = ALPHABET[number % 26 : number % 26 + 1]
        terminal.seen.clear()
        began = time.perf_counter()
        terminal.send(letter)
        with contextlib.suppress(TimeoutError):
            terminal.wait_for(letter, 1.0)
        times.append((time.perf_counter() - began) * 1000)
        terminal.drain(0.02)
    return times


def flood_rows() -> list[Row]:
    """`yes` for four seconds: frames a second that reach the outer terminal, CPU, and whether Ctrl-C is answered."""
    with Place() as place, outer(place.argv("run", "--no-resume", "--", *FLOOD), place) as terminal:
        terminal.wait_for(b"READY", 30)
        terminal.drain(1.0)
        processes = session_processes(place)
        terminal.send(b"\r")
        terminal.wait_for(b"0123456789", 10)
        before = {name: _cpu(p) for name, p in processes.items()}
        began, frames, last = time.perf_counter(), 0, 0.0
        while time.perf_counter() - began < 4.0:
            if terminal.read(0.1):
                now = time.perf_counter()
                frames += now - last > 0.008  # a frame is one burst of writes
                last = now
        seconds = time.perf_counter() - began
        share = {name: 100 * (_cpu(p) - before[name]) / seconds for name, p in processes.items()}
        began = time.perf_counter()
        terminal.send(b"\x03")
        while terminal.read(0.3) and time.perf_counter() - began < 5:
            pass
        answered = time.perf_counter() - began - 0.3
    rate, total = frames / seconds, sum(share.values())
    parts = ", ".join(f"{name} {value:.0f} %" for name, value in sorted(share.items()))
    return [
        Row("flood (`yes`): frames/s on the outer terminal", "≥ 30", f"{rate:.0f}", rate >= 30),
        Row("… CPU of Engram's processes", "< 60 % of a core", f"{total:.0f} % ({parts})", total < 60),
        Row("… Ctrl-C → quiet", "(shown)", f"{answered:.2f} s", answered < 2),
    ]


def idle_rows() -> list[Row]:
    """PSS and CPU of an idle session, headless and with UI, ten seconds."""
    agent = ("/bin/sh", "-c", "echo REA''DY; sleep 600")
    rows = []
    for name, argv, limit in (
        ("headless", ("run", "--headless", "--", *agent), 110),
        ("with UI", ("run", "--no-resume", "--", *agent), 170),
    ):
        with Place() as place, outer(place.argv(*argv), place) as terminal:
            terminal.wait_for(b"READY", 30)
            terminal.drain(3.0, 6.0)
            processes = session_processes(place)
            if name == "headless":
                processes["supervisor"] = processes.pop("ui", processes.get("supervisor", psutil.Process()))
            before = sum(_cpu(p) for p in processes.values())
            time.sleep(10)
            cpu = 10 * (sum(_cpu(p) for p in processes.values()) - before)
            pss = {n: p.memory_full_info().pss / 1e6 for n, p in processes.items()}
        parts = ", ".join(f"{n} {v:.0f}" for n, v in sorted(pss.items()))
        total = sum(pss.values())
        rows.append(
            Row(f"idle session {name}: PSS", f"≤ {limit} MB", f"{total:.0f} MB ({parts})", total <= limit)
        )
        rows.append(Row(f"idle session {name}: CPU", "≤ 2 % of a core", f"{cpu:.1f} %", cpu <= 2))
    return rows


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
