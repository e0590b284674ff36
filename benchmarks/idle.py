"""What an idle session costs: summed PSS and CPU, headless and with UI, of a plain program and of an MCP agent.

The agent is the demo after its work: hooks, MCP server, journal, state and memory are all loaded and in use, and it
waits at its prompt. The embedding worker is not in the sum (one per home, started when memory is first used, ends by
itself); where it runs it is shown.

Run: python -m benchmarks idle
"""

from __future__ import annotations

import contextlib

import psutil

from benchmarks.place import Place, Row, cpu_seconds, outer, session_processes, waited_seconds

SECONDS = 20.0
SETTLE_S = 12.0
PLAIN = (("--", "/bin/sh", "-c", "echo REA''DY; sleep 600"), b"READY")
AGENT = (("demo",), b"/exit ends")
LIMITS = {"headless": 110, "with UI": 170}
PERCENT = 2.0


def rows() -> list[Row]:
    """The rows of the table."""
    found = []
    for what, (words, ready) in (("a plain program", PLAIN), ("an agent with MCP", AGENT)):
        for way, flag in (("headless", "--headless"), ("with UI", "--no-resume")):
            found += _measure(f"idle session of {what}, {way}", (flag, *words), ready, way)
    return found


def _measure(what: str, words: tuple[str, ...], ready: bytes, way: str) -> list[Row]:
    with Place() as place, outer(place.argv("run", *words), place) as terminal:
        terminal.wait_for(ready, 60)
        terminal.watch(SETTLE_S)
        processes = session_processes(place, headless=way == "headless")
        worker = processes.pop("worker", None)
        cpu = {name: cpu_seconds(p) for name, p in processes.items()}
        waited = sum(waited_seconds(p) for p in processes.values())
        terminal.watch(SECONDS)
        cpu = {name: 100 * (cpu_seconds(p) - cpu[name]) / SECONDS for name, p in processes.items()}
        waited = 100 * (sum(waited_seconds(p) for p in processes.values()) - waited) / SECONDS
        pss = {name: p.memory_full_info().pss / 1e6 for name, p in processes.items()}
        apart = "; embedding worker, not counted, not running"
        if worker is not None:
            with contextlib.suppress(psutil.Error):
                apart = f"; embedding worker, not counted, {worker.memory_full_info().pss / 1e6:.0f}"
    total, busy, limit = sum(pss.values()), sum(cpu.values()), LIMITS[way]
    return [
        Row(f"{what}: PSS", f"≤ {limit} MB", f"{total:.0f} MB ({_parts(pss, 0)}{apart})", total <= limit),
        Row(
            f"{what}: CPU",
            "≤ 2 % of a core",
            f"{busy:.1f} % ({_parts(cpu, 1)}; waited for a core {waited:.1f} %)",
            busy <= PERCENT,
        ),
    ]


def _parts(values: dict[str, float], digits: int) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in sorted(values.items()))
