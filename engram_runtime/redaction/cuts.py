"""Cutting texts without leaving half a secret, which no rule would recognise later.

The rules (20 ms to import) are loaded when a text is first cut: agents are started by modules that import this.
"""

from __future__ import annotations

_MARGIN = 4000
"""Characters looked at beyond a cut: no secret but the longest keys is longer."""


def head(text: str, limit: int) -> str:
    """The first `limit` characters of a text; of one that is cut, without secrets."""
    return text if len(text) <= limit else _redacted(text[: limit + _MARGIN])[:limit]


def tail(text: str, limit: int) -> str:
    """The last `limit` characters of a text; of one that is cut, without secrets."""
    return text if len(text) <= limit else _redacted(text[-limit - _MARGIN :])[-limit:]


def _redacted(text: str) -> str:
    from engram_runtime.redaction.rules import redact

    return redact(text)
