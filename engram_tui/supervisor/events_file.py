"""`--events FILE`: the session's events as JSON lines, as they become durable (redacted, as the journal has them)."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engram_runtime.errors import StoreError

if TYPE_CHECKING:
    from engram_runtime.runtime import Runtime

POLL_S = 0.5


class EventsFile:
    """Follows one session in the journal. A file that cannot be written is given up on: `problem` says why."""

    def __init__(self, path: Path, session: str) -> None:
        self.problem = ""
        self._path = path
        self._file: io.FileIO | None = None
        self._session = session
        self._after = 0
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = io.FileIO(descriptor, "w")
        except OSError as error:
            self._give_up(error)

    async def follow(self, runtime: Runtime) -> None:
        """Write what is new until cancelled."""
        while self._file is not None:
            await asyncio.to_thread(self.write_new, runtime)
            await asyncio.sleep(POLL_S)

    def write_new(self, runtime: Runtime) -> None:
        """Write all events after the last one written."""
        try:
            new = runtime.events(after=self._after, limit=10_000, session=self._session)
        except StoreError:
            return  # said elsewhere; what is readable later is written later
        for recorded in new:
            line = {
                "position": recorded.position,
                "at": recorded.at,
                "kind": recorded.kind,
                "session": recorded.session,
                "payload": recorded.payload,
            }
            self._write(msgspec.json.encode(line) + b"\n")
            self._after = recorded.position

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, data: bytes) -> None:
        try:
            while data and self._file is not None:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        self.problem = f"{self._path}: {error.strerror or error}"
