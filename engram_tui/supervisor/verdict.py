"""Why a session ended: what the adapter makes of the exit, and the codes Engram gives where the agent's own lies."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from engram_runtime.journal.records import CheckpointReason, Verdict
from engram_tui.watch.observations import Exited

ENGRAM_CODES = {
    "crashed": 70,
    "overflow": 71,
    "rate_limit": 72,
    "auth": 73,
    "hang": 74,
    "oom": 75,
    "overloaded": 76,
    "api_error": 77,
}
REASON_OF_VERDICT: dict[str, CheckpointReason] = {
    "finished": "EXIT",
    "user_quit": "EXIT",
    "killed": "KILLED",
    "crashed": "CRASH",
    "overflow": "OVERFLOW",
    "rate_limit": "RATE_LIMIT",
    "overloaded": "API_ERROR",
    "auth": "AUTH",
    "api_error": "API_ERROR",
    "hang": "HANG",
    "oom": "OOM",
    "lost": "LOST",
}


def own_code(exited: Exited) -> int:
    """The agent's exit code as a shell shows it: 128 + n for a signal."""
    if exited.signal is not None:
        return 128 + exited.signal
    return exited.code if exited.code is not None else 1


def exit_code(exited: Exited, verdict: Verdict, *, hides_failures: bool, strict: bool) -> int:
    """What `engram run` returns: the agent's own code, unless that hides a failure or `--strict-exit` asks.

    Codes 70 to 77: crashed, overflow, rate_limit, auth, hang, oom, overloaded, api_error.
    """
    code = own_code(exited)
    if strict or (hides_failures and code == 0):
        if verdict.kind == "killed" and code == 0:
            return 128 + (verdict.signal or 0)
        return ENGRAM_CODES.get(verdict.kind, code)
    return code


def unless_hung(verdict: Verdict, stalled: str) -> Verdict:
    """An agent that was ended while it had stalled (`stalled` says how, "" for no) hung: that is why it ended."""
    if not stalled or verdict.kind != "killed":
        return verdict
    return Verdict(
        kind="hang", code=verdict.code, signal=verdict.signal, evidence=(stalled, *verdict.evidence)
    )


def oom_kills() -> int | None:
    """How many processes of this control group the kernel has killed for memory so far; None where it does not tell."""
    try:
        line = Path("/proc/self/cgroup").read_text(encoding="ascii").strip().splitlines()[-1]
        events = Path(f"/sys/fs/cgroup{line.split(':', 2)[2]}") / "memory.events"
        counted = re.search(r"^oom_kill (\d+)", events.read_text(encoding="ascii"), re.M)
    except (OSError, IndexError):
        return None
    return int(counted[1]) if counted else None


def name_of_signal(number: int) -> str:
    """SIGTERM for 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
