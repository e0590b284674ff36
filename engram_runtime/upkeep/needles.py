"""What is to be forgotten, and finding it: in texts, and in bytes of files however it may be written there."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from engram_runtime.redaction import FORGOTTEN

MARK = f"[redacted:{FORGOTTEN}]"
"""What stands where words were forgotten."""
SHORTEST_TEXT = 4
"""Characters; a shorter text stands in every second event."""
_HEAD = 32
"""Characters by which an excerpt of a longer text is known."""
_ESCAPE = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|\r?\n"
)
_CUT_OFF = re.compile(r"\s*(?:$|…|\.\.\.|[\n\"'`()\[\]{}<>»])")
"""What stands after an excerpt."""
_MOST_UNPACKED = 1 << 30


class Needles:
    """Words to forget, all of them literal, and the regular expression they were found by, if there was one."""

    def __init__(self, words: Iterable[str] = (), regex: str = "", *, excerpts: bool = False) -> None:
        """`excerpts`: a beginning of a long word is meant too, as summaries quote it. Raises re.error."""
        self.words = tuple(sorted({word for word in words if word}, key=lambda word: (-len(word), word)))
        self.regex = re.compile(regex) if regex else None
        variants = sorted({v for word in self.words for v in _variants(word)}, key=len, reverse=True)
        self._literal = re.compile("|".join(map(re.escape, variants))) if variants else None
        self._variants = variants
        self._long = tuple(word for word in self.words if excerpts and len(word) > _HEAD)
        self._bytes = sorted({found for v in variants for found in _encoded(v)}, key=len, reverse=True)

    @property
    def pattern(self) -> str:
        """One regular expression for all of it."""
        parts = [*map(re.escape, self._variants), *([self.regex.pattern] if self.regex else [])]
        return "|".join(f"(?:{part})" for part in parts)

    def cleaned(self, text: str) -> str:
        """The text with a mark for each occurrence; the same object where there is none."""
        for pattern in (self._literal, self.regex):
            if pattern is not None and pattern.search(text):
                text = pattern.sub(lambda found: MARK if found[0] else "", text)
        for word in self._long:
            text = _without_excerpts(text, word)
        return text

    def without(self, value: Any) -> Any:
        """Plain values with every text in them cleaned, keys too; equal to `value` where there is nothing to clean."""
        if isinstance(value, str):
            return self.cleaned(value)
        if isinstance(value, dict):
            return {self.cleaned(key): self.without(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.without(part) for part in value]
        return value

    def may_be_in(self, payload: str) -> bool:
        """A quick look at a payload as it is written: False where it cannot hold any of the words."""
        if self.regex is not None:
            return True
        return any(variant in payload for variant in self._variants) or any(
            json.dumps(word[:_HEAD], ensure_ascii=False)[1:-1] in payload for word in self._long
        )

    def matches(self, text: str) -> set[str]:
        """What the regular expression matches in a text."""
        return {found[0] for found in self.regex.finditer(text) if found[0]} if self.regex else set()

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where it stands in bytes: UTF-8, UTF-16, and escaped as in JSON."""
        for needle in self._bytes:
            at = data.find(needle)
            while at >= 0:
                yield at, at + len(needle)
                at = data.find(needle, at + 1)
        if self.regex is not None:
            text = data.decode("utf-8", "surrogateescape")
            seen = place = 0
            for found in self.regex.finditer(text):
                # What is shorter would be found in any file.
                if len(found[0].strip()) >= SHORTEST_TEXT:
                    start = place + len(text[seen : found.start()].encode("utf-8", "surrogateescape"))
                    seen, place = found.end(), start + len(found[0].encode("utf-8", "surrogateescape"))
                    yield start, place

    def is_in(self, data: bytes) -> bool:
        """Whether bytes hold it: as they are, between terminal sequences, or compressed."""
        return any(self._holds(form) for form in forms_of(data))

    def _holds(self, data: bytes) -> bool:
        return next(self.spans(data), None) is not None


def forms_of(data: bytes) -> Iterator[bytes]:
    """The bytes themselves, without terminal sequences and line ends, and unpacked where they are compressed."""
    yield data
    if b"\x1b" in data:
        yield _ESCAPE.sub(b"", data)
    if is_gzip(data):
        yield gunzipped(data)
    elif data[:2] == b"z\x78":  # a blob
        yield _inflated(data[1:], zlib.MAX_WBITS)


def is_gzip(data: bytes) -> bool:
    """Whether bytes begin as a gzip file does."""
    return data[:2] == b"\x1f\x8b"


def gunzipped(data: bytes) -> bytes:
    """All members of a gzip file, as far as they can be read."""
    parts = []
    while is_gzip(data):
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            parts.append(unpacker.decompress(data, _MOST_UNPACKED))
        except zlib.error:
            break
        data = unpacker.unused_data
    return b"".join(parts)


def _inflated(data: bytes, bits: int) -> bytes:
    try:
        return zlib.decompressobj(bits).decompress(data, _MOST_UNPACKED)
    except zlib.error:
        return b""


def _variants(word: str) -> Iterator[str]:
    """The word, and as JSON writes it, also within a string of JSON."""
    yield word
    for ascii_only in (False, True):
        escaped = word
        for _ in range(2):
            escaped = json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]
            yield escaped


def _encoded(word: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield word.encode(encoding, "surrogatepass")


def _without_excerpts(text: str, word: str) -> str:
    """The text without beginnings of a long word, as summaries quote them: cut off, by a mark or the text's end.

    What only begins with the same words, and goes on with others, is another text, and stays.
    """
    head, parts, at = word[:_HEAD], [], 0
    while (start := text.find(head, at)) >= 0:
        end = start + _HEAD
        while end < len(text) and end - start < len(word) and text[end] == word[end - start]:
            end += 1
        quoted = end - start == len(word) or _CUT_OFF.match(text, end)
        parts += [text[at:start], MARK if quoted else text[start:end]]
        at = end
    return "".join((*parts, text[at:])) if parts else text
