"""A recording with the redaction it is made with: split output, colours, and what is never recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engram_runtime.redaction import redact_output, secrets_in
from engram_tui.terminal.recording import Recorder, read_recording
from tests.redaction_cases import cases

pytestmark = pytest.mark.guarantee("G7", "G12")

TRUE, FALSE = cases()
FOUND = [case for case in TRUE if secrets_in(case.text) and len(case.text) < 2000]


def recorded(path: Path, output: bytes, size: int) -> bytes:
    recorder = Recorder(path, redact_output)
    for start in range(0, len(output), size):
        recorder.write(output[start : start + size])
    recorder.close()
    assert recorder.failure is None
    return b"".join(chunk.output for chunk in read_recording(path))


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_no_secret_is_recorded_however_the_output_was_split(size: int, tmp_path: Path) -> None:
    for number, case in enumerate(FOUND[:: 12 if size == 1 else 4]):
        output = f"$ run\r\n{case.text}\r\n$ ".encode()
        written = recorded(tmp_path / f"{size}-{number}", output, size).decode()
        assert not case.leaks(written.replace("$ run", "").replace("$ ", "")), case.kind


def test_colours_inside_a_secret_do_not_save_it(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    output = f"\x1b[1mtoken \x1b[32m{token[:9]}\x1b[0m\x1b[33m{token[9:20]}\x1b[K{token[20:]}\x1b[0m ok\r\n".encode()
    for size in (1, 5, 1000):
        written = recorded(tmp_path / str(size), output, size)
        plain = re.sub(rb"\x1b\[[0-9;]*[mK]", b"", written)
        assert plain == b"token [redacted:github-token] ok\r\n"


def test_ordinary_output_is_recorded_byte_by_byte(tmp_path: Path) -> None:
    output = "".join(f"\x1b[{n % 8 + 30}m{case.text}\x1b[0m\r\n" for n, case in enumerate(FALSE)).encode()
    assert recorded(tmp_path / "pty", output, 512) == output


def test_a_recorder_takes_output_and_sizes_and_nothing_else() -> None:
    """Input (what the user types) has no way in."""
    assert {name for name in vars(Recorder) if not name.startswith("_")} == {"write", "resized", "close"}
