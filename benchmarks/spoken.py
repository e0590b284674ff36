"""An MCP server as a process, spoken to in plain JSON over pipes: no client library in what is measured."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.place import cpu_seconds, waited_seconds

ANSWER_S = 180.0
_READ = 1 << 16
PROTOCOL = "2025-06-18"
HELLO = {
    "protocolVersion": PROTOCOL,
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was answered: seconds since the spawn, and what the server's process had used of them."""

    wall: float
    cpu: float
    waited: float


class Spoken:
    """One server. `greeted` is the moment it answered `initialize`."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            argv,
            env=environ,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.process = psutil.Process(self._process.pid)
        self._buffer = bytearray()
        self._id = 0
        try:
            self.ask("initialize", HELLO)
        except BaseException:
            self._process.kill()
            self.close()
            raise
        self.greeted = self.moment()
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def moment(self) -> Moment:
        """Now."""
        wall = time.perf_counter() - self._began
        return Moment(wall, cpu_seconds(self.process), waited_seconds(self.process))

    def ask(self, method: str, params: Mapping[str, Any]) -> bytes:
        """The line that answers a request. Raises RuntimeError if it is an error, TimeoutError, EOFError."""
        self._id += 1
        self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        line = self._line()
        if b'"error":{' in line[:60] or b'"isError":true' in line:
            raise RuntimeError(f"{method}: {line[:300]!r}")
        return line

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A tool's answer, read from its text, which servers of all ages send."""
        line = self.ask("tools/call", {"name": tool, "arguments": arguments})
        text = json.loads(line)["result"]["content"][0]["text"]
        try:
            told = json.loads(text)
        except ValueError:
            return {"text": text}
        return told if isinstance(told, dict) else {"text": text}

    def timed(self, tool: str, arguments: Mapping[str, Any]) -> float:
        """Milliseconds from the request to its answer."""
        began = time.perf_counter()
        self.ask("tools/call", {"name": tool, "arguments": arguments})
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """Close its input and see it gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Spoken:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _line(self) -> bytes:
        """The next answer; what servers tell unasked is passed over."""
        assert self._process.stdout is not None
        until = time.perf_counter() + ANSWER_S
        while True:
            while (end := self._buffer.find(b"\n")) < 0:
                if not select.select([self._process.stdout], [], [], max(0.0, until - time.perf_counter()))[
                    0
                ]:
                    raise TimeoutError("no answer")
                data = self._process.stdout.read(_READ)
                if not data:
                    raise EOFError("the server ended")
                self._buffer += data
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if b'"id"' in line:
                return line


def memory_mb(*processes: psutil.Process) -> tuple[float, float]:
    """RSS and PSS of processes together, in MB (10⁶ bytes)."""
    infos = [process.memory_full_info() for process in processes]
    return sum(info.rss for info in infos) / 1e6, sum(info.pss for info in infos) / 1e6
