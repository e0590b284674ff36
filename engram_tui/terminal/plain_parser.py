"""Cuts terminal output into text, controls and sequences, after the DEC parser (https://vt100.net/emu/dec_ansi_parser).

Works on whole stretches of text with regular expressions instead of byte by byte: that is what makes a Python emulator
fast enough. Any split of the input gives the same events.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, Protocol

_TEXT: Final = re.compile("[^\x00-\x1f\x7f-\x9f]+")
_CSI: Final = re.compile("\x1b\\[([<-?]?)([0-9:;]*)([ -/]*)([@-~])")
_CSI_BODY: Final = re.compile("[ -?]*")
_ESCAPE: Final = re.compile("\x1b([ -/]*)([0-~])")
_ESCAPE_BODY: Final = re.compile("[ -/]*")
_STRING_END: Final = re.compile("[\x07\x18\x1a\x1b]")
_STRING_KINDS: Final = "P]X^_"
_LONGEST_SEQUENCE: Final = 4096
_LONGEST_STRING: Final = 1 << 20


class Handler(Protocol):
    """What the parser reports to."""

    def print(self, text: str) -> None:
        """Printable characters, at least one."""

    def control(self, character: str) -> None:
        """A C0 control other than ESC."""

    def escape(self, intermediates: str, final: str) -> None:
        """ESC, intermediates, final."""

    def csi(self, prefix: str, parameters: str, intermediates: str, final: str) -> None:
        """ESC [, a private prefix (`?`, `>`, `=`, `<`) or empty, parameters as written, intermediates, final."""

    def string(self, kind: str, content: str) -> None:
        """A complete string: kind `]` is OSC, `P` DCS, `_` APC, `^` PM, `X` SOS."""


class Parser:
    """Feeds a `Handler` from a byte stream in UTF-8; invalid bytes become U+FFFD."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._kind = ""
        self._content: list[str] = []
        self._length = 0

    def feed(self, data: bytes) -> None:
        """Interpret `data` after all that came before."""
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        position = 0
        while position < len(text):
            if self._kind:
                text, position = self._collect(text, position)
            elif match := _TEXT.match(text, position):
                self._handler.print(match[0])
                position = match.end()
            elif text[position] == "\x1b":
                text, position = self._sequence(text, position)
            else:
                if text[position] < " ":
                    self._handler.control(text[position])
                position += 1

    def state(self) -> tuple[bytes, str, str, str]:
        """What is unfinished: undecoded bytes, an incomplete sequence, and the kind and content of an open string."""
        return self._decoder.getstate()[0], self._rest, self._kind, "".join(self._content)

    def set_state(self, state: tuple[bytes, str, str, str]) -> None:
        """Go on from a `state`."""
        undecoded, self._rest, self._kind, content = state
        self._decoder.setstate((undecoded, 0))
        self._content, self._length = [content], len(content)

    def _wait(self, text: str, start: int) -> tuple[str, int]:
        """Keep what may become a sequence; one that never ends is dropped."""
        if len(text) - start < _LONGEST_SEQUENCE:
            self._rest = text[start:]
        return text, len(text)

    def _sequence(self, text: str, start: int) -> tuple[str, int]:
        if start + 1 == len(text):
            return self._wait(text, start)
        introducer = text[start + 1]
        if introducer in _STRING_KINDS:
            self._kind, self._content, self._length = introducer, [], 0
            return text, start + 2
        if introducer == "[":
            if match := _CSI.match(text, start):
                self._handler.csi(match[1], match[2], match[3], match[4])
                return text, match.end()
            return self._irregular(text, start, _CSI_BODY, start + 2)
        if match := _ESCAPE.match(text, start):
            self._handler.escape(match[1], match[2])
            return text, match.end()
        return self._irregular(text, start, _ESCAPE_BODY, start + 1)

    def _irregular(self, text: str, start: int, body: re.Pattern[str], position: int) -> tuple[str, int]:
        """A sequence that is incomplete, interrupted, has a control inside it, or is malformed."""
        found = body.match(text, position)
        end = found.end() if found else position
        if end == len(text):
            return self._wait(text, start)
        character = text[end]
        if character in "\x18\x1a":
            return text, end + 1
        if character == "\x1b":
            return text, end
        if character < " ":
            self._handler.control(character)
            return text[start:end] + text[end + 1 :], 0
        if character == "\x7f":
            return text[start:end] + text[end + 1 :], 0
        return text, end + 1

    def _collect(self, text: str, start: int) -> tuple[str, int]:
        """Go on in an open string."""
        end = _STRING_END.search(text, start)
        while end and end[0] == "\x07" and self._kind != "]":
            end = _STRING_END.search(text, end.end())
        stop = end.start() if end else len(text)
        self._length += stop - start
        if self._length <= _LONGEST_STRING:
            self._content.append(text[start:stop])
        if end is None:
            return text, stop
        if end[0] == "\x1b":
            if stop + 1 == len(text):
                self._rest = "\x1b"
                return text, len(text)
            if text[stop + 1] != "\\":
                self._kind = ""
                return text, stop
        kind, self._kind = self._kind, ""
        if end[0] in "\x07\x1b" and self._length <= _LONGEST_STRING:
            self._handler.string(kind, "".join(self._content))
        return text, stop + (2 if end[0] == "\x1b" else 1)
