"""One believable moment of a session, at a fixed time: what the fake wire server shows."""

from __future__ import annotations

from engram_runtime.journal.records import FileChange, Item, Prohibition
from engram_runtime.state.views import ActivityLine
from engram_tui import messages as wire

NOW = "2026-11-22T12:04:23Z"


def at(time: str) -> str:
    return f"2026-11-22T{time}Z"


def _line(position: int, time: str, kind: str, text: str) -> ActivityLine:
    return ActivityLine(position=position, at=at(time), kind=kind, session="s-7f3a", text=text)


def _checkpoint(
    version: int, reason: str, time: str, confidence: float, files: int = 0, note: str = ""
) -> wire.CheckpointLine:
    return wire.CheckpointLine(
        id=100 + version, task=1, version=version, reason=reason, at=at(time), confidence=confidence,
        changed_files=files, note=note,
    )  # fmt: skip


CHECKPOINTS = (
    _checkpoint(7, "PLAN_UPDATE", "12:04:11", 0.82, 2),
    _checkpoint(6, "FAILURE", "12:01:02", 0.74, note="tests red"),
    _checkpoint(5, "COMPACTION", "11:46:10", 0.71, note="ctx 81 → 22 %"),
    _checkpoint(4, "KILLED", "11:23:00", 0.69, note="resumed"),
)
SCENE = wire.Snapshot(
    session="s-7f3a",
    agent="claude",
    agent_version="2.1.330",
    project="/home/mia/shop",
    cwd="/home/mia/shop",
    pid=4711,
    state="busy",
    state_since=at("12:03:41"),
    now=NOW,
    task=1,
    task_name="fix-login-redirect",
    goal="Fix the login redirect loop after token refresh",
    context_used=122_000,
    context_window=200_000,
    tokens_in=182_000,
    tokens_out=9_400,
    checkpoint=CHECKPOINTS[0],
    journal_position=4211,
    uis=1,
    tasks=(
        wire.TaskLine(
            id=1, name="fix-login-redirect", goal="Fix the login redirect loop after token refresh",
            status="in_progress", current=True, attempts=2,
            features=(
                ("reproduce in test", "done", 1.0, "verified"),
                ("trace JWT validation", "in_progress", 0.4, "claimed"),
                ("update docs", "done", 1.0, "claimed"),
            ),
        ),
        wire.TaskLine(id=2, name="upgrade-sqlalchemy", goal="", status="in_progress", interrupted=True, attempts=1),
    ),
    checkpoints=CHECKPOINTS,
    memory=wire.MemoryHealth(
        total=1284, by_category={"fact": 702, "failure": 318, "strategy": 264}, average_strength=0.46,
        histogram=(40, 90, 180, 260, 250, 190, 120, 80, 44, 30), superseded=12, recalls=62, recall_hits=54,
        embedder="warm", size_bytes=9_800_000,
    ),
    activity=(
        _line(4211, "12:04:11", "ToolFinished", "Bash pytest -x → exit 1 (8 s)"),
        _line(4205, "12:04:02", "ToolFinished", "Edit src/auth/validator.py +6 −2"),
        _line(4201, "12:03:58", "MemoryRecalled", "recalled 3 memories"),
        _line(4188, "12:03:41", "PromptSubmitted", "“trace where the token is validated”"),
        _line(4170, "12:01:02", "CheckpointWritten", "checkpoint v6 · failure"),
        _line(4168, "12:01:01", "FailureTracked", "test_refresh_keeps_session failed"),
    ),
    processes=(
        wire.ProcessLine(pid=4711, parent=1, depth=0, command="claude", cpu=12.4, rss=223_000_000),
        wire.ProcessLine(pid=4790, parent=4711, depth=1, command="bash -c pytest -x", cpu=0.0, rss=3_100_000),
        wire.ProcessLine(pid=4791, parent=4790, depth=2, command="python -m pytest -x", cpu=97.0, rss=64_000_000),
    ),
    files=(
        FileChange(path="src/auth/validator.py", by="agent", lines_added=6, lines_removed=2),
        FileChange(path="README.md", by="user", lines_added=1, lines_removed=0),
        FileChange(path="notes.txt", change="added", tracked=False),
    ),
)  # fmt: skip
CARD = wire.RecoveryCard(
    title="fix-login-redirect",
    task=1,
    verdict="killed(9)",
    age="41 min ago",
    agent="claude",
    typed="claude",
    goal="Fix the login redirect loop after token refresh",
    done=(
        Item(
            text="reproduced in tests/test_auth.py",
            standing="verified",
            evidence="pytest saw it fail, exit 1",
        ),
        Item(text="cleared stale cookies"),
        Item(text="all tests pass", standing="contradicted", evidence="pytest exit 1 at 12:04:11"),
    ),
    working_on=(Item(text="tracing JWT validation"),),
    not_again=(
        Prohibition(action="raising the leeway", reason="hid the bug, reverted"),
        Prohibition(action="git stash", reason="lost work at 10:12"),
    ),
    keep=(Item(text="public API of auth/validator.py"),),
    changed=(
        FileChange(path="src/auth/validator.py", by="agent", lines_added=6, lines_removed=2),
        FileChange(path="notes.txt", change="added", tracked=False),
    ),
    changed_by_you=(FileChange(path="README.md", by="user"),),
    changed_since=(FileChange(path="docs/later.md"),),
    head_moved="2 commits by you since (a1b2c3d, 9f8e7d6)",
    next=(Item(text="log the clock skew in validate()"),),
    briefing="# Interrupted work: fix-login-redirect\n\nGoal: Fix the login redirect loop after token refresh\n"
    "Must not redo:\n- raising the leeway (hid the bug)\n[b]not markup[/b]",
    tokens=812,
    confidence=0.82,
    agents=("claude", "codex", "openhands"),
)

_GREY, _ORANGE, _GREEN, _RED = 256 + 0x8A8F98, 256 + 0xD97757, 2, 1


def screen_rows(cols: int, rows: int) -> list[str | list[wire.Run]]:
    """An agent's screen at some size: a prompt, a tool call, a diff, an input box."""

    def line(*runs: wire.Run) -> list[wire.Run]:
        used = sum(len(run[0]) for run in runs)
        return [*runs, (" " * max(0, cols - used), None, None, 0)]

    def plain(text: str) -> list[wire.Run]:
        return line((text, None, None, 0))

    top: list[list[wire.Run]] = [
        plain(""),
        line((" > ", _GREY, None, 0), ("trace where the token is validated", None, None, 1)),
        plain(""),
        line((" ● ", _ORANGE, None, 0), ("I'll look at the validator first.", None, None, 0)),
        plain(""),
        line((" ● ", _GREEN, None, 0), ("Read", None, None, 1), ("(src/auth/validator.py)", None, None, 0)),
        line(("   ⎿  Read 88 lines", _GREY, None, 0)),
        plain(""),
        line((" ● ", _GREEN, None, 0), ("Edit", None, None, 1), ("(src/auth/validator.py)", None, None, 0)),
        line(("   ⎿  41 ", _GREY, None, 0), ("- leeway = 30", None, 256 + 0x4A2428, 0)),
        line(("      41 ", _GREY, None, 0), ("+ leeway = settings.jwt_leeway", None, 256 + 0x1F3D2A, 0)),
        plain(""),
        line(
            (" ● ", _RED, None, 0), ("Bash", None, None, 1), ("(pytest -x tests/test_auth.py)", None, None, 0)
        ),
        line(("   ⎿  FAILED tests/test_auth.py::test_refresh_keeps_session", _RED, None, 0)),
        plain(""),
        line(
            (" ✻ ", _ORANGE, None, 0),
            ("Tracing… ", _ORANGE, None, 0),
            ("(42s · esc to interrupt)", _GREY, None, 2),
        ),
    ]
    bottom = [
        line((" " + "─" * (cols - 2), _GREY, None, 0)),
        plain(" > "),
        line((" " + "─" * (cols - 2), _GREY, None, 0)),
    ]
    body = top[: max(0, rows - len(bottom) - 1)]
    gap = rows - len(body) - len(bottom) - 1
    foot = line((" ? for shortcuts", _GREY, None, 2))
    return [*body, *[plain("")] * gap, *bottom, foot][:rows]
