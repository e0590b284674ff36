"""Types read for the first time by several threads at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each round has all threads read a struct nobody has read yet, with one inside that takes a while to work out.
FIRST_READS = """
import sys, threading, types
import msgspec
from engram_runtime.structs import built

rounds, threads = 40, 4
source = "from __future__ import annotations\\nimport msgspec\\n"
for n in range(rounds):
    source += f"class Inner{n}(msgspec.Struct):\\n"
    source += "".join(f"    f{i}: dict[str, list[int]] | None = None\\n" for i in range(20))
    source += f"class Outer{n}(msgspec.Struct):\\n    inner: Inner{n} | None = None\\n"
    source += "    own: list[int] | None = None\\n"
module = types.ModuleType("made")
sys.modules["made"] = module
exec(source, module.__dict__)
sys.setswitchinterval(1e-6)
together = threading.Barrier(threads)

def read():
    for n in range(rounds):
        together.wait()
        kind = getattr(module, f"Outer{n}")
        msgspec.convert({"own": [1]}, KIND)

running = [threading.Thread(target=read) for _ in range(threads)]
for thread in running: thread.start()
for thread in running: thread.join()
"""


def code_of(kind: str) -> int:
    program = FIRST_READS.replace("KIND", kind)
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode


def test_several_threads_may_read_a_type_for_the_first_time_at_once() -> None:
    assert [code_of("built(kind)") for _ in range(3)] == [0, 0, 0]


def test_without_care_that_kills_the_process() -> None:
    if code_of("kind") == 0:
        pytest.skip("this msgspec stands it: `built` can go")
