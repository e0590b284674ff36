"""Payloads: events to canonical JSON and back.

One encoder is part of the format (msgspec, keys sorted): others write the same numbers differently, so
that hashes would not agree.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from engram_runtime.errors import InvalidEvent
from engram_runtime.journal.events import EVENT_TYPES, Event
from engram_runtime.journal.upcast import upcast
from engram_runtime.redaction import is_plain, redact_event

PAYLOAD_BYTES = 1_000_000
"""Largest payload of one event; larger texts belong into blobs."""

_struct_encoder = msgspec.json.Encoder(order="sorted")
_encoder = msgspec.json.Encoder(order="deterministic")
_plain = msgspec.json.Decoder()
_decoders = {kind: msgspec.json.Decoder(event) for kind, event in EVENT_TYPES.items()}


def canonical(value: Any) -> bytes:
    """Canonical JSON of plain values."""
    return _encoder.encode(value)


def encode(event: Event) -> str:
    """An event's payload as canonical JSON, redacted.

    Raises InvalidEvent for what JSON cannot say (NaN, infinity, objects, nesting without end) and for more
    than PAYLOAD_BYTES.
    """
    if type(event) is not EVENT_TYPES.get(event.kind):
        raise InvalidEvent(f"{event.kind} is not an event of the journal.")
    text = _plainly(event)
    if text is not None:
        return text
    try:
        plain = msgspec.to_builtins(event, str_keys=True)
        _refuse_nan(plain)
        payload = _redacted(plain)
        # A JSON object can be built that no reader takes back (wrong types in a struct built by hand).
        _decoders[event.kind].decode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidEvent(f"{event.kind} cannot be written: {error}.") from error
    if len(payload) > PAYLOAD_BYTES:
        raise InvalidEvent(
            f"{event.kind} is too large ({len(payload):,} bytes; at most {PAYLOAD_BYTES:,}).",
            hint="Put large texts into blobs and name them by their digest.",
        )
    return payload.decode("utf-8")


def _plainly(event: Event) -> str | None:
    """The payload of most events, in a third of the time; None for one that needs a closer look.

    What comes back from JSON equals the event only if nothing was bent to fit: no NaN (which JSON lacks), no
    keys that are not texts, no types that no reader takes back.
    """
    try:
        payload = _struct_encoder.encode(event)
        if len(payload) > PAYLOAD_BYTES or b"\\u0000" in payload:
            return None
        if _decoders[event.kind].decode(payload) != event:
            return None
        text = payload.decode("utf-8")
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return text if is_plain(text) else None


def decode(kind: str, version: int, payload: str) -> tuple[Event | None, dict[str, Any] | None]:
    """The event (None: a kind or version this Engram does not know) and its payload as plain values."""
    try:
        plain = _plain.decode(payload)
    except msgspec.DecodeError:
        return None, None
    known = EVENT_TYPES.get(kind)
    if known is None or not isinstance(plain, dict):
        return None, plain if isinstance(plain, dict) else None
    try:
        if version == known.VERSION:
            return _decoders[kind].decode(payload), plain
        current = upcast(kind, version, known.VERSION, plain)
        return (None if current is None else msgspec.convert(current, known)), plain
    except msgspec.MsgspecError:
        return None, plain


def _redacted(plain: Any) -> bytes:
    try:
        payload = canonical(plain)
        # Most payloads hold nothing that looks like a secret: one look at the whole instead of one at each text.
        if b"\\u0000" not in payload and is_plain(payload.decode("utf-8")):
            return payload
    except UnicodeEncodeError:
        pass
    return canonical(redact_event(plain))


def _refuse_nan(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number in JSON")
    elif isinstance(value, dict):
        for part in value.values():
            _refuse_nan(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_nan(part)
