"""Secrets are taken out of every text before it is written: `[redacted:kind]` stands for each.

Four kinds of rules, each in a module of its own: tokens that tell by their prefix (`tokens`), values of
secret-looking names (`assigned`, judged by `values`), places where secrets stand (`forms`), and the detectors of
detect-secrets (`library`). All say where a secret is (`spans`); what they say together is replaced. Ordinary code,
hashes and UUIDs stay readable: where only a name says "secret", the value must look like one.

A look for telling parts (`hints`) comes first, so most texts cost microseconds.
"""

from engram_runtime.redaction.redact import (
    FORGOTTEN,
    forbid,
    is_plain,
    redact,
    redact_event,
    redact_output,
    secrets_in,
)

__all__ = ["FORGOTTEN", "forbid", "is_plain", "redact", "redact_event", "redact_output", "secrets_in"]
