"""Nonsense over pipes and HTTP: every request is answered, nothing crashes, no trace is told, the journal is whole."""

from __future__ import annotations

import http.client
import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from engram_runtime.runtime import Runtime
from engram_runtime.settings import Settings
from tests.contract.fuzzing import Fuzz
from tests.contract.servers import PROJECT, http_server, server
from tests.support import rounds, wait_until

TRACES = (b"Traceback", b'File "', b"site-packages", b"sqlalchemy", b"internal error")
FINE = {200, 202, 204, 400, 401, 403, 404, 405, 406, 413, 415, 421, 422}
SEED = 20260730


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


class Reader(threading.Thread):
    """Collects what a server writes, so that neither side waits for the other."""

    def __init__(self, pipe: Any) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self.answered: set[object] = set()
        self.told: list[bytes] = []
        self.start()

    def run(self) -> None:
        for line in self._pipe:
            message = json.loads(line)
            given = message.get("id")
            self.answered.add(given if isinstance(given, (str, int)) else None)
            lowered = line.lower()
            if any(trace.lower() in lowered for trace in TRACES):
                self.told.append(line[:600])


def sound(home: Path) -> None:
    with Runtime.open(home, project=PROJECT, settings=Settings(model="off")) as runtime:
        assert runtime.verify().flaw == ""
        assert runtime.health().writable
        before = runtime.state.counts()
        runtime.rebuild_state()
        assert runtime.state.counts() == before


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nonsense_over_pipes_is_answered_and_harmless(home: Path) -> None:
    fuzz = Fuzz(SEED)
    wanted: set[object] = set()
    with server(home) as running:
        process = running.process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        answers, said = Reader(process.stdout), Stderr(process.stderr)
        for number in range(rounds(1200, 60_000)):
            line, given = fuzz.say()
            process.stdin.write(line + b"\n")
            if given is not None:
                wanted.add(given)
            if number % 100 == 99:
                process.stdin.flush()
                wait_until(lambda: wanted <= answers.answered or process.poll() is not None, 60)
        process.stdin.flush()
        wait_until(lambda: wanted <= answers.answered or process.poll() is not None, 60)
        assert process.poll() is None
        running.send({"jsonrpc": "2.0", "id": "last", "method": "tools/call",
                      "params": {"name": "create_task", "arguments": {"name": "still here"}}})  # fmt: skip
        wait_until(lambda: "last" in answers.answered, 20)
        assert running.close() == 0
        assert answers.told == []
        assert b"Traceback" not in said.text()
    sound(home)


class Stderr(threading.Thread):
    """Collects what a server says beside the protocol."""

    def __init__(self, pipe: Any) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._parts: list[bytes] = []
        self.start()

    def run(self) -> None:
        for part in self._pipe:
            self._parts.append(part if isinstance(part, bytes) else part.encode())

    def text(self) -> bytes:
        self.join(10)
        return b"".join(self._parts)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nonsense_over_http_is_refused_and_harmless(home: Path) -> None:
    fuzz, chance = Fuzz(SEED + 1), random.Random(SEED)
    with http_server(home) as (process, url, file):
        said = Stderr(process.stderr)
        secret = file.read_text("utf-8").strip()
        address = url.split("/")[2]
        connection = http.client.HTTPConnection(address, timeout=60)
        codes: dict[int, int] = {}
        for _ in range(rounds(1500, 40_000)):
            body, _given = fuzz.say()
            headers, trusted = odd_headers(chance, secret, address)
            path = chance.choice(("/mcp",) * 8 + ("/", "/mcp/../x", "/hooks", "/v1/tools"))
            method = chance.choice(("POST",) * 12 + ("GET", "DELETE", "PUT", "OPTIONS"))
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            if answer.getheader("Content-Type", "").startswith("text/event-stream"):
                connection.close()  # a stream for messages that never come
                continue
            told = answer.read()
            codes[answer.status] = codes.get(answer.status, 0) + 1
            assert answer.status in FINE, (answer.status, body[:300], told[:300])
            assert trusted or answer.status not in (200, 202), (headers, told[:200])
            assert not any(trace.lower() in told.lower() for trace in TRACES), (body[:300], told[:600])
        connection.close()
        assert process.poll() is None
        assert codes.keys() >= {200, 400, 401, 403, 404, 421}
        process.terminate()
        assert process.wait(20) == 143
        assert b"Traceback" not in said.text()
    sound(home)


def odd_headers(chance: random.Random, secret: str, address: str) -> tuple[dict[str, str], bool]:
    """Headers, and whether who sends them may come in."""
    headers = {
        "Content-Type": chance.choice(("application/json",) * 6 + ("text/plain", "")),
        "Accept": chance.choice(("application/json, text/event-stream",) * 6 + ("text/html", "*/*")),
        "MCP-Protocol-Version": chance.choice(
            ("2025-11-25", "2025-06-18", "2026-07-28", "1999-01-01", "\x7f")
        ),
        "Host": address,
        "Authorization": f"Bearer {secret}",
    }
    pick, trusted = chance.random(), True
    if pick < 0.08:
        trusted = False
        headers["Authorization"] = chance.choice(
            ("", "Bearer", "Bearer x", f"Basic {secret}", f"Bearer {secret}x")
        )
    elif pick < 0.14:
        trusted = False
        headers["Host"] = chance.choice(
            ("evil.example", f"evil.example:{address.split(':')[1]}", "127.0.0.1:1")
        )
    elif pick < 0.20:
        trusted = False
        headers["Origin"] = chance.choice(("http://evil.example", "null", "http://127.0.0.1:1"))
    if chance.random() < 0.1:
        headers["Mcp-Session-Id"] = chance.choice(("x", "0" * 300))
    return headers, trusted
