"""Whether two statements say the same, the opposite, or an older and a newer state of one thing.

Cosine alone cannot tell: MiniLM puts contradictions (median .94) above paraphrases (.86). So the parts of the two
texts are compared: what is left over on either side once equal parts are matched decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engram_runtime.memory.comparing import (
    Compared,
    compare,
    in_another_place,
    is_qualified,
    low,
    match,
    named,
    other_object,
    other_values,
    words,
)
from engram_runtime.memory.statement import Token, parse
from engram_runtime.memory.vocabulary import CHANGES

Relation = Literal["distinct", "same", "opposite", "changed"]

SEARCH_COSINE = 0.35
"""Texts less alike are not compared further."""
SUBJECT_COSINE = 0.55
"""Statements of one subject: update pairs go from .58 up."""
SAME_COSINE = 0.68
"""Paraphrases whose words are all matched on one side."""
PARAPHRASE_COSINE = 0.72
"""Paraphrases with unmatched words on both sides."""
FRAME_COSINE = 0.93
"""Where one word stands in another's place: only then still the same."""
VERSIONS_COSINE = 0.35
"""Notes that give several names other values."""
NOTE_COSINE = 0.40
"""Notes that open with a change of something the older names, by an identifier or by several words."""
WORD_COSINE = 0.45
"""The same, where one plain word is shared."""

_CODE_NAME = re.compile(r"[_.]|::")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a newer text relates to an older one, and why in words. `adds`: the newer says something more."""

    relation: Relation
    why: str = ""
    adds: bool = False
    lacks: bool = False
    """The older one says more than the newer adds."""
    alone: bool = False
    """Holds for the nearest of the older texts only: a change is seldom one of several notes at once."""


DISTINCT = Judgement("distinct")


def normalised(text: str) -> str:
    """The text with single spaces, without marks at its end, its first letter small: equal ones say the same."""
    plain = _SPACE.sub(" ", text).strip().rstrip(".!;, ")
    # An acronym or identifier at the start keeps its case.
    return plain[:1].lower() + plain[1:] if plain[1:2].islower() or plain[1:2] == " " else plain


def judge(older: str, newer: str, cosine: float) -> Judgement:
    """Compares two texts of one scope. A pure function; `cosine` is that of their sentence vectors."""
    if normalised(older) == normalised(newer):
        return Judgement("same", "the same words")
    old, new = parse(older), parse(newer)
    if old.is_episode or new.is_episode or cosine < SEARCH_COSINE:
        return DISTINCT
    compared = compare(old, new, cosine)
    may_be_note = (
        compared.changes or old.is_long or new.is_long or old.assigned().keys() & new.assigned().keys()
    )
    if compared.other_subject and not may_be_note:
        return DISTINCT
    if old.is_long or new.is_long:
        return _notes(compared)
    found = _statements(compared)
    if found.relation != "distinct" or (in_another_place(compared) and not compared.changes):
        return found
    return _notes(compared)


@dataclass(frozen=True, slots=True)
class Marks:
    """What of a text tells at a glance that another does not say the same: its values and names."""

    whole: str
    values: frozenset[str]
    names: frozenset[str]
    compares: bool
    """One statement, not a note of several and not a record of an occasion."""


def marks(text: str) -> Marks:
    """The marks of a text."""
    found = parse(text)
    return Marks(
        whole=normalised(text) if found.is_long else "",
        values=frozenset(token.key for token in found.content if token.kind == "value"),
        names=frozenset(token.key for token in found.content if token.kind in ("name", "identifier")),
        compares=not (found.is_long or found.is_episode),
    )


def may_restate(one: Marks, other: Marks) -> bool:
    """Whether it is worth asking `judge` if two texts say the same."""
    if not (one.compares and other.compares):
        return bool(one.whole) and one.whole == other.whole
    return _nested(one.values, other.values) and _nested(one.names, other.names)


def _nested(one: frozenset[str], other: frozenset[str]) -> bool:
    return one <= other or other <= one


def _statements(c: Compared) -> Judgement:
    """Two short statements."""
    if c.other_subject or c.cover < 0.5 or not c.matched or c.cosine < SUBJECT_COSINE:
        return DISTINCT
    if len(c.opposed) % 2 and c.cover >= 0.6 and not (c.replaced and c.cosine < FRAME_COSINE):
        return Judgement("opposite", f"the opposite: {', '.join(c.opposed)}", adds=True)
    other = other_values(c)
    if other and c.cover >= 0.6 and not is_qualified(c):
        return Judgement("changed", other, adds=True)
    if c.changes:
        return Judgement("changed", f"changed: {', '.join(c.changes)}", adds=True)
    slot = "" if other and in_another_place(c) else other_object(c)
    if slot:
        return Judgement("changed", slot, adds=True)
    return DISTINCT if other or c.opposed else _sameness(c)


def _sameness(c: Compared) -> Judgement:
    old, new = words(c.old_left), words(c.new_left)
    both = bool(old) and bool(new)
    if named(c.old_left) and named(c.new_left):
        return DISTINCT
    if len(old) < len(c.old_left) and len(new) < len(c.new_left):
        return DISTINCT
    if both and max(c.old.sentences, c.new.sentences) > 1:
        return DISTINCT
    needed = FRAME_COSINE if c.replaced else PARAPHRASE_COSINE if both else SAME_COSINE
    if c.cosine < needed or c.cover < (0.5 if both else 0.75):
        return DISTINCT
    adds = bool(c.new_left)
    return Judgement("same", "says the same", adds=adds, lacks=adds and len(c.old_left) > len(c.new_left))


def _notes(c: Compared) -> Judgement:
    """Notes of several statements, or statements that share little but their subject.

    Narratives speak of changes too ("the task now opens its own session"), so the newer text must begin with it.
    """
    was, now = c.old.assigned(), c.new.assigned()
    moved = [name for name in now if name in was and was[name] != now[name]]
    if len(moved) > 1 and c.cosine >= VERSIONS_COSINE:
        return Judgement("changed", f"other values: {', '.join(moved[:3])}", adds=True, alone=True)
    if c.cosine < NOTE_COSINE:
        return DISTINCT
    lead = [token for token in c.new.tokens if token.at < c.new.lead]
    for name in moved:
        known = _CODE_NAME.search(name) or any(t.key == name and t.at < c.old.lead for t in c.old.tokens)
        if known and any(token.key == name for token in lead[:6]):
            return Judgement("changed", f"{name}: {was[name]} became {now[name]}", adds=True, alone=True)
    return _led_by_change(c, lead)


def _led_by_change(c: Compared, lead: list[Token]) -> Judgement:
    """The newer text's first clause says that something both speak of is no longer as it was."""
    words = set(c.changes) | {phrase.split()[0] for phrase in c.changes}
    marks = [token.at for token in lead if low(token) in words]
    if not marks:
        return DISTINCT
    end = max(marks) if max(marks) > min(t.at for t in c.new.content) else c.new.lead
    head = [t for t in c.new.content if t.at < end and t.kind != "value" and low(t) not in CHANGES]
    known = [token for token in head if token.at in c.back]
    if not known or len(known) * 2 < len(head):
        return DISTINCT
    firm = len(known) > 1 or known[0].kind == "identifier"
    if c.cosine < (NOTE_COSINE if firm else WORD_COSINE):
        return DISTINCT
    return Judgement("changed", f"changed: {', '.join(c.changes)}", adds=True, alone=True)


def likeness(one: str, other: str) -> float:
    """Share of their words that two texts have in common, 0..1: stands for the cosine where there is no model.

    Values do not count: a cosine is hardly moved by them.
    """
    old, new = words(parse(one).content), words(parse(other).content)
    if not old or not new:
        return 0.0
    return 2 * len(match(old, new)) / (len(old) + len(new))


def names(text: str) -> list[str]:
    """The identifiers of a text that are worth looking up: nothing else names the same thing so surely."""
    found = dict.fromkeys(token.key for token in parse(text).content if token.kind == "identifier")
    return [name for name in found if _CODE_NAME.search(name) and len(name) < 60][:4]
