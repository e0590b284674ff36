"""Two statements side by side: which parts are the same, which are left over, what is opposed."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from engram_runtime.memory.statement import Statement, Token, parts_of
from engram_runtime.memory.vocabulary import (
    ANCHORS,
    ARTICLES,
    CHANGE_PHRASES,
    CHANGES,
    COMPARING,
    GRAMMAR,
    NEGATING_PREFIXES,
    PLACING,
    POLE_OF,
    SINGLE,
    STATIVE,
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Two texts beside each other: `matched` words stand in both, the others are left over on either side.

    `cosine` is that of their sentence vectors; `opposed` and `changes` say in words what contradicts and what speaks of
    a change; `back` are places of the newer text that were matched by being opposite; `replaced`: one word stands in
    another's place; `other_subject`: they speak of different things.
    """

    old: Statement
    new: Statement
    cosine: float
    matched: int
    old_left: tuple[Token, ...]
    new_left: tuple[Token, ...]
    opposed: tuple[str, ...]
    changes: tuple[str, ...]
    back: frozenset[int]
    replaced: bool
    other_subject: bool

    @property
    def cover(self) -> float:
        """Share of the shorter text's words that the other has too."""
        shorter = min(self.matched + len(words(self.old_left)), self.matched + len(words(self.new_left)))
        return self.matched / shorter if shorter else 1.0


def compare(old: Statement, new: Statement, cosine: float) -> Compared:
    """Matches the parts of an older and a newer text. A pure function; `cosine` is -1 to 1."""
    pairs = match(old.content, new.content)
    is_note = old.is_long or new.is_long
    opposed = [] if is_note else _opposed(old, new, pairs)
    gone = {token.at for pair in opposed for token in pair[1:2] if isinstance(token, Token)}
    back = {token.at for pair in opposed for token in pair[2:3] if isinstance(token, Token)}
    changes = _changes(old, new)
    old_left = tuple(t for t in old.content if t.at not in pairs and t.at not in gone)
    taken = set(pairs.values())
    new_left = tuple(
        t for t in new.content if t.at not in taken and t.at not in back and t.raw.lower() not in CHANGES
    )
    replaced = subject = False
    if not is_note:
        replaced, subject = _replacements(old, new, pairs, old_left, new_left)
    matched = sum(1 for token in old.content if token.at in pairs and token.kind != "value")
    return Compared(
        old=old,
        new=new,
        cosine=cosine,
        matched=matched,
        old_left=old_left,
        new_left=new_left,
        opposed=tuple(str(pair[0]) for pair in opposed),
        changes=changes,
        back=frozenset(taken),
        replaced=replaced,
        other_subject=subject,
    )


def match(old: tuple[Token, ...], new: tuple[Token, ...]) -> dict[int, int]:
    """Places of the old text's tokens and of their equals in the new one."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    places: dict[tuple[str, str], list[int]] = {}
    for token in reversed(new):
        places.setdefault(_identity(token), []).append(token.at)
    for one in old:
        equal = places.get(_identity(one))
        if equal:
            pairs[one.at] = equal.pop()
            taken.add(pairs[one.at])
    free = [token for token in new if token.at not in taken and token.kind != "value"]
    for one in old:
        if one.at in pairs or one.kind == "value":
            continue
        other = next((token for token in free if _akin(one, token)), None)
        if other is not None:
            pairs[one.at] = other.at
            taken.add(other.at)
            free.remove(other)
    _join(old, new, pairs, taken)
    _join_back(old, new, pairs, taken)
    return pairs


def _identity(token: Token) -> tuple[str, str]:
    return token.key, f"value {token.dimension}" if token.kind == "value" else ""


def _akin(one: Token, other: Token) -> bool:
    if one.kind == "identifier" and other.kind == "identifier":
        return one.key.rpartition(".")[2] == other.key.rpartition(".")[2]
    if one.kind == "identifier" or other.kind == "identifier":
        code, word = (one, other) if one.kind == "identifier" else (other, one)
        parts = parts_of(code.key)
        return word.raw.lower() in parts and len(parts) <= 3
    shorter, longer = (one.key, other.key) if len(one.key) <= len(other.key) else (other.key, one.key)
    return len(shorter) >= 5 and longer.startswith(shorter) and len(longer) - len(shorter) <= 4


def _join(old: tuple[Token, ...], new: tuple[Token, ...], pairs: dict[int, int], taken: set[int]) -> None:
    """Two words on one side that are one on the other: "time out", "timeout"."""
    raws = {t.raw.lower().strip(".,:;"): t.at for t in new if t.at not in taken and t.kind == "word"}
    for first, second in pairwise(old):
        joined = first.raw.lower() + second.raw.lower().strip(".,:;")
        if first.at not in pairs and joined in raws:
            pairs[first.at] = pairs[second.at] = raws[joined]
            taken.add(raws[joined])


def _join_back(
    old: tuple[Token, ...], new: tuple[Token, ...], pairs: dict[int, int], taken: set[int]
) -> None:
    back: dict[int, int] = {}
    used = set(pairs)
    free = tuple(t for t in new if t.at not in taken)
    _join(free, old, back, used)
    for there, here in back.items():
        pairs.setdefault(here, there)
        taken.add(there)


def _opposed(old: Statement, new: Statement, pairs: dict[int, int]) -> list[tuple[object, ...]]:
    """What makes one text the opposite of the other; an odd number does, an even one cancels out."""
    found: list[tuple[object, ...]] = []
    if (_negations(old, set(pairs)) + _negations(new, set(pairs.values()))) % 2:
        found.append(("negation",))
    there = _only(new, old)
    for one in _only(old, new):
        other = next((token for token in there if _are_opposites(low(one), low(token))), None)
        if other is not None:
            found.append((f"{low(one)}/{low(other)}", one, other))
            there.remove(other)
    if not found and _exchanged(old, new, pairs):
        found.append(("exchanged",))
    return found


def _only(one: Statement, other: Statement) -> list[Token]:
    raws = {low(token) for token in other.tokens}
    return [token for token in one.tokens if token.kind in ("word", "name") and low(token) not in raws]


def low(token: Token) -> str:
    """A token as it was written, in lower case and without marks."""
    return _low(token.raw)


@lru_cache(maxsize=16384)
def _low(raw: str) -> str:
    return raw.lower().strip(".,:;!?'")


def _are_opposites(one: str, other: str) -> bool:
    poles = POLE_OF.get(one)
    if poles and any((number, -sign) in POLE_OF.get(other, ()) for number, sign in poles):
        return True
    shorter, longer = (one, other) if len(one) <= len(other) else (other, one)
    if len(shorter) < 4 or not longer.endswith(shorter):
        return False
    return longer[: len(longer) - len(shorter)] in NEGATING_PREFIXES


def _negations(statement: Statement, matched: set[int]) -> int:
    """Negations of something both texts speak of."""
    return sum(place < 0 or place in matched for place in statement.negated)


def _exchanged(old: Statement, new: Statement, pairs: dict[int, int]) -> bool:
    """Two things around a comparing word that changed places."""
    both = {low(t) for t in old.tokens} & {low(t) for t in new.tokens} & COMPARING
    if not both or len(pairs) != len(old.content) or len(pairs) != len(new.content):
        return False
    order = [pairs[token.at] for token in old.content]
    return len(order) >= 2 and order != sorted(order)


def _changes(old: Statement, new: Statement) -> tuple[str, ...]:
    """Words of the newer text, not in the older, that say that something changed."""
    before = {low(token) for token in old.tokens}
    words = [low(token) for token in new.tokens]
    text = f" {' '.join(words)} "
    was = f" {' '.join(low(token) for token in old.tokens)} "
    phrases = [phrase for phrase in CHANGE_PHRASES if f" {phrase} " in text and f" {phrase} " not in was]
    return (*phrases, *(word for word in words if word in CHANGES and word not in before))


def _replacements(
    old: Statement,
    new: Statement,
    pairs: dict[int, int],
    old_left: tuple[Token, ...],
    new_left: tuple[Token, ...],
) -> tuple[bool, bool]:
    """Whether a word stands in another's place, and whether that is in the subject of both."""
    gone = {token.at for token in words(old_left)}
    come = {token.at for token in words(new_left)}
    back = {there: here for here, there in pairs.items()}
    ours = [t for t in old.tokens if t.at in gone or t.at in pairs or low(t) not in GRAMMAR]
    theirs = [t for t in new.tokens if t.at in come or t.at in back or low(t) not in GRAMMAR]
    left = [("=", t.at) if t.at in pairs else ("", t.key) for t in ours]
    right = [("=", back[t.at]) if t.at in back else ("", t.key) for t in theirs]
    replaced = subject = False
    for kind, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind != "replace":
            continue
        a = [t for t in ours[i:j] if t.at in gone]
        b = [t for t in theirs[k:m] if t.at in come]
        if not a or not b:
            continue
        replaced = True
        front = not any(t.at in pairs for t in ours[:i]) and not any(t.at in back for t in theirs[:k])
        before = a[-1].at < _anchor(old) and b[-1].at < _anchor(new)
        subject |= front or before
    return replaced, subject


def _anchor(statement: Statement) -> int:
    """Place of the verb that ends the subject; 0 where none is known."""
    for token in statement.tokens[1:]:
        if low(token) in STATIVE or low(token) in SINGLE or low(token) in ANCHORS:
            return token.at
    return 0


def other_values(c: Compared) -> str:
    """The values that differ, in one dimension."""
    for token in c.new_left:
        if token.kind != "value" or token.dimension == "status":
            continue
        was = [t.raw for t in c.old_left if t.kind == "value" and t.dimension == token.dimension]
        if was:
            return f"{was[0]} became {token.raw}"
    return ""


def is_qualified(c: Compared) -> bool:
    """Whether one text speaks of a special case ("for uploads") that the other does not name, or of another place."""
    return _for_case(c.old, c.old_left) != _for_case(c.new, c.new_left) or in_another_place(c)


def in_another_place(c: Compared) -> bool:
    """Whether both say where or for what something holds, and differ in it: "in staging", "in production"."""
    return bool(_places(c.old, c.old_left) & _places(c.new, c.new_left))


def _places(statement: Statement, left: tuple[Token, ...]) -> set[str]:
    """The prepositions before words that only this text has."""
    own = {token.at for token in words(left)}
    found: set[str] = set()
    for token in words(left):
        at = token.at - 1
        while at > 0 and (at in own or low(statement.tokens[at]) in ARTICLES):
            at -= 1
        if at >= 0 and low(statement.tokens[at]) in PLACING:
            found.add(low(statement.tokens[at]))
    return found


def _for_case(statement: Statement, left: tuple[Token, ...]) -> bool:
    return any(
        token.kind != "value" and token.at and low(statement.tokens[token.at - 1]) == "for" for token in left
    )


def other_object(c: Compared) -> str:
    """Another object of a verb that has one at a time: names and identifiers only, since adjectives add up."""
    old, new = words(c.old_left), words(c.new_left)
    if not (1 <= len(old) <= 2 and 1 <= len(new) <= 2) or not (named(old) or named(new)):
        return ""
    verbs = [_last_verb(c.old, old[0].at), _last_verb(c.new, new[0].at)]
    if not verbs[0] or not verbs[1] or (verbs[0] != verbs[1] and not set(verbs) <= STATIVE):
        return ""
    at_end = all(
        left[-1].at >= max(token.at for token in statement.content)
        for statement, left in ((c.old, old), (c.new, new))
    )
    return f"{old[0].raw} became {new[0].raw}" if at_end else ""


def _last_verb(statement: Statement, before: int) -> str:
    verbs = [low(t) for t in statement.tokens[:before] if low(t) in STATIVE or low(t) in SINGLE]
    return verbs[-1] if verbs else ""


def words(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Those of the tokens that are no values."""
    return tuple(token for token in tokens if token.kind != "value")


def named(tokens: tuple[Token, ...]) -> bool:
    """Whether one of the tokens is a name or an identifier."""
    return any(token.kind in ("name", "identifier") for token in tokens)
