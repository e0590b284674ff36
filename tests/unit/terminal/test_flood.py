"""What a flood of output may cost, and what is kept of it."""

from __future__ import annotations

import pytest

from engram_tui.terminal.pacing import PAUSE_SECONDS, Throttle
from engram_tui.terminal.screen import SCROLLBACK_ROWS, open_screen

MB = 1 << 20


def test_a_burst_is_taken_without_a_pause() -> None:
    throttle = Throttle(rate=8 * MB, burst=8 * MB)
    assert [throttle.taken(0.0, MB) for _ in range(6)] == [0.0] * 6


def test_a_flood_is_taken_at_the_steady_rate() -> None:
    throttle = Throttle(rate=8 * MB, burst=8 * MB)
    now, taken = 0.0, 0
    while now < 10:
        taken += 64 << 10
        now += throttle.taken(now, 64 << 10)
        now += 0.0001
    assert taken == pytest.approx(8 * MB + 10 * 8 * MB, rel=0.05)


def test_in_a_flood_every_read_is_followed_by_a_pause() -> None:
    throttle = Throttle(rate=8 * MB, burst=8 * MB)
    throttle.taken(0.0, 7 * MB)
    assert throttle.taken(0.001, 100) == PAUSE_SECONDS


def test_after_quiet_a_burst_is_free_again() -> None:
    throttle = Throttle(rate=8 * MB, burst=8 * MB)
    assert throttle.taken(0.0, 12 * MB) > 0
    assert throttle.taken(2.0, 5 * MB) == 0.0


@pytest.mark.parametrize("cols", [40, 100, 200])
def test_about_as_many_rows_stay_whatever_the_width(cols: int) -> None:
    screen = open_screen(cols, 30, None)
    lines = b"".join(b"%d\r\n" % number for number in range(30_000))
    screen.feed(lines)
    assert 0.9 * SCROLLBACK_ROWS < screen.scrollback < 1.6 * SCROLLBACK_ROWS
    screen.resize(2 * cols, 30)
    screen.feed(lines)
    assert 0.9 * SCROLLBACK_ROWS < screen.scrollback < 1.6 * SCROLLBACK_ROWS
