"""What a rule by form is made of: a pattern, what the secret in it must be, and the substrings that call for a look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from engram_runtime.redaction.spans import SHORTEST, Span
from engram_runtime.redaction.values import Place, is_placeholder, looks_random, looks_secret

_TYPED = Place(quoted=False, tight=True, env=True, after="", alone=False)


class Form(NamedTuple):
    """A rule: `pattern` holds the secret in its group `secret` (the whole of it without such a group)."""

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool]
    hints: tuple[str, ...]
    """In lower case; a text without any of them is not searched."""


def form(kind: str, pattern: str, check: Callable[[str], bool], *hints: str) -> Form:
    """A rule with its pattern compiled. Repetitions in it are bounded, so that time stays proportional to the text."""
    return Form(kind, re.compile(pattern), check, hints)


def found_by(forms: tuple[Form, ...], text: str, low: str) -> Iterator[Span]:
    """Secrets that rules find; `low` is the text in lower case."""
    for rule in forms:
        if not any(hint in low for hint in rule.hints):
            continue
        group = "secret" if "secret" in rule.pattern.groupindex else 0
        for found in rule.pattern.finditer(text):
            if found[group] and rule.check(found[group]):
                yield Span(found.start(group), found.end(group), rule.kind)


def any_value(value: str) -> bool:
    """Not a placeholder, and not too short."""
    return len(value) >= SHORTEST and not is_placeholder(value)


def short_value(value: str) -> bool:
    """Not a placeholder: where a form leaves no doubt, a short password is one too."""
    return len(value) >= 3 and not is_placeholder(value)


def typed(value: str) -> bool:
    """A password on a command line: anything but prose and references."""
    return looks_secret(value, "password", _TYPED)


def random(value: str) -> bool:
    """Nobody would have typed it."""
    return looks_random(value) and not is_placeholder(value)


def opaque(value: str) -> bool:
    """A credential after the name of its scheme: it has a digit, or both cases inside."""
    if len(value) < 12 or is_placeholder(value):
        return False
    if any(map(str.isdigit, value)):
        return True
    return value.isalnum() and not value.islower() and not value.istitle()


def spoken(value: str) -> bool:
    """A password told in a sentence: letters with digits."""
    return any_value(value) and any(map(str.isdigit, value)) and any(map(str.isalpha, value))
