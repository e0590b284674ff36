"""The real journal, the real worker, the real model."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from engram_runtime.journal.events import Event
from engram_runtime.journal.journal import Journal
from engram_runtime.memory import Memory
from engram_runtime.memory.wire import Reply, Status, WorkerPlace, receive, send
from engram_runtime.memory.worker_client import WorkerEmbedder
from engram_runtime.paths import HomeFiles
from tests.integration.memory.conftest import Preparing
from tests.support import wait_until

pytestmark = pytest.mark.slow

LOADING = 90.0
"""Seconds the model may take on a machine that has other things to do."""


def worker_status(home: Path, model: str = "") -> Reply | None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        try:
            connection.connect(str(WorkerPlace.of(home, model).socket))
            send(connection, Status())
            body = receive(connection)
        except OSError:
            return None
    return msgspec.msgpack.decode(body, type=Reply) if body else None


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def end(pid: int) -> None:
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), 10)


Opener = Callable[..., Memory]


@contextlib.contextmanager
def memories(home: Path, model: str = "") -> Iterator[Opener]:
    """Opens memories over the home's journal; closes them, the journal and the worker in the end."""
    journal = Journal(HomeFiles(home))
    opened: list[Memory] = []

    def open_memory(project: str) -> Memory:
        def submit(*events: Event) -> Future[tuple[int, ...]]:
            return journal.submit(events, project=project, session=None)

        memory = Memory(
            journal=journal,
            append=lambda *events: journal.append(events, project=project, session=None),
            submit=submit,
            home=home,
            project=project,
            settings=SimpleNamespace(model=model),
        )
        opened.append(memory)
        return memory

    try:
        yield open_memory
    finally:
        for memory in opened:
            memory.close()
        journal.close()
        status = worker_status(home, model)
        if status:
            end(status.pid)


@pytest.fixture(scope="module")
def warm_home(tmp_path_factory: pytest.TempPathFactory, prepare: Preparing) -> Path:
    return prepare(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def opener(warm_home: Path) -> Iterator[Opener]:
    with memories(warm_home) as open_memory:
        yield open_memory


def settled(memory: Memory) -> Memory:
    """The memory, once all its rows have vectors."""
    wait_until(lambda: memory.stats().lag == 0, LOADING)
    return memory


def vectors_of(memory: Memory) -> dict[int, tuple[float, ...]]:
    found = {}
    for row in memory.rows(limit=None):
        with memory._index.connection():
            vector = memory._index.vectors.get(row.id)
        assert vector is not None
        found[row.id] = struct.unpack(f"<{len(vector) // 4}f", vector)
    return found


def test_a_paraphrase_is_found_by_meaning_where_no_word_is_shared(opener: Opener) -> None:
    memory = opener("paraphrase")
    memory.store("Deployments to production are frozen on Fridays.", importance=0.6)
    wanted = memory.store("The customer's invoice is created by a nightly batch run.", importance=0.6).memory
    memory.store("Colours of the theme are in tokens.json.", importance=0.6)
    settled(memory)
    question = "when do clients get billed?"
    with memory._index.connection() as connection:
        from engram_runtime.memory import lexical
        from engram_runtime.memory.scope import Scope

        terms = lexical.query_terms(question)
        assert lexical.search(connection, terms, Scope("paraphrase", "default"), 10) == {}
    answer = memory.recall(question, wait=LOADING)
    assert answer.semantic == "ready"
    assert answer.hits[0].memory.id == wanted
    assert answer.hits[0].lexical == 0
    assert answer.hits[0].similarity > 0.3


def test_a_warm_recall_is_quick(opener: Opener) -> None:
    memory = opener("quick")
    memory.store("Redis runs on port 6380", importance=0.6)
    settled(memory).recall("redis", wait=LOADING)
    took = sorted(memory.recall(f"which port has redis, question {n}").took_ms for n in range(20))
    assert took[10] < 150


def test_other_projects_memories_are_not_found_by_meaning_either(opener: Opener) -> None:
    ours, theirs = opener("ours"), opener("theirs")
    theirs.store("The staging database is wiped every Sunday night.", importance=0.9)
    shared = theirs.store("Staging data never survives the weekend.", importance=0.5, scope="global").memory
    own = ours.store("Backups of staging are kept for a week.", importance=0.5).memory
    settled(ours)
    answer = ours.recall("is staging reset on Sunday?", k=10, wait=LOADING)
    assert answer.semantic == "ready"
    assert {hit.memory.id for hit in answer.hits} == {own, shared}


def test_what_is_stored_is_compared_with_what_is_known(opener: Opener) -> None:
    memory = opener("alike")
    memory.recall("anything", wait=LOADING)
    old = memory.store("The API server listens on port 8080.", importance=0.6).memory
    again = memory.store("API server listens on the port 8080", importance=0.6)
    assert (again.outcome, again.memory) == ("reinforced", old)
    # A cosine of .98: likeness is no proof of sameness.
    other = memory.store("The API server listens on port 9090.", importance=0.6)
    assert other.outcome == "superseded"
    kept = memory.row(old)
    assert kept is not None
    assert kept.superseded_by == other.memory
    answer = memory.recall("port of the API server", wait=LOADING)
    order = [hit.memory.id for hit in answer.hits]
    assert order[0] == other.memory


def test_a_rebuild_gives_the_same_rows_and_vectors(warm_home: Path) -> None:
    with contextlib.ExitStack() as stack:
        journal = Journal(HomeFiles(warm_home))
        stack.callback(journal.close)

        def opened() -> Memory:
            return Memory(
                journal=journal,
                append=lambda *events: journal.append(events, project="rebuild", session=None),
                submit=lambda *events: journal.submit(events, project="rebuild", session=None),
                home=warm_home,
                project="rebuild",
                settings=SimpleNamespace(model=""),
            )

        memory = opened()
        for number in range(20):
            memory.store(f"Fact {number} of the rebuild: {'word ' * number}", importance=0.5)
        rows, vectors = settled(memory).rows(limit=None), vectors_of(memory)
        memory.close()
        for file in warm_home.glob(f"{HomeFiles(warm_home).memory.name}*"):
            file.unlink()
        again = opened()
        stack.callback(again.close)
        assert again.rows(limit=None) == rows
        rebuilt = vectors_of(settled(again))
        assert rebuilt.keys() == vectors.keys()
        for memory_id, vector in vectors.items():
            assert sum(a * b for a, b in zip(vector, rebuilt[memory_id], strict=True)) >= 0.9999


def test_a_worker_killed_in_the_middle_is_replaced_and_indexing_goes_on(
    opener: Opener, warm_home: Path
) -> None:
    memory = opener("killed")
    settled(memory).recall("anything", wait=LOADING)
    before = worker_status(warm_home)
    assert before is not None
    for number in range(120):
        memory.store(f"Numbered fact {number}: {'many different words ' * 20}{number}", importance=0.5)
    wait_until(lambda: 0 < memory.stats().lag < 100, LOADING)
    end(before.pid)
    started = time.monotonic()
    answer = memory.recall("numbered fact")
    assert time.monotonic() - started < 1.0
    assert answer.semantic == "warming"
    assert answer.hits
    settled(memory)
    after = worker_status(warm_home)
    assert after is not None
    assert after.pid != before.pid
    assert memory.recall("numbered fact", wait=LOADING).semantic == "ready"


def test_two_processes_share_one_worker(opener: Opener, warm_home: Path) -> None:
    opener("shared").recall("anything", wait=LOADING)
    ours = worker_status(warm_home)
    program = """
import sys
from pathlib import Path
from engram_runtime.memory.worker_client import WorkerEmbedder
client = WorkerEmbedder(Path(sys.argv[1]))
made = client.embed(("hello",), within=30.0)
print(client.ensure(), made.dim, "numpy" in sys.modules)
"""
    other = subprocess.run(
        [sys.executable, "-c", program, str(warm_home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdout.split() == ["ready", "384", "False"]
    assert ours is not None
    assert worker_status(warm_home) == ours


def test_of_workers_started_together_one_stays(opener: Opener, warm_home: Path) -> None:
    opener("single").recall("anything", wait=LOADING)
    ours = worker_status(warm_home)
    command = [sys.executable, "-m", "engram_runtime.memory.embed_worker", str(warm_home), ""]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    others = [subprocess.Popen(command, env=environment, start_new_session=True) for _ in range(3)]
    assert [other.wait(30) for other in others] == [0, 0, 0]
    assert worker_status(warm_home) == ours


def test_words_answer_while_the_model_loads_and_the_worker_goes_with_its_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with memories(home) as open_memory:
        memory = open_memory("cold")
        memory.store("Redis runs on port 6380", importance=0.6)
        answer = memory.recall("redis port")
        assert answer.semantic == "warming"
        assert len(answer.hits) == 1
        assert answer.took_ms < 1000
        wait_until(lambda: worker_status(home) is not None, 30)
        answer = memory.recall("redis port")
        assert (answer.semantic, len(answer.hits)) == ("warming", 1)
        status = worker_status(home)
        assert status is not None
        assert status.state == "warming"
    # `memories` has killed that worker; the next is left to find its home gone.
    client = WorkerEmbedder(home)
    client.ensure()
    wait_until(lambda: worker_status(home) is not None, 30)
    status = worker_status(home)
    assert status is not None
    shutil.rmtree(home)
    wait_until(lambda: not is_alive(status.pid), 30)


def test_a_model_that_cannot_be_loaded_is_said_with_its_reason(tmp_path: Path) -> None:
    model = "no/such-model-anywhere"
    with memories(tmp_path, model) as open_memory:
        memory = open_memory("broken")
        memory.store("Redis runs on port 6380", importance=0.6)
        wait_until(lambda: memory.stats().embedder.startswith("failed("), LOADING)
        answer = memory.recall("redis", wait=5.0)
        assert (answer.semantic, len(answer.hits)) == ("off", 1)
        assert "such-model" in memory.stats().embedder


def test_an_idle_worker_ends_and_takes_its_socket_along(tmp_path: Path, prepare: Preparing) -> None:
    prepare(tmp_path)
    command = [sys.executable, "-m", "engram_runtime.memory.embed_worker", str(tmp_path), "", "--idle", "0.5"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, start_new_session=True) as worker:
        assert worker.wait(30) == 0
    assert not WorkerPlace.of(tmp_path, "").socket.exists()
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "run").iterdir()} == {0}
