"""How alike two short texts are, by their words: stems, a developer's synonyms, light words light.

Good enough to tell a goal said differently from another goal; where an embedder is ready, its cosine is taken in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

Alike = Callable[[str, str], float | None]
"""Cosine similarity of two texts, None where no model is ready."""

SAME_FROM = 0.5
"""Likeness from which two texts are taken to mean the same."""
OTHER_UNTIL = 0.15
"""Likeness up to which they are taken to be about something else."""
_COSINE_SAME, _COSINE_OTHER = 0.55, 0.25
"""Cosines of all-MiniLM-L6-v2 at which short task descriptions are the same, and are not."""
_LIGHT = 0.3
_PHRASES = (
    (re.compile(r"\b(sign|log)[\s-]?(in|on)\b", re.IGNORECASE), "login"),
    (re.compile(r"\btim(e|es|ed|ing)[\s-]?outs?\b", re.IGNORECASE), "timeout"),
    (re.compile(r"\bset(ting)?[\s-]?up\b", re.IGNORECASE), "setup"),
    (re.compile(r"\bclean(ed|ing)?[\s-]?up\b", re.IGNORECASE), "cleanup"),
    (re.compile(r"\bspeed(s|ing)?[\s-]?up\b", re.IGNORECASE), "fast"),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+(?:\.\d+)*")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = frozenset(
    "a an the and or of to in on for with by from at as is are was were be been it its this that these those so now "
    "then still all any some we i you they my our your their not no do does did can should must will would into "
    "when where which who how up out over again also just more".split()
)
_ENDINGS = ("ments", "ment", "ings", "ing", "ions", "ion", "ied", "ies", "ed", "es", "ly", "s", "e")
_IRREGULAR = {
    "sent": "send", "wrote": "write", "written": "write", "built": "build", "ran": "run", "made": "make",
    "broke": "break", "broken": "break", "rebuilt": "rebuild", "began": "begin", "found": "find", "took": "take",
}  # fmt: skip
_VERBS = (
    "fix repair correct resolve solve debug",
    "add implement build create write introduce make generate",
    "remove delete drop",
    "change update modify edit rework rewrite",
    "refactor restructure cleanup",
    "run execute start launch",
    "check verify validate",
    "finish complete continue get let work use try need want ensure",
    "improve optimise optimize",
)
_NOUNS = (
    "login signin auth authentication authorisation authorization",
    "bug error issue defect problem failure fault",
    "test spec",
    "doc documentation readme",
    "database db",
    "config configuration setting",
    "endpoint api route",
    "fast faster speed performance slow latency",
    "repository repo",
    "dependency package library",
    "timeout hang",
)


def likeness(one: str, other: str, alike: Alike | None = None) -> float:
    """0..1: half the Dice coefficient of the weighted stems, half how much of the shorter text the other contains.

    Where `alike` knows a cosine, the higher of both judgements counts: a paraphrase may share no word.
    """
    if _plain(one) == _plain(other):
        return 1.0
    by_words = _by_words(stems(one), stems(other))
    cosine = alike(one, other) if alike is not None else None
    if cosine is None:
        return by_words
    slope = (SAME_FROM - OTHER_UNTIL) / (_COSINE_SAME - _COSINE_OTHER)
    by_meaning = OTHER_UNTIL + (cosine - _COSINE_OTHER) * slope
    return max(by_words, min(1.0, max(0.0, by_meaning)))


def stems(text: str) -> dict[str, float]:
    """The words that tell what a text is about, by stem, with their weights; everyday verbs weigh little."""
    for pattern, word in _PHRASES:
        text = pattern.sub(word, text)
    found: dict[str, float] = {}
    for word in _words(text):
        if word not in _STOP:
            stem = _stem(word)
            found[_CLASSES.get(stem, stem)] = _LIGHT if stem in _LIGHT_STEMS else 1.0
    return found


def contains(whole: Mapping[str, float], part: Mapping[str, float]) -> bool:
    """Whether every telling stem of `part` (at least two) occurs in `whole`."""
    telling = [stem for stem, weight in part.items() if weight == 1.0]
    return len(part) >= 2 and bool(telling) and all(_shared(stem, whole) for stem in part)


def best_match(text: str, among: Iterable[str], alike: Alike | None = None) -> float:
    """How alike the text is to the one of `among` that is most like it; 0 where there is none."""
    return max((likeness(text, other, alike) for other in among), default=0.0)


def share_found(wanted: Sequence[str], among: Sequence[str], alike: Alike | None = None) -> float | None:
    """Share of `wanted` that has its like in `among`; None where nothing is wanted."""
    if not wanted:
        return None
    return sum(best_match(text, among, alike) >= SAME_FROM for text in wanted) / len(wanted)


def _by_words(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    total_one, total_other = sum(one.values()), sum(other.values())
    if not one or not other:
        return 0.0
    shared = sum(weight for stem, weight in one.items() if _shared(stem, other))
    shared = min(shared, total_one, total_other)
    dice = 2 * shared / (total_one + total_other)
    least = min(total_one, total_other)
    # A text of everyday verbs alone is contained in anything.
    contained = shared / least if least >= 1 else dice
    return 0.5 * dice + 0.5 * contained


def _shared(stem: str, others: Mapping[str, float]) -> bool:
    """The same stem, or one that goes on for at most two letters (paging, pagination)."""
    if stem in others:
        return True
    return stem.isalpha() and any(
        other.isalpha()
        and min(len(stem), len(other)) >= 3
        and abs(len(stem) - len(other)) <= 2
        and (stem.startswith(other) or other.startswith(stem))
        for other in others
    )


def _words(text: str) -> Iterable[str]:
    for found in _WORD.findall(text):
        word = found.casefold()
        if _UNSPACED.search(word) and len(word) > 2:
            # Scripts without spaces: pairs of characters stand for words.
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        else:
            yield word


def _stem(word: str) -> str:
    word = _IRREGULAR.get(word, word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending in ("ies", "ied") else "")
            break
    if len(word) >= 6 and word.endswith("at"):
        word = word[:-2]
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!… ")


def _classes(groups: Iterable[str]) -> dict[str, str]:
    return {_stem(word): _stem(group.split()[0]) for group in groups for word in group.split()}


_LIGHT_STEMS = frozenset(_classes(_VERBS))
_CLASSES = _classes((*_VERBS, *_NOUNS))
