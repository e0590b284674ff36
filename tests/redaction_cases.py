"""The measuring set of redaction: texts with a secret in them, and texts that must stay readable.

`tests/data/redaction_cases.jsonl` holds templates; what looks like a token of a provider is only put together
here, so that no file of this project holds one. `half` is "held" for cases written before the rules they measure
were worked on, "dev" for those that were looked at while doing so.
"""

from __future__ import annotations

import json
import random
import re
import string
import uuid
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "redaction_cases.jsonl"
_FIELD = re.compile(r"\{(an|al|lo|ln|up|b32_|b64_|b64u|hex|dig|url|pw)(\d+)\}|\{(uuid)\}")
_ALPHABETS = {
    "an": string.ascii_letters + string.digits,
    "al": string.ascii_letters,
    "ln": string.ascii_lowercase + string.digits,
    "up": string.ascii_uppercase + string.digits,
    "b32_": string.ascii_uppercase + "234567",
    "b64_": string.ascii_letters + string.digits + "+/",
    "b64u": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "dig": string.digits,
    "url": string.ascii_letters + string.digits + "_-",
    "pw": string.ascii_letters + string.digits + "!*^_-+#",
}
_MARK = re.compile(r"\[redacted:[\w-]*\]")


@dataclass(frozen=True, slots=True)
class Case:
    """A text; `parts` are the random pieces of its secret (none: it must stay as it is)."""

    half: str
    kind: str
    text: str
    parts: tuple[str, ...] = ()

    def leaks(self, redacted: str) -> bool:
        """Whether four characters in a row of the secret are left that the rest of the text does not have."""
        rest = _MARK.sub("\n", redacted)
        around = self.text
        for part in self.parts:
            around = around.replace(part, "\n")
        return any(
            part[at : at + 4] in rest and part[at : at + 4] not in around
            for part in self.parts
            for at in range(max(1, len(part) - 3))
        )


def cases() -> tuple[list[Case], list[Case]]:
    """The true and the false cases, the same each time."""
    true, false = [], []
    for number, line in enumerate(_FILE.read_text("utf-8").splitlines()):
        row = json.loads(line)
        # Not cryptography: the same texts each time.
        rng = random.Random(number)
        text, _ = _filled(row["text"], rng)
        if "secret" in row:
            secret, parts = _filled(row["secret"], rng)
            true.append(Case(row["half"], row["kind"], text.replace("{S}", secret), tuple(parts)))
        else:
            false.append(Case(row["half"], row["kind"], text))
    return true, false


def _filled(template: str, rng: random.Random) -> tuple[str, list[str]]:
    parts: list[str] = []

    def fill(found: re.Match[str]) -> str:
        parts.append(_uuid(rng) if found[3] else _some(found[1], int(found[2]), rng))
        return parts[-1]

    return _FIELD.sub(fill, template), parts


def _some(name: str, length: int, rng: random.Random) -> str:
    if name == "lo":
        pairs = [rng.choice("bdfgklmnprstvw") + rng.choice("aeiou") for _ in range(length)]
        return "".join(pairs)[:length]
    alphabet = _ALPHABETS[name]
    chars = [rng.choice(alphabet) for _ in range(length)]
    if name in ("an", "ln", "url", "pw", "up") and length >= 8:
        # One digit at least, as nearly every token of that length has.
        chars[rng.randrange(1, length - 1)] = rng.choice(string.digits)
    return "".join(chars)


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
