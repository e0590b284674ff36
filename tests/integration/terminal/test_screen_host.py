"""The screen survives its process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from engram_tui.terminal import protocol, screen_host, screen_launch
from engram_tui.terminal.pacing import HOLD_SECONDS
from engram_tui.terminal.protocol import Region, ScreenFrame
from engram_tui.terminal.screen_host import ScreenClosed, ScreenHost
from tests.integration.terminal.conftest import Hosted, Told, eventually

pytest.importorskip("pyghostty")


def lines(start: int, stop: int) -> bytes:
    return b"".join(b"\x1b[3%dmline %d\x1b[0m\r\n" % (number % 8, number) for number in range(start, stop))


async def killed_and_back(hosted: Hosted) -> tuple[int, ScreenFrame]:
    """SIGKILL the process and wait until its successor has shown a screen; its first frame."""
    host, told = hosted.host, hosted.told
    restarts, frames = host.restarts, len(told.frames)
    assert host.pid
    os.kill(host.pid, signal.SIGKILL)
    await eventually(lambda: host.restarts > restarts and len(told.frames) > frames)
    return told.frames[frames]


async def test_output_becomes_frames_and_queries_are_answered(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    host.feed(b"\x1b]0;title\x07\x1b[1;31mhello\x1b[0m\x1b[?1002h\x1b[6n")
    await host.text()
    await eventually(lambda: "hello" in told.text)
    _, frame = told.frames[-1]
    assert frame.cursor == protocol.Cursor(5, 0)
    assert (frame.state.title, frame.state.mouse) == ("title", 1002)
    assert told.frames[0][0] == protocol.FULL
    assert told.replies == [b"\x1b[1;6R"]


async def test_input_is_encoded_under_the_modes_of_the_moment_and_in_order(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    host.key("up", None)
    host.feed(b"\x1b[?1h\x1b[?2004h\x1b[?1000h\x1b[?1006h")
    host.key("up", None)
    host.paste("two\nlines")
    host.mouse("press", 1, 2, 3)
    host.mouse("move", 0, 2, 3)
    host.key("a", "a")
    await host.text()
    assert told.replies == [b"\x1b[A", b"\x1bOA", b"\x1b[200~two\nlines\x1b[201~", b"\x1b[<0;3;4M", b"a"]


async def test_questions_about_scrollback_are_answered(hosted: Hosted) -> None:
    host = hosted.host
    host.feed(lines(0, 200))
    assert (await host.text()).splitlines()[-1] == "line 199"
    frame = msgspec.msgpack.decode(await host.viewport(100), type=ScreenFrame)
    assert (frame.state.offset, frame.state.scrollback, len(frame.changed)) == (100, 189, 12)
    assert frame.changed[0][1][0][0].startswith("line 89")
    (match,) = await host.search("LINE 42")
    assert (match.row, match.column, match.end_column) == (42, 0, 6)
    assert await host.region_text(Region(42, 5, 43, 99)) == "42\nline 43"
    assert await host.snapshot()


async def test_a_killed_screen_process_leaves_the_same_screen(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    host.feed(b"\x1b]0;kept\x07\x1b[?2004h\x1b[?1h" + lines(0, 30_000))
    await host.text()
    assert host._log.snapshot
    assert host._log.bytes_since == 0
    host.feed(b"\x1b[2;9r\x1b[31mafter the snapshot\x1b[")
    host.resize(50, 10)
    before = await host.text()
    viewport = await host.viewport(50)
    kind, first = await killed_and_back(hosted)
    assert (kind, first.rows) == (protocol.FULL, 10)
    assert "\n".join("".join(run[0] for run in row).rstrip() for _, row in first.changed) == before
    assert await host.text() == before == told.text
    assert await host.viewport(50) == viewport
    assert told.frames[-1][1].state.title == "kept"
    host.feed(b"32mgreen")
    host.key("up", None)
    host.paste("x")
    assert "green" in await host.text()
    assert told.replies == [b"\x1bOA", b"\x1b[200~x\x1b[201~"]
    assert (host.restarts, host.engine, told.repaints, told.paused, told.resumed) == (1, "ghostty", 0, 1, 1)


async def test_nothing_is_answered_twice_and_nothing_said_meanwhile_is_lost(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    host.feed(b"\x1b[5n\x1b[6n")
    await host.text()
    assert host.pid
    os.kill(host.pid, signal.SIGKILL)
    await eventually(lambda: told.paused)
    host.feed(b"meanwhile\x1b[6n")
    host.key("a", "a")
    asked = asyncio.ensure_future(host.text())
    assert (await asked).startswith("meanwhile")
    assert b"".join(told.replies) == b"\x1b[0n\x1b[1;1R" + b"\x1b[1;10R" + b"a"
    await killed_and_back(hosted)
    await host.text()
    assert b"".join(told.replies) == b"\x1b[0n\x1b[1;1R" + b"\x1b[1;10R" + b"a"


async def test_what_is_fed_before_the_first_process_is_ready_is_shown_and_answered() -> None:
    told = Told()
    host = ScreenHost(20, 4, on_frame=told.frame, on_reply=told.replies.append)
    host.feed(b"early\x1b[6n")
    host.resize(30, 5)
    await host.start()
    try:
        assert (await host.text()).startswith("early")
        assert told.replies == [b"\x1b[1;6R"]
        await eventually(lambda: told.frames and told.frames[-1][1].cols == 30)
    finally:
        await host.close()


async def test_dying_twice_on_the_same_output_starts_the_plain_engine_blank() -> None:
    told = Told()
    deaths: list[int] = []

    def started(pid: int) -> None:
        told.pids.append(pid)
        if len(told.pids) == 2:  # the second process never gets to read what it is fed again
            os.kill(pid, signal.SIGKILL)
            deaths.append(pid)

    host = ScreenHost(
        20,
        4,
        on_frame=told.frame,
        on_reply=told.replies.append,
        on_repaint_needed=told.repaint,
        on_started=started,
    )
    await host.start()
    try:
        await host.ready()
        host.feed(b"lost")
        await host.text()
        os.kill(told.pids[0], signal.SIGKILL)
        await eventually(lambda: told.repaints)
        assert (await host.text()).strip() == ""
        assert (host.engine, host.restarts, len(told.pids), deaths) == ("plain", 2, 3, told.pids[1:2])
        host.feed(b"\x1b[Hpainted again")
        assert "painted again" in await host.text()
        os.kill(told.pids[2], signal.SIGKILL)
        await eventually(lambda: len(told.pids) == 4)
        assert "painted again" in await host.text()
        assert told.repaints == 1
    finally:
        await host.close()


async def test_deadly_output_kills_the_native_engine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "deadly.py"
    script.write_text(
        "import os, sys\n"
        "from engram_tui.terminal import ghostty_screen, screen_process\n"
        "feed = ghostty_screen.GhosttyScreen.feed\n"
        "def deadly(self, data):\n"
        "    if b'deadly' in data: os.abort()\n"
        "    feed(self, data)\n"
        "ghostty_screen.GhosttyScreen.feed = deadly\n"
        "screen_process.main(sys.argv[1:])\n"
    )
    command = screen_launch._command

    def scripted(*arguments: int) -> list[str]:
        made = command(*arguments)  # type: ignore[arg-type]
        return [sys.executable, str(script), *made[made.index("engram_tui.terminal.screen_process") + 1 :]]

    monkeypatch.setattr(screen_launch, "_command", scripted)
    told = Told()
    host = ScreenHost(
        20, 4, on_frame=told.frame, on_reply=told.replies.append, on_repaint_needed=told.repaint
    )
    await host.start()
    try:
        host.feed(b"before ")
        await host.text()
        assert host.engine == "ghostty"
        host.feed(b"deadly")
        host.key("a", "a")
        await eventually(lambda: told.repaints)
        host.feed(b"after")
        assert (await host.text()).strip() == "after"
        assert (host.engine, host.restarts, told.replies) == ("plain", 2, [b"a"])
    finally:
        await host.close()


async def test_a_hung_process_is_replaced(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    host = hosted.host
    patient = screen_host._HUNG_SECONDS
    monkeypatch.setattr(screen_host, "_HUNG_SECONDS", 0.3)
    host._on_pause = lambda: monkeypatch.setattr(screen_host, "_HUNG_SECONDS", patient)
    host.feed(b"kept")
    await host.text()
    assert host.pid
    os.kill(host.pid, signal.SIGSTOP)
    host.feed(b"x" * (300 << 10))
    assert "xxx" in await asyncio.wait_for(host.text(), 10)
    assert host.restarts == 1


@pytest.mark.slow
async def test_a_flood_is_coalesced_paused_and_ends_in_the_right_screen(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    loop = asyncio.get_running_loop()
    started, number = loop.time(), 0
    while told.paused < 3 or len(told.frames) < 10:
        assert loop.time() - started < 30
        if told.paused > told.resumed:
            await asyncio.sleep(0.001)
            continue
        host.feed(lines(number, number + 3000))
        number += 3000
        await asyncio.sleep(0)
    text = await host.text()
    await eventually(lambda: told.text == text)
    seconds = loop.time() - started
    assert text.splitlines()[-1] == f"line {number - 1}"
    assert len(told.frames) <= seconds * 60 + 3
    assert told.paused == told.resumed
    assert host._log.bytes_since < 32 << 20


async def test_a_synchronized_repaint_is_shown_whole(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    clock = asyncio.get_running_loop().time
    await eventually(lambda: told.frames)
    started = clock()
    host.feed(b"\x1b[?2026hhalf")
    await eventually(lambda: clock() > started + 2 / 60)
    await host.text()
    assert "half" not in told.text or clock() - started > HOLD_SECONDS
    host.feed(b" whole\x1b[?2026l\x1b[?2026hnext")
    started = clock()
    await eventually(lambda: "half whole" in told.text)
    assert "next" not in told.text or clock() - started > HOLD_SECONDS
    await eventually(lambda: "next" in told.text)
    assert clock() - started > HOLD_SECONDS / 2


async def test_closing_leaves_no_process_and_ends_open_questions(hosted: Hosted) -> None:
    host, told = hosted.host, hosted.told
    assert host.pid
    os.kill(host.pid, signal.SIGSTOP)
    asked = asyncio.ensure_future(host.text())
    await asyncio.sleep(0)
    await host.close()
    with pytest.raises(ScreenClosed):
        await asked
    with pytest.raises(ScreenClosed):
        await host.text()
    assert not [pid for pid in told.pids if psutil.pid_exists(pid)]


async def test_the_project_folder_is_never_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("engram_tui", "msgspec", "selectors"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported from the project')")
    monkeypatch.chdir(tmp_path)
    told = Told()
    host = ScreenHost(20, 4, on_frame=told.frame, on_reply=told.replies.append)
    await host.start()
    try:
        host.feed(b"fine")
        assert (await asyncio.wait_for(host.text(), 10)).startswith("fine")
        assert host.restarts == 0
    finally:
        await host.close()


def test_a_screen_process_ends_when_its_supervisor_is_gone() -> None:
    ours, theirs = socket.socketpair()
    with theirs, ours:
        command = screen_launch._command(theirs.fileno(), 20, 4, False)
        process = subprocess.Popen(command, env=screen_launch._environment(), pass_fds=(theirs.fileno(),))
        theirs.close()
        try:
            assert ours.recv(1024)[4] == protocol.READY
            ours.close()
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
