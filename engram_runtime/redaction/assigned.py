"""Values of secret-looking names: `DB_PASSWORD=…`, `"api_key": "…"`, `X-Auth-Token: …`, `define('SECRET', '…')`."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from engram_runtime.redaction.spans import SHORTEST, Span
from engram_runtime.redaction.values import Place, looks_keyed, looks_secret

_WORD = re.compile(
    r"(?:tokens?(?=\\?[\"'`]?\]?\)?\s?[:=])|secrets?|passw(?:or)?[dt]|passwd|passphrase|passcode|pass(?![a-z])|pwd"
    r"|credentials?|psk(?![a-z])|key(?![a-z])|jwt|signature|sig(?![a-z])|mnemonic|authorization|\blogin(?==)"
    r"|token|_auth(?![a-z])|license)"
    r"(?:[_-](?:key|id|value|prod|production|dev|test|staging|base|hash|[0-9]+)){0,3}"
)
"""In lower case. What follows must be an assignment, see `_AFTER`."""
_LONGEST = 200
"""Characters of a value that are looked at."""
_STARTS = (
    "token", "secret", "pass", "pwd", "credential", "key", "psk", "jwt", "sig", "mnemonic", "authorization", "login=",
    "_auth", "license",
)  # fmt: skip
"""What a word begins with: to find these and then look is ten times faster than to search for the words."""
_NAME_CHARACTERS = string.ascii_letters + string.digits + "_.$-"
_SEPARATOR = (
    r"\\?[\"'`]?\]?\)?[ \t]{0,8}"
    r"(?::[ \t]?[&\w.<>\[\]' |]{1,24}?[ \t]=(?=[ \t]?[@$bru]?[\"'])"  # password: str = "…"
    r"|={1,2}>|:?:=|(?<!=)=(?![=~])|:(?!:))[ \t]{0,8}"  # => ::= := = :
    r"|[\"'],[ \t]?(?=[\"'])"  # define('PASSWORD', '…')
    r"|>(?=[^<>\s]{6,128}</)|\"[ \t]+value="  # <password>…</password>, <add key="Password" value="…"
)
_VALUE = (
    r"[@$bBrRuU]?\"(?P<double>[^\"\n]{0,200})|[@$bBrRuU]?'(?P<single>[^'\n]{0,200})|`(?P<back>[^`\n]{0,200})"
    r"|\\[\"'](?P<escaped>[^\"'\\\n]{0,200})|(?P<bare>[^\s\"'`,;&|<>)\]}\\]{1,200})"
)
_AFTER = re.compile(rf"(?P<sep>{_SEPARATOR})(?:{_VALUE})")
_REST = {
    group: re.compile(rf"{chars}*")
    for group, chars in (
        ("double", r"[^\"\n]"),
        ("single", r"[^'\n]"),
        ("back", r"[^`\n]"),
        ("escaped", r"[^\"'\\\n]"),
        ("bare", r"[^\s\"'`,;&|<>)\]}\\]"),
    )
}
"""What is left of a value that is longer than was looked at."""
_KEYED = re.compile(
    r"(?:api|access|private|secret|auth|account|service|encryption|signing|master|client|admin|license|deploy|webhook"
    r"|storage|shared|app|application|session|subscription|vapid|hmac|ssh|aes|rsa|jwt|cookie)[_. -]?key\Z"
)
_PUBLIC_KEY = re.compile(
    r"(?:public|primary|foreign|cache|sort|partition|object|row|group|index|hot|registry)[_. -]?key\Z"
)
_NO_SECRETS = ("signature", "sig", "license")
"""Names of what is shown to everybody, unless it looks random."""


def assigned(text: str, low: str) -> Iterator[Span]:
    """Secrets by the name they are given; `low` is the text in lower case, character by character."""
    done = 0
    for start in _starts(low):
        found = _WORD.match(low, start) if start >= done else None
        value = _AFTER.match(text, found.end()) if found is not None else None
        span = _judged(text, found, value) if found is not None and value is not None else None
        if span is not None:
            done = span.end
            yield span


def _starts(low: str) -> list[int]:
    found = []
    for word in _STARTS:
        at = low.find(word)
        while at >= 0:
            found.append(at)
            at = low.find(word, at + len(word))
    return sorted(found)


def _judged(text: str, word: re.Match[str], value: re.Match[str]) -> Span | None:
    group = value.lastgroup or "bare"
    if group == "sep":
        return None
    begin = word.start()
    if len(value[group]) < SHORTEST or _is_in_mark(text, begin):
        return None
    before = text[max(0, begin - 64) : begin]
    prefix = before[len(before.rstrip(_NAME_CHARACTERS)) :]
    name = prefix + text[begin : word.end()]
    if _is_other_word(prefix, text[begin : word.end()]):
        return None
    start, end = value.span(group)
    end -= _overhang(text, start, end) if group == "bare" else 0
    place = _place(text, begin - len(prefix), name, value, end)
    if _is_secret(text[start:end], name, place):
        return Span(start, _whole(text, start, end, group), kind_of(name))
    return None


def _is_in_mark(text: str, at: int) -> bool:
    """Whether a word is the kind that an earlier redaction left: `[redacted:token]`."""
    mark = text.rfind("[redacted:", max(0, at - 48), at)
    return mark >= 0 and text.find("]", mark, at) < 0


def _is_other_word(prefix: str, word: str) -> bool:
    """`compass:`, `bypass=`, `monkey=`: the word is the end of another one (which `dbPass` is not)."""
    last, low = prefix[-1:], word.lower()
    if not last.isalpha() or low.startswith("passw") or (word[0].isupper() and last.islower()):
        return False
    if low.startswith("key"):
        return prefix.lower().endswith(("mon", "tur", "don", "whis"))
    return low.startswith(("pass", "sig", "psk", "jwt")) and last.islower()


def _place(text: str, begin: int, name: str, value: re.Match[str], end: int) -> Place:
    sep = value["sep"]
    near = max(0, begin - 80)
    line = max(near, text.rfind("\n", near, begin) + 1)
    return Place(
        quoted=value.lastgroup != "bare",
        tight=sep == "=",
        env=sep == "=" and name.isupper(),
        after=text[end : end + 1],
        alone=sep.startswith(":")
        and not text[line:begin].strip(" \t-+>|")
        and name == name.lower()
        and text[end : end + 1] in ("", "\n", "\r"),
    )


def _is_secret(value: str, name: str, place: Place) -> bool:
    low = name.lower()
    if low.endswith(_NO_SECRETS) and not (place.tight and looks_keyed(value)):
        return False
    if low.endswith("key") and not _KEYED.search(low):
        return not _PUBLIC_KEY.search(low) and looks_keyed(value)
    return looks_secret(value, name, place)


def _whole(text: str, start: int, end: int, group: str) -> int:
    """The end of a value that may be longer than was looked at."""
    rest = _REST[group].match(text, end) if end - start >= _LONGEST else None
    return rest.end() if rest else end


def _overhang(text: str, start: int, end: int) -> int:
    """Punctuation of the sentence at a bare value's end is not part of it."""
    cut = 0
    while end - cut > start and text[end - cut - 1] in ".:":
        cut += 1
    return cut


def kind_of(name: str) -> str:
    """What a secret is, by the name it had."""
    low = name.lower()
    for word, kind in (("pass", "password"), ("pwd", "password"), ("token", "token"), ("key", "key")):
        if word in low:
            return kind
    return "secret"


def named(name: str, value: str) -> bool:
    """Whether a text under a key of a JSON object is a secret by its key."""
    low = name.lower()
    word = next((found for found in _WORD.finditer(low + "=") if found.end() == len(low)), None)
    if word is None:
        return False
    prefix = name[: word.start()]
    if _is_other_word(prefix, name[word.start() :]):
        return False
    return _is_secret(value, name, Place(quoted=True, tight=False, env=False, after="", alone=False))
