"""What becomes of a text that is stored, decided with the real model."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.integration.memory.conftest import Preparing
from tests.support import wait_until

pytestmark = pytest.mark.slow

PAIRS = json.loads((Path(__file__).parents[2] / "data" / "dedup_pairs.json").read_text())["pairs"]
LOADING = 90.0


def test_pairs_get_the_right_action_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, prepare: Preparing
) -> None:
    home = prepare(tmp_path_factory.mktemp("home"))
    wrong: list[tuple[str, str]] = []
    worker = None
    try:
        for number, pair in enumerate(PAIRS):
            with Runtime.open(home, project=f"/pair{number}", settings=Settings()) as runtime:
                memory = runtime.memory
                memory.recall("anything", wait=LOADING)
                worker = memory.worker_pid
                first = memory.store(pair["a"], importance=0.6).memory
                answer = memory.store(pair["b"], importance=0.6)
                assert not answer.pending
                row = memory.row(first)
                assert row is not None
                assert row.content == pair["a"]
                kind = {"reinforced": "same", "merged": "same", "stored": "similar"}.get(
                    answer.outcome, "newer"
                )
                wanted = "newer" if pair["label"] in ("update", "contradiction") else pair["label"]
                if kind != wanted:
                    wrong.append((pair["label"], answer.outcome))
    finally:
        if worker is not None:
            os.kill(worker, signal.SIGTERM)
    assert len(wrong) <= 4, wrong
    assert not [label for label, _ in wrong if label == "similar"]
    assert not [outcome for _, outcome in wrong if outcome == "reinforced"]


def test_what_a_process_stored_cold_is_compared_by_a_later_one(
    tmp_path_factory: pytest.TempPathFactory, prepare: Preparing
) -> None:
    home = prepare(tmp_path_factory.mktemp("home"))
    worker = None
    try:
        with Runtime.open(home, project="/cold", settings=Settings()) as runtime:
            old = runtime.memory.store("The API server listens on port 8080.", importance=0.6)
            new = runtime.memory.store("The API server listens on port 9090.", importance=0.6)
            assert (old.pending, new.pending) == (True, True)
        with Runtime.open(home, project="/cold", settings=Settings()) as runtime:
            runtime.memory.recall("anything", wait=LOADING)
            worker = runtime.memory.worker_pid
            done = runtime.memory.consolidate(wait=LOADING)
            assert done.unlinked == 0
            wait_until(lambda: runtime.memory.stats().waiting == 0, LOADING)
            row = runtime.memory.row(old.memory)
            assert row is not None
            assert row.superseded_by == new.memory
    finally:
        if worker is not None:
            os.kill(worker, signal.SIGTERM)
