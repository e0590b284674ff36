"""Names that are made, not counted: session ids and access tokens."""

from __future__ import annotations

import os
import re
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS = 8
_RANDOM_DIGITS = 3
_SESSION = re.compile(f"s[{_DIGITS}]{{{_TIME_DIGITS + _RANDOM_DIGITS}}}")


def session_id(now: float | None = None) -> str:
    """A new session id, such as `s1sxf09ykq4c`: `s`, the time in units of 1/256 s (8 digits), 3 random digits.

    Base 32 without i, l, o, u (Crockford), lower case: sorts by time, is short enough for socket paths and
    safe in file names. `now` is Unix time in seconds. Good until the year 2106.
    """
    ticks = int((time.time() if now is None else now) * 256)
    return "s" + _base32(ticks, _TIME_DIGITS) + _base32(int.from_bytes(os.urandom(2), "big"), _RANDOM_DIGITS)


def is_session_id(text: str) -> bool:
    """Whether `text` has the form of a session id (so is safe as a file name)."""
    return _SESSION.fullmatch(text) is not None


def token() -> str:
    """A new access token: 256 random bits, safe in URLs and headers."""
    import secrets  # loads a crypto library, which the start of a session need not wait for

    return secrets.token_urlsafe(32)


def _base32(value: int, digits: int) -> str:
    return "".join(_DIGITS[(value >> shift) & 31] for shift in range(5 * (digits - 1), -1, -5))
