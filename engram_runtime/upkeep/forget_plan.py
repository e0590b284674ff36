"""What goes when something is forgotten: computed from the journal alone, so that it can be shown before it is done.

A memory: its events (all events of the feature, for progress). Where its words are repeated elsewhere, those words.
A task: every event that names it; its memories; and of its sessions what was done for it: all of a session that
worked on nothing else, and in others what lies between taking the task up and taking up another one. Memories that
such a session stored without the task stay, and so does whatever names another task: subtasks, retries and tasks that
the session merely made are tasks of their own.
A text: the words wherever they stand. The events that held them are erased and say the rest from then on
(`Forgotten.retold`), so that no task and no memory is lost with a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from engram_runtime.blobs import Blobs
from engram_runtime.errors import NotFound, StoreError, UsageError
from engram_runtime.journal.chain import Row
from engram_runtime.journal.encoding import PAYLOAD_BYTES, canonical, decode
from engram_runtime.journal.events import Forgotten
from engram_runtime.journal.journal import Journal
from engram_runtime.upkeep.needles import SHORTEST_TEXT, Needles

What = Literal["memory", "task", "text"]
MEMORY_KINDS = ("MemoryStored", "FailureTracked", "HandoffRecorded", "ProgressTracked")
_ABOUT_A_MEMORY = frozenset(("MemoryUpdated", "MemoryReinforced", "MemoryCompared", "MemorySuperseded"))
_KNOWLEDGE = frozenset((*MEMORY_KINDS, *_ABOUT_A_MEMORY, "MemoryRecalled", "MemoryPruned", "MemoryRestored"))
_FRAME = frozenset(
    ("SessionStarted", "AgentSpawned", "NativeSessionSeen", "AgentExited", "SessionEnded", "SignalSent")
)
"""What stays of a session that worked on other tasks too."""
_CONTENT = ("content", "error", "summary", "notes")
_SHORTEST_WORDS = 8
"""Words of a memory that are looked for elsewhere have at least so many characters."""
_CHECKED = 24
"""Texts of a task by which it is checked that nothing of it is left."""
_BATCH = 1000

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will go. `erased`: kinds of events by position; `retold`: what those say from then on that keep the rest."""

    what: What
    subject: int | None = None
    erased: dict[int, str] = field(default_factory=dict)
    retold: dict[int, Payload] = field(default_factory=dict)
    blobs: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()
    """Sessions whose folders go whole."""
    tasks: dict[int, str] = field(default_factory=dict)
    """Tasks that are no more afterwards: names by id."""
    needles: Needles = field(default_factory=Needles)

    @property
    def kinds(self) -> dict[str, int]:
        """How many events of each kind go or are retold."""
        return dict(Counter(kind for kind in self.erased.values() if kind != "Forgotten").most_common())


def plan_text(journal: Journal, blobs: Blobs, text: str, *, regex: bool = False) -> Plan:
    """Every occurrence of a text, or of what a regular expression matches. Raises UsageError."""
    if len(text.strip()) < SHORTEST_TEXT:
        raise UsageError(
            f"A text of less than {SHORTEST_TEXT} characters stands everywhere.", hint="Give more of it."
        )
    needles = Needles(regex=text) if regex else Needles([text])
    if needles.regex is not None and needles.regex.search(""):
        raise UsageError("The regular expression matches everything.", hint="Make it narrower.")
    plan = _worded(journal, blobs, needles, "text", None, set())
    if regex and any(len(match.strip()) < SHORTEST_TEXT for match in plan.needles.words):
        raise UsageError(
            f"The regular expression matches texts of less than {SHORTEST_TEXT} characters, which stand everywhere.",
            hint=f"Let it match {SHORTEST_TEXT} or more, as `\\d{{{SHORTEST_TEXT},}}` for `\\d+`.",
        )
    return plan


def plan_memory(
    journal: Journal, blobs: Blobs, memory: int, project: str, known: Needles | None = None
) -> Plan:
    """A memory of this project, or a global one, by its id; `known`: its words, once it is gone. Raises NotFound."""
    row = next(iter(journal.rows_after(memory - 1, 1)), None) if memory > 0 else None
    if row is None or row.position != memory or row.kind not in MEMORY_KINDS:
        raise NotFound(f"There is no memory {memory}.", hint="`engram recall` shows ids.")
    said = _Said(journal)
    payload = said.of(row)
    if known is None and row.project != project and (payload or {}).get("scope") != "global":
        raise NotFound(f"There is no memory {memory} in this project.", hint="Recall it to see its id.")
    gone, words = {memory}, set(_words_of(payload))
    for other in _rows(journal, memory):
        told = said.of(other)
        if told is not None and _concerns_memory(other, told, row, payload or {}):
            gone.add(other.position)
            words |= _words_of(told)
    needles = known or Needles({word for word in words if len(word) >= _SHORTEST_WORDS}, excerpts=True)
    return _worded(journal, blobs, needles, "memory", memory, gone)


def plan_task(journal: Journal, task: int) -> Plan:
    """A task and all that was done for it. Raises NotFound."""
    row = next(iter(journal.rows_after(task - 1, 1)), None) if task > 0 else None
    if row is None or row.position != task or row.kind != "TaskCreated":
        raise NotFound(f"There is no task {task}.", hint="See `engram tasks`.")
    said = _Said(journal)
    work = _Work.of(journal, said, task)
    erased: dict[int, str] = {}
    tasks: dict[int, str] = {}
    texts: set[str] = set()
    kept_blobs: set[str] = set()
    gone_blobs: set[str] = set()
    for row in _rows(journal):
        payload = said.of(row)
        if payload is None and row.payload is None and row.position != task:
            continue
        if row.kind != "Forgotten" and work.takes(row, payload or {}):
            erased[row.position] = row.kind
            if row.kind == "TaskCreated":
                tasks[row.position] = str((payload or {}).get("name", ""))
            for word in _strings(payload):
                if _is_digest(word):
                    gone_blobs.add(word)
                elif (
                    row.kind not in _FRAME and " " in word
                ):  # not folders and programs, which others name too
                    texts.add(word)
        else:
            kept_blobs.update(word for word in _strings(payload) if _is_digest(word))
    redone, retold = said.redone(erased, {})
    return Plan(
        what="task",
        subject=task,
        erased=erased | redone,
        retold=retold,
        blobs=frozenset(gone_blobs - kept_blobs),
        sessions=frozenset(work.alone),
        tasks=tasks,
        needles=Needles(_only_here(journal, said, texts, erased)),
    )


# --- words ----------------------------------------------------------------------------------------------


def _worded(
    journal: Journal, blobs: Blobs, needles: Needles, what: What, subject: int | None, gone: set[int]
) -> Plan:
    """The events that hold words, each with what it says without them; `gone` go whole."""
    said = _Said(journal)
    held = frozenset(digest for digest in blobs.digests() if _blob_holds(blobs, digest, needles))
    without_blobs = _Digests(held)
    erased: dict[int, str] = {}
    retold: dict[int, Payload] = {}
    tasks: dict[int, str] = {}
    found: set[str] = set()
    for row in _rows(journal):
        if row.kind == "Forgotten":
            continue
        if row.position in gone:
            if row.payload is not None or said.of(row) is not None:
                erased[row.position] = row.kind
            continue
        text = said.text_of(row)
        if text is None or not (needles.may_be_in(text) or without_blobs.may_be_in(text)):
            continue
        payload = msgspec.json.decode(text, type=Payload)
        cleaned = without_blobs.without(needles.without(payload))
        if cleaned == payload:
            continue
        found |= {match for word in _strings(payload) for match in needles.matches(word)}
        erased[row.position] = row.kind
        if _can_be_retold(row, cleaned):
            retold[row.position] = cleaned
        elif row.kind == "TaskCreated":
            tasks[row.position] = str(cleaned.get("name", ""))
    redone, carried = said.redone(erased, retold)
    if found:
        needles = Needles((*needles.words, *found), needles.regex.pattern if needles.regex else "")
    return Plan(
        what=what,
        subject=subject,
        erased=erased | redone,
        retold=carried,
        blobs=held,
        tasks=tasks,
        needles=needles,
    )


def _can_be_retold(row: Row, payload: Payload) -> bool:
    """Whether an event of its kind can say this (a word of a closed set may have gone), in one tombstone."""
    text = canonical(payload)
    return len(text) < PAYLOAD_BYTES * 3 // 4 and decode(row.kind, row.version, text.decode())[0] is not None


class _Digests:
    """Takes the names of erased blobs out of payloads."""

    def __init__(self, digests: frozenset[str]) -> None:
        self._digests = digests

    def may_be_in(self, payload: str) -> bool:
        return any(digest in payload for digest in self._digests)

    def without(self, value: Any) -> Any:
        if isinstance(value, str):
            return None if value in self._digests else value
        if isinstance(value, dict):
            return {key: self.without(part) for key, part in value.items()}
        return [self.without(part) for part in value] if isinstance(value, list) else value


def _blob_holds(blobs: Blobs, digest: str, needles: Needles) -> bool:
    try:
        return needles.is_in(blobs.get(digest))
    except StoreError:  # a damaged blob is nobody's evidence any more
        return True


def _words_of(payload: Payload | None) -> set[str]:
    return {str(payload[name]) for name in _CONTENT if (payload or {}).get(name)} if payload else set()


def _concerns_memory(row: Row, payload: Payload, origin: Row, first: Payload) -> bool:
    if row.kind in _ABOUT_A_MEMORY:
        return bool(payload.get("memory") == origin.position)
    if row.kind == origin.kind == "ProgressTracked":
        return row.project == origin.project and all(
            payload.get(name) == first.get(name) for name in ("user", "task", "feature")
        )
    return False


# --- tasks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    """What belongs to a task: sessions that worked on nothing else, spans of others, memories, executions."""

    task: int
    alone: set[str]
    spans: dict[str, list[tuple[int, int | None]]]
    """Position from which a session worked on which task."""
    owners: dict[int, int]
    """Tasks of memories and executions, by the ids of those."""

    @classmethod
    def of(cls, journal: Journal, said: _Said, task: int) -> _Work:
        spans: dict[str, list[tuple[int, int | None]]] = {}
        owners: dict[int, int] = {}
        named: dict[str, set[int]] = {}
        for row in _rows(journal):
            payload = said.of(row) or {}
            if row.kind == "TaskAttached" and row.session is not None:
                spans.setdefault(row.session, []).append((row.position, payload.get("task")))
            elif row.kind in (*MEMORY_KINDS, "ExecutionStarted") and payload.get("task") is not None:
                owners[row.position] = payload["task"]
            about = _task_named(row, payload, owners)
            if row.session is not None and about is not None:
                named.setdefault(row.session, set()).add(about)
        spans = {session: at for session, at in spans.items() if any(of == task for _, of in at)}
        alone = {session for session in spans if named.get(session) == {task}}
        return cls(task, alone, spans, owners)

    def takes(self, row: Row, payload: Payload) -> bool:
        """Whether an event goes with the task; one that names another task never does."""
        about = _task_named(row, payload, self.owners)
        if about is not None:
            return about == self.task
        if row.session is None or row.session not in self.spans or row.kind in _KNOWLEDGE:
            return False
        if row.session in self.alone:
            return True
        return "task" not in payload and row.kind not in _FRAME and self._at(row) == self.task

    def _at(self, row: Row) -> int | None:
        """The task a session worked on at an event: what came before the first one led to it."""
        current = self.spans[row.session or ""][0][1]
        for position, task in self.spans[row.session or ""]:
            if position > row.position:
                break
            current = task
        return current


def _task_named(row: Row, payload: Payload, owners: dict[int, int]) -> int | None:
    """The task that an event is about by its own words; a task's creation is about that task, not about its parent."""
    if row.kind == "TaskCreated":
        return row.position
    named: int | None = payload.get("task")
    for thing in ("memory", "execution"):
        if named is None and payload.get(thing) is not None:
            named = owners.get(payload[thing])
    return named


def _only_here(journal: Journal, said: _Said, texts: set[str], erased: dict[int, str]) -> list[str]:
    """Some of a task's longer texts, that nothing else says: by them it is checked whether anything is left."""
    sought = sorted((text for text in texts if 16 <= len(text) <= 2000), key=lambda text: (-len(text), text))[
        :_CHECKED
    ]
    written = {text: canonical(text).decode()[1:-1] for text in sought}
    for row in _rows(journal):
        if row.position in erased or row.kind == "Forgotten" or not written:
            continue
        payload = said.text_of(row) or ""
        header = f"{row.project} {row.session}"
        written = {text: form for text, form in written.items() if form not in payload and text not in header}
    return list(written)


# --- the journal ----------------------------------------------------------------------------------------


class _Said:
    """What events say now: as they were written, or as they were retold."""

    def __init__(self, journal: Journal) -> None:
        self._tombstones: dict[int, Forgotten] = {}
        self._retold: dict[int, Payload] = {}
        for at in journal.read_after(0, 1 << 60, kinds=("Forgotten",)):
            if isinstance(at.event, Forgotten):
                self._tombstones[at.position] = at.event
                self._retold.update((told.position, told.payload) for told in at.event.retold)

    def text_of(self, row: Row) -> str | None:
        """An event's payload as JSON; None for one that was erased whole."""
        if row.payload is not None:
            return row.payload
        told = self._retold.get(row.position)
        return None if told is None else canonical(told).decode("utf-8")

    def of(self, row: Row) -> Payload | None:
        """An event's payload."""
        if row.payload is None:
            return self._retold.get(row.position)
        payload = msgspec.json.decode(row.payload)
        return payload if isinstance(payload, dict) else None

    def redone(
        self, erased: dict[int, str], retold: dict[int, Payload]
    ) -> tuple[dict[int, str], dict[int, Payload]]:
        """Earlier tombstones that tell of events which are erased now; and all that is to be retold instead."""
        stale = {
            position
            for position, stone in self._tombstones.items()
            if any(told.position in erased for told in stone.retold)
        }
        carried = {
            told.position: told.payload
            for position in sorted(stale)
            for told in self._tombstones[position].retold
            if told.position not in erased
        }
        return dict.fromkeys(stale, "Forgotten"), carried | retold


def _rows(journal: Journal, after: int = 0) -> Iterator[Row]:
    """Every event, as it is kept."""
    while rows := journal.rows_after(after, _BATCH):
        yield from rows
        after = rows[-1].position


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def _is_digest(word: str) -> bool:
    return len(word) == 64 and not word.strip("0123456789abcdef")


def ranges(positions: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Positions as runs: first and last of each."""
    found: list[list[int]] = []
    for position in sorted(positions):
        if found and position == found[-1][1] + 1:
            found[-1][1] = position
        else:
            found.append([position, position])
    return tuple((first, last) for first, last in found)
