"""`engram mcp`: how soon it answers, what a call costs against a bare server of the SDK, what it takes when idle.

The home holds 200 memories and a prepared model; the embedding worker is ended before each start, so that a start
is one on a machine where nothing of Engram runs. Engram and the bare server take turns.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.place import Place, Row, median, percentile
from benchmarks.recall_speed import _end_worker as end_worker
from benchmarks.recall_speed import memories
from benchmarks.spoken import HELLO, PROTOCOL, Moment, Spoken, memory_mb

STARTS = 15
BATCHES, BATCH = 20, 25
MEMORIES = 200
ANSWER_S = 0.3
IDLE_MB = 60
SETTLED_S = 3.0
BARE = [sys.executable, str(Path(__file__).with_name("bare_server.py"))]
Asked = tuple[str, dict[str, Any]]
RECALL: Asked = ("recall_memory", {"query": "why does the payments service fail"})
TASKS: Asked = ("list_tasks", {})
ECHO: Asked = ("echo", {"text": "why does the payments service fail"})


def rows() -> list[Row]:
    """The rows of the table."""
    with Place() as place:
        prepare(place)
        found = [*start_rows(place), *idle_rows(place), *warm_rows(place), *http_rows(place)]
        end_worker(place)
        return found


def prepare(place: Place) -> None:
    """A home with memories and a model that is ready."""
    subprocess.run(
        place.argv("setup"), cwd=place.work, env=place.environ, capture_output=True, check=True, timeout=300
    )
    with Spoken(place.argv("mcp"), place.environ, place.work) as server:
        for text in memories(MEMORIES):
            server.call("store_memory", {"content": text, "importance": 0.5})


def start_rows(place: Place) -> list[Row]:
    """Spawn → handshake and spawn → first answer of a tool."""
    greeted: dict[str, list[Moment]] = {"engram": [], "bare": []}
    answered: dict[str, list[Moment]] = {"engram": [], "bare": []}
    ways = {"engram": (place.argv("mcp"), RECALL), "bare": (BARE, ECHO)}
    for _ in range(STARTS):
        for name, (argv, (tool, given)) in ways.items():
            end_worker(place)
            with Spoken(argv, place.environ, place.work) as server:
                server.ask("tools/list", {})
                server.call(tool, given)
                answered[name].append(server.moment())
                greeted[name].append(server.greeted)
    return [
        Row(
            f"`engram mcp`: spawn → {what}, p50 of {STARTS}",
            f"≤ {ANSWER_S} s",
            f"{told(moments['engram'])}; bare SDK server {told(moments['bare'])}",
            median([moment.wall for moment in moments["engram"]]) <= ANSWER_S,
        )
        for what, moments in (
            ("`initialize` answered", greeted),
            ("first `recall_memory` answered", answered),
        )
    ]


def told(moments: Sequence[Moment]) -> str:
    """Medians of wall and CPU time and of the wait for a core, best wall time."""
    walls = [moment.wall for moment in moments]
    cpu, waited = median([m.cpu for m in moments]), median([m.waited for m in moments])
    return f"{median(walls):.2f} s (best {min(walls):.2f}, CPU {cpu:.2f}, waited for a core {waited:.2f})"


def idle_rows(place: Place) -> list[Row]:
    """Memory of a server that nobody asks anything."""
    figures = {}
    with Spoken(place.argv("mcp"), place.environ, place.work) as server:
        server.ask("tools/list", {})
        figures["after the handshake"] = settled(server.process)
        for tool, given in (RECALL, TASKS) * 10:
            server.call(tool, given)
        figures["after 20 calls"] = settled(server.process)
        server.ask("resources/read", {"uri": "engram://briefing"})
        figures["with the SDK loaded (a resource was read)"] = settled(server.process)
    with Spoken(BARE, place.environ, place.work) as server:
        bare = settled(server.process)
    return [
        *(
            Row(
                f"… idle, {when}",
                f"≤ {IDLE_MB} MB" if number < 2 else "",
                f"RSS {rss:.0f} MB, PSS {pss:.0f} MB",
                rss <= IDLE_MB if number < 2 else None,
            )
            for number, (when, (rss, pss)) in enumerate(figures.items())
        ),
        Row("… bare SDK server, idle", "", f"RSS {bare[0]:.0f} MB, PSS {bare[1]:.0f} MB", None),
    ]


def settled(process: psutil.Process) -> tuple[float, float]:
    """RSS and PSS some seconds later."""
    time.sleep(SETTLED_S)
    return memory_mb(process)


def warm_rows(place: Place) -> list[Row]:
    """Calls of servers that have been there for a while, in turns."""
    with contextlib.ExitStack() as stack:
        bare, plain, loaded = (
            stack.enter_context(Spoken(argv, place.environ, place.work))
            for argv in (BARE, place.argv("mcp"), place.argv("mcp"))
        )
        loaded.ask("resources/read", {"uri": "engram://briefing"})
        by_meaning(plain)
        ways = {
            "bare SDK server, echo": lambda: bare.timed(*ECHO),
            "`list_tasks`": lambda: plain.timed(*TASKS),
            "`list_tasks`, SDK loaded": lambda: loaded.timed(*TASKS),
            "`recall_memory` by meaning": lambda: plain.timed(*RECALL),
        }
        return compared("… warm call over stdio", ways)


def by_meaning(server: Spoken) -> None:
    """Wait until the model answers."""
    until = time.perf_counter() + 120
    while server.call("memory_stats", {})["index"]["embedder"] != "ready":
        server.call(*RECALL)
        if time.perf_counter() > until:
            raise TimeoutError("the model did not come")
        time.sleep(0.2)


def compared(what: str, ways: dict[str, Callable[[], float]]) -> list[Row]:
    """p50 and p99 of each way, taking turns; the first is what the others are compared with."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name, act in ways.items():
        for _ in range(BATCH):
            act()
        times[name].clear()
    for _ in range(BATCHES):
        for name, act in ways.items():
            times[name] += [act() for _ in range(BATCH)]
    floor = median(next(iter(times.values())))
    return [
        Row(
            f"{what}: {name}",
            "",
            f"p50 {median(taken):.2f} ms, p99 {percentile(taken, 0.99):.1f} ms; {median(taken) / floor:.2f} × bare",
            None,
        )
        for name, taken in times.items()
    ]


class Http:
    """A server over streamable HTTP, and a connection to it that is kept."""

    def __init__(self, argv: list[str], place: Place) -> None:
        began = time.perf_counter()
        self._process = subprocess.Popen(
            argv, cwd=place.work, env=place.environ, stderr=subprocess.PIPE, text=True
        )
        self.process = psutil.Process(self._process.pid)
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        address = said.split("//")[1].split("/")[0]
        token = Path(said.rsplit(" ", 1)[1].strip()) if "bearer" in said else None
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": PROTOCOL,
            **({"Authorization": f"Bearer {token.read_text().strip()}"} if token else {}),
        }
        self._connection = http.client.HTTPConnection(address, timeout=60)
        self.ask("initialize", HELLO)
        self.greeted = time.perf_counter() - began

    def ask(self, method: str, params: object) -> bytes:
        """The body that answers a request."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._connection.request("POST", "/mcp", json.dumps(message), self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b'"isError":true' in body:
            raise RuntimeError(f"{answer.status} {body[:300]!r}")
        return body

    def timed(self, tool: str, arguments: object) -> float:
        """Milliseconds from the request to its answer."""
        began = time.perf_counter()
        self.ask("tools/call", {"name": tool, "arguments": arguments})
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """End it."""
        self._connection.close()
        self._process.terminate()
        self._process.wait(20)
        assert self._process.stderr is not None
        self._process.stderr.close()


@contextlib.contextmanager
def over_http(argv: list[str], place: Place) -> Iterator[Http]:
    """A server that is ended."""
    server = Http(argv, place)
    try:
        yield server
    finally:
        server.close()


def http_rows(place: Place) -> list[Row]:
    """The same over streamable HTTP."""
    own = place.argv("mcp", "--http", "0")
    bare_argv = [*BARE, "--http"]
    greeted: dict[str, list[float]] = {"engram": [], "bare": []}
    for _ in range(STARTS // 3):
        for name, argv in (("engram", own), ("bare", bare_argv)):
            with over_http(argv, place) as server:
                greeted[name].append(server.greeted)
    with over_http(own, place) as server, over_http(bare_argv, place) as bare:
        ways = {
            "bare SDK server, echo": lambda: bare.timed(*ECHO),
            "`list_tasks`": lambda: server.timed(*TASKS),
        }
        warm = compared("`engram mcp --http`: warm call", ways)
        (rss, pss), (bare_rss, bare_pss) = settled(server.process), settled(bare.process)
    start, bare_start = median(greeted["engram"]), median(greeted["bare"])
    return [
        Row(
            f"`engram mcp --http`: spawn → `initialize` answered, p50 of {STARTS // 3}",
            "",
            f"{start:.2f} s; bare SDK server {bare_start:.2f} s",
            None,
        ),
        Row(
            "… idle",
            "",
            f"RSS {rss:.0f} MB, PSS {pss:.0f} MB; bare SDK server RSS {bare_rss:.0f} MB, PSS {bare_pss:.0f} MB",
            None,
        ),
        *warm,
    ]
