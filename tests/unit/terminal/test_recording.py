"""The recording on disk is bounded, private, redacted, and readable after a crash."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engram_tui.terminal import recording
from engram_tui.terminal.recording import LineRedactor, Recorder, asciicast, read_recording

pytestmark = pytest.mark.guarantee("G12")

SECRET = b"sk-abcdefghijklmnop"


def redact(data: bytes) -> bytes:
    data = re.sub(rb"-----BEGIN KEY-----.*?-----END KEY-----", b"[key]", data, flags=re.DOTALL)
    return re.sub(rb"sk-[a-z]{16}", b"[redacted]", data)


def recorded(path: Path) -> bytes:
    return b"".join(chunk.output for chunk in read_recording(path))


@pytest.mark.parametrize("size", [1, 2, 5, 19, 1000])
def test_a_secret_split_over_chunks_is_never_written(size: int, tmp_path: Path) -> None:
    text = (
        b"token=" + SECRET + b" done\r\n-----BEGIN KEY-----\nAAAA\nBBBB\n-----END KEY-----\nprompt$ " + SECRET
    )
    recorder = Recorder(tmp_path / "pty", redact)
    for start in range(0, len(text), size):
        recorder.write(text[start : start + size])
    recorder.close()
    assert recorded(tmp_path / "pty") == b"token=[redacted] done\r\n[key]\nprompt$ [redacted]"
    assert (tmp_path / "pty").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [1, 2, 5, 19, 1000])
def test_a_key_block_split_over_lines_waits_for_its_end(size: int) -> None:
    text = b"cat key\n-----BEGIN KEY-----\nAAAA\nBBBB\n-----END KEY-----\n$ "
    redactor = LineRedactor(redact)
    written = b"".join(redactor.feed(text[start : start + size]) for start in range(0, len(text), size))
    assert written + redactor.finish() == b"cat key\n[key]\n$ "
    assert redactor.feed(b"-----BEGIN KEY-----\n" + b"A\n" * 9000).count(b"A") > 8000


def test_a_line_without_end_is_cut_between_words() -> None:
    redactor = LineRedactor(redact)
    written = redactor.feed(b"x" * 3000 + b" " + b"y" * 1500 + b" sk-abcdefgh")
    assert written == b"x" * 3000 + b" " + b"y" * 1500
    assert redactor.feed(b"ijklmnop\n") == b" [redacted]\n"
    assert redactor.finish() == b""


def test_a_recording_keeps_the_newest_output_within_its_limit(tmp_path: Path) -> None:
    limit = 64 << 10
    recorder = Recorder(tmp_path / "pty", redact, limit=limit)
    for number in range(20_000):
        recorder.write(b"line %d\r\n" % number)
    recorder.close()
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) <= limit
    assert recorded(tmp_path / "pty").endswith(b"line 19998\r\nline 19999\r\n")
    assert len(recorded(tmp_path / "pty")) > limit // 4


def test_a_recording_becomes_an_asciicast(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "pty", redact)
    recorder.write("café\n".encode())
    recorder.resized(100, 30)
    recorder.write(b"more\n")
    recorder.close()
    header, *events = [json.loads(line) for line in asciicast(read_recording(tmp_path / "pty"), 80, 24)]
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert [event[1:] for event in events] == [["o", "café\n"], ["r", "100x30"], ["o", "more\n"]]
    assert all(event[0] >= 0 for event in events)


def test_a_recording_cut_off_in_a_record_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "pty"
    for text in (b"first\n", b"second\n"):
        recorder = Recorder(path, redact)
        recorder.write(text)
        recorder.close()
    path.write_bytes(path.read_bytes()[:-3])
    assert recorded(path) == b"first\n"


def test_a_failing_disk_ends_the_recording_and_says_why(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "absent" / "pty", redact)
    recorder.write(b"text\n")
    recorder.close()
    assert isinstance(recorder.failure, FileNotFoundError)
    recorder.write(b"ignored")


def test_output_that_cannot_be_written_in_time_leaves_a_noted_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_QUEUE_LIMIT", 100)
    recorder = Recorder(tmp_path / "pty", redact)
    recorder.write(b"x" * 500 + b"\n")
    recorder.write(b"after\n")
    recorder.close()
    chunks = list(read_recording(tmp_path / "pty"))
    assert [chunk.left_out for chunk in chunks if chunk.left_out] == [501]
    assert recorded(tmp_path / "pty") == b"after\n"
