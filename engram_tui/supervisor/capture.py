"""Knowledge that nobody had to store: failures with the fix that was seen, and decisions the user stated.

A failure counts as fixed when the very command that failed passes after the agent edited something: a pass without an
edit is a flaky test, and tells nothing. All of it is marked as observed, of low importance, and rare.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from engram_runtime.continuity.inert import inert_line
from engram_runtime.continuity.known_failures import signature
from engram_runtime.redaction import head, redact
from engram_tui.watch import observations as ob

MOST_AN_HOUR = 10
MOST_FAILING = 50
MOST_EDITS = 6
ERROR_CHARACTERS = 800
FIX_CHARACTERS = 400
DECISION_CHARACTERS = 300
_EDIT_CHARACTERS = 140

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_DECISION = re.compile(
    r"(?i)^(?:please\s+|and\s+|but\s+|note:?\s+|also,?\s+|so,?\s+)?(?:"
    r"always\s+\w|never\s+\w|from now on\b|(?:do not|don'?t) ever\b|remember (?:that|to)\b|"
    r"we (?:always|never|use|only use|don'?t use|do not use|prefer|want to keep|agreed|decided)\b|"
    r"(?:our|the) (?:convention|policy|rule|style) is\b|in this (?:project|repo|repository|codebase),?\s|"
    r"(?:i|we) (?:always )?prefer\s|prefer\s+.{3,80}\b(?:over|to|instead of|rather than)\s|"
    r"use\s+.{2,80}\b(?:instead of|rather than|, not)\s)"
)
_OF_THE_MOMENT = re.compile(
    r"(?i)^\W*(?:always|never)\s+"
    r"(?:the same|mind|returns|returned|throws|threw|seen|happen\w*|gets?|got|works?|worked|shows?|had|was|is)\b|"
    r"^we never (?:got|had|saw|managed|tried|were)\b|^we decided (?:nothing|not yet)\b|"
    r", find\b|\b(?:this (?:time|change|task|one|fix|commit|function|file|test)|"
    r"right now|for now|today|yet|when (?:you.re )?done|"
    r"wrong|broken|breaks?|fails?|failing|failed|bugs?|(?:an|the|that|same) error|crash\w*|look (?:at|into)|"
    r"where (?:is|are|does)|why|the (?:first|second|other) \w+|writing a new)\b"
)
"""Of the work at hand: what holds for this change alone, a complaint, a request."""
_CHANGING = re.compile(
    r"(?:^|&&|;|\|)\s*(?:sudo\s+|\w+=\S+\s+)*(?:"
    r"(?:\S*python\S*\s+-m\s+|\S*/)?"
    r"(?:pip\S*|uv|uv pip|poetry|npm|pnpm|yarn|bun|cargo|go|gem|bundle|composer|apt|apt-get|brew)"
    r"\s+(?:install|add|i|ci|update|upgrade|get|sync|mod)\b|"
    r"sed\s+(?:-\S+\s+)*-\S*i|perl\s+-\S*i|patch\b|"
    r"git\s+(?:apply|checkout|restore|revert|reset|stash|cherry-pick|submodule)\b|"
    r"mv\b|cp\b|rm\b|ln\b|mkdir\b|chmod\b|chown\b|docker(?:-| )compose\s+up|docker\s+(?:start|run)\b|"
    r"systemctl\s+(?:re)?start|\S*(?:migrate|codegen|generate)\b|tee\b)|(?:^|[\s\d&])>{1,2}\s*(?!/dev/(?:null|std|fd|tty)|&)[\w./~$]"
)
_QUOTED = re.compile(
    r"<<-?\s*['\"]?(\w+)['\"]?\s.*?(?:\s\1(?=\s|$)|$)|'[^']*'|\"(?:[^\"\\]|\\.)*\"|\[\[.*?\]\]", re.DOTALL
)
"""What a shell takes as text, in which a word or a `>` changes nothing."""
"""Commands that change something, by which a failure may be mended as by an edit."""
_QUESTION = re.compile(r"\?\s*$")


@dataclass(frozen=True, slots=True)
class FixedFailure:
    """A command failed, files were edited, the command passed."""

    command: str
    error: str
    fix: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the user stated to hold from now on, in the user's words."""

    text: str


@dataclass(slots=True)
class _Failing:
    error: str
    edits: list[str] = field(default_factory=list)


class Capture:
    """Follows one session's observations. `found` hears of each thing worth keeping, at most `MOST_AN_HOUR` times.

    `clock` is monotonic seconds.
    """

    def __init__(
        self, found: Callable[[FixedFailure | Decision], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._found = found
        self._clock = clock
        self._calls: OrderedDict[str, ob.ToolBegan] = OrderedDict()
        self._failing: OrderedDict[str, _Failing] = OrderedDict()
        self._kept: deque[float] = deque(maxlen=MOST_AN_HOUR)

    def saw(self, observation: ob.Observation) -> None:
        """Take in what the session did; each observation once."""
        if isinstance(observation, ob.ToolBegan):
            self._calls[observation.call_id] = observation
            while len(self._calls) > 1000:
                self._calls.popitem(last=False)
        elif isinstance(observation, ob.ToolEnded):
            began = self._calls.pop(observation.call_id, None)
            if began is not None:
                self._ended(began, observation)
        elif isinstance(observation, ob.Prompted):
            for text in decisions(observation.text):
                self._keep(Decision(text))

    def _ended(self, began: ob.ToolBegan, ended: ob.ToolEnded) -> None:
        if began.command:
            self._command_ended(_named(began.command), ended)
        elif began.paths and ended.ok:
            self._changed(_edit(began))

    def _changed(self, what: str) -> None:
        for failing in self._failing.values():
            if what not in failing.edits and len(failing.edits) < MOST_EDITS:
                failing.edits.append(what)

    def _command_ended(self, command: str, ended: ob.ToolEnded) -> None:
        if ended.ok and command not in self._failing and _changes_something(command):
            self._changed(f"ran `{inert_line(command, _EDIT_CHARACTERS)}`")
        if not ended.ok:
            if not signature(ended.error):
                return  # an exit code alone would match everything
            before = self._failing.pop(command, None)
            # What was tried between two failures of the same kind is part of the way to the fix.
            edits = before.edits if before and signature(before.error) & signature(ended.error) else []
            self._failing[command] = _Failing(ended.error, edits)
            while len(self._failing) > MOST_FAILING:
                self._failing.popitem(last=False)
            return
        failing = self._failing.pop(command, None)
        if failing is not None and failing.edits:
            fix = inert_line("; ".join(failing.edits), FIX_CHARACTERS)
            self._keep(FixedFailure(command, head(failing.error, ERROR_CHARACTERS), fix))

    def _keep(self, found: FixedFailure | Decision) -> None:
        now = self._clock()
        if len(self._kept) == MOST_AN_HOUR and now - self._kept[0] < 3600:
            return
        self._kept.append(now)
        self._found(found)


def decisions(prompt: str) -> list[str]:
    """Sentences of a prompt that state what is to hold from now on; conservative: none is better than a wrong one."""
    found = []
    for sentence in _SENTENCE.split(prompt[:8000]):
        text = sentence.strip(" \t-*•>")
        words = len(text.split())
        short = 3 <= words <= 45 and len(text) <= DECISION_CHARACTERS
        if short and _DECISION.match(text) and not _QUESTION.search(text) and not _OF_THE_MOMENT.search(text):
            found.append(text)
    return found[:3]


def _named(command: str) -> str:
    """A command by which it is known again: without the change of folder before it and the layout."""
    plain = " ".join(command.split())
    # Before anything is cut off: half a secret is not recognised as one.
    return redact(re.sub(r"^cd \S+ && ", "", plain))[:300]


def _changes_something(command: str) -> bool:
    return _CHANGING.search(_QUOTED.sub('""', command)) is not None


def _edit(began: ob.ToolBegan) -> str:
    names = ", ".join(path.rpartition("/")[2] for path in began.paths)
    change = inert_line(redact(began.change), _EDIT_CHARACTERS)
    return f"edited {names}: {change}" if change else f"edited {names}"
