"""Secrets are taken out of every text before it is written: `[redacted:kind]` stands for each.

Four kinds of rules, each in a module of its own: tokens that tell by their prefix (`tokens`), values of
secret-looking names (`assigned`, judged by `values`), places where secrets stand (`forms`), and the detectors of
detect-secrets (`library`). All say where a secret is (`spans`); what they say together is replaced. Ordinary code,
hashes and UUIDs stay readable: where only a name says "secret", the value must look like one.

A look for telling parts (`hints`) comes first, so most texts cost microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram_runtime.redaction.cuts import head, tail

if TYPE_CHECKING:
    from engram_runtime.redaction.rules import (
        FORGOTTEN,
        forbid,
        is_plain,
        redact,
        redact_event,
        redact_output,
        secrets_in,
    )

__all__ = [
    "FORGOTTEN",
    "forbid",
    "head",
    "is_plain",
    "redact",
    "redact_event",
    "redact_output",
    "secrets_in",
    "tail",
]


def __getattr__(name: str) -> object:
    """The rules are loaded with the first name that needs them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engram_runtime.redaction import rules

    value: object = getattr(rules, name)
    return value
