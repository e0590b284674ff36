"""A headless session loads no UI and speaks to nobody but this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.supervisor.demo_session import ENGRAM, DemoSession

pytestmark = pytest.mark.slow

WITNESS = """
import atexit, os, sys

def hook(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) and not str(args[1][0]).startswith("127."):
        with open(os.environ["WITNESS"], "a") as file:
            file.write(f"connect {args[1]}\\n")
    elif event == "socket.getaddrinfo" and args[0] not in ("127.0.0.1", "localhost", None):
        with open(os.environ["WITNESS"], "a") as file:
            file.write(f"look up {args[0]}\\n")

def at_exit():
    heavy = sorted({"textual", "rich", "torch", "sentence_transformers"} & set(sys.modules))
    line = " ".join(getattr(sys, "orig_argv", sys.argv))
    with open(os.environ["WITNESS"], "a") as file:
        file.write(f"modules {heavy} in {line}\\n")

sys.addaudithook(hook)
atexit.register(at_exit)
"""


def witnessed(tmp_path: Path, model: str) -> str:
    """What Engram's own processes did in a whole headless session and a recall."""
    folder = tmp_path / "witness"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITNESS)
    log = tmp_path / "log.txt"
    environ = {"PYTHONPATH": str(folder), "WITNESS": str(log), "ENGRAM_MODEL": model}
    with DemoSession(tmp_path / "s", pace="0.05", environ=environ) as session:
        assert session.run is not None
        assert session.run.wait(60) == 0
        recalled = subprocess.run(
            [ENGRAM, "recall", "what about the report?"],
            cwd=session.work,
            env=session.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert recalled.returncode == 0, recalled.stderr
    return log.read_text()


@pytest.mark.guarantee("G6")
def test_nothing_but_loopback_is_spoken_to(tmp_path: Path) -> None:
    said = witnessed(tmp_path, "off")
    assert "connect" not in said
    assert "look up" not in said


@pytest.mark.guarantee("G11")
def test_a_headless_run_never_loads_the_ui_or_a_model(tmp_path: Path) -> None:
    lines = [line for line in witnessed(tmp_path, "off").splitlines() if line.startswith("modules")]
    runs = [line for line in lines if "engram" in line]
    assert any("run demo --headless" in line for line in runs)
    assert not [line for line in runs if not line.startswith("modules []")], runs
