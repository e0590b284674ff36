"""A screen host with its process, and what it told the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from engram_tui.terminal import protocol
from engram_tui.terminal.protocol import ScreenFrame
from engram_tui.terminal.screen_host import ScreenHost


@pytest.fixture(scope="session", autouse=True)
def generated_code_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the generated binding, so that the user's is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass
class Told:
    """Everything a host has told."""

    frames: list[tuple[int, ScreenFrame]] = field(default_factory=list)
    shown: dict[int, list[protocol.Run]] = field(default_factory=dict)
    replies: list[bytes] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    paused: int = 0
    resumed: int = 0
    repaints: int = 0

    def frame(self, kind: int, payload: bytes) -> None:
        frame = msgspec.msgpack.decode(payload, type=ScreenFrame)
        self.frames.append((kind, frame))
        if kind == protocol.FULL:
            self.shown.clear()
        self.shown.update(frame.changed)

    @property
    def text(self) -> str:
        """The screen as the faces have it."""
        return "\n".join("".join(run[0] for run in self.shown[y]).rstrip() for y in sorted(self.shown))

    def pause(self) -> None:
        self.paused += 1

    def resume(self) -> None:
        self.resumed += 1

    def repaint(self) -> None:
        self.repaints += 1


@dataclass
class Hosted:
    """A host and what it told."""

    host: ScreenHost
    told: Told


OpenHost = Callable[..., ScreenHost]


@pytest.fixture
async def hosted() -> AsyncIterator[Hosted]:
    """A ready host of 60 by 12 cells; its processes are gone after the test."""
    told = Told()
    host = ScreenHost(
        60,
        12,
        on_frame=told.frame,
        on_reply=told.replies.append,
        on_pause=told.pause,
        on_resume=told.resume,
        on_repaint_needed=told.repaint,
        on_started=told.pids.append,
    )
    await host.start()
    try:
        await asyncio.wait_for(host.ready(), 10)
        yield Hosted(host, told)
    finally:
        await host.close()


async def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait, without holding up the loop, until the condition holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "not in time"
        await asyncio.sleep(0.002)
