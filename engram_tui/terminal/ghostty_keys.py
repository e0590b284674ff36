"""Encodes keys with libghostty-vt's encoder: application cursor keys, modifyOtherKeys and the kitty protocol."""

from __future__ import annotations

from typing import Any, Final

from engram_tui.terminal.ghostty_binding import Binding
from engram_tui.terminal.input import ALT, CONTROL, SHIFT, SPECIAL_KEYS, SUPER, KeyPress, encode_legacy_key

_KEY_NAMES: Final = {
    "pageup": "PAGE_UP",
    "pagedown": "PAGE_DOWN",
    "up": "ARROW_UP",
    "down": "ARROW_DOWN",
    "left": "ARROW_LEFT",
    "right": "ARROW_RIGHT",
    " ": "SPACE",
    "`": "BACKQUOTE",
    "\\": "BACKSLASH",
    "[": "BRACKET_LEFT",
    "]": "BRACKET_RIGHT",
    ",": "COMMA",
    "=": "EQUAL",
    "-": "MINUS",
    ".": "PERIOD",
    "'": "QUOTE",
    ";": "SEMICOLON",
    "/": "SLASH",
}
_OUTPUT_BYTES: Final = 256


class KeyEncoder:
    """One native encoder and key event, used again for each key."""

    def __init__(self, binding: Binding) -> None:
        ffi, lib = binding.ffi, binding.lib
        self._ffi, self._lib = ffi, lib
        self._encoder, self._event = ffi.new("GhosttyKeyEncoder*"), ffi.new("GhosttyKeyEvent*")
        if lib.ghostty_key_encoder_new(ffi.NULL, self._encoder) or lib.ghostty_key_event_new(
            ffi.NULL, self._event
        ):
            raise MemoryError("libghostty-vt has no key encoder")
        self._output, self._length = ffi.new("char[]", _OUTPUT_BYTES), ffi.new("size_t*")
        self._mods = {SHIFT: 1, CONTROL: 2, ALT: 4, SUPER: 8}

    def close(self) -> None:
        """Free the native objects."""
        self._lib.ghostty_key_event_free(self._event[0])
        self._lib.ghostty_key_encoder_free(self._encoder[0])

    def encode(self, terminal: Any, press: KeyPress) -> bytes:
        """Bytes of a key under the terminal's modes; empty if it sends nothing."""
        if len(press.text) > 1:  # composed text is not a key
            return press.text.encode("utf-8", "replace")
        ffi, lib, event = self._ffi, self._lib, self._event[0]
        lib.ghostty_key_encoder_setopt_from_terminal(self._encoder[0], terminal)
        text = press.text.encode("utf-8", "replace")
        kept = ffi.new("char[]", text) if text else ffi.NULL
        mods = sum(bit for flag, bit in self._mods.items() if press.modifiers & flag)
        lib.ghostty_key_event_set_action(event, lib.GHOSTTY_KEY_ACTION_PRESS)
        lib.ghostty_key_event_set_key(event, self._key(press.name))
        lib.ghostty_key_event_set_mods(event, mods)
        lib.ghostty_key_event_set_consumed_mods(event, 1 if text and press.modifiers & SHIFT else 0)
        lib.ghostty_key_event_set_utf8(event, kept, len(text))
        codepoint = ord(press.name) if len(press.name) == 1 else 0
        lib.ghostty_key_event_set_unshifted_codepoint(event, codepoint)
        self._length[0] = 0
        failed = lib.ghostty_key_encoder_encode(
            self._encoder[0], event, self._output, _OUTPUT_BYTES, self._length
        )
        encoded = b"" if failed else bytes(ffi.buffer(self._output, self._length[0]))
        # The encoder knows control characters by physical key only; xterm's table covers the rest.
        return encoded or encode_legacy_key(press, application_cursor=False)

    def _key(self, name: str) -> int:
        if name in _KEY_NAMES:
            symbol = _KEY_NAMES[name]
        elif name in SPECIAL_KEYS or (len(name) == 1 and "a" <= name <= "z"):
            symbol = name.upper()
        elif len(name) == 1 and "0" <= name <= "9":
            symbol = f"DIGIT_{name}"
        else:
            return int(self._lib.GHOSTTY_KEY_UNIDENTIFIED)
        return int(getattr(self._lib, f"GHOSTTY_KEY_{symbol}"))
