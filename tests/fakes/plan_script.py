"""A scripted model that follows a plan, and does every step again unless it was told that the step is done.

    plan = PlanScript(
        Step("write", Reply.call("Bash", command="make one"), done_when=tool_said("Bash", "one made")),
        Step("review", review, done_when=was_told("review: completed")),
    )

So after a kill the model redoes whatever its new session does not tell it about: what really happened to
files shows whether the briefing worked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.fakes.llm_dialogue import Reply, Request, Script

Predicate = Callable[[Request], bool]

DEFAULT_SUMMARY: Final = (
    "<analysis>All of it.</analysis>\n<summary>The user asked for work; it goes on.</summary>"
)
STUCK_AFTER: Final = 8
"""So many times in a row a step is tried before the model gives up: a test then ends instead of looping."""


def was_told(text: str) -> Predicate:
    """Somebody other than the model said it: briefing, prompt, reminder or tool result."""
    return lambda request: request.told(text)


def tool_said(tool: str, text: str = "") -> Predicate:
    """A result of this tool in the history contains the text (and was no error)."""
    return lambda request: any(
        result.name == tool and text in result.text and not result.is_error
        for result in request.tool_results()
    )


def any_of(*predicates: Predicate) -> Predicate:
    """One of them holds."""
    return lambda request: any(predicate(request) for predicate in predicates)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan: what to do, and how the model can tell that it is done."""

    name: str
    action: Reply | Script
    done_when: Predicate


def answer_side_request(request: Request) -> Reply:
    """The usual answer to what is no turn of the main conversation: titles, compaction, sub-agents."""
    return Reply.say(DEFAULT_SUMMARY if request.is_summary else "Done.")


class PlanScript:
    """Takes the first step that is not done yet; says `finish` when all are. Thread-safe."""

    def __init__(
        self,
        *steps: Step,
        finish: Reply | Script = Reply(text="All steps are done."),  # noqa: B008  (frozen)
        side: Script = answer_side_request,
    ) -> None:
        self.steps = steps
        self._finish = finish
        self._side = side
        self._lock = threading.Lock()
        self._taken: list[str] = []

    @property
    def taken(self) -> tuple[str, ...]:
        """The names of the steps the model took, in order, repeats included."""
        with self._lock:
            return tuple(self._taken)

    def __call__(self, request: Request) -> Reply:
        """The model's next step."""
        if not request.is_main:
            return self._side(request)
        for step in self.steps:
            if not step.done_when(request):
                return self._take(step, request)
        return _resolve(self._finish, request)

    def _take(self, step: Step, request: Request) -> Reply:
        with self._lock:
            self._taken.append(step.name)
            last = self._taken[-STUCK_AFTER - 1 :]
        if len(last) > STUCK_AFTER and set(last) == {step.name}:
            return Reply.say(f"I give up: step {step.name!r} is not done after {STUCK_AFTER} tries.")
        return _resolve(step.action, request)


def _resolve(action: Reply | Script, request: Request) -> Reply:
    return action if isinstance(action, Reply) else action(request)
