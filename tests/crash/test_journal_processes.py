"""Several processes with several threads on one home: no lock errors, no starvation, one chain."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

pytestmark = pytest.mark.guarantee("G10")

WRITER = """
import json, sys, threading, time
from pathlib import Path
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from engram_runtime.journal.events import PromptSubmitted

runtime = Runtime.open(Path(sys.argv[1]), project="/p", session=sys.argv[2], settings=Settings())
until = float(sys.argv[3])
counts, longest = [0, 0], [0.0, 0.0]

def work(thread):
    while time.time() < until:
        began = time.monotonic()
        runtime.append(PromptSubmitted(text=f"{sys.argv[2]} {thread} {counts[thread]}"))
        longest[thread] = max(longest[thread], time.monotonic() - began)
        counts[thread] += 1

threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
runtime.close()
print(json.dumps({"counts": counts, "longest": max(longest)}))
"""


@pytest.mark.slow
def test_four_processes_with_two_threads_each_share_a_home_fairly(tmp_path: Path) -> None:
    home = tmp_path / "home"
    until = str(time.time() + 4)
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(home), f"s{n}", until], stdout=subprocess.PIPE)
        for n in range(4)
    ]
    results = []
    for process in running:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        results.append(json.loads(output))
    totals = [sum(result["counts"]) for result in results]
    with Runtime.open(home, project="/p", settings=Settings()) as runtime:
        assert runtime.verify() == (sum(totals), "")
        for number, total in enumerate(totals):
            own = runtime.events(limit=10**6, session=f"s{number}")
            assert len(own) == total
            for thread in range(2):
                texts = [
                    at.payload["text"]
                    for at in own
                    if at.payload and at.payload["text"].split()[1] == str(thread)
                ]
                assert texts == [f"s{number} {thread} {count}" for count in range(len(texts))]
    assert min(totals) > max(totals) / 5, totals
    assert max(result["longest"] for result in results) < 2
