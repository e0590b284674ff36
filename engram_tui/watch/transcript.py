"""Tailing a JSON-lines file that another program appends to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


class JSONLinesTail:
    """New complete lines of a file as objects. A torn last line waits for its end; malformed ones are counted.

    A file that shrank (was replaced) is read from its start again.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.malformed = 0
        self._skipping = False

    def read(self, limit: int = 16 * CHUNK) -> list[dict[str, Any]]:
        """Objects appended since the last call, at most `limit` bytes of them; [] where the file is not there."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self.offset:
                    self.offset = 0
                file.seek(self.offset)
                data = file.read(min(limit, size - self.offset))
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) >= limit:
            # A line longer than is read at once: passed over, up to its end.
            self._skipping, self.malformed = True, self.malformed + 1
            self.offset += len(data)
            return []
        if self._skipping and end:
            first = data.find(b"\n") + 1
            self.offset, data, end, self._skipping = self.offset + first, data[first:], end - first, False
        self.offset += end
        return [value for line in data[:end].splitlines() if (value := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        if not line.strip():
            return None
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            self.malformed += 1
            return None
        return value if isinstance(value, dict) else None
