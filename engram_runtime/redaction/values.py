"""Whether a value that a secret-looking name is given is a secret: or a reference, a placeholder, a word of prose."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from engram_runtime.redaction.spans import SHORTEST

_PLACEHOLDER = re.compile(
    r"(?i)^(?:[*x.•#_+-]+|__\w+__|<.*|\$.*|%.*%|\{.*|@.*|!.*|(?:your|my|the|some|an?|test|example|dummy|fake|change|replace|"
    r"insert|enter|todo|none|null|nil|undefined|true|false|redacted)\b.*|your.*|change_?me.*|example.*|placeholder.*"
    r"|(?:user(?:name)?|pass(?:word|wd|wort|phrase)?|secret|token|pwd|(?:api)?key|credentials?|xxx+)\d?"
    r"|\[redacted:.*|vault:.*|secretref:.*|op://.*|env:.*|file:.*|ref\+.*)$"
)
_REFERENCE = re.compile(
    r"^[A-Za-z_]\w*(?:(?:\.|->|::)[A-Za-z_]\w*)*(?:[(\[{].*|!|\?)?$"
    r"|^(?:os|env|process|settings|config|secrets|vault|self|this|args|opts|request|data|var|local)[.\[(]"
)
_PATH = re.compile(
    r"^(?:~|\.{0,2})/[\w.@ -]*(?:/[\w.@ -]*)*$|^[a-z][a-z0-9+.-]*://"
    r"|^[\w./-]+\.(?:pem|key|txt|json|ya?ml|env|py|ts|js|md|rb|go|rs|java|enc)$"
)
_WORDS = re.compile(r"[A-Za-z][a-z]*(?:[_. -][A-Za-z]+)*|[A-Z_]+|[A-Za-z]+(?:\.[A-Za-z]+)+")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
_BRACKETS = re.compile(r"[\[\](){}]")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_SYMBOLS = re.compile(r"[!#%^*+~?@]")
_SECRET_NAME = re.compile(
    r"(?i)[\w.-]{0,64}?(?:token|secret|passw(?:or)?[dt]|passwd|passphrase|pwd|credentials?|key|pass|hash(?:ed)?)"
    r"(?:[_-]?(?:hash(?:ed)?|value|input|field|text|string|str|env|name|id|file|path|new|old|[0-9]{1,2})){0,2}"
)
_COMMON = frozenset(
    """required optional missing invalid incorrect wrong empty expired changed change reset string boolean number
    integer varchar char text hidden visible disabled enabled enable disable forgotten forgot unknown default
    password passwords passwort kennwort username account login logout value values prompt protected secured
    encrypted hashed hashing plaintext cleartext plain encoded decoded stored saved updated deleted created removed
    rejected accepted denied granted refused failed failure success together instead option options argument
    arguments parameter parameters flag means without before after because should would could cannot never always
    please either neither field fields input output result results response request object public private
    protected static final const function return returns import export async await class struct interface where
    select update insert character characters length strength policy manager generator validator handler provider
    service client server bearer basic digest oauth openid header headers cookie session sessions nothing
    something anything everything rotation rotated leaked redacted censored masked removed""".split()
)


class Place(NamedTuple):
    """How a value stands in the text."""

    quoted: bool
    tight: bool
    """Assigned with `=` and no blank around it, as environment files and shells do."""
    env: bool
    """So, and to a name in capitals: an environment variable, whose value is seldom a reference."""
    after: str
    """The character after the value, "" at the end."""
    alone: bool
    """Name and value are the whole line, as in YAML."""


def is_placeholder(value: str) -> bool:
    """Whether a value stands for another one: `${X}`, `<token>`, `changeme`, an earlier redaction."""
    return _PLACEHOLDER.match(value) is not None


def looks_random(value: str) -> bool:
    """Whether nobody would have typed it: 16 characters or more, letters and digits mixed throughout."""
    if len(value) < 16 or value.isdigit() or value.isalpha():
        return False
    changes = sum(
        a.isalnum() and b.isalnum() and (a.isdigit() != b.isdigit() or (a.islower() and b.isupper()))
        for a, b in itertools.pairwise(value[:64])
    )
    return changes >= 3


def looks_secret(value: str, name: str, place: Place) -> bool:
    """Whether a value given to a secret-looking name is one."""
    name = name.lower()
    password = "pass" in name or "pwd" in name or name.endswith("secret")
    if len(value) < SHORTEST or is_placeholder(value) or (_PATH.match(value) and not _base64(value)):
        return False
    if (
        value.lower() in name
        or (len(value) <= 80 and _SECRET_NAME.fullmatch(value))
        or value.lower() in _COMMON
    ):
        return False
    letters, digits = _LETTER.search(value), _DIGIT.search(value) is not None
    if not letters:
        return digits and "pass" in name and len(value) >= 8
    if " " in value.strip():
        return place.quoted and _is_phrase(value, name)
    if place.quoted:
        return _literal(value, password, digits)
    return _bare(value, place, password, digits)


def looks_keyed(value: str) -> bool:
    """Whether a value named by no more than `key` (a cache has keys too) is a secret."""
    return (
        looks_random(value)
        and _DIGEST.fullmatch(value) is None
        and re.search(r"[:./ ()\[\]{}]", value) is None
    )


def _literal(value: str, password: bool, digits: bool) -> bool:
    """A text in quotes: only words that stand for something else stay."""
    if digits or not _WORDS.fullmatch(value):
        return not _BRACKETS.search(value) or looks_random(value)
    # A word with a capital is a label.
    return password and value.isalpha() and len(value) >= SHORTEST and value.islower()


def _bare(value: str, place: Place, password: bool, digits: bool) -> bool:
    if "(" in value or "[" in value or "{" in value:
        return False
    if not digits:
        if password and _SYMBOLS.search(value) and not _REFERENCE.match(value):
            return True
        if password and (place.tight or place.alone) and value.isalpha() and value.islower():
            return place.after in ("", " ", "\n", "\r", "\t", ";", "&", "'", '"', "\\", "<")
    if place.env:
        return "." not in value or not _REFERENCE.match(value)
    return digits and (not _REFERENCE.match(value) or "." not in value) and _mixed(value)


def _is_phrase(value: str, name: str) -> bool:
    """Lower-case words, as pass phrases are; a sentence has a capital or a full stop."""
    if not (name.endswith(("passphrase", "mnemonic", "seed")) or name == "secret"):
        return False
    return re.fullmatch(r"[a-z]+(?:[ -][a-z0-9]+){1,23}", value) is not None


def _base64(value: str) -> bool:
    return looks_random(value) and ("+" in value or "=" in value or not re.search(r"[._ -]", value))


def _mixed(value: str) -> bool:
    """Letters and digits that no one would name a variable with."""
    return (
        re.fullmatch(r"[A-Za-z_]+_?\d{1,2}", value) is None
        or re.fullmatch(r"[a-z]+\d{1,4}", value) is not None
    )
