"""Latency and size of memory: recall and store at 1,000, 10,000 and 100,000 memories, rebuild, cold start, worker.

The memories are mixed developer text made by a seeded generator. The first `EMBEDDED` of a home are embedded by the
real model; the vectors of the others are drawn around theirs, with their token codes, and put into the vector cache,
from which the product itself indexes them: what is measured does not depend on what the numbers mean. Everything,
the worker too, runs on one core; the query's own embedding is always part of its recall.

Run: python -m benchmarks.recall_speed [--sizes 1000 10000 100000] [--queries 200] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.place import ENGRAM, Place, Row, median, percentile
from engram_runtime.database import connect_bare
from engram_runtime.journal.events import MemoryStored
from engram_runtime.memory import Memory
from engram_runtime.paths import HomeFiles
from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings

SIZES = (1_000, 10_000, 100_000)
RECALL_MS = {1_000: 20, 10_000: 25, 100_000: 50}
STORE_MS = 30
BYTES = 8 * 1024
REBUILD_S = 60
CONSOLIDATE_S = 5
FLOOD_S = 20
LIFE_SIZE = 10_000
COLD_S = 1.5
LEXICAL_S = 0.5
WORKER_MB = 250
EMBEDDED = 1_000
STORES = 60
PROJECT = "/benchmark"
READY_S = 400.0

SUBJECTS = (
    "the payments service|the staging database|the API gateway|the nightly build|the websocket relay|"
    "the cron worker|the mobile client|the feature flag cache|the Postgres replica|the auth middleware|"
    "the ingest pipeline|the search index|the release script|the rate limiter|the image resizer|the audit log"
).split("|")
VERBS = (
    "fails with|times out on|retries after|depends on|was moved to|must not call|is deployed before|"
    "reads its secrets from|writes to|is tested by|shares a lock with|was renamed from|caches|blocks on|validates"
).split("|")
NAMES = (
    "parse_config|TokenBucket|retryPolicy|ECONNRESET|E1042|useSessionStore|src/net/proxy.py|"
    "migrations/0042_users.sql|docker-compose.override.yml|KafkaConsumerGroup|http2_max_streams|LRUCache|"
    "tsconfig.json|OOMKilled|pg_stat_activity|CheckoutController|SIGTERM|make release|redis:6380|JWT_AUDIENCE"
).split("|")
REASONS = (
    "because keep-alive connections are closed after {n} s|since version {n}.{m}|"
    "and the fix was to raise the limit to {n}|when more than {n} clients connect at once|as issue #{n} says|"
    "by a decision of the team on {m} March|and was rolled back after {n} errors in {m} minutes|"
    "and nobody noticed until the {n}th run|as tests/test_{n}.py shows|so it never runs on a Friday"
).split("|")
QUESTIONS = (
    "why does {s} fail with {a}|what did we decide about {s} and {b}|which file configures {a}|"
    "how was the problem of {s} with {b} fixed|where does {s} read {a} from|is {a} safe to call from {s}|"
    "what happened when {s} met {b}"
).split("|")


def memories(count: int, seed: int = 7) -> Iterator[str]:
    """Distinct notes as agents leave them: 80 to 400 characters."""
    chance = random.Random(seed)
    for number in range(count):
        parts = []
        for _ in range(chance.choice((1, 1, 2, 2, 3))):
            said = f"{chance.choice(SUBJECTS)} {chance.choice(VERBS)} {chance.choice(NAMES)}"
            why = chance.choice(REASONS).format(n=chance.randint(2, 9999), m=chance.randint(1, 30))
            parts.append(f"{said[0].upper()}{said[1:]} {why}.")
        yield " ".join(parts) + (f" Ticket OPS-{number}." if number % 3 == 0 else "")


def questions(count: int, seed: int = 11) -> list[str]:
    """Distinct questions about such notes."""
    chance = random.Random(seed)
    return [
        chance.choice(QUESTIONS).format(
            s=chance.choice(SUBJECTS), a=chance.choice(NAMES), b=chance.choice(NAMES)
        )
        + f" {number}"
        for number in range(count)
    ]


class Home:
    """A home with memories, their vectors in place."""

    def __init__(self, count: int, models: Path) -> None:
        self.place = Place()
        self.home = self.place.home
        self.home.mkdir(mode=0o700)
        if models.is_dir():
            shutil.copytree(models, HomeFiles(self.home).models)
        self.runtime = Runtime.open(self.home, project=PROJECT, settings=Settings())
        self.texts = list(memories(count))
        for start in range(0, count, 1000):
            self.runtime.append(
                *(
                    MemoryStored(content=text, importance=0.5 + (number % 5) / 10)
                    for number, text in enumerate(self.texts[start : start + 1000])
                )
            )
        self._fill_cache()
        self.wait_for_vectors()

    def _fill_cache(self) -> None:
        """Vectors for the texts that are not embedded: near those of one that is, with its token codes."""
        import numpy

        from engram_runtime.memory.loading import load
        from engram_runtime.memory.vector_cache import VectorCache, digest_of, rounded

        model = load(self.home, "", print).model
        cache = VectorCache(self.home, model.id)
        chance = numpy.random.default_rng(3)
        made = [model.passage(text) for text in self.texts[:EMBEDDED]]
        for start in range(0, len(self.texts), 1000):
            kept = []
            for number, text in enumerate(self.texts[start : start + 1000], start):
                like = made[number % len(made)]
                vector = like.vector
                if number >= EMBEDDED:
                    vector = vector + chance.normal(0, 0.02, len(vector)).astype(numpy.float32)
                kept.append((digest_of(text), (rounded(vector), like.codes)))
            cache.keep(kept)
        cache.close()

    def wait_for_vectors(self) -> float:
        """Seconds until every memory has its vector."""
        began = time.perf_counter()
        self.runtime.memory.recall("anything", wait=READY_S)
        while self.runtime.memory.stats().lag:
            if time.perf_counter() - began > READY_S:
                raise TimeoutError("the memories were not embedded in time")
            time.sleep(0.2)
        return time.perf_counter() - began

    def close(self) -> None:
        """End the worker and remove the home."""
        worker = self.runtime.worker_pid
        self.runtime.close()
        with contextlib.suppress(psutil.Error):
            if worker is not None:
                process = psutil.Process(worker)
                process.terminate()
                process.wait(10)
        self.place.close()


def measure(home: Home, size: int, queries: int) -> list[Row]:
    """Recall, store, bytes and worker of one home."""
    memory = home.runtime.memory
    # So many memories at once are a benchmark's: their edges would be looked for meanwhile, at the recalls' expense.
    memory._lifecycle.close()
    for question in questions(5, seed=1):
        memory.recall(question)
    recalls, semantic = [], 0
    process = psutil.Process(home.runtime.worker_pid or 0)
    used = _cpu_ms(process)
    for question in questions(queries):
        began = time.perf_counter()
        answer = memory.recall(question)
        recalls.append((time.perf_counter() - began) * 1000)
        semantic += answer.semantic == "ready"
    recall_cpu, used = (_cpu_ms(process) - used) / queries, _cpu_ms(process)
    stores = []
    for text in list(memories(size + STORES))[size:]:
        began = time.perf_counter()
        memory.store(text, importance=0.6)
        stores.append((time.perf_counter() - began) * 1000)
    store_cpu = (_cpu_ms(process) - used) / STORES
    rows = [
        _timed(
            f"recall at {size:,}",
            recalls,
            RECALL_MS.get(size),
            f"{recall_cpu:.1f} ms of CPU; {semantic} of {queries} by meaning",
        ),
        _timed(f"store at {size:,}", stores, STORE_MS, f"{store_cpu:.1f} ms of CPU with indexing"),
    ]
    files = HomeFiles(home.home)
    sizes = {
        "rows, words, vectors": _bytes(files.memory),
        "cache of vectors and codes": sum(_bytes(file) for file in files.vectors.glob("*.sqlite")),
        "journal": _bytes(files.journal),
    }
    each = {name: total / (size + STORES) for name, total in sizes.items()}
    derived = sum(value for name, value in each.items() if name != "journal")
    said = ", ".join(f"{name} {value:,.0f}" for name, value in each.items())
    rows.append(
        Row(f"disk a memory at {size:,}", f"≤ {BYTES:,} B", f"{derived:,.0f} B ({said})", derived <= BYTES)
    )
    worker = process.memory_full_info()
    rows.append(
        Row(
            f"worker at {size:,}",
            f"≤ {WORKER_MB} MB",
            f"RSS {worker.rss / 1e6:.0f} MB, PSS {worker.pss / 1e6:.0f} MB",
            worker.rss / 1e6 <= WORKER_MB,
        )
    )
    return rows


def life(memory: Memory, size: int) -> list[Row]:
    """Consolidation, and a flood of stores from eight threads; recalls go on beside both."""
    memory.recall("anything", wait=READY_S)
    began = time.perf_counter()
    memory._lifecycle._finish_backlog(began + READY_S)
    linked = time.perf_counter() - began
    with Recalling(memory) as recalling:
        took = memory.consolidate().took_ms / 1000
    figure = f"{took:.1f} s ({recalling.said()}; edges of {size:,} before: {linked:.0f} s)"
    found = [Row(f"consolidate at {size:,}", f"≤ {CONSOLIDATE_S} s", figure, took <= CONSOLIDATE_S)]
    texts = iter(list(memories(size + 50_000, seed=23))[size:])
    guard, until = threading.Lock(), time.perf_counter() + FLOOD_S
    stores: list[float] = []

    def store() -> None:
        while (began := time.perf_counter()) < until:
            with guard:
                text = next(texts)
            memory.store(text, importance=0.6)
            stores.append((time.perf_counter() - began) * 1000)

    threads = [threading.Thread(target=store) for _ in range(8)]
    with Recalling(memory) as recalling:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    figure = (
        f"{len(stores) * 60 / FLOOD_S:,.0f} a minute kept, p50 {median(stores):.0f} ms ({recalling.said()})"
    )
    return [*found, Row(f"flood of stores at {size:,}, 8 threads", "", figure, None)]


class Recalling:
    """Asks questions in a thread of its own for as long as the block runs."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.times: list[float] = []

    def __enter__(self) -> Recalling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        for question in itertools.cycle(questions(500, seed=3)):
            began = time.perf_counter()
            self._memory.recall(question)
            self.times.append((time.perf_counter() - began) * 1000)
            if self._over.wait(0.05):
                return

    def said(self) -> str:
        """The figures."""
        slowest = max(self.times)
        return (
            f"{len(self.times)} recalls beside it: p50 {median(self.times):.0f} ms, slowest {slowest:.0f} ms"
        )


def rebuild(home: Home, size: int) -> Row:
    """The memory file deleted, and derived again from journal and vector cache."""
    began = time.perf_counter()
    home.runtime.memory.rebuild()
    rows = time.perf_counter() - began
    home.wait_for_vectors()
    whole = time.perf_counter() - began
    return Row(
        f"rebuild at {size:,}",
        f"≤ {REBUILD_S} s" if size == 10_000 else "",
        f"{whole:.1f} s (rows and words {rows:.1f})",
        whole <= REBUILD_S if size == 10_000 else None,
    )


def cold(home: Path, work: Path, environ: dict[str, str]) -> tuple[float, float]:
    """Seconds from spawning `engram mcp` to its first answer, and to its first answer by meaning."""
    with subprocess.Popen(
        [str(ENGRAM), "mcp"], cwd=work, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        began, first, number = time.perf_counter(), 0.0, 1
        try:
            _call(server, 0, "initialize", _INITIALIZE)
            _send(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
            while time.perf_counter() - began < READY_S:
                arguments = {"name": "recall_memory", "arguments": {"query": f"why does it fail {number}"}}
                result = _call(server, number, "tools/call", arguments)
                if result.get("isError"):
                    raise RuntimeError(result["content"][0]["text"])
                first = first or time.perf_counter() - began
                if result["structuredContent"].get("semantic") == "ready":
                    return first, time.perf_counter() - began
                number += 1
                time.sleep(0.02)
        finally:
            if server.stdin:
                server.stdin.close()
            server.wait(10)
    raise TimeoutError("no answer by meaning")


_INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin
    server.stdin.write(json.dumps(message).encode() + b"\n")
    server.stdin.flush()


def _call(server: subprocess.Popen[bytes], number: int, method: str, params: dict[str, Any]) -> Any:
    _send(server, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    assert server.stdout
    while select.select([server.stdout], [], [], 30)[0]:
        message = json.loads(server.stdout.readline())
        if message.get("id") == number:
            return message["result"]
    raise TimeoutError(f"no answer to {method}")


def _timed(what: str, values: list[float], target: int | None, more: str = "") -> Row:
    middle = median(values)
    figure = f"p50 {middle:.1f} ms, p99 {percentile(values, 0.99):.1f} ms{f' ({more})' if more else ''}"
    return Row(what, f"p50 ≤ {target} ms" if target else "", figure, middle <= target if target else None)


def _cpu_ms(worker: psutil.Process) -> float:
    """CPU time of this process and the worker."""
    times = worker.cpu_times()
    return (time.process_time() + times.user + times.system) * 1000


def _bytes(file: Path) -> int:
    """Size of a SQLite file once its write-ahead log, which comes and goes, is taken into it."""
    connection = connect_bare(file)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return file.stat().st_size


def cold_rows(models: Path) -> list[Row]:
    """Cold starts: before the model was prepared, and after."""
    found = []
    with Place() as place:
        place.warm()
        with Runtime.open(place.home, project=str(place.work / ".git"), settings=Settings()) as runtime:
            runtime.append(*(MemoryStored(content=text, importance=0.5) for text in memories(200)))
        first, _ = cold(place.home, place.work, place.environ)
        found.append(
            Row(
                "cold, before setup: spawn → answer", f"≤ {LEXICAL_S} s", f"{first:.2f} s", first <= LEXICAL_S
            )
        )
        _end_worker(place)
        shutil.copytree(HomeFiles(place.home).models, models, dirs_exist_ok=True)
        times = []
        for _ in range(5):
            times.append(cold(place.home, place.work, place.environ))
            _end_worker(place)
        first, semantic = median([t[0] for t in times]), median([t[1] for t in times])
        figure = f"{semantic:.2f} s (first answer {first:.2f} s)"
        found.append(
            Row("cold, after setup: spawn → answer by meaning", f"≤ {COLD_S} s", figure, semantic <= COLD_S)
        )
    return found


def _end_worker(place: Place) -> None:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "engram_runtime.memory.embed_worker" in words and str(place.home) in words:
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(10)


def rows(sizes: tuple[int, ...] = SIZES, queries: int = 200) -> list[Row]:
    """The rows of the table."""
    with Place() as shelf:
        models = shelf.root / "models"
        # Cold starts first: they may use all cores, as a user's would.
        found = cold_rows(models)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for size in sizes:
            home = Home(size, models)
            try:
                found += measure(home, size, queries)
                if size <= 10_000:
                    found.append(rebuild(home, size))
                if size == LIFE_SIZE:
                    # A process of its own would be: that of `measure` has ended its background work.
                    with Runtime.open(home.home, project=PROJECT, settings=Settings()) as runtime:
                        found += life(runtime.memory, size)
            finally:
                home.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall_speed")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = rows(tuple(options.sizes), options.queries)
    if options.json:
        print(json.dumps([asdict(row) for row in found], ensure_ascii=False))
        return
    print("| what | target | measured | met |\n|---|---|---|---|")
    for row in found:
        met = "" if row.met is None else "yes" if row.met else "NO"
        print(f"| {row.what} | {row.target} | {row.figure} | {met} |")


if __name__ == "__main__":
    sys.exit(main())
