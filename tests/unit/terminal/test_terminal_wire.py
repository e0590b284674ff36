"""Frames on the wire, when they are due, and what a new process must be told."""

from __future__ import annotations

import pytest

from engram_tui.terminal import protocol
from engram_tui.terminal.output_log import OutputLog
from engram_tui.terminal.pacing import FRAME_SECONDS, HOLD_SECONDS, FramePacer
from engram_tui.terminal.protocol import FrameReader, ProtocolError, numbered, pack, split_number


def test_frames_are_cut_from_any_pieces() -> None:
    frames = [(protocol.OUTPUT, b"abc"), (protocol.ASK_FULL, b""), (protocol.TEXT, numbered(7, b"x" * 300))]
    stream = b"".join(pack(kind, payload) for kind, payload in frames)
    for size in (1, 3, 7, len(stream)):
        reader = FrameReader()
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert [frame for piece in pieces for frame in reader.feed(piece)] == frames


def test_a_stream_out_of_step_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        FrameReader().feed(b"\xff" * 5)
    with pytest.raises(ProtocolError):
        split_number(b"abc")


def test_the_first_change_is_shown_at_once_and_the_next_after_a_frame_time() -> None:
    pacer = FramePacer()
    assert pacer.wait(100.0, False) is None
    pacer.changed()
    assert pacer.wait(100.0, False) == 0
    pacer.sent(100.0)
    pacer.changed()
    assert pacer.wait(100.001, False) == pytest.approx(FRAME_SECONDS - 0.001)
    assert pacer.wait(100.02, False) == 0


def test_a_synchronized_repaint_is_held_but_not_for_ever() -> None:
    pacer = FramePacer()
    pacer.changed()
    assert pacer.wait(5.0, True) == pytest.approx(HOLD_SECONDS)
    assert pacer.wait(5.1, True) == pytest.approx(HOLD_SECONDS - 0.1)
    assert pacer.wait(5.1, False) == 0
    assert pacer.wait(5.1, True) == pytest.approx(HOLD_SECONDS)
    assert pacer.wait(5.3, True) == 0


def test_the_log_keeps_what_came_after_the_snapshot_with_sizes_in_order() -> None:
    log = OutputLog(80, 24)
    log.output(b"one")
    log.resized(100, 30)
    position = log.mark()
    log.output(b"two")
    log.resized(90, 20)
    log.keep_snapshot(position, b"snapshot")
    assert (log.snapshot, log.snapshot_size, log.bytes_since) == (b"snapshot", (100, 30), 3)
    assert log.tail_since(0) == [(protocol.OUTPUT, b"two"), (protocol.RESIZE, protocol.pack_size(90, 20))]
    assert log.tail_since(position + 1) == [(protocol.RESIZE, protocol.pack_size(90, 20))]
    log.forget()
    assert (log.tail_since(0), log.snapshot, log.snapshot_size) == ([], b"", (90, 20))
