"""Text from agents, files and programs made harmless: it can drive neither a terminal, nor a fence, nor a layout."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI (ECMA-48 §5.4)
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)"  # OSC, DCS, SOS, PM, APC: to their terminator
    r"|\x1b[ -/]*[0-~]",  # two-character escapes
    re.DOTALL,
)
_TAG = re.compile(r"<(?=!|[\s/?]*[^\W\d_])")
_SPACE = re.compile(r"\s+")
_KEPT_CONTROLS = "\n\t"
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in _KEPT_CONTROLS}
_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def inert_text(text: str) -> str:
    """Text as it is kept: control characters become visible pictures (ESC → ␛, NUL → ␀), newline and tab stay.

    Carriage returns before a newline are dropped; lone surrogates, which UTF-8 cannot carry, become U+FFFD.
    """
    text = text.replace("\r\n", "\n")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.translate(_PICTURES)


def inert_line(text: str, limit: int = 300) -> str:
    """Text as one line of at most `limit` characters for a model or a person: data that cannot act.

    Terminal escapes and control characters are removed, also invisible ones (zero width, bidirectional
    overrides, tag characters and variation selectors, which can hide words), newlines are folded into spaces,
    and the `<` of anything that looks like a tag becomes `‹`, so that no fence can be closed from inside.
    """
    if len(text) > 8 * limit:
        text = text[: 8 * limit] + "…"
    text = _ESCAPES.sub("", text)
    text = "".join(_visible(character) for character in text)
    text = _TAG.sub("‹", _SPACE.sub(" ", text).strip())
    return text if len(text) <= limit else text[: max(1, limit - 1)].rstrip() + "…"


def _visible(character: str) -> str:
    if character in "\n\t\r\v\f\x85\u2028\u2029":
        return " "
    if character.isascii():
        return character if character.isprintable() else ""
    if 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF:
        return ""
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") else character
