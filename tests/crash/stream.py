"""A mixed stream as sessions make it: memories, progress, tasks, checkpoints, recalls, and what of it was acknowledged.

Every text begins with a word of its own, by which `whole.py` finds it again. A worker notes each acknowledgement
with one write to its log as soon as it has it, so a kill can only lose notes, never invent them.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engram_runtime.errors import StoreUnavailable
from engram_runtime.journal.events import FailureTracked, ProgressTracked, PromptSubmitted, TaskCreated
from engram_runtime.mcp.checkpoints import write_checkpoint
from engram_runtime.runtime import Runtime

PROJECT = "/projects/shop"
UNKNOWN = 0
"""Position of something acknowledged whose position the caller is not told."""


@dataclass
class Log:
    """What one process was told: `word position` a line, refusals as `~ text`, errors as `! text`."""

    path: Path
    refusals: str = "fail"
    """What StoreUnavailable counts as: "fail" (an error), or "expected" (the disk is full)."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acknowledged(self, word: str, position: int = UNKNOWN) -> None:
        """This word is durable, at that position."""
        os.write(self._file, f"{word} {position}\n".encode())

    def refused(self, text: str) -> None:
        """A write was refused as it should be (the disk is full)."""
        os.write(self._file, f"~ {text}\n".encode())

    def error(self, text: str) -> None:
        """Something reached a caller that must not."""
        os.write(self._file, f"! {text}\n".encode())


@dataclass(frozen=True, slots=True)
class Told:
    """What callers were told: acknowledged words with their positions, refusals, errors."""

    words: dict[str, int]
    refusals: list[str]
    errors: list[str]


def read_logs(logs: Path) -> Told:
    """What all writers so far were told."""
    lines = [line for path in sorted(logs.iterdir()) if not path.suffix for line in _lines(path)]
    return Told(
        words={line.split()[0]: int(line.split()[1]) for line in lines if line[0] not in "!~"},
        refusals=[line[2:] for line in lines if line.startswith("~ ")],
        errors=[line[2:] for line in lines if line.startswith("! ")],
    )


def _lines(path: Path) -> list[str]:
    """Whole lines: one that a kill cut does not count."""
    text = path.read_text("utf-8", "replace").splitlines(keepends=True)
    return [line[:-1] for line in text if line.endswith("\n") and line != "\n"]


class Worker:
    """One thread's stream on a shared Runtime. `count` and `longest` (seconds) are of its operations."""

    def __init__(self, runtime: Runtime, log: Log, name: str) -> None:
        self.name = name
        self.count = 0
        self.longest = 0.0
        self._runtime = runtime
        self._log = log
        self._numbers = itertools.count()
        self._chance = random.Random(name)
        self._current = 0
        self._memory: tuple[int, str] = (0, "")

    def run(self, until: Callable[[], bool]) -> None:
        """Go on until told, killed, or the Runtime is closed under us."""
        while not until():
            began = time.monotonic()
            try:
                self.step()
            except Exception as error:  # a thread's boundary: what reaches a caller is the finding
                if self._log.stopping.is_set():
                    return
                text = f"{self.name}: {type(error).__name__}: {error}"
                if isinstance(error, StoreUnavailable) and error.hint and self._log.refusals == "expected":
                    self._log.refused(text)
                else:
                    self._log.error(text)
            else:
                self.count += 1
                self.longest = max(self.longest, time.monotonic() - began)

    def step(self) -> None:
        """One operation, by chance."""
        kinds = ("store", "track", "recall", "checkpoint", "prompt", "reword", "fail", "task", "look")
        kind = self._chance.choices(kinds, (5, 5, 3, 2, 4, 1, 1, 1, 2))[0]
        getattr(self, f"_{kind}")(f"{self.name}n{next(self._numbers)}")

    def _store(self, word: str) -> None:
        kept = self._runtime.memory.store(f"{word} was decided in the review", importance=0.5)
        self._log.acknowledged(word, kept.memory)
        self._memory = (kept.memory, word)

    def _track(self, word: str) -> None:
        event = ProgressTracked(
            feature=word, status="in_progress", completion=0.5, task=self._current or None
        )
        self._log.acknowledged(word, self._runtime.append(event)[0])

    def _recall(self, word: str) -> None:
        memory, known = self._memory
        found = self._runtime.memory.recall(known or word, k=5)
        if memory and memory not in {hit.memory.id for hit in found.hits}:
            self._log.error(f"{self.name}: {known} (memory {memory}) was stored and is not recalled")

    def _checkpoint(self, word: str) -> None:
        if not self._current:
            self._task(f"{word}t")
        self._track(f"{word}p")
        written = write_checkpoint(self._runtime, self._current, "AUTO_SAVE", trigger=word, debounce=False)
        if written is None:
            self._log.error(f"{self.name}: no checkpoint of a task that changed ({word})")
        else:
            self._log.acknowledged(word, written.id)

    def _prompt(self, word: str) -> None:
        self._log.acknowledged(word, self._runtime.submit(PromptSubmitted(text=word)).result(60)[0])

    def _reword(self, word: str) -> None:
        memory, _ = self._memory
        if memory:
            self._runtime.memory.update(memory, f"{word} was decided after all")
            self._log.acknowledged(word)
            self._memory = (memory, word)

    def _fail(self, word: str) -> None:
        self._log.acknowledged(word, self._runtime.append(FailureTracked(error=word, component="till"))[0])

    def _task(self, word: str) -> None:
        (self._current,) = self._runtime.append(TaskCreated(name=word))
        self._log.acknowledged(word, self._current)

    def _look(self, word: str) -> None:
        tasks = self._runtime.state.tasks(limit=3)
        if self._current and self._runtime.state.task(self._current) is None:
            self._log.error(f"{self.name}: task {self._current} was created and is not there, only {tasks}")


def tool_calls(name: str, chance: random.Random) -> Any:
    """The same through MCP tools, endlessly: (word, tool, arguments, key of the answer that is the position)."""
    for number in itertools.count():
        word = f"{name}n{number}"
        yield chance.choices(
            (
                (word, "store_memory", {"content": f"{word} was decided", "importance": 0.5}, "memory_id"),
                (word, "track_progress", {"feature": word, "status": "in_progress"}, "memory_id"),
                (word, "create_task", {"name": word, "status": "in_progress"}, "task_id"),
                (word, "track_failure", {"error": word, "component": "till"}, "memory_id"),
                (word, "recall_memory", {"query": "what was decided"}, ""),
            ),
            (5, 5, 1, 2, 3),
        )[0]


def encoded(number: int, method: str, **params: Any) -> bytes:
    """A request as a client writes it."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"
