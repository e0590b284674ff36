"""From observations to events: each fact recorded once, whichever channel told it first, and the live state kept.

Hooks and transcript tell the same story twice; tool calls are matched by their id, prompts and turns by
their text.
"""

from __future__ import annotations

import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from engram_runtime.journal import events as ev
from engram_runtime.journal.records import ConditionKind, ContextFill, FileChange
from engram_runtime.redaction import head
from engram_runtime.structs import built
from engram_tui.supervisor.states import SessionState, State
from engram_tui.watch import observations as ob

PROMPT_LENGTH = 4000
REMEMBERED_CALLS = 5000
CONTEXT_STEP = 0.01
API_CONDITIONS: tuple[ConditionKind, ...] = ("rate_limit", "overloaded", "overflow", "auth", "api_error")
FILES_IN_EVENT = 500
"""An event has a bounded size."""


@dataclass(slots=True)
class Live:
    """What is true of the session now (nothing here is durable; the journal is)."""

    state: SessionState
    native: ob.NativeSession | None = None
    native_end: ob.NativeEnded | None = None
    prompts: int = 0
    turns: int = 0
    first_prompt: str = ""
    last_failure: ob.TurnFailed | None = None
    conditions: dict[ConditionKind, tuple[float, str]] = field(default_factory=dict)
    context: ContextFill | None = None
    tokens_out: int = 0
    running: dict[str, ob.ToolBegan] = field(default_factory=dict)
    last_output: float = 0.0
    last_sign: float = 0.0
    """Monotonic time of the last hook or transcript line."""


class Intake:
    """Takes observations in, posts events, keeps `live`. `on_moment` hears of what may call for a checkpoint.

    `own_prompt` is what Engram itself submits first (on resume): it is no word of the user.
    """

    def __init__(
        self,
        live: Live,
        post: Callable[..., None],
        on_moment: Callable[[ob.Observation], None],
        own_prompt: str = "",
    ) -> None:
        self.live = live
        self._post = post
        self._on_moment = on_moment
        self._own_prompt = " ".join(own_prompt.split())
        self._told: dict[str, Counter[tuple[str, str]]] = {"hook": Counter(), "transcript": Counter()}
        self._calls: OrderedDict[str, str] = OrderedDict()
        self._recorded_fill = 0
        self._waits_for = ""
        self._failed_at = 0.0
        self._remembered = REMEMBERED_CALLS

    def known(self, prompts: Iterable[str], began: Iterable[str], ended: Iterable[str]) -> None:
        """What the journal has already (when a lost session's transcript is read again from its start)."""
        self._told["hook"].update(("prompt", " ".join(p.split())) for p in prompts)
        self._remembered = max(REMEMBERED_CALLS, 10_000_000)
        for call_id in began:
            self._seen(f"began:{call_id}", call_id)
        for call_id in ended:
            self._seen(f"ended:{call_id}", call_id)

    def take(self, observations: Iterable[ob.Observation]) -> None:
        """Record what is new in these observations."""
        for seen in observations:
            observation = _encodable(seen)
            handler = getattr(self, f"_{type(observation).__name__}", None)
            self.live.last_sign = time.monotonic()
            if handler is not None and handler(observation) is not False:
                self._on_moment(observation)

    def move(self, state: State) -> None:
        """Move the live state."""
        self.live.state.move(state, time.monotonic(), time.time())

    # each handler returns False when the observation told nothing new

    def _NativeSession(self, o: ob.NativeSession) -> None:
        self.live.native = o
        self._post(
            ev.NativeSessionSeen(native_id=o.native_id, transcript_path=o.transcript_path, source=o.source)
        )
        if self.live.state.state == "starting":
            self.move("idle")

    def _Prompted(self, o: ob.Prompted) -> bool:
        if self._told_before(o, "prompt", o.text) or not o.text.strip():
            return False
        self.move("busy")
        self.live.prompts += 1
        self.live.first_prompt = self.live.first_prompt or head(o.text, PROMPT_LENGTH)
        self._clear("waiting")
        by: Literal["user", "engram"] = "engram" if self._is_own(o.text) else "user"
        self._post(ev.PromptSubmitted(text=head(o.text, PROMPT_LENGTH), by=by))
        return True

    def _is_own(self, text: str) -> bool:
        """Whether the session's first prompt is the one Engram submits; the same words later are the user's."""
        own, self._own_prompt = self._own_prompt, ""
        return own != "" and " ".join(text.split()) == own

    def _ToolBegan(self, o: ob.ToolBegan) -> bool:
        if self._seen(f"began:{o.call_id}", o.call_id):
            return False
        if f"ended:{o.call_id}" not in self._calls:
            self.live.running[o.call_id] = o
        self._clear("waiting", "stalled")
        self._answered(o.at)
        self.move("busy")
        self._post(ev.ToolStarted(tool=o.tool, call_id=o.call_id, summary=o.summary, paths=o.paths))
        return True

    def _ToolEnded(self, o: ob.ToolEnded) -> bool:
        if self._seen(f"ended:{o.call_id}", o.call_id):
            return False
        self.live.running.pop(o.call_id, None)
        self._clear("stalled")
        if not self.live.running or o.call_id == self._waits_for:
            self._clear("waiting")
            if self.live.state.state == "waiting":
                self.move("busy")
        self._post(
            ev.ToolFinished(
                tool=o.tool,
                call_id=o.call_id,
                summary=o.summary,
                paths=o.paths,
                ok=o.ok,
                error=o.error,
                output=o.output,
                duration_ms=o.duration_ms,
            )
        )
        return True

    def _PlanSeen(self, o: ob.PlanSeen) -> None:
        self._post(ev.PlanObserved(items=o.items))

    def _TurnEnded(self, o: ob.TurnEnded) -> bool:
        if self._told_before(o, "turn", o.text):
            return False
        self.live.turns += 1
        self.live.last_failure = None
        self.live.running.clear()
        self._clear(*self.live.conditions)
        self.move("idle")
        self._post(ev.TurnFinished(text=o.text))
        return True

    def _TurnInterrupted(self, o: ob.TurnInterrupted) -> None:
        self.live.running.clear()
        self._clear("waiting", "stalled")
        self.move("idle")
        self._post(ev.TurnFinished())

    def _TurnFailed(self, o: ob.TurnFailed) -> bool:
        if self._told_before(o, "failure", o.condition):
            return False
        self.live.last_failure = o
        self._failed_at = time.time()
        self.move("limited" if o.condition in ("rate_limit", "overloaded") else "idle")
        return self._raise(o.condition, o.text)

    def _Retrying(self, o: ob.Retrying) -> bool:
        return self._raise(o.condition, o.text)

    def _Waiting(self, o: ob.Waiting) -> bool:
        self.move("waiting")
        self._waits_for = next(reversed(self.live.running), "")
        return self._raise("waiting", o.text)

    def _ContextSeen(self, o: ob.ContextSeen) -> bool:
        self._answered(o.at)
        self.live.context = ContextFill(used=o.used, window=o.window)
        self.live.tokens_out += o.tokens_out
        step = max(1, int((o.window or 200_000) * CONTEXT_STEP))
        if self._recorded_fill and abs(o.used - self._recorded_fill) < step:
            return False
        self._recorded_fill = o.used
        self._post(ev.ContextMeasured(fill=self.live.context))
        return True

    def _CompactionBegan(self, o: ob.CompactionBegan) -> None:
        self._post(ev.CompactionStarted(trigger=o.trigger))

    def _CompactionEnded(self, o: ob.CompactionEnded) -> bool:
        key = "transcript" if o.channel == "transcript" else "hook"
        if key == "hook":
            return False
        self._post(
            ev.CompactionFinished(
                trigger=o.trigger, tokens_before=o.tokens_before, tokens_after=o.tokens_after
            )
        )
        return True

    def _NativeEnded(self, o: ob.NativeEnded) -> None:
        self.live.native_end = o

    def files(self, changes: tuple[FileChange, ...]) -> None:
        """Record a batch of attributed changes."""
        for start in range(0, len(changes), FILES_IN_EVENT):
            self._post(ev.FilesObserved(changes=changes[start : start + FILES_IN_EVENT]))

    def stalled(self, text: str) -> bool:
        """Raise `stalled`: nothing has been heard of the agent for too long."""
        self.move("stalled")
        return self._raise("stalled", text)

    def revived(self) -> None:
        """A sign of life after all: `stalled` is over."""
        if self.live.state.state == "stalled":
            self.move("busy")
        self._clear("stalled")

    def _answered(self, at: float) -> None:
        """The API answered at that time (0: now): what it refused before then is over.

        A transcript tells late: an answer of the turn before must not clear the refusal of this one.
        """
        when = at or time.time()
        raised = self.live.conditions
        self._clear(*(kind for kind in API_CONDITIONS if kind in raised and raised[kind][0] < when))
        if self._failed_at < when:
            self.live.last_failure = None

    def _raise(self, kind: ConditionKind, text: str) -> bool:
        if kind in self.live.conditions:
            return False
        self.live.conditions[kind] = (time.time(), text)
        self._post(ev.ConditionRaised(condition=kind, evidence=head(text, 500)))
        return True

    def _clear(self, *kinds: ConditionKind) -> None:
        for kind in kinds:
            if self.live.conditions.pop(kind, None) is not None:
                self._post(ev.ConditionCleared(condition=kind))

    def _told_before(self, o: ob.Observation, kind: str, text: str) -> bool:
        """Whether the other channel told of it already: its n-th time there is the n-th time here."""
        channel = o.channel if o.channel in self._told else "hook"
        other = self._told["transcript" if channel == "hook" else "hook"]
        key = (kind, " ".join(text.split()))
        self._told[channel][key] += 1
        return self._told[channel][key] <= other[key]

    def _seen(self, key: str, call_id: str) -> bool:
        if not call_id:
            return False
        if key in self._calls:
            return True
        self._calls[key] = call_id
        while len(self._calls) > self._remembered:
            self._calls.popitem(last=False)
        return False


def _encodable(observation: ob.Observation) -> ob.Observation:
    """The observation, or one that can be encoded: agents cut texts in the middle of an emoji, which leaves half a
    surrogate pair that neither the journal nor the wire to a UI has bytes for.
    """
    try:
        msgspec.msgpack.encode(observation)
    except UnicodeEncodeError:
        plain = json.dumps(msgspec.to_builtins(observation), ensure_ascii=False)
        return msgspec.json.decode(plain.encode("utf-8", "replace"), type=built(type(observation)))
    return observation
