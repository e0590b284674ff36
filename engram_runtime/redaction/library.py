"""The maintained rule set: detectors of detect-secrets, for what the own rules do not know.

Loaded (0.2 s) when a text first has a long run of letters with digits. None of its checks over the network are used.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from typing import Any

from engram_runtime.redaction.spans import SHORTEST, Span

_DETECTORS = (
    ("artifactory", "ArtifactoryDetector"),
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("cloudant", "CloudantDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("ibm_cloud_iam", "IbmCloudIamDetector"),
    ("ibm_cos_hmac", "IbmCosHmacDetector"),
    ("jwt", "JwtTokenDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("npm", "NpmDetector"),
    ("openai", "OpenAIDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("softlayer", "SoftlayerDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)
"""Modules and classes of detect_secrets.plugins. Left out: entropy (hashes), keywords (prose and code; the own rules
judge values), public IP addresses, and basic auth and key blocks, of which it takes less than the own rules."""

_HINTS = (
    "a3t", "abia", "acca", "akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat", "gldt", "glft", "glsoat",
    "glrt", "glcbt", "glimt", "glptt", "glagent", "gloas", "gr1348941", "eyj", "-us", "sk-", "pypi-", "xox",
    "sq0csp-", "k_live_", "akc",
)  # fmt: skip
_PLACES = ("accountkey=", "_authtoken", "sg.", "hooks.slack", "cloudant", "softlayer", "ibm", ":aa")
_LINES = re.compile(r"[^\n]{1,4000}(?:[\s,;]|\Z)|[^\n]{1,4000}")
"""Lines; very long ones in parts, so that the time stays proportional to the length."""


def known(text: str, low: str, said: str) -> Iterator[Span]:
    """What the library takes for a secret; `low` is the text in lower case, `said` its long runs."""
    hints = [hint for hint in _HINTS if hint in said] + [place for place in _PLACES if place in low]
    if not hints:
        return
    for piece in _LINES.finditer(text):
        start, end = piece.span()
        if not any(low.find(hint, start, end) >= 0 for hint in hints):
            continue
        for kind, detector in _detectors():
            for secret in detector.analyze_string(piece[0]):
                if len(secret) >= SHORTEST:
                    yield from _all(piece[0], secret, start, kind)


def _all(line: str, secret: str, offset: int, kind: str) -> Iterator[Span]:
    at = line.find(secret)
    while at >= 0:
        yield Span(offset + at, offset + at + len(secret), kind)
        at = line.find(secret, at + len(secret))


@functools.cache
def _detectors() -> tuple[tuple[str, Any], ...]:
    """The detectors, as (kind, detector)."""
    found = []
    for module, name in _DETECTORS:
        detector = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
        found.append((detector.secret_type.lower().replace(" ", "-"), detector))
    return tuple(found)
