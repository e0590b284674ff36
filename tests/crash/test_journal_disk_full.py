"""A full disk: the append says so, nothing half is written, and it goes on when there is room again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

pytestmark = pytest.mark.guarantee("G1", "G9")

LIMITED = """
import resource, sys
from pathlib import Path
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.errors import StoreUnavailable
from engram_runtime.journal.events import PromptSubmitted, TaskCreated

runtime = Runtime.open(Path(sys.argv[1]), project="/p", session="s1", settings=Settings())
runtime.append(TaskCreated(name="before"))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
written = 1
try:
    for number in range(100):
        runtime.append(PromptSubmitted(text="x" * 20_000), PromptSubmitted(text=str(number)))
        written += 2
except StoreUnavailable as error:
    assert error.hint, error
else:
    raise SystemExit("no error")
health = runtime.health()
assert health.problem and health.journal_position == written, health
assert [task.name for task in runtime.state.tasks()] == ["before"]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert runtime.append(PromptSubmitted(text="after")) == (written + 1,)
assert runtime.health().problem == ""
assert runtime.verify() == (written + 1, "")
runtime.close()
print(written + 1)
"""


@pytest.mark.slow
def test_a_full_disk_refuses_the_append_whole_and_recovers_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.verify() == (int(done.stdout), "")
        assert runtime.events(limit=10_000)[-1].payload == {"text": "after", "by": "user"}
