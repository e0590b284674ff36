"""Secrets by where they stand: key blocks, headers, cookies, URLs, markup, sentences, command lines."""

from __future__ import annotations

from collections.abc import Iterator

from engram_runtime.redaction.checks import (
    any_value,
    form,
    found_by,
    opaque,
    random,
    short_value,
    spoken,
    typed,
)
from engram_runtime.redaction.commands import COMMANDS
from engram_runtime.redaction.spans import Span

_BLOCK = r"-----BEGIN (?:[A-Z0-9 ]{1,32} )?PRIVATE KEY(?: BLOCK)?-----"
_VARIABLE = r"\w{0,48}(?:password|passwd|pass|secret|token|api_?key|pwd)"

_FORMS = (
    # A block without its end (an excerpt) goes as far as base64 does.
    form(
        "private-key",
        rf"{_BLOCK}(?:[^-]{{0,20000}}-----END [^-\n]{{0,64}}-----|[A-Za-z0-9+/=:,.\s\\|>*-]{{0,20000}})",
        any_value,
        "private key",
    ),
    form(
        "private-key",
        r"Private-Lines: \d+\s(?P<secret>[A-Za-z0-9+/=\s]{40,20000})",
        any_value,
        "private-lines:",
    ),
    form(
        "authorization",
        r"(?i)authorization[\"'`]?\s{0,4}[:=,]\s{0,4}[\"'`]?(?:[\w-]{2,20}\s{1,4})?(?:token=)?[\"']?"
        r"(?P<secret>[\w.~+/=|-]{12,4096})",
        opaque,
        "authorization",
    ),
    form("bearer", r"(?i)\bbearer\s{1,4}(?P<secret>[\w.~+/=|-]{12,4096})", opaque, "bearer "),
    form(
        "cookie",
        r"(?i)\b(?:set-)?cookie:[ \t]*(?P<secret>[^\s\"'=]{1,64}=[^\r\n\"']{6,4096})",
        any_value,
        "cookie:",
    ),
    # A line of a cookie jar: domain, flag, path, secure, expiry, name, value.
    form(
        "cookie",
        r"\t(?:TRUE|FALSE)\t\d{1,12}\t[^\t\n]{1,128}\t(?P<secret>[^\t\s]{6,4096})",
        any_value,
        *("\ttrue\t", "\tfalse\t"),
    ),
    form("cookie", r"(?:session|Session|SESSION)\w{0,8}=(?P<secret>[\w%.-]{24,4096})", random, "session"),
    form(
        "password",
        r"://(?<=[A-Za-z0-9]://)[^\s:/@\"'<>]{0,256}:(?P<secret>[^\s/@\"'<>]{3,256})@",
        short_value,
        "@",
    ),
    form("token", r"://(?P<secret>[\w-]{20,256})(?::x-oauth-basic)?@", random, "@"),
    form(
        "webhook",
        r"(?i)hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[\w+/-]{20,128})",
        any_value,
        "hooks.slack",
    ),
    form("webhook", r"(?i)/api/webhooks/\d{5,25}/(?P<secret>[\w-]{40,128})", any_value, "/webhooks/"),
    form(
        "webhook",
        r"(?i)\.webhook\.office\.com/webhookb2/(?P<secret>[\w@/-]{40,256})",
        any_value,
        "webhook.office",
    ),
    form(
        "token",
        r"(?i)[?&](?:key|apikey|code|state_token|x-amz-(?:signature|security-token)|sig|signature)="
        r"(?P<secret>[\w%.~+/-]{20,2048})",
        random,
        *("key=", "code=", "sig=", "signature=", "-token="),
    ),
    # netrc, whose parts are words in any order.
    form(
        "password",
        r"\b(?:machine|login)\s{1,4}\S{1,128}[^\n]{0,128}?\spassword\s{1,4}(?P<secret>[^\s'\"$]{4,256})",
        typed,
        *("machine ", "login "),
    ),
    # A list of environment variables in YAML.
    form(
        "secret",
        rf"(?i)\bname:\s{{0,4}}['\"]?{_VARIABLE}['\"]?\s{{0,4}}\n[ \t]{{0,64}}value:\s{{0,4}}['\"]?"
        r"(?P<secret>[^\s'\"$]{4,512})",
        typed,
        "value:",
    ),
    # A default of a variable in HCL.
    form(
        "secret",
        rf"(?i)\bvariable\s{{1,4}}\"{_VARIABLE}\"\s{{0,4}}\{{[^{{}}]{{0,256}}?\bdefault\s{{0,8}}=\s{{0,8}}\""
        r"(?P<secret>[^\"\n$]{4,512})",
        typed,
        "variable ",
    ),
    form(
        "password",
        r"(?i)\b(?:password|passwd|passwort|passphrase|mot de passe|contraseña)\s{1,4}(?:for \S{1,64} )?"
        r"(?:is|was|lautet|ist|war|est|es|to)\s{1,4}[\"'`]?(?P<secret>[^\s\"'`,;]{6,128}?)[.!?]?(?=[\s\"'`,;]|$)",
        spoken,
        *("passw", "passphrase", "mot de passe", "contraseña"),
    ),
    *COMMANDS,
)

_HINTS = (
    "session", "hooks.slack", "/webhooks/", "webhook.office", "sig=", "signature=", "code=", " auth ", " login ",
    "codecov",
)  # fmt: skip
"""Of rules whose secret is a long run, and whose text need have no other sign of one."""


def formed(text: str, low: str) -> Iterator[Span]:
    """Secrets known by their surroundings; `low` is the text in lower case."""
    return found_by(_FORMS, text, low)


def may_be_formed(low: str) -> bool:
    """Whether a rule of this module could find something in a text with a long run, given in lower case."""
    return any(hint in low for hint in _HINTS)
