"""Until when something must not be done again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from engram_runtime.journal.records import Prohibition


def in_force(prohibitions: Iterable[Prohibition], now: datetime) -> tuple[Prohibition, ...]:
    """Those that have not expired at `now` (aware). One whose end cannot be read (an old import's) holds on."""
    return tuple(one for one in prohibitions if not _is_over(one.expires_at, now))


def end_of(said: str) -> str:
    """The end that ISO 8601 text names, in UTC (`2026-12-01T09:00:00Z`); without a zone it is UTC, of a day its start.

    Raises ValueError for any other text.
    """
    moment = datetime.fromisoformat(said.strip())
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_over(said: str | None, now: datetime) -> bool:
    if said is None:
        return False
    try:
        return datetime.fromisoformat(end_of(said)) <= now
    except ValueError:
        return False
