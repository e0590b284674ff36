"""Keys, mouse events and pasted text as the bytes a terminal sends.

Key names are Textual's (`ctrl+shift+a`, `question_mark`); byte sequences are xterm's, from "XTerm Control Sequences"
(https://invisible-island.net/xterm/ctlseqs/ctlseqs.html).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

SHIFT: Final = 1
CONTROL: Final = 2
ALT: Final = 4
SUPER: Final = 8

_MODIFIERS: Final = {"shift": SHIFT, "ctrl": CONTROL, "alt": ALT, "meta": ALT, "super": SUPER, "hyper": 0}
_NAMED_CHARACTERS: Final = {
    "slash": "/",
    "backslash": "\\",
    "at": "@",
    "minus": "-",
    "plus": "+",
    "underscore": "_",
    "space": " ",
    "less_than_sign": "<",
    "greater_than_sign": ">",
}
_FINAL_LETTER: Final = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
_FUNCTION_LETTER: Final = {"f1": "P", "f2": "Q", "f3": "R", "f4": "S"}
_TILDE_NUMBER: Final = {"insert": 2, "delete": 3, "pageup": 5, "pagedown": 6} | dict(
    zip(
        [f"f{n}" for n in range(5, 21)],
        [15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34],
        strict=True,
    )
)
_PLAIN_KEYS: Final = {"enter": "\r", "return": "\r", "tab": "\t", "escape": "\x1b", "backspace": "\x7f"}
SPECIAL_KEYS: Final = frozenset([*_FINAL_LETTER, *_FUNCTION_LETTER, *_TILDE_NUMBER, *_PLAIN_KEYS])
"""Names of keys that type no character."""

_CONTROL_DIGITS: Final = dict(zip("2345678/", "\x00\x1b\x1c\x1d\x1e\x1f\x7f\x1f", strict=True))
_SCROLL_CODES: Final = {"scroll_up": 64, "scroll_down": 65, "scroll_left": 66, "scroll_right": 67}
_PASTE_UNSAFE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A key taken apart.

    name: a name of `SPECIAL_KEYS`, else the character on the key (lower case), else whatever was given. text: what it
    types without control and alt, or empty. modifiers: sum of SHIFT, CONTROL, ALT and SUPER.
    """

    name: str
    text: str
    modifiers: int


@lru_cache(maxsize=512)
def parse_key(key: str, character: str | None) -> KeyPress:
    """Take a Textual key event apart."""
    *prefixes, base = key.split("+") if len(key) > 1 else [key]
    modifiers = 0
    for prefix in prefixes:
        modifiers |= _MODIFIERS.get(prefix, 0)
    if base in SPECIAL_KEYS:
        return KeyPress("enter" if base == "return" else base, "", modifiers)
    text = character if character and character.isprintable() else ""
    symbol = base if len(base) == 1 else _NAMED_CHARACTERS.get(base) or _character_named(base)
    if not symbol and len(text) == 1:
        symbol = text
    if symbol and not text and not modifiers & CONTROL:
        text = symbol.upper() if modifiers & SHIFT else symbol
    if len(text) == 1 and text != text.lower():
        modifiers |= SHIFT
    return KeyPress(symbol.lower() if symbol else base, text, modifiers)


def _character_named(name: str) -> str:
    """The character of a Textual name such as `question_mark`; empty if there is none."""
    try:
        return unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return ""


def encode_legacy_key(press: KeyPress, application_cursor: bool, newline_mode: bool = False) -> bytes:
    """xterm's bytes for a key, without the kitty protocol; empty if the key sends nothing.

    application_cursor: mode 1 (DECCKM). newline_mode: ANSI mode 20 (LNM), in which Enter sends CR LF.
    """
    name, modifiers = press.name, press.modifiers
    if name == "tab" and modifiers & SHIFT:
        return b"\x1b[Z"
    if name == "backspace" and modifiers & CONTROL:
        return b"\x1b\x08" if modifiers & ALT else b"\x08"
    if name in _PLAIN_KEYS:
        sent = "\r\n" if name == "enter" and newline_mode else _PLAIN_KEYS[name]
        return (("\x1b" if modifiers & ALT else "") + sent).encode()
    if name in SPECIAL_KEYS:
        return _encode_special(name, modifiers, application_cursor)
    sent = _controlled(name) if modifiers & CONTROL else press.text
    return (("\x1b" if modifiers & ALT and sent else "") + sent).encode()


def _encode_special(name: str, modifiers: int, application_cursor: bool) -> bytes:
    parameter = 1 + (modifiers & SHIFT) + (2 if modifiers & ALT else 0) + (4 if modifiers & CONTROL else 0)
    letter = _FINAL_LETTER.get(name) or _FUNCTION_LETTER.get(name)
    if letter is None:
        suffix = f";{parameter}" if parameter > 1 else ""
        return f"\x1b[{_TILDE_NUMBER[name]}{suffix}~".encode()
    if parameter > 1:
        return f"\x1b[1;{parameter}{letter}".encode()
    return f"\x1b{'O' if application_cursor or name in _FUNCTION_LETTER else '['}{letter}".encode()


def _controlled(symbol: str) -> str:
    """The control character of a key, or the key's own character where it has none."""
    if symbol in _CONTROL_DIGITS:
        return _CONTROL_DIGITS[symbol]
    if symbol == " ":
        return "\0"
    if len(symbol) == 1 and "@" <= symbol.upper() <= "_":
        return chr(ord(symbol.upper()) & 0x1F)
    return symbol if len(symbol) == 1 else ""


def encode_mouse(
    tracking: int,
    encoding: int,
    action: str,
    button: int,
    x: int,
    y: int,
    modifiers: int,
    size: tuple[int, int],
) -> bytes:
    """xterm's bytes for a mouse event; empty if the mode does not report it.

    tracking: 0, 9, 1000, 1002 or 1003. encoding: 0 (X10), 1005, 1006, 1015 or 1016 (taken as 1006 in pixels of an
    8 by 16 cell). Other parameters as in `protocol.MouseInput`; size: columns and rows, to which x and y are cut.
    """
    if not _reported(tracking, action, button):
        return b""
    x = min(max(x, 0), size[0] - 1) + 1
    y = min(max(y, 0), size[1] - 1) + 1
    code = _SCROLL_CODES.get(action, (button - 1) & 3)
    if tracking != 9:
        code += (
            (4 if modifiers & SHIFT else 0)
            + (8 if modifiers & ALT else 0)
            + (16 if modifiers & CONTROL else 0)
        )
    if action == "move":
        code += 32
    if encoding in (1006, 1016):
        if encoding == 1016:
            x, y = x * 8 - 4, y * 16 - 8
        return f"\x1b[<{code};{x};{y}{'m' if action == 'release' else 'M'}".encode()
    if action == "release":
        code = code & ~3 | 3
    if encoding == 1015:
        return f"\x1b[{code + 32};{x};{y}M".encode()
    if encoding == 1005:
        return b"\x1b[M" + "".join(chr(value + 32) for value in (code, x, y)).encode()
    if x > 223 or y > 223:
        return b""
    return b"\x1b[M" + bytes((code + 32, x + 32, y + 32))


def _reported(tracking: int, action: str, button: int) -> bool:
    if action in _SCROLL_CODES:
        return tracking >= 1000
    if not 0 <= button <= 3:
        return False
    if action == "press":
        return tracking != 0 and button > 0
    if action == "release":
        return tracking >= 1000 and button > 0
    return action == "move" and (tracking == 1003 or (tracking == 1002 and button > 0))


def encode_paste(text: str, bracketed: bool) -> bytes:
    """Pasted text as sent: control characters become spaces, so that it can neither press keys nor end the bracket.

    Unbracketed, line ends become carriage returns, as typed ones are.
    """
    safe = _PASTE_UNSAFE.sub(" ", text)
    if bracketed:
        return b"\x1b[200~" + safe.encode("utf-8", "replace") + b"\x1b[201~"
    return safe.replace("\r\n", "\r").replace("\n", "\r").encode("utf-8", "replace")
