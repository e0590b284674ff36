"""Secrets are taken out of every text before it is written: `[redacted:kind]` stands for each.

Two sets of rules: own patterns for what coding agents come across most (bearer tokens, provider keys, URLs
with passwords, environment files, headers, private key blocks), and the detectors of detect-secrets.
Ordinary code, hashes and UUIDs stay readable: where only a name says "secret", the value must look like one.

A search for telling substrings comes first, so most texts cost microseconds, and detect-secrets (0.2 s to
import) is loaded when a text first needs it. None of its checks over the network are used.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

MARK = "[redacted:{kind}]"

_SHORTEST = 6
"""Nothing shorter is taken for a secret."""

# Substrings, in lower case, without one of which no rule of the kind can match.
_NAME_HINTS = ("key", "token", "secret", "passw", "pwd", "passphrase", "credential", "db_pass", "dbpass")
_DETECTOR_HINTS = (
    "a3t", "abia", "acca", "akia", "asia", "aws", "accountkey=", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat",
    "gldt", "glft", "glsoat", "glrt", "glcbt", "glimt", "glptt", "glagent", "gloas", "gr1348941", "eyj", "-us",
    "_authtoken", "sk-", "pypi-", "sg.", "xox", "hooks.slack", "sq0csp-", "k_live_", "cloudant", "softlayer",
)  # fmt: skip
_DETECTORS = (
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("cloudant", "CloudantDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
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
"""Modules and classes of detect_secrets.plugins. Left out: entropy (hashes), public IP addresses, and those that
take any capitalised word or any 44 characters after `key` for a secret."""

# Tokens of Telegram, Discord and Twilio start with nothing to search for: found by a character inside.
_SHAPES = (
    re.compile(r":(?<=\d{8}:)[\w-]{35}"),
    re.compile(r"\.(?<=[\w-]{24}\.)[\w-]{6}\.[\w-]{27}"),
    re.compile(r"AC[a-z0-9]{32}"),
    re.compile(r"SK[a-z0-9]{32}"),
)
_PIECES = re.compile(r"[^\n]{1,4000}(?:[\s,;]|\Z)|[^\n]{1,4000}|\n")
"""Lines; very long ones in parts, so that the time stays proportional to the length."""
_QUOTES = ('"', "'", "`")

_WORD = (
    r"(?:token|secret|password|passwd|passphrase|pwd|credentials?"
    r"|(?:api|access|private|secret|auth|account|service|encryption|signing|master|client)[_-]?key|db[_-]?pass)"
    r"(?:[_-](?:key|id|value|prod|dev|test|base|hash|[0-9]+)){0,3}"
)
_VALUE = r"(?:\"(?P<double>[^\"\n]*)\"|'(?P<single>[^'\n]*)'|(?P<bare>[^\s\"'`,;&|<>)\]}\\]+))"
_ASSIGNED = re.compile(
    rf"(?i)(?P<name>{_WORD})(?P<between>\\?[\"']?\]?\s?(?::=|=>|[:=])\s?|\\?[\"']\s?:\s?\\?){_VALUE}"
)
_NAME_BEFORE = re.compile(r"[\w.-]{0,64}\Z")
_SECRET_NAME = re.compile(rf"(?i)[\w.-]{{0,64}}?{_WORD}")

_PLACEHOLDER = re.compile(
    r"(?i)^(?:[*x.•#-]+|<.*>|\$.*|%.*%|\{.*\}|@.*|(?:your|my|the|some|an?|test|example|dummy|fake|change|replace|"
    r"insert|enter|todo|none|null|undefined|true|false|redacted)\b.*|your.*|change_?me.*|example.*|placeholder.*"
    r"|\[redacted:.*)$"
)
_REFERENCE = re.compile(
    r"^[A-Za-z_][\w]*(?:(?:\.|->|::)[A-Za-z_]\w*)*(?:[(\[{].*|!|\?)?$"
    r"|^(?:os|env|process|settings|config|secrets|vault|self|this|args|opts|request|data)[.\[(]"
)
_BRACKETS = re.compile(r"[\[\](){}]")
_FILE_OR_URL = re.compile(
    r"^(?:~|\.{0,2})/|^[a-z][a-z0-9+.-]*://|^[\w./-]+\.(?:pem|key|txt|json|ya?ml|env|py|ts|js|md)$"
)


def _whole(kind: str) -> Callable[[re.Match[str]], str]:
    mark = MARK.format(kind=kind)
    return lambda _: mark


def _last_group(kind: str) -> Callable[[re.Match[str]], str]:
    """Replace the group `secret`, keep what stands around it."""
    mark = MARK.format(kind=kind)

    def replaced(match: re.Match[str]) -> str:
        secret = match["secret"]
        if _PLACEHOLDER.match(secret) or len(secret) < _SHORTEST:
            return match[0]
        start, end = match.start("secret") - match.start(), match.end("secret") - match.start()
        return match[0][:start] + mark + match[0][end:]

    return replaced


_BLOCK = r"-----BEGIN (?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?-----"
_Rule = tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str]]
_OWN: tuple[_Rule, ...] = tuple(
    (hints, re.compile(pattern), replacement(kind))
    for hints, pattern, replacement, kind in (
        # A block without its end (an excerpt) goes as far as base64 does.
        (
            ("private key",),
            rf"{_BLOCK}(?:[^-]*?-----END [^-\n]*-----|[A-Za-z0-9+/=:,.\s\\-]*)",
            _whole,
            "private-key",
        ),
        (("sk-ant-",), r"\bsk-ant-[\w-]{16,}", _whole, "anthropic-key"),
        (
            ("sk-",),
            r"\bsk-(?:or-|proj-|svcacct-|admin-)?(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9][\w-]{18,}",
            _whole,
            "api-key",
        ),
        (
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
            r"\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}",
            _whole,
            "github-token",
        ),
        (("glpat-",), r"\bglpat-[\w-]{20,}", _whole, "gitlab-token"),
        (("akia", "asia"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", _whole, "aws-key"),
        (("eyj",), r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?", _whole, "jwt"),
        (("k_live_", "k_test_"), r"\b[sr]k_(?:live|test)_\w{16,}", _whole, "stripe-key"),
        (
            ("npm_", "pypi-", "hf_", "dop_v1_"),
            r"\bnpm_\w{30,}|\bpypi-[\w-]{50,}|\bhf_[A-Za-z0-9]{30,}|\bdop_v1_[0-9a-f]{60,}",
            _whole,
            "token",
        ),
        (("aiza", "ya29."), r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}", _whole, "google-key"),
        (("gsk_", "xai-", "shpat_"), r"\b(?:gsk_|xai-|shpat_)\w{30,}", _whole, "api-key"),
        (
            ("bearer", "authorization"),
            r"(?i)\b(?:bearer|authorization:\s*\w+)\s+(?P<secret>(?=\S*\d)[\w.~+/=-]{12,})",
            _last_group,
            "bearer",
        ),
        (
            ("authorization",),
            r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?P<secret>[\w.~+/=-]{20,})",
            _last_group,
            "authorization",
        ),
        (
            ("cookie:",),
            r"(?i)\b(?:set-)?cookie:[ \t]*(?P<secret>[^\s\"'=]+=[^\r\n\"']{6,})",
            _last_group,
            "cookie",
        ),
        (
            ("://",),
            r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]*:(?P<secret>[^\s/@\"'<>]{3,}?)@",
            _last_group,
            "password",
        ),
        (
            ("-u", "--user"),
            r"(?i)(?:^|\s)(?:-u|--user)[ =][\"']?[\w.@-]+:(?P<secret>[^\s\"']+)",
            _last_group,
            "password",
        ),
        (
            ("-pass", "-token", "-secret", "-api", "-access", "-auth"),
            r"(?i)(?<!\w)--?(?:password|passwd|pass|token|secret|api[_-]?key|access[_-]?key|auth[_-]?token)"
            r"(?:=|\s+)[\"']?(?P<secret>[^\s\"'$][^\s\"']*)",
            _last_group,
            "option",
        ),
    )
)


def _shortest(hints: set[str]) -> tuple[str, ...]:
    """Hints that are found wherever any of these would be."""
    return tuple(
        hint for hint in sorted(hints) if not any(other != hint and other in hint for other in hints)
    )


_ALL_HINTS = _shortest({*_NAME_HINTS, *_DETECTOR_HINTS, *(hint for hints, _, _ in _OWN for hint in hints)})


def redact(text: str) -> str:
    """A text without secrets, NUL characters and lone surrogates (which no file can hold)."""
    text = _clean(text)
    if len(text) < _SHORTEST + 2:
        return text
    low = text.lower()
    for hints, pattern, replacement in _OWN:
        if _has(low, hints):
            text = pattern.sub(replacement, text)
    if _has(low, _NAME_HINTS) or _has(low, _DETECTOR_HINTS) or _shaped(text):
        text = "".join(
            _by_line(piece) if len(piece) > _SHORTEST else piece for piece in _PIECES.findall(text)
        )
    return text


def is_plain(text: str) -> bool:
    """Whether no rule can match anywhere in a text: a quick look, True for most."""
    return not (_has(text.lower(), _ALL_HINTS) or _shaped(text) or "\0" in text)


def redact_event(payload: Any) -> Any:
    """A payload of plain values with every text redacted; a text under a key such as `api_key` is judged by it."""
    if isinstance(payload, str):
        return redact(payload)
    if isinstance(payload, dict):
        return {redact(key): _under(key, value) for key, value in payload.items()}
    if isinstance(payload, list | tuple):
        return [redact_event(part) for part in payload]
    return payload


def _under(key: str, value: Any) -> Any:
    if isinstance(value, str) and len(value) >= _SHORTEST and _SECRET_NAME.fullmatch(key):
        return MARK.format(kind=_kind_of(key)) if _looks_secret(value, key, quoted=True) else redact(value)
    return redact_event(value)


def _clean(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _assignment(match: re.Match[str]) -> str:
    group = match.lastgroup or "bare"
    secret = match[group]
    before = _NAME_BEFORE.search(match.string, max(0, match.start() - 64), match.start())
    name = (before[0] if before else "") + match["name"]
    if not _looks_secret(secret, name, quoted=group != "bare", exact=":" not in match["between"]):
        return match[0]
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    return match[0][:start] + MARK.format(kind=_kind_of(name)) + match[0][end:]


def _looks_secret(value: str, name: str, *, quoted: bool, exact: bool = True) -> bool:
    """Whether a value given to a secret-looking name is one: not a word of prose, a reference, a path, a count.

    `exact`: assigned with `=`, as environment files do; prose has colons.
    """
    if (
        len(value) < _SHORTEST
        or " " in value.strip()
        or _PLACEHOLDER.match(value)
        or _FILE_OR_URL.match(value)
    ):
        return False
    if value.lower() in name.lower() or _SECRET_NAME.fullmatch(value):
        return False
    letters = any(char.isalpha() for char in value)
    digits = any(char.isdigit() for char in value)
    if not letters:
        return digits and "pass" in name.lower() and len(value) >= 8
    if quoted:
        # A literal: only words that stand for something else stay.
        return (
            digits
            or not re.fullmatch(r"[A-Za-z][a-z]*(?:[_. -][A-Za-z]+)*|[A-Z_]+", value)
            or (len(value) >= 8 and "pass" in name.lower() and value.isalpha())
        )
    if "(" in value or "[" in value:
        return False
    if name.isupper() and exact:
        return "." not in value or not _REFERENCE.match(value)
    return digits and (not _REFERENCE.match(value) or "." not in value) and _mixed(value)


def _mixed(value: str) -> bool:
    """Letters and digits that no one would name a variable with."""
    return (
        re.fullmatch(r"[A-Za-z_]+_?\d{1,2}", value) is None
        or re.fullmatch(r"[a-z]+\d{1,4}", value) is not None
    )


def _kind_of(name: str) -> str:
    low = name.lower()
    for word, kind in (("pass", "password"), ("pwd", "password"), ("token", "token"), ("key", "key")):
        if word in low:
            return kind
    return "secret"


@functools.cache
def _detectors() -> tuple[tuple[str, Any], ...]:
    """The detectors of detect-secrets, as (kind, detector)."""
    import importlib

    found = []
    for module, name in _DETECTORS:
        detector = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
        found.append((detector.secret_type.lower().replace(" ", "-"), detector))
    return tuple(found)


@functools.cache
def _keyword_detector() -> Any:
    from detect_secrets.plugins.keyword import KeywordDetector

    return KeywordDetector()


def _by_line(line: str) -> str:
    low = line.lower()
    named = _has(low, _NAME_HINTS)
    if named:
        line = _ASSIGNED.sub(_assignment, line)
    if _has(low, _DETECTOR_HINTS) or _shaped(line):
        for kind, detector in _detectors():
            for secret in detector.analyze_string(line):
                if len(secret) >= _SHORTEST:
                    line = line.replace(secret, MARK.format(kind=kind))
    if named and any(quote in line for quote in _QUOTES):
        for secret in list(_keyword_detector().analyze_string(line)):
            if _looks_secret(secret, "", quoted=True) and not _BRACKETS.search(secret):
                line = line.replace(secret, MARK.format(kind="keyword"))
    return line


def _has(low: str, hints: tuple[str, ...]) -> bool:
    for hint in hints:  # noqa: SIM110  half the time of any(), in the innermost loop of every append
        if hint in low:
            return True
    return False


def _shaped(text: str) -> bool:
    return any(shape.search(text) for shape in _SHAPES)
