"""Old payloads to the present form: `(kind, version)` → function from that version's payload to the next one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""Empty while every kind is at its first version. An upcaster is pure and stays for ever."""


def upcast(
    kind: str,
    version: int,
    current: int,
    payload: dict[str, Any],
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> dict[str, Any] | None:
    """The payload in version `current`; None where no way leads there (written by a newer Engram)."""
    while version < current:
        step = upcasters.get((kind, version))
        if step is None:
            return None
        payload, version = step(payload), version + 1
    return payload if version == current else None
